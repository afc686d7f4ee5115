"""Provider "transformers": weights on this machine, tuned with LoRA on CPU or GPU.

    [[model]]
    id = "tuned"
    provider = "transformers"
    base = "weights/base"          # a folder beside the suite file, or a name at the model hub
    [model.finetune]               # or: endpoint = "weights/adapter", a LoRA that is there already
    books = ["kafka-on-the-shore"]

What a fine-tune learned is kept in the provider's state folder, whole or not at all, under a name
made of base weights, training set and recipe. Source of the recipe's defaults: the paper's LoRA
(arXiv 2603.20957): rank 32, learning rate 5e-4 falling linearly, batches of 16, 3 epochs, 2,048
tokens.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pytest_memleak.errors import MissingExtra, ProviderError, SuiteError
from pytest_memleak.models.options import Table, read_table
from pytest_memleak.protocols import Completion, JobState, JobStatus, ProviderSetup, TrainingSet
from pytest_memleak.records import FinishReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.models.transformers_weights import Weights
    from pytest_memleak.protocols import Window

__all__ = ["FinetuneTable", "OptionsTable", "TransformersEndpoint", "TransformersProvider"]

PROVIDER = "transformers"
_PREFIX = "transformers:"
_EDGE = 1 << 20  # bytes of each end of a weights file that its digest reads


class OptionsTable(Table):
    """`[model.options]` of this provider.

    device: "auto" takes a GPU where there is one. dtype: of the weights; "auto" as they are kept.
    threads: for torch on the CPU; default as torch finds it.
    completions_per_call: how many completions are drawn at once.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    completions_per_call: int = Field(default=8, ge=1)


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, beside `books`: the recipe."""

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    rank: int = Field(default=32, ge=1)
    max_tokens: int = Field(default=2048, ge=16)
    seed: int = Field(default=0, ge=0)


class TransformersEndpoint:
    """Weights that answer instructions; `id` names them.

    The answers of one call depend on instruction, seed, n, temperature and max_tokens alone, on
    one kind of machine.
    """

    def __init__(self, endpoint_id: str, weights: Weights) -> None:
        self.id = endpoint_id
        self._weights = weights

    def sample(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> list[Completion]:
        """Always `n` completions; a seed of None is drawn at random."""
        drawn = self._weights.sample(
            instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        return [
            Completion(
                text,
                _finish_reason(text, ended=ended),
                prompt_tokens=drawn.prompt_tokens if number == 0 else 0,
                completion_tokens=tokens,
            )
            for number, (text, tokens, ended) in enumerate(drawn.answers)
        ]

    whole_distribution = True
    tokenizes_here = True
    windows_per_call = 16

    def text_tokens(self, text: str) -> list[int]:
        """The tokenizer's tokens of a text, without special ones."""
        from pytest_memleak.models.transformers_text import text_tokens

        return text_tokens(self._weights.tokenizer, text)

    def log_probabilities(
        self, windows: Sequence[Window], *, top_k: int, temperature: float
    ) -> list[list[float]]:
        """As `LogProbabilityEndpoint` says."""
        from pytest_memleak.models.transformers_probability import log_probabilities

        model, tokenizer = self._weights.model, self._weights.tokenizer
        return log_probabilities(model, tokenizer, windows, top_k=top_k, temperature=temperature)

    def continuing(self) -> TransformersEndpoint | None:
        """The same weights on plain text; None for a tokenizer with a chat template."""
        from pytest_memleak.models.transformers_text import TextWeights

        model, tokenizer = self._weights.model, self._weights.tokenizer
        if tokenizer.chat_template:
            return None
        return TransformersEndpoint(f"{self.id}#text", TextWeights(model, tokenizer))


def _finish_reason(text: str, *, ended: bool) -> FinishReason:
    if not text.strip():
        return FinishReason.EMPTY
    return FinishReason.STOP if ended else FinishReason.LENGTH


