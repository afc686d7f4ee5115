"""Where in its book a pair's answers give it back: numbers and excerpts' ids, no text.

    {"rounds": 10, "times": "0x120 3x4 ...", "excerpts": [...], "spans": [...], "curve": [...]}

`times` says of the book's words, from the first, how many rounds cover each: 120 words by none,
then 4 words by three rounds. Positions are words of the book, intervals half-open.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_memleak.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_memleak.scoring.analysis import Analysis

# No book has so many words; a bundle may say anything.
_MOST_WORDS = 100_000_000


def coverage_map(analysis: Analysis, excerpts: Sequence[str]) -> dict[str, Any]:
    """What stands in the evidence bundle as a pair's `coverage`; excerpts: ids, in order.

    rounds:   n
    times:    rounds that cover each word, as runs
    excerpts: of each its id, first word, words, words covered, and the words of the longest span
              that an answer to its own prompt has
    spans:    those over T, longest first
    curve:    BMC to expect of m = 1..n rounds, to six places
    """
    measured, times = analysis.measurement, analysis.counts.times
    borders = [*measured.excerpt_starts, measured.words]
    seen = np.concatenate(([0], np.cumsum(times > 0))).tolist()
    return {
        "rounds": analysis.counts.rounds,
        "times": " ".join(f"{count}x{length}" for count, length in run_lengths(times)),
        "excerpts": [
            {
                "id": name,
                "start": start,
                "words": end - start,
                "covered": seen[end] - seen[start],
                "longest_span": longest,
            }
            for name, (start, end), longest in zip(
                excerpts, pairwise(borders), analysis.own_spans.by_excerpt, strict=True
            )
        ],
        "spans": [
            {
                "start": one.start,
                "end": one.end,
                "excerpt_id": one.excerpt_id,
                "generation": one.generation,
            }
            for one in measured.spans
        ],
        "curve": [round(float(one), 6) for one in analysis.error.curve],
    }


def run_lengths(times: NDArray[np.intc]) -> list[tuple[int, int]]:
    """Runs of equal numbers: the number, and how often it stands there."""
    edges = np.flatnonzero(np.diff(times)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [len(times)])))
    return list(zip(times[starts].tolist(), lengths.tolist(), strict=True))


def times_in(told: Mapping[str, Any]) -> NDArray[np.intc]:
    """Per word of the book, the rounds that cover it, of a `coverage` in a bundle; shape (N,).

    Raises EvidenceError where its runs are not those of its excerpts' words.
    """
    runs = [one.partition("x")[::2] for one in told["times"].split()]
    words = sum(one["words"] for one in told["excerpts"])
    counts, lengths = ([int(run[side]) for run in runs] for side in (0, 1))
    if sum(lengths) != words or words > _MOST_WORDS or max(counts, default=0) > told["rounds"]:
        raise EvidenceError("coverage.times: it is not of the words of its excerpts")
    return np.repeat(np.array(counts, dtype=np.intc), lengths)
