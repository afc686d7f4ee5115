"""The table of this package's providers: where each is, and what it needs of a machine.

A provider is added here, and what lists them reads it: the hook that brings them in, the JSON
Schema of suite files, `memleak doctor` and `memleak init`. Light to import: a provider's module
comes with the first of its models.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Provider, ProviderFactory, ProviderSetup


@dataclass(frozen=True, slots=True)
class Needs:
    """What a provider needs of a machine: an extra, and variables of the environment.

    extra:    of pytest-memleak
    packages: those it brings
    keys:     variables that hold secrets
    settings: variables that name an account or a place, with the options that stand for them
    address:  the variable that names another server than the provider's own
    """

    extra: str | None = None
    packages: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not installed."""
        return tuple(name for name in self.packages if not _is_there(name))

    @property
    def requirement(self) -> str:
        """What pip installs."""
        return f"pytest-memleak[{self.extra}]" if self.extra else "pytest-memleak"

    @property
    def unset(self) -> tuple[str, ...]:
        """The variables that are not set."""
        return tuple(name for name in (*self.keys, *self.settings) if not os.environ.get(name))


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A provider whose module is imported when the first of its models is made.

    name: of the class; free: it costs nothing
    """

    module: str
    name: str
    needs: Needs = field(default_factory=Needs)
    free: bool = False

    def __call__(self, setup: ProviderSetup) -> Provider:
        """The provider, for one model."""
        factory: ProviderFactory = getattr(importlib.import_module(self.module), self.name)
        return factory(setup)


_HERE = "pytest_memleak.providers"

PROVIDERS = {
    "ngram": BuiltIn(f"{_HERE}.ngram.ngram_provider", "NgramProvider", free=True),
    "recorded": BuiltIn(f"{_HERE}.recorded", "RecordedProvider", free=True),
    "openai": BuiltIn(
        f"{_HERE}.openai.openai_provider",
        "OpenAIProvider",
        Needs("openai", ("openai",), keys=("OPENAI_API_KEY",), address="OPENAI_BASE_URL"),
    ),
    "vertex": BuiltIn(
        f"{_HERE}.vertex.vertex_provider",
        "VertexProvider",
        Needs(
            "vertex",
            ("google.genai", "google.cloud.storage"),
            settings={"GOOGLE_CLOUD_PROJECT": "project", "GOOGLE_CLOUD_LOCATION": "location"},
            address="GOOGLE_VERTEX_BASE_URL",
        ),
    ),
    "tinker": BuiltIn(
        f"{_HERE}.tinker.tinker_provider",
        "TinkerProvider",
        Needs(
            "tinker",
            ("tinker", "transformers"),
            keys=("TINKER_API_KEY",),
            address="TINKER_BASE_URL",
        ),
    ),
    "transformers": BuiltIn(
        f"{_HERE}.transformers.transformers_provider",
        "TransformersProvider",
        Needs("local", ("torch", "transformers", "peft")),
    ),
}


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
