"""The table of measures: all there is to know of each, a row a measure.

A measure is added here and nowhere else: suite files, verdict, reports, baselines and the JSON
Schema read the table. What it is computed from must be in the Analysis (or the Extraction) that
`read` takes. Light to import: rows are read of what is evaluated elsewhere.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.records.measurement import Estimate, Measure, Needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

GENERATIONS = Needs("measurement")
PASSAGES = Needs("passages")
NEAR = Needs("near")
CHANCE = Needs("null", "it needs controls, or a second test book in the suite")
BASELINE = Needs("uplift", "the model needs a baseline, with the same rounds drawn")
WORKS = Needs("works", "it needs a [[collection]]")
GREEDY = Needs("greedy", 'it needs probe = "continuation"')
TOP_K = Needs(
    "windows",
    'it needs probe = "probability"',
    "the model tells fewer than probability.top_k of the likeliest tokens, so top-k cannot be"
    " applied: set a limit on extractable_plain, or a smaller top_k",
)
PLAIN = Needs("windows", 'it needs probe = "probability"')
_OF_TEXT: Any = ("instruction", "continuation")


def _excess(null: Any) -> Estimate:
    """Without an interval it is known to be no more than the pair's own BMC may be."""
    low = -1.0 if null.low is None else null.low
    high = null.own_high if null.high is None else null.high
    return Estimate(null.excess, low, high, null.p)


_ROWS = (
    Measure(
        "longest_passage",
        title="longest passage",
        unit="words",
        about="longest passage of any protected book, whatever was asked for, in words",
        kind="count",
        runs="longest",
        of_works=True,
        rises=True,
        overview=_OF_TEXT,
        needs=PASSAGES,
        read=lambda result: result.passages.longest_passage,
        by_round=lambda result: result.passages.by_round,
    ),
    Measure(
        "passages_over",
        title="long passages",
        unit="over {span_threshold} words",
        about="number of distinct passages of protected books over span_threshold words",
        kind="count",
        runs="number",
        of_works=True,
        rises=True,
        needs=PASSAGES,
        read=lambda result: result.passages.passages_over,
    ),
    Measure(
        "nv_longest_passage",
        title="longest near-verbatim passage",
        unit="matching words",
        about="longest near-verbatim passage of any protected book, in matching words",
        kind="count",
        of_works=True,
        rises=True,
        needs=PASSAGES,
        read=lambda result: result.passages.nv_longest_passage,
        by_round=lambda result: result.passages.nv_by_round,
    ),
    Measure(
        "bmc",
        title="coverage",
        unit="share of words, k = {k}",
        about="BMC@k, a share from 0 to 1",
        kind="share",
        of_works=True,
        rises=True,
        overview=_OF_TEXT,
        needs=GENERATIONS,
        read=lambda result: Estimate(result.measurement.bmc, result.error.low, result.error.high),
        by_round=lambda result: result.counts.covered.tolist(),
    ),
    Measure(
        "longest_block",
        title="longest block",
        unit="words",
        about="longest memorized block, in words",
        kind="count",
        runs="longest",
        of_works=True,
        rises=True,
        overview=_OF_TEXT,
        needs=GENERATIONS,
        read=lambda result: result.measurement.longest_block,
    ),
    Measure(
        "longest_span",
        title="longest span",
        unit="words",
        about="longest regurgitated span, in words",
        kind="count",
        runs="longest",
        of_works=True,
        rises=True,
        overview=_OF_TEXT,
        needs=GENERATIONS,
        read=lambda result: result.measurement.longest_span,
        by_round=lambda result: result.own_spans.longest,
    ),
    Measure(
        "spans_over",
        title="long spans",
        unit="over {span_threshold} words",
        about="number of spans over span_threshold words",
        kind="count",
        runs="number",
        of_works=True,
        rises=True,
        overview=_OF_TEXT,
        needs=GENERATIONS,
        read=lambda result: result.measurement.spans_over,
        by_round=lambda result: result.own_spans.over,
    ),
    Measure(
        "leaking_works",
        title="leaking works",
        unit="share of works",
        about="share of a collection's works that are over a limit (0)",
        kind="share",
        rises=True,
        needs=WORKS,
        read=lambda result: result.works.leaking_share,
    ),
    Measure(
        "bmc_excess",
        title="coverage above chance",
        unit="bmc minus null",
        about="BMC over chance: over what answers for controls, or other test books, give of it",
        kind="share",
        needs=CHANCE,
        read=lambda result: _excess(result.null),
    ),
    Measure(
        "uplift",
        title="coverage above the baseline",
        unit="bmc minus the baseline's",
        about="BMC over the baseline model's",
        kind="share",
        needs=BASELINE,
        read=lambda result: Estimate(result.uplift.uplift, result.uplift.low, result.uplift.high),
    ),
    Measure(
        "nv_recall",
        title="near-verbatim recall",
        unit="share of words",
        about="share of the book's words in near-verbatim spans",
        kind="share",
        rises=True,
        needs=NEAR,
        read=lambda result: result.near.nv_recall,
    ),
    Measure(
        "nv_longest_span",
        title="longest near-verbatim span",
        unit="matching words",
        about="longest near-verbatim span, in matching words",
        kind="count",
        rises=True,
        needs=NEAR,
        read=lambda result: result.near.longest_span.words,
    ),
    Measure(
        "greedy_bmc",
        title="coverage by the likeliest answers",
        unit="share of words, k = {k}",
        about='BMC@k of the likeliest continuations alone (probe = "continuation")',
        kind="share",
        rises=True,
        needs=GREEDY,
        read=lambda result: result.greedy.bmc,
    ),
    Measure(
        "greedy_longest_span",
        title="longest span of the likeliest answers",
        unit="words",
        about="longest regurgitated span of the likeliest continuations, in words",
        kind="count",
        runs="longest",
        rises=True,
        needs=GREEDY,
        read=lambda result: result.greedy.longest_span,
    ),
    Measure(
        "extractable",
        title="extractable windows",
        unit="share of windows",
        about='share of the windows with p_z >= 0.001 (probe = "probability"), under top-k',
        kind="share",
        rises=True,
        overview=("probability",),
        needs=TOP_K,
        read=lambda result: result.extractable,
    ),
    Measure(
        "extractable_plain",
        title="extractable windows, plain product",
        unit="share of windows",
        about="the same of the plain product, which every such model tells",
        kind="share",
        rises=True,
        overview=("probability",),
        needs=PLAIN,
        read=lambda result: result.extractable_plain,
    ),
)

