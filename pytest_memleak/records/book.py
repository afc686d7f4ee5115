"""A book, cut into excerpts, and the digest that identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

WordMode = Literal["paper", "unicode"]

PROMPT_FIXES = (
    'name a file with a summary for each, summaries = "FILE", in the [[book]]; or let a '
    '[suite.summarizer] write them; or set probe = "continuation" in [suite], which needs none'
)
"""What can be done for a book whose excerpts have no instructions."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """300 to 500 words of a book, and the instruction that asks a model for them.

    `instruction` is None where nobody has written one yet; `chapter` is the heading the
    excerpt stands under, if the book has headings.
    """

    id: str
    text: str = field(repr=False)
    instruction: str | None = field(default=None, repr=False)
    chapter: str | None = None


@dataclass(frozen=True, slots=True)
class BookPart:
    """A document of a book, and what of it was read as its text.

    `label` is its title in the table of contents, or its first heading; `kept`: whether it is
    text; `rule`: what said so. Words are those of every script (METRICS section 1): `words` of
    the text, `matter` left out as front and back matter or copyright notices, `notes` left out
    as notes, `headings` those of titles.
    """

    name: str
    label: str | None
    kept: bool
    rule: str
    words: int
    matter: int = 0
    notes: int = 0
    headings: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A work of a collection: the excerpts [first, end) of its book, by their places.

    `id` is its name in the collection, which no other work has; `title` is for readers; `author`
    is None where nobody says.
    """

    id: str
    title: str
    author: str | None
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Book:
    """A book as its excerpts, in order; the excerpts' words joined are the book's words.

    `digest` is the SHA-256 of the excerpts' ids, texts and instructions (hexadecimal),
    `words_digest` that of the whole book's words, by which the ledger counts attempts;
    `warnings` are what a tolerant reader had to leave out; `contiguous` is whether each excerpt
    follows the one before word for word. Where it does not, no match goes from one to the next.
    `parts` are the documents of its file, in reading order, where its reader told of them.
    `works` are those of a collection, each a book by itself, one after the other over all the
    excerpts; empty for a book. No match goes from one work to the next.
    """

    id: str
    title: str
    author: str
    excerpts: tuple[Excerpt, ...] = field(repr=False)
    digest: str
    warnings: tuple[str, ...] = ()
    contiguous: bool = True
    parts: tuple[BookPart, ...] = field(default=(), repr=False)
    works: tuple[Work, ...] = field(default=(), repr=False)
    words_digest: str = ""

    @property
    def breaks(self) -> tuple[int, ...]:
        """The places of the excerpts that no match goes into from the one before, ascending."""
        if not self.contiguous:
            return tuple(range(1, len(self.excerpts)))
        return tuple(work.first for work in self.works[1:])


def book_digest(excerpts: Iterable[Excerpt]) -> str:
    """SHA-256 over ids, texts and instructions, in order (hexadecimal)."""
    digest = hashlib.sha256()
    for excerpt in excerpts:
        for part in (excerpt.id, excerpt.text, excerpt.instruction or ""):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()
