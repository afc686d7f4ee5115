"""Generation tally: what a pair's generations reproduce, counted in one pass over their text."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import BookError, RecordsError, SettingsError, UnknownExcerpt
from pytest_memleak.records import Generation, Origin, Span
from pytest_memleak.scoring.intervals import (
    Distinct,
    Packing,
    distinct,
    distinct_passages,
)
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.passage_tally import PassageTally, Prompted
from pytest_memleak.scoring.prompt_trimming import (
    PromptWords,
    in_prompt,
    outside_prompt,
)
from pytest_memleak.scoring.protected_passages import PassageCounts, Protected
from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.text_batches import in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.intervals import Numbers, Positions
    from pytest_memleak.scoring.protected_passages import ProtectedPassages
    from pytest_memleak.scoring.text_batches import Batch

    Count = Callable[..., "Tally"]

# Bits that remain for a round or an excerpt.
_LEAST_NUMBER_BITS = 13

_PIECES_TOGETHER = 1 << 17


class _Matches(NamedTuple):
    """Matches of texts with the book's words [start, end)."""

    text: Positions
    start: Positions
    end: Positions

    def where(self, chosen: NDArray[np.bool_]) -> _Matches:
        return _Matches(*(column[chosen] for column in self))


class OwnRun(NamedTuple):
    """A run with the prompted excerpt: the words [start, end) in generation `ordinal`."""

    start: int
    end: int
    ordinal: int

    @property
    def words(self) -> int:
        """Return its length."""
        return self.end - self.start


@dataclass(slots=True)
class TallyResult:
    """The counts of some generations; small, so that they travel well between processes.

    Intervals of the book are stored as distinct numbers, led by the round or the
    excerpt.

    generations: number of sampled generations; others count for `passages` only
    rounds:      n, one more than the last ordinal
    own_lengths: number of runs with the prompted excerpt, per length
    longest:     the longest such run; the first of equals, by excerpt, generation,
    start
    seen:        per excerpt id, the ordinals of its generations
    generation_rows: excerpt (by number), round, covered words and longest run with the
    prompted
                 excerpt, for each generation that has either; shape (m, 4) each
    covered:     round, start, end of what memorized pieces of one generation cover
    together
    matches:     excerpt, start, end of matches, untrimmed
    cut:         those of them with words in the instruction
    rest:        0, start, end of the memorized pieces of these
    own:         end, start, round of runs with the prompted excerpt
    passages:    of all protected books
    """

    generations: int = 0
    rounds: int = 0
    own_lengths: Counter[int] = field(default_factory=Counter)
    longest: OwnRun | None = None
    seen: dict[str, set[int]] = field(default_factory=dict)
    generation_rows: list[NDArray[np.intp]] = field(default_factory=list)
    covered: Distinct = field(default_factory=Distinct)
    matches: Distinct = field(default_factory=Distinct)
    cut: Distinct = field(default_factory=Distinct)
    rest: Distinct = field(default_factory=Distinct)
    own: Distinct = field(default_factory=Distinct)
    passages: PassageCounts = field(default_factory=PassageCounts)


