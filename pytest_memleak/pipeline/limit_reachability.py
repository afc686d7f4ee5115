"""Whether any text can exceed a limit, and what so many rounds can detect.

Limits that no text of the books could exceed are rejected before any paid call. A limit
of up to 100 words is always accepted: a shorter text reproduces too little to matter.
"""

from __future__ import annotations

from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_memleak.errors import SuiteError
from pytest_memleak.ledger.prompts import ANSWER_TOKENS, TOKENS_PER_WORD
from pytest_memleak.records import Book, Issue, Measure, Pair, Suite
from pytest_memleak.records.measurement import DetectionSummary, PlannedRounds
from pytest_memleak.records.number_format import amount, percent, percent_at_most
from pytest_memleak.scoring.book_layout import measurable_words
from pytest_memleak.scoring.detection_limit import (
    answers_to_detect,
    detection_confidence,
    detection_limit,
    detection_limit_if_lost_recalled,
    samples_for_answers,
)
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.measure_table import (
    EXTRACTION,
    MEASURES,
    applies_to,
    table_with,
)
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.records.delivery import IndependentAnswers
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.sampling_error import SamplingError

_ALWAYS_EXCEEDABLE = 100  # words, or passages of up to so many words


def validate_limits_can_be_exceeded(
    pair: Pair,
    book: Book,
    suite: Suite,
    protected: ProtectedBooks,
) -> None:
    """Raise SuiteError where no text is long enough to exceed any limit of the pair.

    A limit may lie beyond the longest excerpt (`longest_span`), the book
    (`longest_block`), or each scanned book, and so may span_threshold.
    """
    rows = table_with(pair.limits.brought)
    limits = [(rows[name], limit) for name, limit in pair.limits.items()]
    limits.sort(key=lambda entry: entry[0].lies_in == "any book")  # the slowest last
    in_any = None if suite.catalog else protected
    if any(_can_be_exceeded(row, limit, pair, book, in_any) for row, limit in limits):
        return
    measurable_words(book, pair.scoring)  # raises for the book's own faults first
    limits_text = ", ".join(
        f"{name} = {limit:g}" for name, limit in pair.limits.items()
    )
    longest = max(_count_words(excerpt.text, pair) for excerpt in book.excerpts)
    raise SuiteError(
        f"pair {pair.id} can't fail: no text of its book is long enough to exceed a "
        f"limit ({limits_text}, span_threshold = {pair.scoring.span_threshold}; the "
        f"longest excerpt has {longest:,} words)",
        location=str(suite.path),
        hint="lower a limit below that length, limit a share, such as bmc = 0.15, or "
        "give an extraction more turns",
    )


def _can_be_exceeded(
    row: Measure,
    limit: float,
    pair: Pair,
    book: Book,
    in_any: ProtectedBooks | None,
) -> bool:
    """Tell whether some text is long enough to exceed a limit."""
    if row.needs is EXTRACTION:
        return _can_be_extracted(row, limit, pair, book)
    if row.kind == "share":
        return limit < 1
    threshold = pair.scoring.effective_threshold
    counted = row.runs == "number"
    longest = max(limit, threshold) if counted else limit
    if longest <= _ALWAYS_EXCEEDABLE:
        return True
    stretches: Iterable[Iterable[int]]
    if row.lies_in == "excerpt":
        stretches = ([length] for length in _measured_excerpt_lengths(row, book, pair))
    elif row.lies_in == "book":
        stretches = [_measured_excerpt_lengths(row, book, pair)]
    elif row.lies_in == "any book" and in_any is not None:
        stretches = (
            _measured_excerpt_lengths(row, other, pair)
            for other in _scanned_books(book, in_any)
        )
    else:
        return True
    if counted:
        return _has_room_for_more(limit, stretches, each=threshold + 1)
    return any(_sum_exceeds(parts, limit) for parts in stretches)


def _can_be_extracted(row: Measure, limit: float, pair: Pair, book: Book) -> bool:
    """Tell whether opening and turns have room for more words of the book."""
    book_words = sum(_count_words(excerpt.text, pair) for excerpt in book.excerpts)
    tokens = pair.sampling.max_tokens
    per_answer = tokens if isinstance(tokens, int) else ANSWER_TOKENS
    answered = (pair.probe.turns + 1) * per_answer / TOKENS_PER_WORD
    most = limit * book_words if row.kind == "share" else limit
    return min(answered, book_words) > most


def _sum_exceeds(parts: Iterable[int], limit: float) -> bool:
    """Tell whether some parts together are longer; read no more than that takes."""
    return any(length > limit for length in accumulate(parts))


def _has_room_for_more(
    limit: float,
    stretches: Iterable[Iterable[int]],
    *,
    each: int,
) -> bool:
    """Tell whether the stretches have room for more runs of `each` words."""
    before = 0
    for parts in stretches:
        length = 0
        for length in accumulate(parts):
            if before + length // each > limit:
                return True
        before += length // each
    return False


