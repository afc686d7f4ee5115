"""A book, cut into excerpts, and the digest that identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

WordMode = Literal["paper", "unicode"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """300 to 500 words of a book, and the instruction that requests them.

    `instruction` is None until one is written; `chapter` is the heading above the
    excerpt, if any; `prefix_words` precede the text and stand in the prompt instead
    (continuation).
    """

    id: str
    text: str = field(repr=False)
    instruction: str | None = field(default=None, repr=False)
    chapter: str | None = None
    prefix_words: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class BookPrompt:
    """A prompt for a book that requests no excerpt of it.

    before: the conversation before the instruction: the user's texts and the answers,
        in turn
    given: the prompt's text that the model didn't write; what an answer repeats of it
        doesn't count
    """

    id: str
    instruction: str = field(repr=False)
    before: tuple[str, ...] = field(default=(), repr=False)
    given: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class BookPart:
    """A document of a book, and the words read from it.

    `label` is its title in the table of contents, or its first heading; `kept`: whether
    it counts as text; `rule`: the rule that decided; `by_title`: whether a title alone
    excludes it. Word counts cover every script (docs/method.md): `words` of the text,
    `matter` excluded as front and back matter or copyright notices, `notes` of notes
    and hidden text, `headings` of titles.
    """

    name: str
    label: str | None
    kept: bool
    rule: str
    words: int
    matter: int = 0
    notes: int = 0
    headings: int = 0
    by_title: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """A work of a collection: the excerpts [first, end) of its book, by index.

    `id` is its unique name in the collection; `title` is for readers; `author` is None
    if unknown.
    """

    id: str
    title: str
    author: str | None
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Book:
    """A book as its excerpts, in order; their words together are the book's words.

    title, author: "" if unknown; digest: `book_digest` of the excerpts; words_digest:
    SHA-256 of all words, by which the ledger counts attempts; icu: the version of ICU
    that separates them, if any; warnings: what its reader left out; parts: documents of
    its file, if its reader reports them; excluded: text that isn't measured, such as
    notes, in which passages are looked for, one entry per document; contiguous: whether
    each excerpt continues the one before word for word;
    alarms: what looks wrong in its text, such as a gap in its chapters' numbers;
    works: of a collection, which together span all excerpts. No match crosses from one
    work to the next, nor between excerpts that aren't contiguous.
    prompts: that request no excerpt (`probe` "extraction" and "prompts").
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
    icu: str | None = None
    excluded: tuple[Excerpt, ...] = field(default=(), repr=False)
    prompts: tuple[BookPrompt, ...] = field(default=(), repr=False)
    alarms: tuple[str, ...] = ()

    @property
    def prompted_ids(self) -> tuple[str, ...]:
        """The IDs that generations may have: the excerpts', then the prompts'."""
        names = [excerpt.id for excerpt in self.excerpts]
        return (*names, *(prompt.id for prompt in self.prompts))

    @property
    def given_texts(self) -> tuple[str, ...]:
        """What the prompts for these IDs contain, by which answers are trimmed."""
        instructions = [excerpt.instruction or "" for excerpt in self.excerpts]
        return (*instructions, *(prompt.given for prompt in self.prompts))

    @property
    def breaks(self) -> tuple[int, ...]:
        """Indices of excerpts that no match enters from the one before, ascending."""
        if not self.contiguous:
            return tuple(range(1, len(self.excerpts)))
        return tuple(work.first for work in self.works[1:])

    def paragraphs(self) -> list[str]:
        """Return the paragraphs of all excerpts, in order."""
        texts: list[str] = []
        for excerpt in self.excerpts:
            texts += excerpt.text.split("\n\n")
        return texts

    def words_in_prompts(self, excerpt: int) -> int:
        """Count the words before this excerpt's text that stand in prompts.

        excerpt: its index
        """
        return sum(before.prefix_words for before in self.excerpts[: excerpt + 1])


def book_digest(excerpts: Iterable[Excerpt]) -> str:
    """Return the SHA-256 of IDs, texts and instructions, in order (hexadecimal)."""
    digest = hashlib.sha256()
    for excerpt in excerpts:
        for part in (excerpt.id, excerpt.text, excerpt.instruction or ""):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()
