"""What was asked of how to sample, and what of it a server refused.

A parameter that a server refuses is left out from then on: a refused call costs nothing. What
was asked and refused is kept, since an answer that was drawn otherwise than the suite says is
evidence of something else.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_memleak.interfaces.capabilities import Obeyed

_ANY = "given"


class ParameterSupport:
    """The parameters of one server's requests; safe to share between threads.

    otherwise: another value that says the same, by name and value; it is tried before the
    parameter is left out.
    """

    def __init__(self, otherwise: Mapping[tuple[str, Any], Any] | None = None) -> None:
        self._otherwise = otherwise or {}
        self._asked: dict[str, list[Any]] = {}
        self._refused: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    @property
    def obeyed(self) -> dict[str, Obeyed]:
        """Per parameter what was asked and what was refused; a seed stands as "given"."""
        with self._lock:
            return {
                name: Obeyed(tuple(asked), tuple(self._refused.get(name, ())))
                for name, asked in self._asked.items()
            }

    def ask(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """What of `wanted` is to be said: neither what is None nor what was refused."""
        said: dict[str, Any] = {}
        with self._lock:
            for name, value in wanted.items():
                if value is not None:
                    _note(self._asked, name, value)
                    taken = self._taken(name, value)
                    if taken is not None:
                        said[name] = taken
        return said

    def refuse(self, name: str, value: Any) -> None:
        """The server does not take `value` for the parameter `name`."""
        with self._lock:
            _note(self._refused, name, value)

    def _taken(self, name: str, value: Any) -> Any:
        refused = self._refused.get(name, ())
        while value is not None and _kept(name, value) in refused:
            value = self._otherwise.get((name, value))
        return value


def _note(where: dict[str, list[Any]], name: str, value: Any) -> None:
    there, kept = where.setdefault(name, []), _kept(name, value)
    if kept not in there:
        there.append(kept)


def _kept(name: str, value: Any) -> Any:
    """A value as it is remembered: no two calls have the same seed."""
    return _ANY if name == "seed" else value
