"""What `memleak doctor` found out about one thing that suites need."""

from __future__ import annotations

from typing import NamedTuple


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
