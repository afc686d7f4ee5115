"""What a pair's generations give back of a book, counted in one pass over their text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import BookError, RecordsError, SettingsError
from pytest_memleak.records import Generation, Span
from pytest_memleak.scoring.distinct import Distinct, Packing, distinct
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.matches import Matches, match_all
from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.trimming import Trimming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.index import Positions

__all__ = ["Counted", "OwnRun", "Tally", "tallied"]

# Generations that `match_all` may give out together need a number each.
_LEAST_NUMBER_BITS = 13

_PIECES_TOGETHER = 1 << 17


class OwnRun(NamedTuple):
    """A run with the own excerpt: the words [start, end) in generation `ordinal`."""

    start: int
    end: int
    ordinal: int

    @property
    def words(self) -> int:
        """Its length."""
        return self.end - self.start


@dataclass(slots=True)
class Counted:
    """What was counted of some generations; small beside them, so that it travels well.

    Intervals of the book are kept as distinct numbers, with the round or the excerpt in front.

    generations: how many were counted
    rounds:      n, one more than the last ordinal
    own_lengths: how many runs with the own excerpt there are of each length
    longest:     the longest such run; the first of equals, by excerpt, generation, start
    seen:        per excerpt id, the ordinals of its generations
    pieces:      round, start, end of memorized pieces
    matches:     excerpt, start, end of matches, untrimmed
    over:        end, start, round of runs with the own excerpt over T words
    """

    generations: int = 0
    rounds: int = 0
    own_lengths: Counter[int] = field(default_factory=Counter)
    longest: OwnRun | None = None
    seen: dict[str, set[int]] = field(default_factory=dict)
    pieces: Distinct = field(default_factory=Distinct)
    matches: Distinct = field(default_factory=Distinct)
    over: Distinct = field(default_factory=Distinct)


class Tally:
    """Counts matches; what is counted may be looked at, and added to another's, at any time.

    index:   of the book
    counted: of the generations so far
    """

    def __init__(self, book: Book, scoring: Scoring) -> None:
        """Raises SettingsError for settings out of range, BookError where `Index` does."""
        _check(scoring)
        self.index = Index(book, k=scoring.k, mode=scoring.words)
        self.counted = Counted()
        self._book = book
        self._threshold = scoring.span_threshold
        self._trimming = Trimming(
            book, self.index, [one.instruction for one in book.excerpts], trim=scoring.trim
        )
        bounds = np.array(list(self.index.bounds.values()), dtype=np.intp)
        self._excerpt_start, self._excerpt_end = bounds.T
        bits = self.index.total.bit_length()
        self._packing = Packing(bits, bits)
        self._packing_by_end = Packing(bits, self._packing.high)
        if self._packing.high < _LEAST_NUMBER_BITS:
            raise BookError(
                f"it has {self.index.total:,} words: too many",
                place=f"book {book.id!r}",
                hint="measure it in parts",
            )

    def add(self, generations: Iterable[Generation]) -> None:
        """Match generations and count what they give back.

        Raises RecordsError for one that belongs to none of the book's excerpts, comes twice, or
        has an ordinal that is below 0 or too large.
        """
        owners: list[tuple[int, int]] = []
        first = 0  # the number of the text that owners[0] is of
        for found in match_all(self.index, self._coded(generations, owners)):
            excerpt, ordinal = np.array(owners, dtype=np.intp).reshape(-1, 2).T
            self._count(found._replace(text=found.text - first), excerpt, ordinal)
            first += len(owners)
            owners.clear()

    def add_counted(self, other: Counted) -> None:
        """Add what a tally of the same book and settings has counted of other generations.

        Raises RecordsError for a generation that is counted here too.
        """
        mine = self.counted
        for excerpt_id, ordinals in other.seen.items():
            seen = mine.seen.setdefault(excerpt_id, set())
            if twice := seen & ordinals:
                raise self._refusal(Generation(excerpt_id, min(twice), ""))
            seen |= ordinals
        mine.generations += other.generations
        mine.rounds = max(mine.rounds, other.rounds)
        mine.own_lengths.update(other.own_lengths)
        mine.pieces.update(other.pieces)
        mine.matches.update(other.matches)
        mine.over.update(other.over)
        if other.longest:
            self._note_longest([other.longest])

    def rounds(self) -> Rounds:
        """What the memorized pieces of each round cover."""
        packed = self.counted.pieces.ascending()
        parts = []
        begin = 0
        while begin < len(packed):  # some rounds at a time: all of them would take much memory
            last = packed[begin : begin + _PIECES_TOGETHER][-1:]
            end = int(packed.searchsorted(self._packing.greatest_alike(last), side="right")[0])
            parts.append(Rounds.joined(*self._packing.unpack(packed[begin:end])))
            begin = end
        return Rounds.together(parts)

    def pieces(self) -> tuple[Positions, Positions]:
        """Start and end of each distinct memorized piece, of any round, ascending."""
        packed = distinct(self._packing.without_high(self.counted.pieces.ascending()))
        _, start, end = self._packing.unpack(packed)
        return start, end

    def matches(self) -> tuple[Positions, Positions, Positions]:
        """Excerpt (by place), start and end of each distinct match, untrimmed, ascending."""
        return self._packing.unpack(self.counted.matches.ascending())

    def runs_over(self) -> list[OwnRun]:
        """For each end of own runs over T words, the longest; of equals that of the first round."""
        end, start, ordinal = self._packing_by_end.unpack(self.counted.over.ascending())
        first = np.flatnonzero(np.diff(end, prepend=-1))
        columns = (start[first].tolist(), end[first].tolist(), ordinal[first].tolist())
        return list(map(OwnRun, *columns))

    def span(self, run: OwnRun | None) -> Span:
        """The run as records have it, with the id of its excerpt; None is the empty one."""
        if run is None:
            return Span(0)
        excerpt_id = self._book.excerpts[self._place_of(run)].id
        return Span(run.words, run.start, run.end, excerpt_id, run.ordinal)

    # --- counting --------------------------------------------------------------------------

    def _coded(
        self, generations: Iterable[Generation], owners: list[tuple[int, int]]
    ) -> Iterator[str]:
        """The generations' texts, coded; their excerpts and ordinals are put down."""
        order, code_text = self.index.order, self.index.code_text
        known = range(1 << self._packing.high)
        for one in generations:
            seen = self.counted.seen.setdefault(one.excerpt_id, set())
            if one.excerpt_id not in order or one.ordinal in seen or one.ordinal not in known:
                raise self._refusal(one)
            seen.add(one.ordinal)
            self.counted.generations += 1
            self.counted.rounds = max(self.counted.rounds, one.ordinal + 1)
            owners.append((order[one.excerpt_id], one.ordinal))
            yield code_text(one.text)

    def _count(self, found: Matches, excerpt: Positions, ordinal: Positions) -> None:
        """Count the matches of texts for the `excerpt`, round `ordinal`, of each."""
        text, start, end = found
        its_excerpt = excerpt[text]
        self.counted.matches.add(self._packing.pack(its_excerpt, start, end))
        left = self._trimming.pieces(its_excerpt, start, end)
        self.counted.pieces.add(self._packing.pack(ordinal[text[left.of]], left.start, left.end))
        inside = np.minimum(end, self._excerpt_end[its_excerpt])
        inside -= np.maximum(start, self._excerpt_start[its_excerpt])
        own = distinct(
            self._packing.pack(*found.where(inside >= self.index.k))
        )  # a match counts once
        if len(own):
            self._count_own(Matches(*self._packing.unpack(own)), excerpt, ordinal)

    def _count_own(self, found: Matches, excerpt: Positions, ordinal: Positions) -> None:
        """Count the parts of these matches that lie in the own excerpt."""
        its_excerpt, its_round = excerpt[found.text], ordinal[found.text]
        start = np.maximum(found.start, self._excerpt_start[its_excerpt])
        end = np.minimum(found.end, self._excerpt_end[its_excerpt])
        length = end - start
        self.counted.own_lengths.update(length.tolist())
        over = length > self._threshold
        self.counted.over.add(self._packing_by_end.pack(end[over], start[over], its_round[over]))
        longest = self.counted.longest
        if (most := int(length.max())) >= (longest.words if longest else 0):
            row = np.flatnonzero(length == most)
            columns = (start[row].tolist(), end[row].tolist(), its_round[row].tolist())
            self._note_longest(map(OwnRun, *columns))

    def _note_longest(self, runs: Iterable[OwnRun]) -> None:
        known = filter(None, (self.counted.longest, *runs))
        self.counted.longest = min(known, key=self._rank)

    def _rank(self, run: OwnRun) -> tuple[int, ...]:
        return -run.words, self._place_of(run), run.ordinal, run.start

    def _place_of(self, run: OwnRun) -> int:
        return int(self._excerpt_end.searchsorted(run.start, side="right"))

    def _refusal(self, one: Generation) -> RecordsError:
        place = f"book {self._book.id!r}"
        if one.excerpt_id not in self.index.order:
            return RecordsError(
                f"a generation is for the excerpt {one.excerpt_id!r}, which the book does not have",
                place=place,
                hint="score generations against the book they were prompted with",
            )
        if one.ordinal in self.counted.seen[one.excerpt_id]:
            return RecordsError(
                f"generation {one.ordinal} of excerpt {one.excerpt_id!r} comes twice", place=place
            )
        return RecordsError(
            f"a generation of excerpt {one.excerpt_id!r} has the ordinal {one.ordinal}; expected "
            f"0 to {(1 << self._packing.high) - 1}",
            place=place,
            hint="number the generations of every excerpt from 0",
        )


def tallied(book: Book, scoring: Scoring, generations: Iterable[Generation]) -> Tally:
    """The generations, counted here and now. Raises what `Tally` and `Tally.add` raise."""
    tally = Tally(book, scoring)
    tally.add(generations)
    return tally


def _check(scoring: Scoring) -> None:
    for name, value, least in (
        ("k", scoring.k, 1),
        ("trim", scoring.trim, 0),
        ("span_threshold", scoring.span_threshold, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingsError(f"{name} must be a whole number of at least {least}, not {value!r}")
    if scoring.words not in ("paper", "unicode"):
        raise SettingsError(f"words must be 'paper' or 'unicode', not {scoring.words!r}")
