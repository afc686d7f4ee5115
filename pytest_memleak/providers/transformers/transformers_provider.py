"""Provider "transformers": open weights on this machine, fine-tuned with LoRA.

    [[model]]
    id = "tuned"
    provider = "transformers"
    base_model = "weights/base"      # a folder, from the suite file, or a hub model
    [model.finetune]                 # or: endpoint = "weights/adapter", your LoRA
    books = ["kafka-on-the-shore"]

The paper's recipe for open weights is the default: LoRA of rank 32, learning rate 5e-4
falling linearly, batches of 16, 3 epochs, at most 2,048 tokens (arXiv 2603.20957).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.providers.transformers.local_endpoint import (
    MODEL_SLOT,
    LocalEndpoint,
)
from pytest_memleak.providers.transformers.local_provider import (
    LoadSettings,
    LocalApi,
    LocalProvider,
    wording_of,
)
from pytest_memleak.providers.transformers.lora import FinetuneTable
from pytest_memleak.providers.transformers.weights import (
    PROVIDER,
    LocalWeights,
    WeightsToLoad,
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
    api: LocalApi = "auto"


class TransformersProvider(LocalProvider[LocalEndpoint]):
    """One model on this machine, sampled by transformers."""

    name = PROVIDER

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        options = read_table(OptionsTable, model.options, place=place, name="options")
        recipe = read_table(FinetuneTable, model.finetune, place=place, name="finetune")
        super().__init__(
            setup,
            LoadSettings(
                options.dtype,
                options.revision,
                options.device,
                options.threads,
            ),
            wording_of(setup, options.system, options.chat_variables, options.api),
            recipe,
            options.completions_per_call,
        )

    @property
    def abilities(self) -> Abilities:
        """A training takes as long as it takes."""
        return Abilities(finetuning=self.finetuning, close=MODEL_SLOT.clear)

    def _endpoint(
        self,
        name: str,
        adapter: Callable[[], LocalWeights | None],
    ) -> LocalEndpoint:
        settings = self._settings
        return LocalEndpoint(
            self._full_name(name),
            wanted=lambda: WeightsToLoad(
                self._base,
                adapter(),
                settings.device,
                settings.dtype,
            ),
            wording=self._wording,
            threads=settings.threads,
            at_once=self.completions_per_call,
        )
