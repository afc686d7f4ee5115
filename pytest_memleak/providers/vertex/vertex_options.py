"""The suite's entry of a model on Vertex AI: its tables and their contradictions."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from pydantic import Field

from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.openai.api_forms import ChatApi
from pytest_memleak.providers.option_tables import Address, Table
from pytest_memleak.providers.system_messages import SystemOption
from pytest_memleak.providers.vertex.vertex_client import NEEDS

_MODEL = re.compile(r"(?:(?:publishers|projects)/|gs://)?[\w@.:/-]+")
RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/endpoints/[^/]+")
_LOCATION = re.compile(r"[a-z0-9-]+")
_SUITE_KEYS = ("candidateCount", "maxOutputTokens", "seed", "temperature")


class DeploymentTable(Table):
    """`[model.options.deployment]`: the machine for an open model.

    machine_type, accelerator_type, accelerator_count: the deployment's machine; set all
        three, or none for Google's choice
    hours: the most hours that the model stays deployed; plans and budgets reserve them
        all
    api: "completions" sends each instruction as plain text, for a model without a chat
        format
    accept_eula: whether you accept the license of a published model
    """

    machine_type: str | None = Field(default=None, min_length=1)
    accelerator_type: str | None = Field(default=None, min_length=1)
    accelerator_count: int | None = Field(default=None, ge=1)
    hours: float = Field(
        default=2.0,
        gt=0,
        le=1000,
    )
    api: ChatApi = "auto"
    accept_eula: bool = False


class OptionsTable(Table):
    """`[model.options]` of this provider.

    project: the Google Cloud project; default GOOGLE_CLOUD_PROJECT
    location: the Google Cloud location; default GOOGLE_CLOUD_LOCATION
    bucket: the bucket for training data and batches, in the model's location
    base_url: a server in front of Vertex AI (a proxy); default GOOGLE_VERTEX_BASE_URL
        or none
    batch: sample through batch prediction: half the price, within a day
    concurrency: how many calls may run at once; by default 8 to 64, depending on the
        server
    completions_per_call: the most completions per call (`candidateCount`)
    sampling: "plain" requests the model's own distribution (topP 1), "server" its
        default
    system: the system message before every instruction; a list of them, or { file =
        ... } with a JSON list of them
    thinking_budget: tokens that the model may think with, in addition to max_tokens; 0
        for none
    safety_threshold: the threshold of every harm category; default Vertex AI's own
    generation_config: additional fields of the request's generationConfig
    deployment: the machine for an open model; omit it for Gemini
    """

    project: str | None = Field(default=None, min_length=1)
    location: str | None = Field(default=None, min_length=1)
    bucket: str | None = Field(default=None, pattern=r"^gs://[^\s/]+(/[^\s/]+)*/?$")
    base_url: Address | None = None
    batch: bool = False
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(
        default=1,
        ge=1,
        le=8,
    )
    sampling: Literal["plain", "server"] = "plain"
    system: SystemOption = None
    thinking_budget: int | None = Field(default=None, ge=0)
    safety_threshold: (
        Literal[
            "OFF",
            "BLOCK_NONE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_LOW_AND_ABOVE",
        ]
        | None
    ) = None
    generation_config: dict[str, Any] = Field(default_factory=dict)
    deployment: DeploymentTable | None = None


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, in addition to `books`.

    The defaults are Google's.

    learning_rate, batch_size: for open models only
    tuning_mode: for open models only; "full" tunes all weights
    system: whether each example begins with options.system
    """

    epochs: int | None = Field(default=None, ge=1)
    learning_rate_multiplier: float | None = Field(default=None, gt=0)
    adapter_size: Literal[1, 2, 4, 8, 16, 32] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, ge=1)
    tuning_mode: Literal["full", "peft_adapter"] | None = None
    system: bool = False


