"""Words marked in their text: of a generation, and of a book around a passage."""

from __future__ import annotations

from difflib import SequenceMatcher
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.words import place_after_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_memleak.pipeline.passage_sources import PassageSource

    Split = Callable[[str], list[str]]

_AROUND = 80  # words of the book before and after
_APART = "\n\n"  # of excerpts


class MarkedText(NamedTuple):
    """A text in three parts. marked: "" where the words can't be pointed at."""

    before: str
    marked: str
    after: str


class MarkedPassage(NamedTuple):
    """A passage in its generation and in its book, with some words around it."""

    generation: MarkedText
    book: MarkedText


def mark_passage(source: PassageSource) -> MarkedPassage:
    """Mark the passage's words in its generation and in its book."""
    split: Split = partial(words, mode=source.mode)
    if source.near:
        split = passage_words
    book, own_words = _mark_in_book(source, split)
    generation = MarkedText("", "", "")
    if source.held:
        text = source.held.generation
        generation = _mark_in_generation(text, source, split, own_words)
    return MarkedPassage(generation, book)


def mark_words(text: str, split: Split, first: int, count: int) -> MarkedText:
    """Mark `count` words of a text from the word `first` on.

    split: returns the words of a text
    """
    start = place_after_words(first, text, split) if first else 0
    end = place_after_words(first + count, text, split)
    return MarkedText(text[:start], text[start:end], text[end:])


def _mark_in_book(source: PassageSource, split: Split) -> tuple[MarkedText, list[str]]:
    """Mark the passage in the book, with some words around it; return its words."""
    excerpts = source.book.excerpts
    first = source.skipped
    texts: list[str] = []
    if source.at:
        before = excerpts[source.at - 1].text
        texts.append(before)
        first += len(split(before))
    needed = first + source.size + _AROUND
    count = sum(len(split(text)) for text in texts)
    for excerpt in excerpts[source.at :]:
        if count >= needed:
            break
        texts.append(excerpt.text)
        count += len(split(excerpt.text))
    text = _APART.join(texts)
    own_words = split(text)[first : first + source.size]
    marked = mark_words(text, split, first, source.size)
    return _keep_words_around_marks(marked, split, first), own_words


def _keep_words_around_marks(
    marked: MarkedText, split: Split, first: int
) -> MarkedText:
    """Leave some words before and after what is marked. first: its first word."""
    start = 0
    if first > _AROUND:
        start = place_after_words(first - _AROUND, marked.before, split)
    end = place_after_words(_AROUND, marked.after, split)
    before = marked.before[start:]
    after = marked.after[:end]
    if start:
        before = f"… {before.lstrip()}"
    if end < len(marked.after):
        after = f"{after} …"
    return MarkedText(before, marked.marked, after)


def _mark_in_generation(
    text: str,
    source: PassageSource,
    split: Split,
    own_words: Sequence[str],
) -> MarkedText:
    """Mark the passage in its generation.

    Nothing is marked where only another reading of the text holds it, such as one with
    its letters unspaced.
    """
    text_words = split(text)[source.place :]
    count = source.size
    if source.near:
        count = _until_last_match(own_words, text_words)
    elif text_words[:count] != list(own_words):
        count = 0
    if not count:
        return MarkedText(text, "", "")
    return _keep_words_around_marks(
        mark_words(text, split, source.place, count),
        split,
        source.place,
    )


def _until_last_match(own_words: Sequence[str], text_words: Sequence[str]) -> int:
    """Return how many words of the text a near-verbatim passage takes."""
    near = text_words[: 2 * len(own_words)]
    matcher = SequenceMatcher(None, own_words, near, autojunk=False)
    *blocks, _end = matcher.get_matching_blocks()
    return max((block.b + block.size for block in blocks), default=0)
