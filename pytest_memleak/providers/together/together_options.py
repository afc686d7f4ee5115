"""The tables of a model at Together AI."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pytest_memleak.providers.openai.api_forms import ChatApi
from pytest_memleak.providers.option_tables import Address, Table
from pytest_memleak.providers.system_messages import SystemOption


class MachineTable(Table):
    """`[model.options.deployment]`: the machine for a fine-tuned or dedicated model.

    config: Together's name of machine and engine; default the model's only one
    hours: the most hours that the model stays deployed; plans and budgets reserve them
        all, and a deployment that is idle as long stops by itself
    """

    config: str | None = Field(
        default=None,
        pattern=r"^projects/[^/\s]+/configs/[^/\s]+$",
    )
    hours: float = Field(
        default=2.0,
        gt=0,
        le=24,
    )


class OptionsTable(Table):
    """`[model.options]` of this provider.

    project: the id of the project that pays; default TOGETHER_PROJECT_ID or the key's
        project
    base_url: a compatible server; default TOGETHER_BASE_URL or Together
    concurrency: how many calls may run at once; by default 8 to 64, depending on the
        server
    completions_per_call: the most completions per call (`n`)
    api: "completions" sends each instruction as plain text, for a model without a chat
        format; "auto" tries chat first, and uses "completions" if the server offers no
        chat for the model
    sampling: "plain" requests the model's own distribution; "server" uses the server's
        defaults
    system: the system message before every instruction; a list of them, or { file =
        ... } with a JSON list of them
    deployment: the machine for a fine-tuned or other dedicated model
    """

    project: str | None = Field(default=None, min_length=1)
    base_url: Address | None = None
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(default=1, ge=1)
    api: ChatApi = "auto"
    sampling: Literal["plain", "server"] = "plain"
    system: SystemOption = None
    deployment: MachineTable | None = None


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, in addition to `books`: the recipe.

    system: whether each example begins with options.system
    """

    rank: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    batch_size: Annotated[int, Field(ge=1)] | Literal["max"] = 16
    epochs: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)
    system: bool = False
