"""Near-verbatim recall: long stretches reproduced with small changes (docs/method.md).

Source: arXiv 2601.02671, section 3.3. Near-verbatim passages are in `find_passages`.

Matching blocks are difflib's, at the size of books. difflib takes the longest common
run (the earliest in `a`, then in `b`, of equals) and continues left and right of it.
Each step costs the product of the lengths, too slow for a book; `_Aligner` takes the
same steps with three changes that keep the result:

1. Numbers replace words: `ranks[p][x]` numbers the 2^p words from x on, so two of them
   number any longer run.
2. `reach[x]`, the longest run from x on that the other text contains anywhere, bounds
   the runs between two blocks and leaves few positions to check.
3. One sweep takes all blocks of one length between two others: after the first, nothing
   longer lies to its right, and nothing as long to its left.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import BookError, UnknownExcerpt
from pytest_memleak.records import Origin
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.text_batches import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Generation
    from pytest_memleak.scoring.text_batches import Batch


class EqualRun(NamedTuple):
    """A run of `words` equal words, from word `i` of one text and word `j` of the other."""

    i: int
    j: int
    words: int


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

    Positions among the excerpt's near-verbatim words. All but `words` None if there is
    none.
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
    longest_span: the near-verbatim span with most matching words; the first of equals,
    in the
                  order excerpt, generation, start
    """

    words: int
    nv_recall: float
    longest_span: NearSpan


def near_verbatim(book: str, text: str) -> NearVerbatim:
    """Measure how much of `book` the `text` contains in long blocks with small changes.

    Raises BookError for a book without words.
    """
    book_words, text_words = folded_words(book), folded_words(text)
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


def near_verbatim_spans(excerpt: str, generation: str) -> list[NearBlock]:
    """Return the near-verbatim spans of a generation: its blocks of at least 20 words, in order."""
    return _spans(folded_words(excerpt), folded_words(generation))


class NearVerbatimTally:
    """Near-verbatim spans, generation by generation; `recall` can be read at any time."""

    def __init__(self, book: Book) -> None:
        self._book_id = book.id
        self._excerpts = {
            excerpt.id: folded_words(excerpt.text) for excerpt in book.excerpts
        }
        self._order = {
            excerpt_id: place for place, excerpt_id in enumerate(self._excerpts)
        }
        self._covered: dict[str, NDArray[np.bool_]] = {}
        self._longest = NearSpan(0)
        self._longest_rank: tuple[int, ...] = (0,)
        if not any(self._excerpts.values()):
            raise BookError("it has no words", location=f"book {book.id!r}")

    def add(self, generation: Generation) -> None:
        """Match one generation with its prompted excerpt."""
        excerpt_id = generation.excerpt_id
        if excerpt_id not in self._excerpts:
            raise UnknownExcerpt(excerpt_id, book_id=self._book_id)
        excerpt = self._excerpts[excerpt_id]
        for block in _spans(excerpt, folded_words(generation.text)):
            covered = self._covered.setdefault(
                excerpt_id, np.zeros(len(excerpt), dtype=np.bool_)
            )
            for run in block.runs:
                covered[run.i : run.i + run.words] = True
            rank = (
                -block.words,
                self._order[excerpt_id],
                generation.ordinal,
                block.book_start,
            )
            if rank < self._longest_rank:
                self._longest_rank = rank
                self._longest = NearSpan(
                    block.words,
                    block.book_start,
                    block.book_end,
                    excerpt_id,
                    generation.ordinal,
                )

    def watch(self, generations: Iterable[Generation | Batch]) -> Iterator[Batch]:
        """Pass the generations on, matching each sampled one."""
        for batch in in_batches(generations):
            for generation in batch.generations:
                if generation.origin is Origin.SAMPLED:
                    self.add(generation)
            yield batch

    def recall(self) -> NearVerbatimRecall:
        """Return the recall of all generations so far."""
        total = sum(map(len, self._excerpts.values()))
        covered = sum(int(np.count_nonzero(mask)) for mask in self._covered.values())
        return NearVerbatimRecall(total, covered / total, self._longest)


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


