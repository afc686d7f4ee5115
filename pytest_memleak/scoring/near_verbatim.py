"""Near-verbatim recall: long stretches reproduced with small changes (METRICS section 8).

Source: arXiv 2601.02671, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError
from pytest_memleak.records import Origin
from pytest_memleak.records.paper_format import missing_excerpt_error
from pytest_memleak.scoring.alignment import EqualRun, matching_blocks
from pytest_memleak.scoring.folding import folded_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation


@dataclass(frozen=True, slots=True)
class NearBlock:
    """A stretch of the book [book_start, book_end) that the text reproduces nearly.

    words: its matching words; runs: their positions, each a run of equal words.
    """

    book_start: int
    book_end: int
    text_start: int
    text_end: int
    words: int
    runs: tuple[EqualRun, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NearVerbatim:
    """The near-verbatim share of a book in a text.

    nv_recall:  share of the book's words that match, in blocks of at least 100 words
    missing:    the book's words that don't match
    additional: the text's words that don't match
    blocks:     those blocks, in order
    raw:        the runs of equal words that form them: difflib's matching blocks

    Positions are 0-based positions among the words of `near_verbatim`, which are not those of
    the four measures.
    """

    nv_recall: float
    missing: int
    additional: int
    blocks: tuple[NearBlock, ...]
    raw: tuple[EqualRun, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NearSpan:
    """The words [start, end) of an excerpt, `words` of which one generation reproduces.

    Positions among the excerpt's near-verbatim words. All but `words` None if there is none.
    """

    words: int
    start: int | None = None
    end: int | None = None
    excerpt_id: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class NearVerbatimRecall:
    """The near-verbatim recall of a book's generations, each matched with its prompted excerpt.

    words:        of the book, as `near_verbatim` counts them
    nv_recall:    share of them that match in some near-verbatim span
    longest_span: the near-verbatim span with most matching words; the first of equals, in the
                  order excerpt, generation, start
    """

    words: int
    nv_recall: float
    longest_span: NearSpan


def near_verbatim(book: str, text: str, *, fold: bool = True) -> NearVerbatim:
    """Measure how much of `book` the `text` contains in long blocks with small changes.

    fold: fold look-alike letters, ligatures, invisible characters, case and punctuation
    (`folded_words`). Without it, words are what white space separates.

    Raises BookError for a book without words.
    """
    book_words, text_words = _words(book, fold=fold), _words(text, fold=fold)
    if not book_words:
        raise BookError("it has no words", location="near_verbatim")
    raw = matching_blocks(book_words, text_words)
    joined = _joined([(run,) for run in raw], gap=2, shift=1, keep=20)
    joined = _joined(joined, gap=10, shift=3, keep=100)
    matched = sum(map(_matched, joined))
    return NearVerbatim(
        nv_recall=matched / len(book_words),
        missing=len(book_words) - matched,
        additional=len(text_words) - matched,
        blocks=tuple(map(_block, joined)),
        raw=tuple(raw),
    )


def near_verbatim_spans(excerpt: str, generation: str, *, fold: bool = True) -> list[NearBlock]:
    """Return the near-verbatim spans of a generation: its blocks of at least 20 words, in order."""
    return _spans(_words(excerpt, fold=fold), _words(generation, fold=fold))


class NearVerbatimTally:
    """Near-verbatim spans, generation by generation; `recall` can be read at any time."""

    def __init__(self, book: Book, *, fold: bool = True) -> None:
        self._book_id = book.id
        self._fold = fold
        self._excerpts = {excerpt.id: _words(excerpt.text, fold=fold) for excerpt in book.excerpts}
        self._order = {excerpt_id: place for place, excerpt_id in enumerate(self._excerpts)}
        self._covered: dict[str, NDArray[np.bool_]] = {}
        self._longest = NearSpan(0)
        self._longest_rank: tuple[int, ...] = (0,)
        if not any(self._excerpts.values()):
            raise BookError("it has no words", location=f"book {book.id!r}")

    def add(self, generation: Generation) -> None:
        """Match one generation with its prompted excerpt."""
        excerpt_id = generation.excerpt_id
        if excerpt_id not in self._excerpts:
            raise missing_excerpt_error(excerpt_id, book_id=self._book_id)
        excerpt = self._excerpts[excerpt_id]
        for block in _spans(excerpt, _words(generation.text, fold=self._fold)):
            covered = self._covered.setdefault(excerpt_id, np.zeros(len(excerpt), dtype=np.bool_))
            for run in block.runs:
                covered[run.i : run.i + run.words] = True
            rank = (-block.words, self._order[excerpt_id], generation.ordinal, block.book_start)
            if rank < self._longest_rank:
                self._longest_rank = rank
                self._longest = NearSpan(
                    block.words, block.book_start, block.book_end, excerpt_id, generation.ordinal
                )

    def watch(self, generations: Iterable[Generation]) -> Iterator[Generation]:
        """Pass the generations on, matching each sampled one."""
        for generation in generations:
            if generation.origin is Origin.SAMPLED:
                self.add(generation)
            yield generation

    def recall(self) -> NearVerbatimRecall:
        """Return the recall of all generations so far."""
        total = sum(map(len, self._excerpts.values()))
        covered = sum(int(np.count_nonzero(mask)) for mask in self._covered.values())
        return NearVerbatimRecall(total, covered / total, self._longest)


def _words(text: str, *, fold: bool) -> list[str]:
    return folded_words(text) if fold else text.split()


def _spans(excerpt: list[str], generation: list[str]) -> list[NearBlock]:
    runs = [(run,) for run in matching_blocks(excerpt, generation)]
    return [_block(joined) for joined in _joined(runs, gap=2, shift=1, keep=20)]


def _joined(
    blocks: Iterable[tuple[EqualRun, ...]], *, gap: int, shift: int, keep: int
) -> list[tuple[EqualRun, ...]]:
    """Join neighbors if both gaps are at most `gap` and differ by at most `shift`.

    Then drop the blocks with fewer than `keep` matching words.
    """
    joined: list[list[EqualRun]] = []
    for block in blocks:
        if joined:
            last, first = joined[-1][-1], block[0]
            in_book = first.i - last.i - last.words
            in_text = first.j - last.j - last.words
            if max(in_book, in_text) <= gap and abs(in_book - in_text) <= shift:
                joined[-1].extend(block)
                continue
        joined.append(list(block))
    return [tuple(block) for block in joined if _matched(block) >= keep]


def _matched(runs: Iterable[EqualRun]) -> int:
    return sum(run.words for run in runs)


def _block(runs: tuple[EqualRun, ...]) -> NearBlock:
    first, last = runs[0], runs[-1]
    return NearBlock(
        book_start=first.i,
        book_end=last.i + last.words,
        text_start=first.j,
        text_end=last.j + last.words,
        words=_matched(runs),
        runs=runs,
    )