def _scanned_books(book: Book, protected: ProtectedBooks) -> Iterator[Book]:
    """Yield the books that are scanned for passages, the pair's own first."""
    yield book
    yield from (other for other in protected.test_books() if other.id != book.id)


def _measured_excerpt_lengths(
    row: Measure,
    book: Book,
    pair: Pair,
) -> Iterator[int]:
    """Yield the words of each excerpt, as the measure counts them."""
    if row.folded:
        return (len(folded_words(excerpt.text)) for excerpt in book.excerpts)
    return (_count_words(excerpt.text, pair) for excerpt in book.excerpts)


def _count_words(text: str, pair: Pair) -> int:
    return len(words(text, pair.scoring.word_mode))


def planned_rounds(pair: Pair, samples: int | None = None) -> PlannedRounds:
    """Return what the pair's samples, or so many of them, can detect."""
    samples = samples or pair.sampling.samples
    confidence = detection_confidence(pair.confidence)
    needed = None
    if pair.detection_limit is not None and not _is_always_greedy(pair):
        needed = samples_for_answers(
            answers_to_detect(
                pair.detection_limit, confidence=confidence, exchangeable=True
            ),
        )
    different = 1 if _is_always_greedy(pair) else samples
    seen = detection_limit(different, confidence=confidence)
    return PlannedRounds(samples, confidence, seen, pair.detection_limit, needed)


def detection_summary(
    analysis: Analysis,
    pair: Pair,
    answers_by_excerpt: IndependentAnswers,
    *,
    lost: Mapping[str, int] = MappingProxyType({}),
) -> DetectionSummary:
    """Return what the rounds of the analysis can detect.

    lost: completions that never came or came empty, per excerpt
    """
    answers = min(answers_by_excerpt.counts.values(), default=0)
    if _is_always_greedy(pair):
        answers = min(answers, 1)
    analysis = analysis.without_excused_words
    error = analysis.error.with_answers(answers)
    confidence = detection_confidence(pair.confidence)
    needed = None
    if pair.detection_limit is not None and not _is_always_greedy(pair):
        needed_answers = answers_to_detect(
            pair.detection_limit,
            confidence=confidence,
            exchangeable=error.likeness.alike,
        )
        answered = max(min(answers, error.rounds), 1) / error.rounds
        needed = samples_for_answers(needed_answers, answered=answered)
    return DetectionSummary(
        rounds=error.rounds,
        confidence=confidence,
        answers=answers,
        detection=error.detection,
        clumped=error.likeness.clumped,
        drifting=error.likeness.drifting,
        blocks=error.blocks,
        detection_limit=pair.detection_limit,
        samples_needed=needed,
        calls=answers_by_excerpt.are_calls,
        detection_if_lost=_limit_if_lost_held_passage(
            answers_by_excerpt, lost, error, confidence
        ),
        ranges={
            name: (interval.low, interval.high)
            for name, interval in analysis.ranges.items()
            if applies_to(MEASURES[name], pair.probe.kind)
        },
    )


def _limit_if_lost_held_passage(
    answers: IndependentAnswers,
    lost: Mapping[str, int],
    error: SamplingError,
    confidence: float,
) -> float | None:
    """Return the limit if each lost completion held the passage; None if none is."""
    limits: list[float] = []
    for excerpt, count in answers.counts.items():
        independent = min(error.blocks or count, count)
        limits.append(
            detection_limit_if_lost_recalled(
                lost.get(excerpt, 0), independent, confidence=confidence
            ),
        )
    return max(limits, default=None) if any(lost.values()) else None


def _is_always_greedy(pair: Pair) -> bool:
    """Tell whether all rounds are greedy: copies count as one."""
    return pair.sampling.temperature == 0


def detection_issues(summary: DetectionSummary | None) -> Iterator[Issue]:
    """Yield an issue where the rounds can't reach the suite's `detection_limit`."""
    if summary is None or summary.detection_limit is None or summary.reached:
        return
    samples = amount(summary.rounds, "sample")
    fix = f"set samples = {summary.samples_needed}, or raise detection_limit"
    if summary.samples_needed is None:
        samples += " at temperature 0, which count as 1"
        fix = "set a temperature above 0, or remove detection_limit"
    elif summary.calls and summary.blocks is None:
        samples += f" in {amount(summary.answers, 'call')}, which count as one each"
        fix = f"set completions_per_call = 1 and a new weights_version, {fix}"
    elif summary.blocks is not None:
        blocks = amount(summary.blocks, "block")
        samples += f", which aren't exchangeable and count as {blocks}"
    elif summary.answers < summary.rounds:
        samples += f", only {amount(summary.answers, 'answer')} for one excerpt"
    yield Issue(
        "detection",
        f"detection limit is {percent_at_most(summary.detection)} ({samples}, "
        f"{100 * summary.confidence:g}% confidence); the suite requires "
        f"{percent(summary.detection_limit)}",
        fix,
    )
