"""Blocks of text, documents as their blocks, and what their form shows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

# A longer first block isn't a title.
LONGEST_FIRST_LINE = 15

# A document with a larger share of its characters in links is a list, such as contents.
MOSTLY_LINKS = 0.5

_FEWEST_OF_PROSE = 15
_ENDS_SENTENCE = tuple(".!…”’\"'»)")  # not of a question, as in a discussion guide


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A paragraph (level 0) or a heading (levels 1 to 6), never empty.

    A newline separates lines that the document breaks explicitly. `matter` is its kind
    if it isn't text.
    """

    text: str = field(repr=False)
    level: int = 0
    matter: str = ""


@dataclass(frozen=True)
class Markup:
    """A document's blocks, and what else its markup tells; notes on unreadable parts.

    `everything` includes front and back matter. `places` maps each requested id to the
    first block at or after it; `linked` is the share of characters in links, `links`
    their number; `note_texts` are the texts of notes, hidden elements and drawings,
    which aren't blocks; `unseen_words` is the number of words in the latter two,
    `pictures` that of drawings and images.
    `references` are the addresses of note references in the text; `back_linked` has the
    ids of each block that a link back to the text begins or ends.
    """

    everything: tuple[TextBlock, ...]
    declares_body: bool = False
    notes: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    linked: float = 0.0
    links: int = 0
    note_texts: tuple[str, ...] = field(default=(), repr=False)
    unseen_words: int = 0
    pictures: int = 0
    references: frozenset[str] = frozenset()
    back_linked: Mapping[int, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def blocks(self) -> tuple[TextBlock, ...]:
        """Blocks that are text."""
        return tuple(block for block in self.everything if not block.matter)


@dataclass(frozen=True)
class SpineDocument:
    """A document of the spine: its name and content.

    `role` is "navigation" or "not linear" if the package declares that it isn't text.
    """

    name: str
    markup: Markup
    role: str = ""

    @cached_property
    def letters(self) -> int:
        """Number of characters of its text."""
        return sum(len(block.text) for block in self.markup.blocks)

    @cached_property
    def spaced_words(self) -> int:
        """Number of its words between spaces, headings included."""
        return sum(len(block.text.split()) for block in self.markup.blocks)

    @cached_property
    def prose_words(self) -> int:
        """Number of words in its paragraphs of whole sentences.

        Notes and questions aren't prose: notes begin with numbers, or every other one
        has a link.
        """
        if 2 * self.markup.links > len(self.markup.blocks):
            return 0
        counts = (
            len(block.text.split())
            for block in self.markup.blocks
            if not block.level
            and not block.text[0].isdigit()
            and block.text.endswith(_ENDS_SENTENCE)
        )
        return sum(count for count in counts if count >= _FEWEST_OF_PROSE)

    def count(self, pattern: re.Pattern[str]) -> int:
        """Return how often its text matches."""
        return sum(len(pattern.findall(block.text)) for block in self.markup.blocks)

    @property
    def first_line(self) -> str | None:
        """Its first block, if that is a heading or a few words."""
        for block in self.markup.blocks[:1]:
            if block.level or len(block.text.split()) <= LONGEST_FIRST_LINE:
                return block.text
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the table of contents, or a landmark, which has terms.

    `place` is the target's id within the document, `""` for the document itself.
    """

    document: str
    place: str
    title: str
    depth: int  # from 1
    terms: frozenset[str] = frozenset()


def locate(address: str, document: str) -> tuple[str, str]:
    """Return the document and the id in it that an address in `document` leads to."""
    path, _, place = address.partition("#")
    joined = (
        posixpath.join(posixpath.dirname(document), unquote(path)) if path else document
    )
    return posixpath.normpath(joined), unquote(place)