# Up to this many pairs of words difflib is faster than numpy.
_SMALL = 40_000


class _Interval(NamedTuple):
    """The part between two blocks: a[a_start:a_end], b[b_start:b_end], no run over `most`."""

    a_start: int
    a_end: int
    b_start: int
    b_end: int
    most: int


def matching_blocks(a: Sequence[str], b: Sequence[str]) -> list[EqualRun]:
    """Return `SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()`.

    Without difflib's empty last block. Two texts of 100,000 words take seconds and some
    100 bytes per word.
    """
    if len(a) * len(b) <= _SMALL:
        return _by_difflib(a, b)
    numbers: dict[str, int] = {}
    a_numbers = [numbers.setdefault(word, len(numbers)) for word in a]
    b_numbers = [numbers.setdefault(word, len(numbers)) for word in b]
    return _adjacent_joined(
        sorted(_Aligner(a_numbers, b_numbers, words=len(numbers)).runs())
    )


def _by_difflib(a: Sequence[object], b: Sequence[object]) -> list[EqualRun]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return [EqualRun(*block) for block in matcher.get_matching_blocks()[:-1]]


def _adjacent_joined(runs: list[EqualRun]) -> list[EqualRun]:
    joined: list[EqualRun] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last and (last.i + last.words, last.j + last.words) == (run.i, run.j):
            joined[-1] = EqualRun(last.i, last.j, last.words + run.words)
        else:
            joined.append(run)
    return joined


