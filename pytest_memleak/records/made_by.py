"""Who made a run, and where: statements of whoever made it."""

from __future__ import annotations

from dataclasses import dataclass

NO_CI = "a machine outside CI"


@dataclass(frozen=True, slots=True)
class MadeBy:
    """Who made a run, and where.

    operator:    the name that --memleak-operator gave
    host:        the CI system, or a machine outside CI
    job:         the CI job's address, where its environment says so
    lock_file:   the name of the environment's lock file in the rootdir
    lock_sha256: its SHA-256 (hexadecimal)
    """

    operator: str | None = None
    host: str = NO_CI
    job: str | None = None
    lock_file: str | None = None
    lock_sha256: str | None = None

    @property
    def text(self) -> str:
        """All of it, as a phrase."""
        parts = [f"by {self.operator or 'no named operator'}", f"on {self.host}"]
        if self.job:
            parts[-1] += f" ({self.job})"
        if self.lock_file:
            parts.append(f"lock file {self.lock_file} {self.lock_sha256}")
        return ", ".join(parts)
