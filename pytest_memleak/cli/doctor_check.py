"""What `memleak doctor` found out about one thing that suites need."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_memleak.errors import MemleakError


class Check(NamedTuple):
    """The state of one thing that suites need; fix: what to do if it has a problem."""

    subject: str
    state: str
    fix: str = ""

    @property
    def mark(self) -> str:
        """The first column of the table of checks."""
        if self.fix:
            return "fix"
        return "-" if self.state.startswith("not installed") else "ok"


def error_without_subject(error: MemleakError, subject: str) -> MemleakError:
    """Return the error without a location that `subject`, shown before it, says.

    subject: a kind and a name, such as "book dracula"
    """
    kind, _, name = subject.partition(" ")
    own = {name, f"{kind} {name!r}"}
    parts = (error.location or "").split(": ")
    error = copy.copy(error)
    error.location = ": ".join(part for part in parts if part not in own)
    return error
