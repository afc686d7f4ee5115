"""Open weights on this machine: what names them, and their fine-tuning with LoRA.

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
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.interfaces.abilities import Finetuning
from pytest_memleak.interfaces.protocols import (
    Endpoint,
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingSet,
)
from pytest_memleak.providers.transformers.local_endpoint import MODEL_SLOT
from pytest_memleak.providers.transformers.local_format import Format, PromptWording
from pytest_memleak.providers.transformers.lora import (
    FinetuneTable,
    kept,
    make_adapter_once,
    train,
)
from pytest_memleak.providers.transformers.weights import (
    LocalWeights,
    WeightsToLoad,
    errors_as_provider_errors,
    find_adapter,
    find_base,
    local_error,
    quiet_torch,
)

# Part of every adapter's name: raise it when the same training would give another
# adapter.
VERSION = 1

_TUNED = re.compile(
    r"[a-z]+:(?P<base>[^+#]+)\+(?P<name>[0-9a-f]{64})\.(?P<adapter>[0-9a-f]{32})",
)

LocalApi = Literal["auto", "completions"]
EndpointT = TypeVar("EndpointT", bound=Endpoint)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How weights are loaded: data type and revision, and for torch where it runs."""

    dtype: str
    revision: str | None
    device: str = "auto"
    threads: int | None = None


def wording_of(
    setup: ProviderSetup,
    system: str | None,
    chat_variables: Mapping[str, Any],
    api: LocalApi,
) -> PromptWording:
    """Return the options' wording; SuiteError where they exclude each other."""
    is_plain = api == "completions"
    if is_plain and chat_variables:
        raise setup.error(
            'options.chat_variables need a chat, but options.api is "completions"',
            "remove one of them",
        )
    return PromptWording(system, chat_variables, plain=is_plain)


class LocalProvider(ABC, Generic[EndpointT]):
    """One model on this machine; a job's id is its endpoint."""

    name: ClassVar[str]
    concurrency = 1
    batch = False

    def __init__(
        self,
        setup: ProviderSetup,
        settings: LoadSettings,
        wording: PromptWording,
        recipe: FinetuneTable,
        completions_per_call: int,
    ) -> None:
        if not setup.model.base_model:
            raise SuiteError(
                "No base_model is set",
                location=setup.place,
                hint='name its weights, as in base_model = "weights/base" or '
                'base_model = "owner/name"; '
                "an endpoint is LoRA weights on top of a base",
            )
        self.completions_per_call = completions_per_call
        self._called = setup.model.base_model
        self._setup, self._settings = setup, settings
        self._wording, self._recipe = wording, recipe

    @abstractmethod
    def _endpoint(
        self,
        name: str,
        adapter: Callable[[], LocalWeights | None],
    ) -> EndpointT:
        """Return the endpoint of the base with an adapter, named by both."""

    @property
    def finetuning(self) -> Finetuning:
        """A training takes as long as it takes."""
        shaping = frozenset(
            {"api", "dtype", "revision", "system", "chat_variables"},
        )
        return Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=shaping,
            epochs=self._recipe.epochs,
            start_deadline=math.inf,
        )

    def open(self, endpoint: str | None) -> EndpointT:
        """Return a fine-tuned model by its endpoint, or LoRA weights in a folder.

        None means the suite's `endpoint`, or the base as it is.
        """
        endpoint = endpoint or self._setup.model.endpoint
        tuned = _TUNED.fullmatch(endpoint or "")
        if endpoint is None:
            adapter, name = None, f"{self.name}:{self._base.name}"
        elif tuned:
            # Named by what it was when it was made: nothing has to be there to say the
            # name.
            return self._endpoint(
                endpoint,
                functools.partial(self._own_adapter_weights, endpoint, tuned),
            )
        else:
            adapter = self._attached_adapter_weights(endpoint)
            name = f"{self.name}:{self._base.name}+{adapter.name}"
        return self._endpoint(name, lambda: adapter)

    def find_finetune(self, digest: str) -> str | None:
        """Return the endpoint trained on that set by this recipe, if it is here."""
        name = self._adapter_name(digest)
        adapter = kept(self._setup.state / name)
        return None if adapter is None else self._tuned_endpoint_name(name, adapter)

    def start_finetune(self, training: TrainingSet) -> str:
        """Train, unless it is here already, and keep the LoRA weights."""
        if not any(example.text.strip() for example in training.examples):
            raise SuiteError(
                "The books to fine-tune on have no text",
                location=self._setup.place,
                hint="name other books in [model.finetune]",
            )
        name = self._adapter_name(training.digest)
        called = f"{self.name}:{self._base.name}"
        wanted = WeightsToLoad(
            self._base,
            None,
            self._settings.device,
            self._settings.dtype,
        )

        texts = [
            text for pair in training.examples for text in (pair.instruction, pair.text)
        ]

        def write(folder: Path) -> None:
            with MODEL_SLOT.holding(wanted, endpoint=called, keep=False) as loaded:
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
            quiet_torch(threads=self._settings.threads),
            errors_as_provider_errors(
                called, "start_finetune", texts=texts, provider=self.name
            ),
        ):
            return self._tuned_endpoint_name(
                name, make_adapter_once(self._setup.state / name, write)
            )

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
        setup, revision = self._setup, self._settings.revision
        return find_base(
            self._called,
            root=setup.root,
            revision=revision,
            place=setup.place,
            provider=self.name,
        )

    def _adapter_name(self, training_digest: str) -> str:
        """A name for the adapter: everything that it depends on."""
        parts = [
            VERSION,
            self._base.name,
            training_digest,
            self._recipe.model_dump(),
            self._settings.dtype,
            self._wording.digest,
        ]
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _tuned_endpoint_name(self, name: str, adapter: LocalWeights) -> str:
        return f"{self.name}:{self._base.name}+{name}.{adapter.name}"

    def _full_name(self, name: str) -> str:
        """Name an endpoint: its weights, the wording of prompts, and the data type."""
        dtype = "" if self._settings.dtype == "auto" else self._settings.dtype
        parts = (name, self._wording.digest, dtype)
        return "#".join(part for part in parts if part)

    def _own_adapter_weights(self, endpoint: str, tuned: re.Match[str]) -> LocalWeights:
        """The adapter of an endpoint that was made here, if it still is what it was."""
        if tuned["base"] != self._base.name:
            cause = "It was fine-tuned from base weights other than the current ones"
            hint = f"restore the weights of {self._called!r}, or start a new ledger"
            raise self._error(cause, endpoint, hint)
        folder = self._setup.state / tuned["name"]
        adapter = kept(folder)
        if adapter is not None and adapter.name == tuned["adapter"]:
            return adapter
        cause = f"Its LoRA weights aren't in {folder}"
        if adapter is not None:
            cause = f"the LoRA weights in {folder} have changed since training"
        hint = "restore them, or start a new ledger to train them again"
        raise self._error(cause, endpoint, hint)

    def _attached_adapter_weights(self, endpoint: str) -> LocalWeights:
        folder = self._setup.root / Path(endpoint).expanduser()
        adapter = find_adapter(folder)
        if adapter is None:
            hint = (
                "endpoint is a folder with adapter_config.json and "
                "adapter_model.safetensors"
            )
            raise self._error(f"No LoRA weights in {folder}", endpoint, hint)
        return adapter

    def _error(self, cause: str, endpoint: str, hint: str) -> ProviderError:
        return local_error(cause, endpoint, "open", hint=hint, provider=self.name)