class Tally:
    """A counter of matches; its counts can be read, or added to another's, at any time.

    layout:  the excerpts of the book among its words
    counted: the counts so far
    scoring: its settings
    """

    def __init__(
        self,
        book: Book,
        scoring: Scoring,
        *,
        protected: Protected | None = None,
        passages: bool = True,
    ) -> None:
        """Count generations that were prompted with excerpts of `book`.

        protected: the run's books and their index, `book` the measured one; without it,
        an index of `book` alone is built. passages: whether to find them, too.

        Raises SettingsError for settings out of range and for an index with other
        settings or with another book of that id, BookError for a book that cannot be
        measured.
        """
        validate_scoring(scoring)
        if protected is None:
            index = SharedIndex([book], k=scoring.k, mode=scoring.word_mode)
            protected = Protected(index, book.id, (book.id,))
        self._index = protected.index
        self._measured = self._index.numbers[protected.measured]
        self.layout = self._index.books[self._measured].layout
        _check_index(book, scoring, protected)
        self.counted = TallyResult()
        self._book = book
        self.scoring = scoring
        instructions = [excerpt.instruction or "" for excerpt in book.excerpts]
        self._prompt_words = PromptWords(
            self._index.instructions(instructions, folded=False), trim=scoring.trim
        )
        self._passages = PassageTally(book, protected, scoring) if passages else None
        bounds = np.array(list(self.layout.bounds.values()), dtype=np.intp)
        self._excerpt_start, self._excerpt_end = bounds.T
        bits = self.layout.total.bit_length()
        self._packing = Packing(bits, bits)
        self._packing_by_end = Packing(bits, self._packing.high)
        if self._packing.high < _LEAST_NUMBER_BITS:
            raise BookError(
                f"it has {self.layout.total:,} words, which is too many",
                location=f"book {book.id!r}",
                hint="measure it in parts",
            )

    def add(self, generations: Iterable[Generation | Batch]) -> None:
        """Match generations and count what they reproduce.

        Raises RecordsError for one that belongs to none of the book's excerpts, is a
        duplicate, or has an ordinal that is below 0 or too large.
        """
        for batch in in_batches(generations):
            self._note(batch.generations)
            self._count(batch)

    def add_counted(self, other: TallyResult) -> None:
        """Add the counts of other generations by a tally of the same book and settings.

        Raises RecordsError for a generation that is counted here too.
        """
        counted = self.counted
        for excerpt_id, ordinals in other.seen.items():
            seen = counted.seen.setdefault(excerpt_id, set())
            if duplicates := seen & ordinals:
                raise self._error_for(Generation(excerpt_id, min(duplicates), ""))
            seen |= ordinals
        counted.generations += other.generations
        counted.rounds = max(counted.rounds, other.rounds)
        counted.own_lengths.update(other.own_lengths)
        counted.generation_rows += other.generation_rows
        for name in ("covered", "matches", "cut", "rest", "own"):
            getattr(counted, name).update(getattr(other, name))
        counted.passages.add(other.passages)
        if other.longest:
            self._note_longest([other.longest])

    def rounds(self) -> Rounds:
        """Return the words that the memorized pieces of each round cover."""
        packed = self.counted.covered.ascending()
        parts = []
        begin = 0
        while begin < len(packed):  # in parts, to save memory
            last = packed[begin : begin + _PIECES_TOGETHER][-1:]
            end = int(
                packed.searchsorted(self._packing.greatest_alike(last), side="right")[0]
            )
            parts.append(Rounds.joined(*self._packing.unpack(packed[begin:end])))
            begin = end
        return Rounds.together(parts)

    def covered_by_excerpt(self) -> NDArray[np.int64]:
        """Return how many words each excerpt's generation of each round covers; shape (E, n)."""
        covered = np.zeros(
            (len(self.layout.bounds), self.counted.rounds), dtype=np.int64
        )
        excerpt, ordinal, words, _ = self._rows()
        covered[excerpt, ordinal] = words
        return covered

    def longest_by_round(self) -> NDArray[np.intp]:
        """Return the longest run with its prompted excerpt in each round; shape (n,)."""
        longest = np.zeros(self.counted.rounds, dtype=np.intp)
        _, ordinal, _, words = self._rows()
        np.maximum.at(longest, ordinal, words)
        return longest

    def longest_by_excerpt(self) -> NDArray[np.intp]:
        """Return the longest run with each prompted excerpt in its generations; shape (E,)."""
        longest = np.zeros(len(self.layout.bounds), dtype=np.intp)
        excerpt, _, _, words = self._rows()
        np.maximum.at(longest, excerpt, words)
        return longest

    def _rows(self) -> NDArray[np.intp]:
        """Return the columns of `TallyResult.generation_rows`; shape (4, m)."""
        return np.concatenate(
            [np.empty((0, 4), dtype=np.intp), *self.counted.generation_rows]
        ).T

    def over_by_round(self, *, over: int) -> NDArray[np.intp]:
        """Return how many spans of over `over` words, at least T, each round has; shape (n,).

        Each round counts alone, as if there were no other.
        """
        end, start, ordinal = self._own_over(over)
        shift = ordinal * self.layout.total
        start, end = start + shift, end + shift
        order = np.argsort(
            (self.layout.total + 1) * end - (end - start)
        )  # by end, longest first
        start, end = start[order], end[order]
        first = np.diff(end, prepend=-1) != 0
        begins, _, _ = distinct_passages(start[first], end[first], over=over)
        return np.bincount(begins // self.layout.total, minlength=self.counted.rounds)

    def pieces(self) -> tuple[Positions, Positions]:
        """Return start and end of each distinct memorized piece, of any round, ascending."""
        # What the instruction cuts from a match depends on its words and its excerpt
        # alone.
        matches, cut = self.counted.matches.ascending(), self.counted.cut.ascending()
        whole = self._packing.without_high(
            matches[~np.isin(matches, cut, assume_unique=True)]
        )
        packed = distinct(np.concatenate((whole, self.counted.rest.ascending())))
        _, start, end = self._packing.unpack(packed)
        return start, end

    def matches(self) -> tuple[Positions, Positions, Positions]:
        """Return excerpt (by number), start and end of each distinct untrimmed match, ascending."""
        return self._packing.unpack(self.counted.matches.ascending())

    def runs_over(self) -> tuple[Positions, Positions, Positions]:
        """Return start, end and round of the longest own run over T words with each end."""
        end, start, ordinal = self._own_over(self.scoring.effective_threshold)
        first = np.flatnonzero(np.diff(end, prepend=-1))
        return start[first], end[first], ordinal[first]

    def own_rounds(self) -> Rounds:
        """Return the words of their prompted excerpts that runs of each round cover, untrimmed."""
        end, start, ordinal = self._own_over(0)
        return Rounds.joined(ordinal, start, end)

    def _own_over(self, over: int) -> tuple[Positions, Positions, Positions]:
        """Return end, start and round of each distinct own run over `over` words, ascending."""
        end, start, ordinal = self._packing_by_end.unpack(self.counted.own.ascending())
        longer = end - start > over
        return end[longer], start[longer], ordinal[longer]

    def span(self, run: OwnRun | None) -> Span:
        """Return the run as a record, with the id of its excerpt; None is the empty one."""
        if run is None:
            return Span(0)
        excerpt_id = self.layout.excerpt_at(run.start)
        return Span(run.words, run.start, run.end, excerpt_id, run.ordinal)

    def passages(self) -> ProtectedPassages | None:
        """Return the passages of all protected books; None if they weren't sought."""
        if self._passages is None:
            return None
        return self._passages.passages(
            self.counted.passages, rounds=self.counted.rounds
        )

    def most_passage_words(self, *, near: bool) -> int:
        """Return the most words of a passage, folded ones if `near`; 0 if none is sought."""
        return self._passages.most_words(near=near) if self._passages else 0

    def _note(self, generations: Sequence[Generation]) -> None:
        """Record the ordinals of the sampled ones."""
        order = self.layout.order
        ordinals = range(1 << self._packing.high)
        for generation in generations:
            sampled = generation.origin is Origin.SAMPLED
            seen = (
                self.counted.seen.setdefault(generation.excerpt_id, set())
                if sampled
                else set()
            )
            if (
                generation.excerpt_id not in order
                or generation.ordinal in seen
                or generation.ordinal not in ordinals
            ):
                raise self._error_for(generation)
            if sampled:
                seen.add(generation.ordinal)
                self.counted.generations += 1
                self.counted.rounds = max(self.counted.rounds, generation.ordinal + 1)

    def _count(self, batch: Batch) -> None:
        """Count the matches of some generations' texts."""
        generations, words = batch
        excerpt = np.array(
            [self.layout.order[generation.excerpt_id] for generation in generations],
            dtype=np.intp,
        )
        ordinal = np.array(
            [generation.ordinal for generation in generations], dtype=np.intp
        )
        shared = self._index.matches(
            [generation.text for generation in generations],
            words,
            near=self._passages is not None,
        )
        prompt_ranges = self._prompt_words.ranges(shared.exact, excerpt)
        if self._passages:
            texts = Prompted(excerpt, ordinal, generations[0].origin)
            self._passages.count(self.counted.passages, shared, prompt_ranges, texts)
        if generations[0].origin is not Origin.SAMPLED:
            return
        matches = shared.matches
        if len(self._index.books) > 1:
            matches = matches.where(matches.book == self._measured)
        place, place_end = matches.place, matches.place + matches.words
        packed = self._packing.pack(matches.text, matches.start, matches.end)
        cut = in_prompt(place, place_end, prompt_ranges, trim=self.scoring.trim)
        whole, touched = distinct(packed[~cut]), distinct(packed[cut])
        left = outside_prompt(
            place[cut],
            place_end[cut],
            prompt_ranges,
            trim=self.scoring.trim,
            keep=self.scoring.k,
        )
        text, ahead = matches.text[cut][left.of], (matches.start - place)[cut][left.of]
        rest = self._packing.pack(text, left.start + ahead, left.end + ahead)
        pieces = np.concatenate((whole, rest))
        pieces.sort(kind="stable")
        covered = Rounds.joined(*self._packing.unpack(pieces))
        self.counted.covered.add(
            self._packing.pack(ordinal[covered.round], covered.start, covered.end)
        )
        self.counted.rest.add(self._packing.without_high(rest))
        self.counted.cut.add(self._by_excerpt(touched, excerpt))
        untrimmed = np.concatenate((whole, touched))
        self.counted.matches.add(self._by_excerpt(untrimmed, excerpt))
        own = self._own_parts(untrimmed, excerpt)
        rows = np.zeros((len(generations), 4), dtype=np.intp)
        rows[:, 0], rows[:, 1] = excerpt, ordinal
        np.add.at(rows[:, 2], covered.round, covered.end - covered.start)
        np.maximum.at(rows[:, 3], own.text, own.end - own.start)
        self.counted.generation_rows.append(rows[rows[:, 2:].any(axis=1)])
        if len(own.text):
            self._count_own(own, ordinal[own.text])

    def _by_excerpt(self, packed: Numbers, excerpt: Positions) -> Numbers:
        """Replace the number of the text by that of the excerpt that prompted it."""
        text, start, end = self._packing.unpack(packed)
        return self._packing.pack(excerpt[text], start, end)

    def _own_parts(self, packed: Numbers, excerpt: Positions) -> _Matches:
        """Return the parts of the matches that lie in the prompted excerpt, from k words."""
        text, start, end = self._packing.unpack(packed)
        start = np.maximum(start, self._excerpt_start[excerpt[text]])
        end = np.minimum(end, self._excerpt_end[excerpt[text]])
        return _Matches(text, start, end).where(end - start >= self.scoring.k)

    def _count_own(self, own: _Matches, rounds: Positions) -> None:
        """Count parts of matches that lie in the prompted excerpt, each with its round."""
        start, end = own.start, own.end
        length = end - start
        lengths = np.bincount(length)
        present = np.flatnonzero(lengths)
        self.counted.own_lengths.update(
            dict(zip(present.tolist(), lengths[present].tolist(), strict=True))
        )
        self.counted.own.add(self._packing_by_end.pack(end, start, rounds))
        longest = self.counted.longest
        if (most := int(length.max())) >= (longest.words if longest else 0):
            row = np.flatnonzero(length == most)
            columns = (start[row].tolist(), end[row].tolist(), rounds[row].tolist())
            self._note_longest(map(OwnRun, *columns))

    def _note_longest(self, runs: Iterable[OwnRun]) -> None:
        candidates = filter(None, (self.counted.longest, *runs))
        self.counted.longest = min(candidates, key=self._rank)

    def _rank(self, run: OwnRun) -> tuple[int, ...]:
        excerpt = bisect_right(self.layout.ends, run.start)
        return -run.words, excerpt, run.ordinal, run.start

    def _error_for(self, generation: Generation) -> RecordsError:
        if generation.excerpt_id not in self.layout.order:
            return UnknownExcerpt(generation.excerpt_id, book_id=self._book.id)
        place = f"book {self._book.id!r}"
        if generation.ordinal in self.counted.seen.get(generation.excerpt_id, ()):
            return RecordsError(
                f"generation {generation.ordinal} of excerpt {generation.excerpt_id!r} "
                "appears twice",
                location=place,
            )
        return RecordsError(
            f"a generation of excerpt {generation.excerpt_id!r} has the ordinal "
            f"{generation.ordinal}; expected 0 to {(1 << self._packing.high) - 1}",
            location=place,
            hint="number the generations of every excerpt from 0",
        )


def tally_generations(
    book: Book,
    scoring: Scoring,
    generations: Iterable[Generation | Batch],
    *,
    protected: Protected | None = None,
    passages: bool = True,
) -> Tally:
    """Count the generations in this process. Raises what `Tally` and `Tally.add` raise."""
    tally = Tally(book, scoring, protected=protected, passages=passages)
    tally.add(generations)
    return tally


def validate_scoring(scoring: Scoring) -> None:
    """Raise SettingsError for settings out of range."""
    for name, value, least in (
        ("k", scoring.k, 1),
        ("trim", scoring.trim, 0),
        ("span_threshold", scoring.span_threshold, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingsError(
                f"{name} must be a whole number of at least {least}, not {value!r}"
            )
    if scoring.word_mode not in ("paper", "unicode"):
        raise SettingsError(
            f"word_mode must be 'paper' or 'unicode', not {scoring.word_mode!r}"
        )


def _check_index(book: Book, scoring: Scoring, protected: Protected) -> None:
    index = protected.index
    if (index.k, index.mode) != (scoring.k, scoring.word_mode):
        raise SettingsError(
            f"the index has k = {index.k} and word_mode = {index.mode!r}, "
            f"but the settings have k = {scoring.k} and word_mode = "
            f"{scoring.word_mode!r}",
            location=f"book {book.id!r}",
        )
    layout = index.books[index.numbers[protected.measured]].layout
    if list(layout.bounds) != [excerpt.id for excerpt in book.excerpts]:
        raise SettingsError(
            f"book {protected.measured!r} in the index has different excerpts",
            hint="build the index from the measured book",
        )