class _Aligner:
    """Two texts end to end, each followed by a unique word."""

    def __init__(self, a: list[int], b: list[int], *, words: int) -> None:
        self._a, self._b = a, b
        self._b_offset = len(a) + 1
        self._text = np.array([*a, words, *b, words + 1], dtype=np.int64)
        self._ranks = self._all_ranks()
        self._reach = self._reaches()

    def runs(self) -> Iterator[EqualRun]:
        """Yield the blocks, in no order, adjacent ones separate."""
        longest = int(self._reach.max())
        intervals = [_Interval(0, len(self._a), 0, len(self._b), longest)]
        while intervals:
            interval = intervals.pop()
            if (interval.a_end - interval.a_start) * (
                interval.b_end - interval.b_start
            ) <= _SMALL:
                yield from self._small(interval)
            else:
                runs, remaining = self._sweep(interval)
                yield from runs
                intervals += remaining

    def _small(self, interval: _Interval) -> list[EqualRun]:
        a = self._a[interval.a_start : interval.a_end]
        b = self._b[interval.b_start : interval.b_end]
        return [
            EqualRun(interval.a_start + i, interval.b_start + j, length)
            for i, j, length in _by_difflib(a, b)
        ]

    def _sweep(self, interval: _Interval) -> tuple[list[EqualRun], list[_Interval]]:
        """Return the blocks of the greatest length in `interval`, and the parts they leave."""
        length, in_a, in_b = self._longest(interval)
        if not length:
            return [], []
        a_keys, b_keys = self._keys(in_a, length), self._keys(in_b, length)
        by_key = np.argsort(b_keys, kind="stable")  # ascending in b among equals
        b_keys = b_keys[by_key]
        places = (in_b[by_key] - self._b_offset).tolist()
        first = np.searchsorted(b_keys, a_keys, side="left")
        last = np.searchsorted(b_keys, a_keys, side="right")
        shared = np.flatnonzero(first < last)
        candidates = zip(
            in_a[shared].tolist(),
            first[shared].tolist(),
            last[shared].tolist(),
            strict=True,
        )
        runs, intervals = [], []
        a_next, b_next = interval.a_start, interval.b_start
        for i, low, high in candidates:
            if i < a_next:
                continue
            at = bisect_left(places, b_next, low, high)
            if at < high:
                j = places[at]
                runs.append(EqualRun(i, j, length))
                if a_next < i and b_next < j:
                    intervals.append(_Interval(a_next, i, b_next, j, length - 1))
                a_next, b_next = i + length, j + length
        if a_next < interval.a_end and b_next < interval.b_end:
            intervals.append(
                _Interval(a_next, interval.a_end, b_next, interval.b_end, length - 1)
            )
        return runs, intervals

    def _longest(
        self, interval: _Interval
    ) -> tuple[int, NDArray[np.intp], NDArray[np.intp]]:
        """Return the greatest length of a common run, and its possible starts in `_text`.

        Texts that share a run share every shorter one, so the length is bisected,
        starting at the bound, which is often reached.
        """
        a_room = self._room(interval.a_start, interval.a_end)
        b_room = self._room(
            interval.b_start + self._b_offset, interval.b_end + self._b_offset
        )
        positions, low = None, 0
        high = min(interval.most, int(a_room.max()), int(b_room.max()))
        length = high
        while low < high:
            in_a = np.flatnonzero(a_room >= length) + interval.a_start
            in_b = np.flatnonzero(b_room >= length) + interval.b_start + self._b_offset
            if _any_common(self._keys(in_a, length), self._keys(in_b, length)):
                low, positions = length, (in_a, in_b)
            else:
                high = length - 1
            length = (low + high + 1) // 2
        return (
            (low, *positions)
            if positions
            else (0, np.empty(0, np.intp), np.empty(0, np.intp))
        )

    def _room(self, start: int, end: int) -> NDArray[np.intp]:
        """Return, per position, a bound on the runs from there that end within [start, end)."""
        return np.minimum(self._reach[start:end], np.arange(end - start, 0, -1))

    def _keys(self, at: NDArray[np.intp], length: int) -> NDArray[np.int64]:
        """Return numbers that are equal exactly where the `length` words from there on are."""
        power = length.bit_length() - 1
        ranks = self._ranks[power]
        return (
            ranks[at].astype(np.int64) * len(self._text)
            + ranks[at + (length - (1 << power))]
        )

    def _all_ranks(self) -> list[NDArray[np.int32]]:
        """Return `ranks[p]`: per position, the rank of its 2^p words among all such runs.

        Ends with the first p for which the texts share no 2^p words.
        """
        size = len(self._text)
        ranks = [np.unique(self._text, return_inverse=True)[1].astype(np.int32)]
        while True:
            newest = ranks[-1]
            step = 1 << (len(ranks) - 1)
            if not _any_common(newest[: self._b_offset], newest[self._b_offset :]):
                return ranks
            pairs = newest.astype(np.int64) * (size + 1)
            pairs[:-step] += newest[step:] + 1
            ranks.append(np.unique(pairs, return_inverse=True)[1].astype(np.int32))

    def _reaches(self) -> NDArray[np.intp]:
        """Return, per position, the longest run from there that the other text contains.

        Sorted by what follows them, the other text's position that shares most is the
        nearest before or after.
        """
        size = len(self._text)
        order = np.argsort(self._ranks[-1], kind="stable")
        in_a = order < self._b_offset
        place = np.arange(size)
        reach = np.zeros(size, dtype=np.intp)
        for side in (in_a, ~in_a):
            before = np.maximum.accumulate(np.where(side, -1, place))
            after = np.minimum.accumulate(np.where(side, size, place)[::-1])[::-1]
            for nearest in (before, after):
                has = np.flatnonzero(side & (nearest >= 0) & (nearest < size))
                here = order[has]
                shared = self._shared(here, order[nearest[has]])
                reach[here] = np.maximum(reach[here], shared)
        return reach

    def _shared(self, x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return how many words from x on equal those from y on."""
        length = np.zeros(len(x), dtype=np.intp)
        for power in range(len(self._ranks) - 1, -1, -1):
            ranks = self._ranks[power]
            length += (ranks[x + length] == ranks[y + length]).astype(np.intp) << power
        return length


def _any_common(x: NDArray[np.integer], y: NDArray[np.integer]) -> bool:
    return bool(np.isin(x, y).any())
