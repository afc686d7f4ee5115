"""The parameters of requests that one server accepts and rejects, as it shows them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_memleak.interfaces.abilities import ParameterValues

_ANY_SEED = "given"


class ParameterSupport:
    """The parameters that one server accepts and rejects; shared by threads.

    equivalents: by name and value, another value that means the same. It is tried
        before the parameter is omitted.
    """

    def __init__(
        self,
        equivalents: Mapping[tuple[str, Any], Any] | None = None,
    ) -> None:
        self._equivalents = equivalents or {}
        self._requested: dict[str, list[Any]] = {}
        self._rejected: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    def parameter_values(self) -> dict[str, ParameterValues]:
        """Return each parameter's requested and rejected values; seeds are "given"."""
        parameter_values = {}
        with self._lock:
            for name, requested in self._requested.items():
                rejected = self._rejected.get(name, ())
                parameter_values[name] = ParameterValues(
                    tuple(requested), tuple(rejected)
                )
        return parameter_values

    def accepted(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Record `wanted` as requested; return it without None and rejected values."""
        sent: dict[str, Any] = {}
        with self._lock:
            for name, value in wanted.items():
                if value is None:
                    continue
                _record_value(self._requested, name, value)
                accepted = self._equivalent(name, value)
                if accepted is not None:
                    sent[name] = accepted
        return sent

    def reject(self, name: str, value: Any) -> None:
        """Record that the server rejects `value` for the parameter `name`."""
        with self._lock:
            _record_value(self._rejected, name, value)

    def _equivalent(self, name: str, value: Any) -> Any:
        rejected = self._rejected.get(name, ())
        while value is not None and _value_without_seed(name, value) in rejected:
            is_scalar = not isinstance(value, dict)  # others have no equivalent
            value = self._equivalents.get((name, value)) if is_scalar else None
        return value


def _record_value(
    values: dict[str, list[Any]],
    name: str,
    value: Any,
) -> None:
    recorded = _value_without_seed(name, value)
    listed = values.setdefault(name, [])
    if recorded not in listed:
        listed.append(recorded)


def _value_without_seed(name: str, value: Any) -> Any:
    """Return the value to record: no two calls have the same seed."""
    if name == "seed":
        return _ANY_SEED
    return value
