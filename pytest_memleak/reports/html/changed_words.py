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


def mark_differing_words(passage: Passage) -> list[list[Piece]]:
    """Return the book's quote and the generation's in pieces.

    Words that one side has more than the other at the end don't differ: the other may
    go on so.
    """
    quote, *count = passage.quote.partition(REST)
    book_pieces = _WORD.split(quote)
    answer_pieces = _WORD.split(passage.answer)
    book_changes: set[int] = set()
    answer_changes: set[int] = set()
    book_words = _words_in_lower_case(book_pieces)
    answer_words = _words_in_lower_case(answer_pieces)
    for change in _changed_runs(book_words, answer_words):
        book_changes.update(change.book)
        answer_changes.update(change.answer)
    book = _with_changes_marked(book_pieces, book_changes)
    book.append(("".join(count), False))
    answer = _with_changes_marked(answer_pieces, answer_changes)
    return [book, answer]


class _Change(NamedTuple):
    """Words, by their numbers, that differ in the book and the answer."""

    book: range
    answer: range


def _changed_runs(book: list[str], answer: list[str]) -> Iterator[_Change]:
    matcher = SequenceMatcher(None, book, answer, autojunk=False)
    for kind, start, end, place, place_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        book_words = range(start, end)
        answer_words = range(place, place_end)
        if end == len(book) and place_end == len(answer):
            both = min(len(book_words), len(answer_words))
            yield _Change(book_words[:both], answer_words[:both])
        else:
            yield _Change(book_words, answer_words)


def _words_in_lower_case(pieces: list[str]) -> list[str]:
    """Return the words of a split text, every second piece, without their case."""
    words = pieces[1::2]
    return [word.casefold() for word in words]


def _with_changes_marked(pieces: list[str], changes: set[int]) -> list[Piece]:
    marked = []
    for place, piece in enumerate(pieces):
        number, is_word = divmod(place, 2)
        is_changed = bool(is_word) and number in changes
        marked.append((piece, is_changed))
    return marked
