"""Provider "vllm": open weights on this machine's GPUs, sampled by vLLM.

    [[model]]
    id = "tuned"
    provider = "vllm"
    base_model = "weights/base"      # a folder, from the suite file, or a hub model
    endpoint = "weights/adapter"     # your LoRA; or [model.finetune], as "transformers"

vLLM's offline class `LLM` gets a pair's requests together. Fine-tunes are LoRA adapters
that torch and peft train in the same process, while no engine is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.protocols import ProviderSetup, TrainingSet
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.providers.provider_registry import validate_installed
from pytest_memleak.providers.transformers.local_provider import (
    LoadSettings,
    LocalApi,
    LocalProvider,
    wording_of,
)
from pytest_memleak.providers.transformers.lora import FinetuneTable
from pytest_memleak.providers.transformers.weights import LocalWeights
from pytest_memleak.providers.vllm.vllm_endpoint import VllmEndpoint
from pytest_memleak.providers.vllm.vllm_engine import (
    ENGINE_SLOT,
    PROVIDER,
    EngineSettings,
)

_COMPLETIONS_PER_CALL = 32  # of one prompt; the engine gets many calls together


class OptionsTable(Table):
    """`[model.options]` of this provider.

    dtype: data type of the weights in memory; "auto" uses the files' type, half of it
        for float32
    tensor_parallel_size: GPUs that the weights are divided among
    gpu_memory_utilization: share of a GPU's memory that vLLM takes; default: vLLM's own
    max_model_len: most tokens of prompt and completion together; default: the model's
    revision: a branch, tag, or commit of base_model on the hub; default: the one in the
        hub's cache, or the newest
    system: a system prompt before every instruction
    chat_variables: variables of the tokenizer's chat template
    api: "completions" trains and samples plain text, without a chat; "auto" uses the
        tokenizer's chat template if it has one
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_parallel_size: int = Field(default=1, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_model_len: int | None = Field(default=None, ge=1)
    revision: str | None = Field(default=None, min_length=1)
    system: str | None = None
    chat_variables: dict[str, Any] = Field(default_factory=dict)
    api: LocalApi = "auto"


class VllmProvider(LocalProvider[VllmEndpoint]):
    """One model on this machine, sampled by vLLM."""

    name = PROVIDER

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        options = read_table(OptionsTable, model.options, place=place, name="options")
        recipe = read_table(FinetuneTable, model.finetune, place=place, name="finetune")
        super().__init__(
            setup,
            LoadSettings(options.dtype, options.revision),
            wording_of(setup, options.system, options.chat_variables, options.api),
            recipe,
            _COMPLETIONS_PER_CALL,
        )
        self._options = options

    @property
    def abilities(self) -> Abilities:
        """A training takes as long as it takes."""
        return Abilities(finetuning=self.finetuning, close=ENGINE_SLOT.clear)

    def start_finetune(self, training: TrainingSet) -> str:
        """Train on the same GPU, once no engine is loaded."""
        validate_installed(PROVIDER, {"peft": "peft"}, extra=PROVIDER)
        ENGINE_SLOT.clear()
        return super().start_finetune(training)

    def _endpoint(
        self,
        name: str,
        adapter: Callable[[], LocalWeights | None],
    ) -> VllmEndpoint:
        return VllmEndpoint(
            self._full_name(name),
            settings=self._engine_settings,
            adapter=adapter,
            wording=self._wording,
        )

    def _engine_settings(self) -> EngineSettings:
        options = self._options
        folder = self._base.folder.resolve()
        return EngineSettings(
            replace(self._base, folder=folder),
            options.dtype,
            memory=options.gpu_memory_utilization,
            context=options.max_model_len,
            gpus=options.tensor_parallel_size,
        )
