"""The books that passages were looked for in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScanScope:
    """Books of the suite that a pair's passages may be of; each id with a digest of the book.

    books:    its test books, but for the pair's own
    excused:  those that excuse what they contain: training books, common texts, and those that
              the model may give back here
    """

    books: dict[str, str] = field(default_factory=dict)
    excused: dict[str, str] = field(default_factory=dict)
