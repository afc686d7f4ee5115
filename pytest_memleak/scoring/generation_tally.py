"""Generation tally: counts of what a pair's generations reproduce, in one pass.

A *match* is a run of words that a generation shares with the book. The tally keeps, as
sets of packed numbers:

matches: every match, untrimmed, with its prompted excerpt
pieces:  what remains of each match without the words that its instruction contains
own runs: the part of each match that lies in the prompted excerpt, untrimmed
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.errors import BookError, RecordsError, SettingsError, UnknownExcerpt
from pytest_memleak.records import Generation, Origin, Span
from pytest_memleak.scoring.distinct_spans import distinct_spans
from pytest_memleak.scoring.excused_words import layout_of_remaining
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.passage_tally import PassageTally, Prompted
from pytest_memleak.scoring.prompt_trimming import (
    PromptWords,
    in_prompt,
    outside_prompt,
)
from pytest_memleak.scoring.protected_passages import BestPassages, Protected
from pytest_memleak.scoring.rounds import Rounds
from pytest_memleak.scoring.text_batches import in_batches
from pytest_memleak.scoring.word_ranges import Distinct, Packing, distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_memleak.records import Book, Scoring
    from pytest_memleak.scoring.array_types import Counts
    from pytest_memleak.scoring.book_words import BookMatches
    from pytest_memleak.scoring.prompt_trimming import Ranges
    from pytest_memleak.scoring.protected_passages import ProtectedPassages
    from pytest_memleak.scoring.text_batches import Batch
    from pytest_memleak.scoring.word_ranges import (
        Numbers,
        NumbersStartsAndEnds,
        Positions,
        StartsAndEnds,
    )

    StartsAndWords = tuple[Positions, Positions]
    EndsStartsAndRounds = tuple[Positions, Positions, Positions]
    ExcerptsAndRounds = tuple[Positions, Positions]

    Count = Callable[..., "Tally"]

# Bits that remain for a round or an excerpt.
_LEAST_NUMBER_BITS = 13

_PIECES_TOGETHER = 1 << 17


class _OwnRuns(NamedTuple):
    """Parts of matches in the prompted excerpt; shape (runs,) each.

    text:       number of the generation in its batch
    start, end: the book's words [start, end)
    """

    text: Positions
    start: Positions
    end: Positions

    @property
    def words(self) -> Positions:
        return self.end - self.start


class _Pieces(NamedTuple):
    """What the matches of a batch leave, as packed numbers led by the text's.

    whole:   matches that the instruction doesn't touch
    touched: those that it touches, untrimmed
    rest:    what remains of these
    """

    whole: Numbers
    touched: Numbers
    rest: Numbers

    def untrimmed(self) -> Numbers:
        """Return all matches, each once."""
        return np.concatenate((self.whole, self.touched))


class _Rows(NamedTuple):
    """The columns of `TallyResult.generation_rows`; shape (m,) each."""

    excerpt: Positions
    round: Positions
    covered: Positions
    longest: Positions


class LongestRuns(NamedTuple):
    """The longest own run over the threshold that ends at each word where one ends.

    start, end: the book's words [start, end); round: that of its generation
    """

    start: Positions
    end: Positions
    round: Positions


class OwnRun(NamedTuple):
    """An own run: the book's words [start, end), in generation `ordinal`."""

    start: int
    end: int
    ordinal: int

    @property
    def words(self) -> int:
        """Return its length."""
        return self.end - self.start


