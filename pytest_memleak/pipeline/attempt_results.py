"""What each other attempt of a pair's model on its book reproduced, for reports."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.sample_readers import FurtherSamples
from pytest_memleak.records import Estimate
from pytest_memleak.records.provenance import OtherAttempt
from pytest_memleak.scoring.measure_table import (
    LONGEST_PASSAGE,
    NV_LONGEST_PASSAGE,
    PASSAGES_OVER,
)
from pytest_memleak.verdict.judge import check_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.pipeline.provenance_check import ProvenanceCheck
    from pytest_memleak.pipeline.sample_readers import PairSamples
    from pytest_memleak.records import Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.protected_passages import ProtectedPassages


def add_other_attempts_to_provenance(
    check: ProvenanceCheck,
    samples: PairSamples,
    analysis: Analysis | None,
) -> ProvenanceCheck:
    """Add what other attempts reproduced to the history of attempts."""
    tried = check.provenance.tried
    numbers = [
        part.attempt
        for part in samples
        if isinstance(part, FurtherSamples) and part.attempt
    ]
    if analysis is None or tried is None or not numbers:
        return check
    by_number: defaultdict[int, list[ProtectedPassages]] = defaultdict(list)
    for number, passages in zip(
        numbers, analysis.passages_of_other_attempts, strict=True
    ):
        by_number[number].append(passages)
    pair = samples[0].required.pair
    others = tuple(
        _other_attempt_result(number, passages, pair)
        for number, passages in by_number.items()
    )
    tried = replace(tried, others=others)
    return replace(check, provenance=replace(check.provenance, tried=tried))


def _other_attempt_result(
    number: int,
    passages: Sequence[ProtectedPassages],
    pair: Pair,
) -> OtherAttempt:
    longest = max(part.longest_passage.words for part in passages)
    nv_longest = max(part.nv_longest_passage.words for part in passages)
    over = max(part.passages_over for part in passages)
    values = {
        LONGEST_PASSAGE.name: Estimate.exact(longest),
        NV_LONGEST_PASSAGE.name: Estimate.exact(nv_longest),
        PASSAGES_OVER.name: Estimate.exact(over),
    }
    is_over = any(check.is_exceeded for check in check_limits(values, pair.limits))
    return OtherAttempt(number, longest, nv_longest, is_over)
