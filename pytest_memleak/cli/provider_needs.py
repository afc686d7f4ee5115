"""What each built-in provider needs of a machine: an extra, and variables of the environment."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

__all__ = ["NEEDS", "Needs"]


@dataclass(frozen=True, slots=True)
class Needs:
    """Of one provider.

    extra:    of pytest-memleak
    packages: those it brings
    keys:     variables that hold secrets
    settings: variables that name an account or a place
    """

    extra: str | None = None
    packages: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

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


NEEDS = {
    "ngram": Needs(),
    "recorded": Needs(),
    "openai": Needs("openai", ("openai",), ("OPENAI_API_KEY",)),
    "vertex": Needs(
        "vertex",
        ("google.genai", "google.cloud.storage"),
        settings=("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
    ),
    "tinker": Needs("tinker", ("tinker", "transformers"), ("TINKER_API_KEY",)),
    "transformers": Needs("local", ("torch", "transformers", "peft")),
}


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