@dataclass(slots=True)
class TallyResult:
    """The counts of some generations; small, to travel well between processes.

    Intervals of the book are stored as distinct numbers, led by the round or the
    excerpt.

    generations: number of sampled generations; others count for `passages` only
    rounds:      n, one more than the last ordinal
    own_lengths: number of own runs, per length
    longest:     the longest own run; ties: the first by excerpt, generation, start
    seen:        per excerpt id, the ordinals of its generations
    generation_rows: excerpt (by number), round, covered words and longest own run of
                 each generation that has either; shape (m, 4) each
    remaining_rows: the same without excused words, where a text excuses any
    covered:     round, start, end of what the pieces of one generation cover together
    matches:     excerpt, start, end of matches, untrimmed
    cut:         those of them with words in the instruction
    rest:        0, start, end of the pieces of these
    own:         end, start, round of own runs
    passages:    of all protected books
    whole_passages: the same with excused words, where a text excuses any
    """

    generations: int = 0
    rounds: int = 0
    own_lengths: Counter[int] = field(default_factory=Counter)
    longest: OwnRun | None = None
    seen: dict[str, set[int]] = field(default_factory=dict)
    generation_rows: list[Positions] = field(default_factory=list)
    remaining_rows: list[Positions] = field(default_factory=list)
    covered: Distinct = field(default_factory=Distinct)
    matches: Distinct = field(default_factory=Distinct)
    cut: Distinct = field(default_factory=Distinct)
    rest: Distinct = field(default_factory=Distinct)
    own: Distinct = field(default_factory=Distinct)
    passages: BestPassages = field(default_factory=BestPassages)
    whole_passages: BestPassages = field(default_factory=BestPassages)


