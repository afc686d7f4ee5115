"""How likely a pair's model is to write its book: measured beside, judges nothing.

Whatever goes wrong here is said in the facts; neither the evidence nor the verdict of
the pair depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.pipeline.sampling_plan import PlanMode, ProbabilityPart
from pytest_memleak.records import Issue
from pytest_memleak.records.probability_facts import (
    ExtractableShare,
    LikelyWindow,
    ProbabilityFacts,
)
from pytest_memleak.scoring.window_probability import (
    SAMPLE_COUNTS,
    is_extractable,
    window_log_probability,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_memleak.interfaces.abilities import TokenLogprobs
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.pipeline.window_texts import BookWindow, WindowTexts

_MOST_LISTED = 10


def measure_probability(plan: SamplingPlan) -> ProbabilityFacts | None:
    """Ask what the ledger lacks, and measure; None where the suite doesn't want it."""
    for required in plan.required:
        if required.purpose is Purpose.PROBABILITY:
            try:
                part = plan.prepare_part(required)
            except MemleakError as error:
                return ProbabilityFacts(fault=_text_of(error))
            if isinstance(part, ProbabilityPart):
                return _measure_part(part)
            return ProbabilityFacts(fault=plan.not_measurable(required))
    return None


def _measure_part(part: ProbabilityPart) -> ProbabilityFacts:
    fault = ""
    try:
        for step in part.steps():
            if part.walk is PlanMode.SAMPLING:
                part.source.sample_missing(step.prompts)
    except MemleakError as error:
        fault = _text_of(error)
    windows = part.windows()
    if windows is None:
        return ProbabilityFacts(fault=fault or _NOT_STORED)
    answers = part.answers(part.texts.prompts_of(windows))
    if len(answers) < len(windows):
        fault = fault or _NOT_STORED
    return probability_facts(part.texts, windows, answers, fault=fault)


_NOT_STORED = "the ledger lacks answers; rerun to get the rest"


def probability_facts(
    texts: WindowTexts,
    windows: Sequence[BookWindow],
    answers: Mapping[str, TokenLogprobs],
    *,
    fault: str = "",
) -> ProbabilityFacts:
    """Return the facts of a book's windows, from the answers to them.

    answers: by window id
    """
    log_p_of: dict[BookWindow, float] = {}
    for window in windows:
        if window.id in answers:
            answer = answers[window.id]
            log_p = window_log_probability(
                answer.starts,
                answer.logprobs,
                window.prefix_length,
            )
            if log_p is not None:
                log_p_of[window] = log_p
    return ProbabilityFacts(
        windows=len(log_p_of),
        planned=len(windows),
        unreadable=len(answers) - len(log_p_of),
        shares=tuple(_shares([*log_p_of.values()])),
        likeliest=tuple(_likeliest(texts, log_p_of)),
        fault=fault,
    )


def _shares(log_ps: Sequence[float]) -> list[ExtractableShare]:
    shares = []
    for samples in SAMPLE_COUNTS if log_ps else ():
        extractable = sum(is_extractable(log_p, samples) for log_p in log_ps)
        shares.append(ExtractableShare(samples, extractable / len(log_ps)))
    return shares


def _likeliest(
    texts: WindowTexts,
    log_p_of: Mapping[BookWindow, float],
) -> list[LikelyWindow]:
    """Return the most probable windows, without those that overlap a likelier one."""
    chosen: list[BookWindow] = []
    for window in sorted(log_p_of, key=lambda window: -log_p_of[window]):
        if not any(_overlap(window, other) for other in chosen):
            chosen.append(window)
        if len(chosen) == _MOST_LISTED:
            break
    listed = []
    for window in chosen:
        section, place = window.section, window.window
        number = section.excerpt_at(place.start)
        likely = LikelyWindow(
            excerpt=texts.book.excerpts[number].id,
            start=texts.word_at(section, place.start),
            end=texts.word_at(section, place.end),
            log_p=round(log_p_of[window], 4),
        )
        listed.append(likely)
    return listed


def _overlap(window: BookWindow, other: BookWindow) -> bool:
    if window.section is not other.section:
        return False
    first, second = window.window, other.window
    return first.start < second.end and second.start < first.end


def _text_of(error: MemleakError) -> str:
    return str(Issue.of_error(Purpose.PROBABILITY, error))