def models_to_tune_and_sample(setup: ProviderSetup) -> tuple[str, str]:
    """Return the model to fine-tune, and the model to sample without fine-tuning."""
    base, endpoint = setup.model.base_model, setup.model.endpoint
    untuned = setup.untuned(
        'base_model = "gemini-3.5-flash" or endpoint = '
        '"projects/.../locations/.../endpoints/..."',
    )
    for key, value in (("base_model", base), ("endpoint", endpoint)):
        if value is None:
            continue
        if ".." in value or not _MODEL.fullmatch(value):
            raise setup.error(
                f"{key} = {value!r} isn't a model name",
                'expected "gemini-...", "publishers/.../models/...", or '
                '"projects/.../locations/.../endpoints/..."',
            )
    return base or untuned, untuned


def project_and_location(
    options: OptionsTable,
    setup: ProviderSetup,
) -> tuple[str | None, str | None]:
    """Return those of the options, the endpoint, or the environment."""
    named = RESOURCE.fullmatch(setup.model.endpoint or "")
    project = location = None
    if named is not None:
        project, location = named.groups()
    if location and options.location not in {None, location}:
        raise setup.error(
            f"options.location is {options.location!r}, but the endpoint is in "
            f"{location!r}",
            "remove options.location, or name an endpoint there",
        )
    variables = NEEDS.settings
    location = options.location or location or os.environ.get(variables["location"])
    # It becomes part of the server's name.
    if location and not _LOCATION.fullmatch(location):
        raise setup.error(
            f"{location!r} isn't a location",
            'expected a location such as "us-central1"',
        )
    project = options.project or project or os.environ.get(variables["project"])
    return project, location


def validate_generation_config(options: OptionsTable, setup: ProviderSetup) -> None:
    """Raise SuiteError if `generation_config` sets what has a key in the suite."""
    keys = {_lowercase_field_name(name) for name in _SUITE_KEYS}
    if options.thinking_budget is not None:
        keys.add(_lowercase_field_name("thinkingConfig"))
    config = options.generation_config
    overridden = sorted(name for name in config if _lowercase_field_name(name) in keys)
    if overridden:
        raise setup.error(
            f"options.generation_config may not set {', '.join(overridden)}",
            "set them with the suite's own keys",
        )


def validate_options_of_model_kind(
    options: OptionsTable,
    recipe: FinetuneTable,
    setup: ProviderSetup,
) -> None:
    """Raise SuiteError for an option of Gemini on an open model, or the reverse."""
    table = options.deployment
    if table is None:
        only = [
            f"finetune.{name}"
            for name in ("learning_rate", "batch_size", "tuning_mode")
            if getattr(recipe, name) is not None
        ]
        if only:
            raise setup.error(
                f"{' and '.join(only)}: supported only for open models",
                "if this is an open model, add [model.options.deployment]",
            )
        if (setup.model.endpoint or "").startswith("gs://"):
            raise setup.error(
                f"endpoint = {setup.model.endpoint!r} is a folder of weights, which "
                "must be deployed",
                "add [model.options.deployment]",
            )
        return
    only = [
        f"options.{name}"
        for name in (
            "batch",
            "thinking_budget",
            "safety_threshold",
            "generation_config",
        )
        if getattr(options, name)
    ]
    if only:
        raise setup.error(
            f"{' and '.join(only)}: not supported by a deployed model",
            "remove these options, or remove options.deployment if the model is Gemini",
        )
    machine = (table.machine_type, table.accelerator_type, table.accelerator_count)
    missing = machine.count(None)
    if 0 < missing < len(machine):
        raise setup.error(
            "options.deployment has only some of machine_type, accelerator_type, and "
            "accelerator_count",
            "set all three, or none for Google's choice",
        )
    if RESOURCE.fullmatch(setup.model.endpoint or ""):
        raise setup.error(
            f"endpoint = {setup.model.endpoint!r} is already deployed",
            "remove options.deployment",
        )


def _lowercase_field_name(name: str) -> str:
    """Return a field's name for comparison: the API knows camelCase and snake_case."""
    return name.replace("_", "").lower()