MEASURES: dict[str, Measure] = {row.name: row for row in _ROWS}
"""The rows of this package, by name, in the order in which reports show them."""

OF_PASSAGES = tuple(row.name for row in _ROWS if row.needs is PASSAGES)
"""The measures that rest on every protected book."""


def table_with(brought: Mapping[str, Measure]) -> dict[str, Measure]:
    """The table with the rows that extensions bring.

    Raises SettingsError for one that has the name of a measure of this package.
    """
    if taken := sorted(MEASURES.keys() & brought.keys()):
        raise SettingsError(
            f"an extension brings a measure {taken[0]!r}, which is the name of a built-in one",
            hint="give it another name in memleak_measures",
        )
    return {**MEASURES, **brought}


def asks_for(names: Iterable[str], needs: str) -> bool:
    """Whether one of the measures needs this part of an Analysis ("near", "null", ...)."""
    return any(name in MEASURES and MEASURES[name].needs.part == needs for name in names)


def why_unmeasured(name: str, *, windows: bool) -> str:
    """What a measure would need that the pair lacks; `windows`: its probe is "probability"."""
    needs = MEASURES[name].needs if name in MEASURES else Needs("further")
    return needs.of_windows if windows else needs.otherwise


def nearest(name: str, candidates: Iterable[str]) -> str:
    """`did you mean 'bmc'?` for an unknown name, or else which names are known."""
    names = list(candidates)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