class Tally:
    """A counter of matches; its counts can be read, or added to another's, at any time.

    layout:  the excerpts of the book among its words
    counted: the counts so far
    scoring: its settings
    remaining: the book's words that no text excuses; None if none is excused
    excused_by: how many of the others each text holds
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
            protected = Protected(
                index=index,
                measured=book.id,
                books=(book.id,),
            )
        self.scoring = scoring
        self.counted = TallyResult()
        self._book = book
        index = protected.index
        self._index = index
        self._measured = index.numbers[protected.measured]
        self.layout = index.books[self._measured].layout.with_prompts(book)
        _validate_index(book, scoring, protected)
        instructions = book.given_texts
        self._prompt_words = PromptWords(
            index.instructions(instructions, folded=False),
            trim=scoring.trim,
        )
        excused = protected.remaining.get(protected.measured)
        self.remaining = excused.exact if excused and excused.exact.excused else None
        self.excused_by = dict(excused.by_text) if excused else {}
        self._passages = self._whole_passages = None
        if passages:
            self._passages = PassageTally(book, protected, scoring)
        if passages and protected.remaining:
            excusing_nothing = replace(protected, remaining={})
            self._whole_passages = PassageTally(book, excusing_nothing, scoring)
        self._excerpt_start = self.layout.starts
        self._excerpt_end = self.layout.ends
        position_bits = self.layout.total.bit_length()
        self._packing = Packing(position_bits, position_bits)
        self._packing_by_end = Packing(position_bits, self._packing.high)
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
            self._note_ordinals(batch.generations)
            self._count_batch(batch)

    def add_counted(self, other: TallyResult) -> None:
        """Add the counts of other generations by a tally of the same book and settings.

        Raises RecordsError for a generation that is counted here too.
        """
        counted = self.counted
        for excerpt_id, ordinals in other.seen.items():
            seen = counted.seen.setdefault(excerpt_id, set())
            duplicates = seen & ordinals
            if duplicates:
                duplicate = Generation(
                    excerpt_id=excerpt_id,
                    ordinal=min(duplicates),
                    text="",
                )
                raise self._error_of_rejected(duplicate)
            seen |= ordinals
        counted.generations += other.generations
        counted.rounds = max(counted.rounds, other.rounds)
        counted.own_lengths.update(other.own_lengths)
        counted.generation_rows += other.generation_rows
        counted.remaining_rows += other.remaining_rows
        counted.covered.update(other.covered)
        counted.matches.update(other.matches)
        counted.cut.update(other.cut)
        counted.rest.update(other.rest)
        counted.own.update(other.own)
        counted.passages.add(other.passages)
        counted.whole_passages.add(other.whole_passages)
        if other.longest:
            self._note_longest_own_run([other.longest])

    def without_excused_words(self) -> Tally | None:
        """Return the counts among the words that remain; None if none is excused.

        They have no matches, only pieces and own runs.
        """
        remaining = self.remaining
        if remaining is None:
            return None
        tally = copy(self)
        tally.remaining = None
        tally.layout = layout_of_remaining(self.layout, remaining)
        tally.counted = counted = TallyResult(
            generations=self.counted.generations,
            rounds=self.counted.rounds,
            seen=self.counted.seen,
            generation_rows=self.counted.remaining_rows,
        )
        covered = self.rounds()
        columns = remaining.renumbered_intervals(
            covered.start, covered.end, covered.round
        )
        start, end, round_ = columns
        counted.covered.add(self._packing.pack(round_, start, end))
        start, end = remaining.renumbered_intervals(*self.pieces())
        counted.rest.add(self._packing.pack(np.zeros_like(start), start, end))
        end, start, round_ = self._own_runs_over(0)
        start, end, round_ = remaining.renumbered_intervals(start, end, round_)
        counted.own.add(self._packing_by_end.pack(end, start, round_))
        words = end - start
        is_longest = words == words.max(initial=0)
        rows = np.stack((start, end, round_), axis=1)[is_longest]
        runs = [OwnRun(*row) for row in rows.tolist()]
        counted.longest = min(runs, key=tally._rank_by_length, default=None)  # noqa: SLF001 - its own
        return tally

    def rounds(self) -> Rounds:
        """Return the words that the pieces of each round cover."""
        packed = self.counted.covered.ascending()
        parts = []
        begin = 0
        while begin < len(packed):  # in parts, to save memory
            end = self._end_of_round(packed, begin + _PIECES_TOGETHER)
            columns = self._packing.unpack(packed[begin:end])
            parts.append(Rounds.of_intervals(*columns))
            begin = end
        return Rounds.concatenated(parts)

    def _end_of_round(self, packed: Numbers, count: int) -> int:
        """Return where the round that holds the last of `count` numbers ends."""
        last = packed[:count][-1:]
        greatest_of_round = self._packing.greatest_alike(last)
        behind = packed.searchsorted(greatest_of_round, side="right")
        return int(behind[0])

    def covered_by_excerpt(self) -> Counts:
        """Return the words that each generation covers, by excerpt and round.

        Shape (E, n).
        """
        shape = (len(self.layout.ids), self.counted.rounds)
        covered = np.zeros(shape, dtype=np.int64)
        rows = self._rows()
        covered[rows.excerpt, rows.round] = rows.covered
        return covered

    def longest_own_run_by_round(self) -> Positions:
        """Return the words of each round's longest own run; shape (n,)."""
        longest = np.zeros(self.counted.rounds, dtype=np.intp)
        rows = self._rows()
        np.maximum.at(longest, rows.round, rows.longest)
        return longest

    def longest_own_run_by_excerpt(self) -> Positions:
        """Return the words of each excerpt's longest own run; shape (E,)."""
        excerpts = len(self.layout.ids)
        longest = np.zeros(excerpts, dtype=np.intp)
        rows = self._rows()
        np.maximum.at(longest, rows.excerpt, rows.longest)
        return longest

    def _rows(self) -> _Rows:
        no_rows = np.empty((0, 4), dtype=np.intp)
        rows = np.concatenate([no_rows, *self.counted.generation_rows])
        return _Rows(*rows.T)

    def spans_by_round(self) -> Positions:
        """Return each round's number of distinct spans over the threshold; (n,).

        Each round counts alone, as if there were no other.
        """
        over = self.scoring.effective_threshold
        end, start, ordinal = self._own_runs_over(over)
        # Rounds are laid end to end, so that one pass counts all.
        total = self.layout.total
        offset = ordinal * total
        start = offset + start
        end = offset + end
        words = end - start
        end_then_minus_words = (total + 1) * end - words
        by_end_then_longest = np.argsort(end_then_minus_words)
        start = start[by_end_then_longest]
        end = end[by_end_then_longest]
        is_longest = np.diff(end, prepend=-1) != 0
        span_start, _, _ = distinct_spans(
            start[is_longest],
            end[is_longest],
            over=over,
        )
        round_of_span = span_start // total
        return np.bincount(round_of_span, minlength=self.counted.rounds)

    def pieces(self) -> StartsAndEnds:
        """Return start and end of each distinct piece, of any round, ascending.

        What the instruction cuts from a match depends on the match's words and its
        excerpt alone.
        """
        matches = self.counted.matches.ascending()
        cut = self.counted.cut.ascending()
        rest = self.counted.rest.ascending()
        is_cut = np.isin(matches, cut, assume_unique=True)
        whole = self._packing.without_high(matches[~is_cut])
        pieces = np.concatenate((whole, rest))
        _, start, end = self._packing.unpack(distinct(pieces))
        return start, end

    def matches(self) -> NumbersStartsAndEnds:
        """Return excerpt (number), start and end of each distinct match, ascending."""
        packed = self.counted.matches.ascending()
        return self._packing.unpack(packed)

    def longest_runs_by_end(self) -> LongestRuns:
        """Return the longest own run over the threshold that ends at each word."""
        over = self.scoring.effective_threshold
        end, start, ordinal = self._own_runs_over(over)
        is_first_of_end = np.diff(end, prepend=-1) != 0
        return LongestRuns(
            start=start[is_first_of_end],
            end=end[is_first_of_end],
            round=ordinal[is_first_of_end],
        )

    def own_runs(self) -> StartsAndWords:
        """Return start and words of the own runs of all rounds."""
        end, start, _ = self._own_runs_over(0)
        return start, end - start

    def own_rounds(self) -> Rounds:
        """Return the words that own runs of each round cover, untrimmed."""
        end, start, ordinal = self._own_runs_over(0)
        return Rounds.of_intervals(ordinal, start, end)

    def _own_runs_over(self, over: int) -> EndsStartsAndRounds:
        """Return end, start and round of each distinct own run over `over` words.

        Ascending by end, then start.
        """
        packed = self.counted.own.ascending()
        end, start, ordinal = self._packing_by_end.unpack(packed)
        is_longer = end - start > over
        return end[is_longer], start[is_longer], ordinal[is_longer]

    def span(self, run: OwnRun | None) -> Span:
        """Return the run as a record, with its excerpt's id; the empty one for None."""
        if run is None:
            return Span(0)
        return Span(
            words=run.words,
            start=run.start,
            end=run.end,
            excerpt_id=self.layout.excerpt_at(run.start),
            generation=run.ordinal,
        )

    def passages(self) -> ProtectedPassages | None:
        """Return the passages of all protected books; None if they weren't sought."""
        if self._passages is None:
            return None
        rounds = self.counted.rounds
        passages = self._passages.describe_passages(
            self.counted.passages, rounds=rounds
        )
        if self._whole_passages is None:
            return passages
        whole = self._whole_passages.describe_passages(
            self.counted.whole_passages,
            rounds=rounds,
        )
        # Of a chain that a text holds, too few words may remain for a passage.
        return replace(
            passages,
            nv_excused=whole.nv_excused,
            whole=whole.measures(),
        )

    def most_passage_words(self, *, near: bool) -> int:
        """Return the most words of a passage, folded if `near`; 0 if none is sought."""
        if self._passages is None:
            return 0
        return self._passages.words_of_longest_book(near=near)

    def _note_ordinals(self, generations: Sequence[Generation]) -> None:
        """Record the ordinals of the sampled ones."""
        counted = self.counted
        for generation in generations:
            if generation.excerpt_id not in self.layout.order:
                raise self._error_of_rejected(generation)
            if not 0 <= generation.ordinal <= self._greatest_ordinal:
                raise self._error_of_rejected(generation)
            if generation.origin is not Origin.SAMPLED:
                continue
            seen = counted.seen.setdefault(generation.excerpt_id, set())
            if generation.ordinal in seen:
                raise self._error_of_rejected(generation)
            seen.add(generation.ordinal)
            counted.generations += 1
            counted.rounds = max(counted.rounds, generation.ordinal + 1)

    def _count_batch(self, batch: Batch) -> None:
        """Count the matches of the generations of one origin."""
        generations, words = batch
        origin = generations[0].origin
        order = self.layout.order
        excerpts = [order[generation.excerpt_id] for generation in generations]
        ordinals = [generation.ordinal for generation in generations]
        texts = [generation.text for generation in generations]
        excerpt = np.array(excerpts, dtype=np.intp)
        ordinal = np.array(ordinals, dtype=np.intp)
        shared = self._index.matches(
            texts,
            words,
            near=self._passages is not None,
        )
        prompt_ranges = self._prompt_words.ranges(shared.exact, excerpt)
        prompted = Prompted(excerpt, ordinal, origin)
        if self._passages:
            counts = self.counted.passages
            self._passages.count(counts, shared, prompt_ranges, prompted)
        if self._whole_passages:
            counts = self.counted.whole_passages
            self._whole_passages.count(counts, shared, prompt_ranges, prompted)
        if origin is not Origin.SAMPLED:
            return
        matches = shared.matches
        if len(self._index.books) > 1:
            matches = matches.where(matches.book == self._measured)
        pieces = self._trim_by_instructions(matches, prompt_ranges)
        covered = self._count_pieces(pieces, excerpt, ordinal)
        own_runs = self._own_runs(pieces, excerpt)
        if len(own_runs.text):
            self._count_own(own_runs, ordinal[own_runs.text])
        self._count_rows(excerpt, ordinal, covered, own_runs)

    def _trim_by_instructions(
        self, matches: BookMatches, prompt_ranges: Ranges
    ) -> _Pieces:
        """Trim the matches with the measured book by their instructions."""
        trim = self.scoring.trim
        place = matches.place
        place_end = place + matches.words
        packed = self._packing.pack(
            high=matches.text,
            middle=matches.start,
            low=matches.end,
        )
        is_cut = in_prompt(place, place_end, prompt_ranges, trim=trim)
        remaining = outside_prompt(
            place[is_cut],
            place_end[is_cut],
            prompt_ranges,
            trim=trim,
            least_words=self.scoring.k,
        )
        # From a place among the texts' words to the same word's in the book.
        to_book = matches.start - place
        cut_matches = np.flatnonzero(is_cut)
        match_of_rest = cut_matches[remaining.of]
        offset = to_book[match_of_rest]
        rest = self._packing.pack(
            matches.text[match_of_rest],
            remaining.start + offset,
            remaining.end + offset,
        )
        return _Pieces(
            whole=distinct(packed[~is_cut]),
            touched=distinct(packed[is_cut]),
            rest=rest,
        )

    def _count_pieces(
        self,
        pieces: _Pieces,
        excerpt: Positions,
        ordinal: Positions,
    ) -> Rounds:
        """Count pieces and matches; return what each text covers, texts as rounds.

        excerpt, ordinal: of each text
        """
        packed = np.concatenate((pieces.whole, pieces.rest))
        packed.sort(kind="stable")
        covered = Rounds.of_intervals(*self._packing.unpack(packed))
        covered_by_round = self._packing.pack(
            ordinal[covered.round],
            covered.start,
            covered.end,
        )
        rest = self._packing.without_high(pieces.rest)
        cut = self._led_by_excerpt(pieces.touched, excerpt)
        matches = self._led_by_excerpt(pieces.untrimmed(), excerpt)
        counted = self.counted
        counted.covered.add(covered_by_round)
        counted.rest.add(rest)
        counted.cut.add(cut)
        counted.matches.add(matches)
        return covered

    def _led_by_excerpt(self, packed: Numbers, excerpt: Positions) -> Numbers:
        """Replace the number of the text by that of the excerpt that prompted it."""
        text, start, end = self._packing.unpack(packed)
        return self._packing.pack(
            high=excerpt[text],
            middle=start,
            low=end,
        )

    def _own_runs(self, pieces: _Pieces, excerpt: Positions) -> _OwnRuns:
        """Return the parts of matches in the prompted excerpt, from k words."""
        text, match_start, match_end = self._packing.unpack(pieces.untrimmed())
        prompted = excerpt[text]
        start = np.maximum(match_start, self._excerpt_start[prompted])
        end = np.minimum(match_end, self._excerpt_end[prompted])
        is_counted = end - start >= self.scoring.k
        return _OwnRuns(
            text=text[is_counted],
            start=start[is_counted],
            end=end[is_counted],
        )

    def _count_rows(
        self,
        excerpt: Positions,
        ordinal: Positions,
        covered: Rounds,
        own: _OwnRuns,
    ) -> None:
        """Note covered words and longest own run of each text that has either."""
        counted = self.counted
        prompted = (excerpt, ordinal)
        rows = _rows_of(prompted, covered, covered.words, own, own.words)
        counted.generation_rows.append(rows)
        if self.remaining is None:
            return
        covered_words = self.remaining.words(covered.start, covered.end)
        own_words = self.remaining.words(own.start, own.end)
        rows = _rows_of(prompted, covered, covered_words, own, own_words)
        counted.remaining_rows.append(rows)

    def _count_own(self, own: _OwnRuns, rounds: Positions) -> None:
        """Count own runs, at least one, each with its round."""
        counted = self.counted
        counted.own_lengths.update(own.words.tolist())
        packed = self._packing_by_end.pack(
            high=own.end,
            middle=own.start,
            low=rounds,
        )
        counted.own.add(packed)
        most = int(own.words.max())
        if counted.longest and counted.longest.words > most:
            return
        is_longest = own.words == most
        columns = (own.start, own.end, rounds)
        rows = np.stack(columns, axis=1)[is_longest]
        self._note_longest_own_run(OwnRun(*row) for row in rows.tolist())

    def _note_longest_own_run(self, runs: Iterable[OwnRun]) -> None:
        candidates = list(runs)
        if self.counted.longest:
            candidates.append(self.counted.longest)
        self.counted.longest = min(candidates, key=self._rank_by_length)

    @property
    def _greatest_ordinal(self) -> int:
        return (1 << self._packing.high) - 1

    def _rank_by_length(self, run: OwnRun) -> tuple[int, ...]:
        excerpt = bisect_right(self.layout.ends, run.start)
        return -run.words, excerpt, run.ordinal, run.start

    def _error_of_rejected(self, generation: Generation) -> RecordsError:
        if generation.excerpt_id not in self.layout.order:
            return UnknownExcerpt(generation.excerpt_id, book_id=self._book.id)
        location = f"book {self._book.id!r}"
        seen = self.counted.seen.get(generation.excerpt_id, ())
        if generation.ordinal in seen:
            return RecordsError(
                f"generation {generation.ordinal} of excerpt {generation.excerpt_id!r} "
                "appears twice",
                location=location,
            )
        return RecordsError(
            f"a generation of excerpt {generation.excerpt_id!r} has the ordinal "
            f"{generation.ordinal}; expected 0 to {self._greatest_ordinal}",
            location=location,
            hint="number the generations of every excerpt from 0",
        )


