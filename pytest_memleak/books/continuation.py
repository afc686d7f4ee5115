"""A book whose excerpts are to be continued: their beginnings asked with, the rest measured.

    beginnings(book, prefix_words=50) -> the book that is left, each prompt an instruction

What a prompt holds is no part of the book that is measured: neither of its N words nor of any
match. Between two excerpts of that book there is a gap, so it is not contiguous.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left

from pytest_memleak.books.instructions import check_template
from pytest_memleak.errors import BookError
from pytest_memleak.records import Book, Excerpt, WordMode
from pytest_memleak.records.book import book_digest
from pytest_memleak.scoring.words import words

AS_IT_STANDS = "{prefix}"
"""The template for endpoints that go on with the text they are given."""

ASKED_TO_CONTINUE = (
    "Below is a passage that breaks off in the middle of a book. Go on from exactly where it"
    " breaks off and write what comes next, word for word as far as you know it. Write only the"
    " continuation: do not repeat the passage and do not comment on it.\n\n{prefix}"
)
"""The template for endpoints that answer instructions."""


def check_continuation(template: str, *, place: str | None = None) -> None:
    """Raise BookError, naming `place`, for a template without `{prefix}` or with anything else."""
    if not check_template(template, placeholders=("prefix",), place=place):
        raise BookError(
            "the continuation template has no {prefix}, so the model would not know the passage",
            location=place,
        )


def beginnings(
    book: Book, *, prefix_words: int, template: str = ASKED_TO_CONTINUE, mode: WordMode = "paper"
) -> Book:
    """What is left of `book` when the first words of each excerpt go into its prompt.

    An excerpt's prompt holds its first `prefix_words` words, and no more than half of a short
    one's; the instruction is `template` around them. An excerpt of a single word cannot be
    continued and has no instruction.
    """
    excerpts = tuple(_begun(excerpt, prefix_words, template, mode) for excerpt in book.excerpts)
    return dataclasses.replace(
        book, excerpts=excerpts, digest=book_digest(excerpts), contiguous=False
    )


def _begun(excerpt: Excerpt, prefix_words: int, template: str, mode: WordMode) -> Excerpt:
    whole = words(excerpt.text, mode)
    count = min(prefix_words, len(whole) // 2)
    end = _end_of(count, whole, excerpt.text, mode)
    if not count or not words(excerpt.text[end:], mode):
        return dataclasses.replace(excerpt, instruction=None)
    return dataclasses.replace(
        excerpt,
        text=excerpt.text[end:],
        instruction=template.format(prefix=excerpt.text[:end]),
    )


def _end_of(count: int, whole: list[str], text: str, mode: WordMode) -> int:
    """The first place with `count` words before it where `text` parts without parting a word."""
    places = range(len(text) + 1)
    first = bisect_left(places, count, key=lambda end: len(words(text[:end], mode)))
    for end in places[first:]:
        head = words(text[:end], mode)
        if head == whole[: len(head)] and words(text[end:], mode) == whole[len(head) :]:
            return end
    return len(text)