class TransformersProvider:
    """One model on this machine. Nothing is loaded before a verb is called."""

    name = PROVIDER
    concurrency = 1
    batch = False
    start_deadline = None  # training takes as long as it takes

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        self._options = read_table(OptionsTable, model.options, place=place, name="options")
        self._recipe = read_table(FinetuneTable, model.finetune, place=place, name="finetune")
        if model.base is None:
            raise SuiteError(
                "there is no base",
                place=place,
                hint='name a folder of weights, or a model at the hub, as base = "..."',
            )
        for package in ("torch", "transformers", "peft"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(PROVIDER, package=package, extra="local")
        self.completions_per_call = self._options.completions_per_call
        folder = setup.root / model.base
        self._base = str(folder) if folder.is_dir() else model.base
        self._attached = model.endpoint and str(setup.root / model.endpoint)
        self._state = setup.state
        self._opened: dict[str, TransformersEndpoint] = {}

    def find_finetune(self, digest: str) -> str | None:
        """The endpoint trained on the set of that digest with this recipe, if it is there."""
        name = self._name(digest)
        return f"{_PREFIX}{name}" if (self._state / name).is_dir() else None

    def start_finetune(self, training: TrainingSet) -> str:
        """Train, and keep the adapter; returns its endpoint."""
        from pytest_memleak.models.transformers_weights import train

        name = self._name(training.digest)
        temporary = self._state / f".{name[:16]}.{os.getpid()}.part"
        weights = self._load(None, endpoint=name, call="start_finetune")
        try:
            train(weights, training, self._recipe, temporary)
            temporary.replace(self._state / name)
        except OSError as error:
            raise self._failed("start_finetune", name, error.strerror or str(error)) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return f"{_PREFIX}{name}"

    def poll_finetune(self, job_id: str) -> JobState:
        """SUCCEEDED if the adapter is there, else FAILED."""
        folder = self._state / job_id.removeprefix(_PREFIX)
        if folder.is_dir():
            return JobState(JobStatus.SUCCEEDED, endpoint=job_id)
        return JobState(JobStatus.FAILED, detail=f"there is no {folder}")

    def open(self, endpoint: str | None) -> TransformersEndpoint:
        """The fine-tuned weights of that id; None means `endpoint` of the suite, or the base.

        Raises ProviderError for weights that are not there or cannot be loaded.
        """
        adapter = endpoint and str(self._state / endpoint.removeprefix(_PREFIX))
        adapter = adapter or self._attached
        if adapter and not Path(adapter).is_dir():
            raise self._failed("open", adapter, "there is no such folder of LoRA weights")
        key = adapter or ""
        if key not in self._opened:
            name = f"{_PREFIX}{self._digest(adapter)}"
            weights = self._load(adapter, endpoint=name, call="open")
            self._opened[key] = TransformersEndpoint(name, weights)
        return self._opened[key]

    # --- names and weights

    def _name(self, training_digest: str) -> str:
        """The name of an adapter: everything that it depends on."""
        parts = [self._digest(None), training_digest, self._recipe.model_dump()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _digest(self, adapter: str | None) -> str:
        """Names base and adapter weights, by their files where they are folders."""
        digest = hashlib.sha256()
        for place in filter(None, (self._base, adapter)):
            folder = Path(place)
            if not folder.is_dir():
                digest.update(place.encode())
                continue
            for file in sorted(folder.iterdir()):
                if file.is_file():
                    digest.update(f"{file.name}:{file.stat().st_size}:".encode())
                    digest.update(_edges(file))
        digest.update(f"{self._options.dtype}".encode())
        return digest.hexdigest()

    def _load(self, adapter: str | None, *, endpoint: str, call: str) -> Weights:
        from pytest_memleak.models.transformers_weights import load

        try:
            return load(
                self._base,
                adapter,
                device=self._options.device,
                dtype=self._options.dtype,
                threads=self._options.threads,
            )
        except (OSError, ValueError, KeyError) as error:
            cause = " ".join(str(error).split())[:300]
            raise self._failed(call, endpoint, cause or type(error).__name__) from None

    def _failed(self, call: str, endpoint: str, cause: str) -> ProviderError:
        return ProviderError(
            cause,
            provider=PROVIDER,
            endpoint=endpoint,
            call=call,
            hint=f"looked for base weights and tokenizer at {self._base}",
        )


def _edges(file: Path) -> bytes:
    """Both ends of a file: enough to tell weights apart without reading all of them."""
    with file.open("rb") as data:
        head = data.read(_EDGE)
        data.seek(max(_EDGE, file.stat().st_size - _EDGE))
        return head + data.read(_EDGE)
