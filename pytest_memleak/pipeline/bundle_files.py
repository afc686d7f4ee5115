"""The files of a bundle's suites and books against their digests in the bundle.

This needs no ledger: whoever has a suite or a book sees at once whether it is the
bundle's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_memleak.books.archive import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.records.pair_result import BookFacts, SuiteFacts


@dataclass(slots=True)
class FileDigests:
    """The files compared so far, each once.

    wrong: a sentence for each file that isn't the bundle's
    checked: a sentence for each that is
    """

    wrong: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    _compared: set[tuple[str, str, str]] = field(default_factory=set)

    def compare_suite(self, facts: SuiteFacts, path: Path) -> None:
        """Compare a suite file with the bundle."""
        self._compare_digest(f"suite {facts.name}", facts.sha256, path)

    def compare_book(self, facts: BookFacts, path: Path) -> None:
        """Compare a book's file with the bundle, if the bundle has its digest."""
        if facts.file_sha256 is not None:
            self._compare_digest(f"book {facts.id}", facts.file_sha256, path)

    def _compare_digest(self, name: str, claimed: str, path: Path) -> None:
        key = (name, claimed, str(path))
        if key in self._compared:
            return
        self._compared.add(key)
        digest = sha256_of(path)
        if digest is None:
            return
        if digest == claimed:
            self.checked.append(f"{name}: the file is the bundle's (SHA-256)")
        else:
            self.wrong.append(
                f"{name}: {path} isn't the bundle's file (SHA-256 {digest[:12]}, but "
                f"the bundle says {claimed[:12]})",
            )
