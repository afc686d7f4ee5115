"""Further headers and query parameters of every request: `options.headers`, `.query`.

    options.query = { api-version = "2026-01-01" }
    options.headers = { tenant = "books", api-key = { env = "AZURE_OPENAI_API_KEY" } }

Azure's deployments and gateways want them. A value that is a secret names its
environment variable, which goes only to a host that something outside the suite names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_FromEnvironment = Annotated[dict[Literal["env"], _Variable], Field(min_length=1)]
Values = dict[str, str | _FromEnvironment]


@dataclass(frozen=True, slots=True)
class RequestExtras:
    """Headers and query parameters: texts, or the variables that hold them."""

    headers: Mapping[str, str | dict[Literal["env"], str]] = field(default_factory=dict)
    query: Mapping[str, str | dict[Literal["env"], str]] = field(default_factory=dict)

    @property
    def variables(self) -> list[str]:
        """The environment variables that they name."""
        values = [*self.headers.values(), *self.query.values()]
        return [value["env"] for value in values if isinstance(value, dict)]

    @property
    def unset(self) -> list[str]:
        """The variables that are not set."""
        return [name for name in self.variables if not os.environ.get(name)]

    @property
    def unsendable(self) -> list[str]:
        """The variables whose values no header can have, such as a line's end."""
        names = []
        for name in self.variables:
            value = os.environ.get(name, "")
            is_plain = value.isascii() and value.isprintable()
            if not is_plain or value != value.strip():
                names.append(name)
        return names

    @property
    def as_written(self) -> dict[str, object]:
        """Both as the suite has them, without any variable's value; may be empty."""
        written = {"headers": dict(self.headers), "query": dict(self.query)}
        return {name: values for name, values in written.items() if values}

    def for_client(self) -> dict[str, dict[str, str]]:
        """Return the settings of the SDK's client."""
        return {
            "default_headers": _values_from_environment(self.headers),
            "default_query": _values_from_environment(self.query),
        }


def _values_from_environment(
    values: Mapping[str, str | dict[Literal["env"], str]],
) -> dict[str, str]:
    filled = {}
    for name, value in values.items():
        if isinstance(value, dict):
            filled[name] = os.environ.get(value["env"], "")
        else:
            filled[name] = value
    return filled
