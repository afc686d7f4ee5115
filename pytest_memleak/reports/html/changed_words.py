"""The words in which the two sides of a near-verbatim passage differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.redaction.text import WORD
from pytest_memleak.results.quotes import REST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records.measurement import Passage

_WORD = re.compile(f"({WORD.pattern})")
Piece = tuple[str, bool]
"""A piece of a text, and whether it is a word that the other side doesn't have."""


def compare_sides(passage: Passage) -> list[list[Piece]]:
    """Return the book's quote and the generation's in pieces.

    Words that one side has more than the other at the end don't differ: the other may
    go on so.
    """
    quote, *count = passage.quote.partition(REST)
    book_pieces, answer_pieces = _WORD.split(quote), _WORD.split(passage.answer)
    book_changes: set[int] = set()
    answer_changes: set[int] = set()
    for change in _changes(_words(book_pieces), _words(answer_pieces)):
        book_changes.update(range(*change.book))
        answer_changes.update(range(*change.answer))
    book = _marked(book_pieces, book_changes)
    book.append(("".join(count), False))
    return [book, _marked(answer_pieces, answer_changes)]


class _Change(NamedTuple):
    """Words, by their numbers from and to, that differ in the book and the answer."""

    book: tuple[int, int]
    answer: tuple[int, int]


def _changes(book: list[str], answer: list[str]) -> Iterator[_Change]:
    steps = SequenceMatcher(None, book, answer, autojunk=False).get_opcodes()
    for kind, start, end, place, place_end in steps:
        if kind == "equal":
            continue
        if (end, place_end) == (len(book), len(answer)):
            both = min(end - start, place_end - place)
            yield _Change((start, start + both), (place, place + both))
        else:
            yield _Change((start, end), (place, place_end))


def _words(pieces: list[str]) -> list[str]:
    """Return the words of a split text, every second piece, without their case."""
    return [word.casefold() for word in pieces[1::2]]


def _marked(pieces: list[str], changes: set[int]) -> list[Piece]:
    marked = []
    for place, piece in enumerate(pieces):
        number, is_word = divmod(place, 2)
        marked.append((piece, bool(is_word) and number in changes))
    return marked
