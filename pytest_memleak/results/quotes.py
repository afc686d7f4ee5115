"""A passage in reports: a few of its words, and how often it is generated."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.records.measurement import Passage
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import QUOTED_WORDS, inert
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.words import end_of_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_memleak.records import Block, Book, Excerpt, Measurement, WordMode
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.analysis import Analysis

_LONGEST_WORD = 40
_BEFORE_WORD = re.compile(r"^[^\w“‘\"'(]+")  # the end of what stands before
_SOFT_HYPHEN = "\u00ad"
_CLOSING = '.,;:!?…”")]'
_LETTER = re.compile(r"\w")


def own_passage(
    kind: str, run: Block, analysis: Analysis, book: Book, quoted: int | None
) -> Passage:
    """Build the passage of a run of the pair's own book, with its place in the whole book."""
    measured = analysis.measurement
    start, end = run.start or 0, run.end or 0
    first, last = measured.excerpt_at(start), measured.excerpt_at(end - 1)
    excerpt = book.excerpts[first]
    return Passage(
        kind=kind,
        words=run.words,
        start=start + book.words_in_prompts(first),
        end=end + book.words_in_prompts(last),
        chapter=excerpt.chapter,
        excerpt_id=excerpt.id,
        generation=getattr(run, "generation", None),
        quote=quote(book, run, measured, most=quoted),
        rate=passage_rate(analysis, start, end),
    )


def quote(book: Book, run: Block, measured: Measurement, *, most: int | None = QUOTED_WORDS) -> str:
    """Quote a run as printed, at most `most` words of it (0: none; None: all); count the rest."""
    if most == 0 or run.start is None or run.end is None:
        return ""
    count = run.words if most is None else min(run.words, most)
    place = measured.excerpt_at(run.start)
    skipped = run.start - measured.excerpt_starts[place]
    split = partial(words, mode=measured.word_mode)
    return _quoted(book.excerpts[place:], split, skipped, count, run.words)


def quote_anywhere(
    book: Book,
    start: int,
    end: int,
    *,
    mode: WordMode,
    folded: bool = False,
    most: int | None = QUOTED_WORDS,
) -> str:
    """Quote words [start, end) of any book, as `quote` does.

    folded: count words as near-verbatim matching does.
    """
    if most == 0:
        return ""
    count = end - start if most is None else min(end - start, most)
    split = passage_words if folded else partial(words, mode=mode)
    return _quoted(book.excerpts, split, start, count, end - start)


def _quoted(
    excerpts: Sequence[Excerpt],
    split: Callable[[str], list[str]],
    skipped: int,
    count: int,
    of: int,
) -> str:
    pieces: list[str] = []
    missing = count
    for excerpt in excerpts:
        size = len(split(excerpt.text))
        if taken := min(missing, max(size - skipped, 0)):
            start, end = (
                end_of_words(place, excerpt.text, split) for place in (skipped, skipped + taken)
            )
            rest = excerpt.text[end:]
            end += len(rest) - len(rest.lstrip(_CLOSING))
            printed = (
                _BEFORE_WORD.sub("", excerpt.text[start:end]).replace(_SOFT_HYPHEN, "").split()
            )
            # Words that aren't counted, of other scripts, aren't quoted on top.
            pieces += [piece for piece in printed if split(piece) or not _LETTER.search(piece)]
        missing -= taken
        skipped = max(skipped - size, 0)
        if not missing:
            break
    text = " ".join(inert(piece, longest=_LONGEST_WORD) for piece in pieces)
    left = of - count
    return f"{text} … (+{amount(left, 'word')})" if left else text


def passage_rate(analysis: Analysis, start: int, end: int) -> PassageRate | None:
    """Return how often their prompt generated all words [start, end) of the pair's book.

    None if they cross two excerpts, which no single prompt requests.
    """
    from pytest_memleak.scoring.rounds import passage_rates  # with numpy

    measured, error = analysis.measurement, analysis.error
    if measured.excerpt_at(start) != measured.excerpt_at(end - 1):
        return None
    (rate,) = passage_rates(
        [(start, end)],
        analysis.own_runs,
        n=error.rounds,
        alike=error.likeness.alike,
        confidence=error.confidence,
    )
    return rate
