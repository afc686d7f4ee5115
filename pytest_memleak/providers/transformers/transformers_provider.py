"""Provider "transformers": open weights on this machine, fine-tuned with LoRA.

    [[model]]
    id = "tuned"
    provider = "transformers"
    base_model = "weights/base"      # a folder, from the suite file, or a hub model
    [model.finetune]                 # or: endpoint = "weights/adapter", your LoRA
    books = ["kafka-on-the-shore"]

The paper's recipe for open weights is the default: LoRA of rank 32, learning rate 5e-4
falling linearly, batches of 16, 3 epochs, at most 2,048 tokens (arXiv 2603.20957).

A fine-tune runs in the call that starts it, and ends there. What it made is kept in the
provider's state folder, under a digest of base weights, training set and recipe.
Nothing is loaded before an endpoint is first sampled, so what the ledger has already
needs no weights.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pytest_memleak.errors import SuiteError
from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingSet,
)
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.providers.transformers.local_endpoint import BENCH, LocalEndpoint
from pytest_memleak.providers.transformers.local_format import Format, Wording
from pytest_memleak.providers.transformers.lora import (
    FinetuneTable,
    kept,
    make_once,
    train,
)
from pytest_memleak.providers.transformers.weights import (
    PROVIDER,
    LocalWeights,
    Wanted,
    at_work,
    failures_as,
    find_adapter,
    find_base,
    local_error,
)

# Part of every adapter's name: raise it when the same training would give another
# adapter.
VERSION = 1

_TUNED = re.compile(
    r"transformers:(?P<base>[^+#]+)\+(?P<name>[0-9a-f]{64})\.(?P<adapter>[0-9a-f]{32})",
)


class OptionsTable(Table):
    """`[model.options]` of this provider.

    device: where the model runs; "auto" uses a GPU if torch finds one
    dtype: data type of the weights in memory; "auto" uses the files' type
    threads: number of torch's CPU threads; default: torch's own
    completions_per_call: how many generations are sampled at the same time
    revision: a branch, tag, or commit of base_model on the hub; default: the one in the
        hub's cache, or the newest
    system: a system prompt before every instruction
    chat_variables: variables of the tokenizer's chat template
    api: "completions" trains and samples plain text, without a chat; "auto" uses the
        tokenizer's chat template if it has one
    """

    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(default=32, ge=1)
    revision: str | None = Field(default=None, min_length=1)
    system: str | None = None
    chat_variables: dict[str, Any] = Field(default_factory=dict)
    api: Literal["auto", "completions"] = "auto"


class TransformersProvider:
    """One model on this machine; a job's id is its endpoint."""

    name = PROVIDER
    concurrency = 1
    batch = False

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        self._options = read_table(
            OptionsTable,
            model.options,
            place=place,
            name="options",
        )
        self._recipe = read_table(
            FinetuneTable,
            model.finetune,
            place=place,
            name="finetune",
        )
        if not model.base_model:
            raise SuiteError(
                "No base_model is set",
                location=place,
                hint='name its weights, as in base_model = "weights/base" or '
                'base_model = "owner/name"; '
                "an endpoint is LoRA weights on top of a base",
            )
        self.completions_per_call = self._options.completions_per_call
        is_plain = self._options.api == "completions"
        if is_plain and self._options.chat_variables:
            raise setup.error(
                'options.chat_variables need a chat, but options.api is "completions"',
                "remove one of them",
            )
        self._wording = Wording(
            self._options.system,
            self._options.chat_variables,
            plain=is_plain,
        )
        self._setup, self._called = setup, model.base_model

    @property
    def abilities(self) -> Abilities:
        """A training takes as long as it takes."""
        shaping = frozenset(
            {"api", "dtype", "revision", "system", "chat_variables"},
        )
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=shaping,
            epochs=self._recipe.epochs,
            start_deadline=math.inf,
        )
        return Abilities(finetuning=finetuning, close=BENCH.clear)

    def open(self, endpoint: str | None) -> LocalEndpoint:
        """Return a fine-tuned model by its endpoint, or LoRA weights in a folder.

        None means the suite's `endpoint`, or the base as it is.
        """
        endpoint = endpoint or self._setup.model.endpoint
        tuned = _TUNED.fullmatch(endpoint or "")
        if endpoint is None:
            adapter, name = None, f"{PROVIDER}:{self._base.name}"
        elif tuned:
            # Named by what it was when it was made: nothing has to be there to say the
            # name.
            return self._endpoint(
                endpoint,
                functools.partial(self._own, endpoint, tuned),
            )
        else:
            adapter = self._attached(endpoint)
            name = f"{PROVIDER}:{self._base.name}+{adapter.name}"
        return self._endpoint(name, lambda: adapter)

    def find_finetune(self, digest: str) -> str | None:
        """Return the endpoint trained on that set by this recipe, if it is here."""
        name = self._name(digest)
        adapter = kept(self._setup.state / name)
        return None if adapter is None else self._tuned(name, adapter)

    def start_finetune(self, training: TrainingSet) -> str:
        """Train, unless it is here already, and keep the LoRA weights."""
        if not any(example.text.strip() for example in training.examples):
            raise SuiteError(
                "The books to fine-tune on have no text",
                location=self._setup.place,
                hint="name other books in [model.finetune]",
            )
        name = self._name(training.digest)
        called = f"{PROVIDER}:{self._base.name}"
        wanted = Wanted(self._base, None, self._options.device, self._options.dtype)

        texts = [
            text for pair in training.examples for text in (pair.instruction, pair.text)
        ]

        def write(folder: Path) -> None:
            with BENCH.holding(wanted, endpoint=called, keep=False) as loaded:
                train(
                    loaded,
                    Format(loaded, self._wording),
                    training.examples,
                    self._recipe,
                    base=self._base.name,
                    endpoint=called,
                    folder=folder,
                )

        with (
            at_work(threads=self._options.threads),
            failures_as(called, "start_finetune", texts=texts),
        ):
            return self._tuned(name, make_once(self._setup.state / name, write))

    def poll_finetune(self, job_id: str) -> JobState:
        """SUCCEEDED if the LoRA weights of that job are here, else FAILED."""
        tuned = _TUNED.fullmatch(job_id)
        folder = self._setup.state / (tuned["name"] if tuned else "")
        adapter = kept(folder) if tuned else None
        if tuned is None or adapter is None or adapter.name != tuned["adapter"]:
            return JobState(
                JobStatus.FAILED,
                detail=f"Its LoRA weights aren't in {folder}",
            )
        return JobState(JobStatus.SUCCEEDED, endpoint=job_id)

    @functools.cached_property
    def _base(self) -> LocalWeights:
        setup, revision = self._setup, self._options.revision
        return find_base(
            self._called,
            root=setup.root,
            revision=revision,
            place=setup.place,
        )

    def _name(self, training_digest: str) -> str:
        """A name for the adapter: everything that it depends on."""
        parts = [
            VERSION,
            self._base.name,
            training_digest,
            self._recipe.model_dump(),
            self._options.dtype,
            self._wording.digest,
        ]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _tuned(self, name: str, adapter: LocalWeights) -> str:
        return f"{PROVIDER}:{self._base.name}+{name}.{adapter.name}"

    def _endpoint(
        self,
        name: str,
        adapter: Callable[[], LocalWeights | None],
    ) -> LocalEndpoint:
        dtype = "" if self._options.dtype == "auto" else self._options.dtype
        parts = (name, self._wording.digest, dtype)
        return LocalEndpoint(
            "#".join(part for part in parts if part),
            wanted=lambda: Wanted(
                self._base,
                adapter(),
                self._options.device,
                self._options.dtype,
            ),
            wording=self._wording,
            threads=self._options.threads,
            at_once=self._options.completions_per_call,
        )

    def _own(self, endpoint: str, tuned: re.Match[str]) -> LocalWeights:
        """The adapter of an endpoint that was made here, if it still is what it was."""
        if tuned["base"] != self._base.name:
            cause = "It was fine-tuned from base weights other than the current ones"
            hint = f"restore the weights of {self._called!r}, or start a new ledger"
            raise local_error(cause, endpoint, "open", hint=hint)
        folder = self._setup.state / tuned["name"]
        adapter = kept(folder)
        if adapter is not None and adapter.name == tuned["adapter"]:
            return adapter
        cause = f"Its LoRA weights aren't in {folder}"
        if adapter is not None:
            cause = f"the LoRA weights in {folder} have changed since training"
        hint = "restore them, or start a new ledger to train them again"
        raise local_error(cause, endpoint, "open", hint=hint)

    def _attached(self, endpoint: str) -> LocalWeights:
        folder = self._setup.root / Path(endpoint).expanduser()
        adapter = find_adapter(folder)
        if adapter is None:
            hint = (
                "endpoint is a folder with adapter_config.json and "
                "adapter_model.safetensors"
            )
            raise local_error(
                f"No LoRA weights in {folder}",
                endpoint,
                "open",
                hint=hint,
            )
        return adapter
