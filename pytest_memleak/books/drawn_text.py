"""Text in drawings (SVG), where the drawing has it as text, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_memleak.books.text_blocks import SpineDocument
from pytest_memleak.records.number_format import amount

# With fewer words, they are a figure's labels.
_FEWEST_WORDS = 15

# With fewer letters a word on average, each letter has a place of its own.
_SHORTEST = 2.2

_LETTERS = re.compile(r"[^\W\d_]+")
_DIVIDED = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n(?=[^\W\d_])")


# Covers and plates have no words, either.
_MOST_PICTURE_PAGES = 0.2
_FEWEST_PICTURE_PAGES = 3
_FEWEST_UNSEEN = 100


def drawing_warnings(leaves: Sequence[SpineDocument]) -> Iterator[str]:
    """Yield what a book has in drawings or hidden, and so isn't read."""
    unseen = sum(leaf.markup.unseen_words for leaf in leaves)
    if unseen >= _FEWEST_UNSEEN:
        yield f"{amount(unseen, 'word')} are hidden or in drawings, and aren't read"
    pages = [leaf for leaf in leaves if _is_picture(leaf)]
    share = _MOST_PICTURE_PAGES * len(leaves)
    if len(pages) >= _FEWEST_PICTURE_PAGES and len(pages) > share:
        yield (
            f"{amount(len(pages), 'document')} of {len(leaves):,} are pictures without "
            "words: if they show text, it isn't read"
        )


def _is_picture(leaf: SpineDocument) -> bool:
    return leaf.markup.pictures > 0 and not leaf.markup.everything


def drawn_paragraph(lines: str) -> str | None:
    """Return the lines of a drawing as a paragraph; None if they aren't running text.

    A word that a hyphen divides at a line's end becomes whole where the next line
    begins in lower case.
    """
    text = _DIVIDED.sub(_hyphen_or_nothing, lines).replace("\n", " ")
    words = _LETTERS.findall(text)
    letters = sum(map(len, words))
    if len(words) < _FEWEST_WORDS or letters < _SHORTEST * len(words):
        return None
    return text


def _hyphen_or_nothing(hyphen: re.Match[str]) -> str:
    is_divided = hyphen.string[hyphen.end()].islower()
    return "" if is_divided else hyphen[0][0]
