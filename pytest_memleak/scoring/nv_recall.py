"""Near-verbatim recall: long stretches reproduced with small changes (docs/method.md).

Source: arXiv 2601.02671, section 3.3. Near-verbatim passages are in `find_passages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.errors import BookError, UnknownExcerpt
from pytest_memleak.records import Origin
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.matching_blocks import EqualRun, matching_blocks
from pytest_memleak.scoring.text_batches import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Book, Generation
    from pytest_memleak.scoring.array_types import Flags
    from pytest_memleak.scoring.text_batches import Batch


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

    Positions are 0-based positions among the words of `near_verbatim`, which are not
    those of the four measures.
    """

    nv_recall: float
    missing: int
    additional: int
    blocks: tuple[NearBlock, ...]
    raw: tuple[EqualRun, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NearSpan:
    """The words [start, end) of an excerpt, `words` of which one generation reproduces.

    Positions among the excerpt's folded words. All but `words` None if there is none.
    """

    words: int
    start: int | None = None
    end: int | None = None
    excerpt_id: str | None = None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class NearVerbatimRecall:
    """The near-verbatim recall of a book by generations for its excerpts.

    words:        of the book, as `near_verbatim` counts them
    nv_recall:    share of them that match in some near-verbatim span
    longest_span: the near-verbatim span with most matching words; ties: the first by
                  excerpt, generation, start
    """

    words: int
    nv_recall: float
    longest_span: NearSpan


def near_verbatim(book: str, text: str) -> NearVerbatim:
    """Measure how much of `book` the `text` contains in long blocks with small changes.

    Raises BookError for a book without words.
    """
    book_words = folded_words(book)
    text_words = folded_words(text)
    if not book_words:
        raise BookError("it has no words", location="near_verbatim")
    raw = matching_blocks(book_words, text_words)
    joined = _second_pass(_first_pass(raw))
    matched = sum(map(_matching_words, joined))
    return NearVerbatim(
        nv_recall=matched / len(book_words),
        missing=len(book_words) - matched,
        additional=len(text_words) - matched,
        blocks=tuple(map(_block_of_runs, joined)),
        raw=tuple(raw),
    )


def near_verbatim_spans(excerpt: str, generation: str) -> list[NearBlock]:
    """Return the near-verbatim spans of a generation, in order.

    They are its blocks of at least 20 words.
    """
    return near_verbatim_blocks(folded_words(excerpt), folded_words(generation))


class NearVerbatimTally:
    """Near-verbatim spans, one generation at a time; `recall` can be read any time."""

    def __init__(self, book: Book) -> None:
        """Match generations with the excerpts of `book`."""
        self._book_id = book.id
        # Per excerpt id: its folded words, its number, and which words are matched.
        self._words: dict[str, list[str]] = {}
        self._number: dict[str, int] = {}
        self._covered: dict[str, Flags] = {}
        for number, excerpt in enumerate(book.excerpts):
            self._words[excerpt.id] = folded_words(excerpt.text)
            self._number[excerpt.id] = number
        self._longest = NearSpan(0)
        self._longest_rank: tuple[int, ...] = (0,)
        if not any(self._words.values()):
            raise BookError("it has no words", location=f"book {book.id!r}")

    def add(self, generation: Generation) -> None:
        """Match one generation with its prompted excerpt."""
        excerpt_id = generation.excerpt_id
        if excerpt_id not in self._words:
            raise UnknownExcerpt(excerpt_id, book_id=self._book_id)
        excerpt_words = self._words[excerpt_id]
        generation_words = folded_words(generation.text)
        for block in near_verbatim_blocks(excerpt_words, generation_words):
            self._note_covered(excerpt_id, block)
            self._note_longest(generation, block)

    def _note_covered(self, excerpt_id: str, block: NearBlock) -> None:
        covered = self._covered.get(excerpt_id)
        if covered is None:
            words = len(self._words[excerpt_id])
            covered = np.zeros(words, dtype=np.bool_)
            self._covered[excerpt_id] = covered
        for run in block.runs:
            covered[run.i : run.i_end] = True

    def _note_longest(self, generation: Generation, block: NearBlock) -> None:
        rank = (
            -block.words,
            self._number[generation.excerpt_id],
            generation.ordinal,
            block.book_start,
        )
        if rank < self._longest_rank:
            self._longest_rank = rank
            self._longest = NearSpan(
                words=block.words,
                start=block.book_start,
                end=block.book_end,
                excerpt_id=generation.excerpt_id,
                generation=generation.ordinal,
            )

    def pass_through(
        self, generations: Iterable[Generation | Batch]
    ) -> Iterator[Batch]:
        """Pass the generations on, matching each sampled one."""
        for batch in in_batches(generations):
            for generation in batch.generations:
                if generation.origin is Origin.SAMPLED:
                    self.add(generation)
            yield batch

    def recall(self) -> NearVerbatimRecall:
        """Return the recall of all generations so far."""
        total = sum(map(len, self._words.values()))
        covered = 0
        for mask in self._covered.values():
            covered += int(np.count_nonzero(mask))
        return NearVerbatimRecall(
            words=total,
            nv_recall=covered / total,
            longest_span=self._longest,
        )


def near_verbatim_blocks(
    book: Sequence[str],
    text: Sequence[str],
) -> list[NearBlock]:
    """Return the blocks of at least 20 words that folded words have in common."""
    raw = matching_blocks(book, text)
    joined = _first_pass(raw)
    return list(map(_block_of_runs, joined))


# Equal runs that are close enough to form one block, in order.
_Runs = list[EqualRun]


def _first_pass(runs: Iterable[EqualRun]) -> list[_Runs]:
    blocks = ([run] for run in runs)
    return _near_blocks_joined(
        blocks,
        gap=2,
        shift=1,
        least_words=20,
    )


def _second_pass(blocks: Iterable[_Runs]) -> list[_Runs]:
    return _near_blocks_joined(
        blocks,
        gap=10,
        shift=3,
        least_words=100,
    )


def _near_blocks_joined(
    blocks: Iterable[_Runs],
    *,
    gap: int,
    shift: int,
    least_words: int,
) -> list[_Runs]:
    """Join neighbors if both gaps are at most `gap` and differ by at most `shift`.

    Then drop the blocks with fewer than `least_words` matching words.
    """
    joined: list[_Runs] = []
    for block in blocks:
        previous = joined[-1] if joined else None
        if previous and _is_close_enough_to_join(
            previous[-1], block[0], gap=gap, shift=shift
        ):
            previous.extend(block)
        else:
            joined.append(list(block))
    return [block for block in joined if _matching_words(block) >= least_words]


def _is_close_enough_to_join(
    last: EqualRun,
    following: EqualRun,
    *,
    gap: int,
    shift: int,
) -> bool:
    """Tell whether a run follows another closely enough to be joined to it."""
    book_gap = following.i - last.i_end
    text_gap = following.j - last.j_end
    if max(book_gap, text_gap) > gap:
        return False
    return abs(book_gap - text_gap) <= shift


def _matching_words(runs: Iterable[EqualRun]) -> int:
    return sum(run.words for run in runs)


def _block_of_runs(runs: _Runs) -> NearBlock:
    first = runs[0]
    last = runs[-1]
    return NearBlock(
        book_start=first.i,
        book_end=last.i_end,
        text_start=first.j,
        text_end=last.j_end,
        words=_matching_words(runs),
        runs=tuple(runs),
    )
