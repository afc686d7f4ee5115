"""How likely a pair's model is to write its book: measured beside, judges nothing.

Whatever goes wrong here is said in the facts; neither the evidence nor the verdict of
the pair depends on it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError
from pytest_memleak.pipeline.required_samples import Purpose
from pytest_memleak.records import Issue
from pytest_memleak.records.probability_facts import (
    ExtractableShare,
    LikelyWindow,
    ProbabilityFacts,
)
from pytest_memleak.scoring.window_probability import SAMPLE_COUNTS, is_extractable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_memleak.pipeline.required_samples import RequiredSamples
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.pipeline.window_logprobs import WindowLogprobs
    from pytest_memleak.pipeline.window_texts import BookWindow, WindowTexts

_MOST_LISTED = 10
_NOT_STORED = "the ledger lacks answers; rerun to get the rest"


def measure_probability(plan: SamplingPlan) -> ProbabilityFacts | None:
    """Ask what the ledger lacks, and measure; None where the suite doesn't want it."""
    for required in plan.required:
        if required.purpose is Purpose.PROBABILITY:
            return _measure(plan, required)
    return None


def _measure(plan: SamplingPlan, required: RequiredSamples) -> ProbabilityFacts:
    try:
        logprobs = plan.window_logprobs(required)
    except MemleakError as error:
        return ProbabilityFacts(fault=_text_of(error))
    fault = ""
    try:
        for prompts in logprobs.prompts(foreseen=False):
            logprobs.source.sample_missing(prompts)  # offline, nothing
    except MemleakError as error:
        fault = _text_of(error)
    return _facts(logprobs, fault)


def _facts(logprobs: WindowLogprobs, fault: str) -> ProbabilityFacts:
    windows = logprobs.windows()
    if windows is None:
        return ProbabilityFacts(fault=fault or _NOT_STORED)
    answered = logprobs.log_probabilities(windows)
    readable = {
        window: log_p for window, log_p in answered.items() if log_p is not None
    }
    if len(answered) < len(windows):
        fault = fault or _NOT_STORED
    return ProbabilityFacts(
        windows=len(readable),
        planned=len(windows),
        unreadable=len(answered) - len(readable),
        shares=tuple(_shares([*readable.values()])),
        likeliest=tuple(_likeliest(logprobs.texts, readable)),
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
        if log_p_of[window] == -math.inf:
            break
        if not any(map(window.overlaps, chosen)):
            chosen.append(window)
        if len(chosen) == _MOST_LISTED:
            break
    listed = []
    for window in chosen:
        start, end = texts.words_of(window)
        listed.append(LikelyWindow(start, end, round(log_p_of[window], 4)))
    return listed


def _text_of(error: MemleakError) -> str:
    return str(Issue.of_error(Purpose.PROBABILITY, error))