def _rows_of(
    prompted: ExcerptsAndRounds,
    covered: Rounds,
    covered_words: Positions,
    own: _OwnRuns,
    own_words: Positions,
) -> Positions:
    """Return `TallyResult.generation_rows` of a batch.

    prompted: excerpt and round of each text
    covered_words, own_words: of each run that texts cover, and of each own run
    """
    excerpt, ordinal = prompted
    covered_by_text = np.zeros(len(excerpt), dtype=np.intp)
    np.add.at(covered_by_text, covered.round, covered_words)
    longest_own = np.zeros(len(excerpt), dtype=np.intp)
    np.maximum.at(longest_own, own.text, own_words)
    columns = _Rows(excerpt, ordinal, covered_by_text, longest_own)
    has_either = (covered_by_text > 0) | (longest_own > 0)
    return np.stack(columns, axis=1)[has_either]


def tally_generations(
    book: Book,
    scoring: Scoring,
    generations: Iterable[Generation | Batch],
    *,
    protected: Protected | None = None,
    passages: bool = True,
) -> Tally:
    """Count the generations in this process.

    Raises what `Tally` and `Tally.add` raise.
    """
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
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and value >= least):
            raise SettingsError(
                f"{name} must be a whole number of at least {least}, not {value!r}",
            )
    if scoring.word_mode not in ("paper", "unicode"):
        raise SettingsError(
            f"word_mode must be 'paper' or 'unicode', not {scoring.word_mode!r}",
        )


def _validate_index(
    book: Book,
    scoring: Scoring,
    protected: Protected,
) -> None:
    index = protected.index
    if (index.k, index.mode) != (scoring.k, scoring.word_mode):
        raise SettingsError(
            f"the index has k = {index.k} and word_mode = {index.mode!r}, "
            f"but the settings have k = {scoring.k} and word_mode = "
            f"{scoring.word_mode!r}",
            location=f"book {book.id!r}",
        )
    measured = index.numbers[protected.measured]
    layout = index.books[measured].layout
    excerpt_ids = tuple(excerpt.id for excerpt in book.excerpts)
    if layout.ids != excerpt_ids:
        raise SettingsError(
            f"book {protected.measured!r} in the index has different excerpts",
            hint="build the index from the measured book",
        )
