"""The table of measures: one row holds everything about a measure.

A measure is added here and nowhere else: suite files, verdict, reports, baselines and
the JSON Schema read the table. `read` takes its value from the Analysis. Light to
import: other processes read the rows without the scoring code.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.records.measurement import (
    BY_EXCERPT,
    Estimate,
    Measure,
    Needs,
    ProbeKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

GENERATIONS = Needs("measurement")
PASSAGES = Needs("passages")
NEAR = Needs("near")
CHANCE = Needs("null", "it needs a negative control or a second test book in the suite")
BASELINE = Needs(
    "uplift",
    "the model needs a baseline_model, sampled in the same rounds",
)
WORKS = Needs("works", "it needs a [[collection]]")
GREEDY = Needs("greedy", 'it needs probe = "continuation"')
EXTRACTION = Needs("extraction", 'it needs probe = "extraction"')


def _excess_estimate(null: Any) -> Estimate:
    """Build the estimate; without an interval, the pair's own upper BMC bounds it."""
    low = null.low
    if low is None:
        low = -1.0  # no excess is lower
    high = null.high
    if high is None:
        high = null.own_high
    return Estimate(
        value=null.excess,
        low=low,
        high=high,
        p=null.p,
    )


LONGEST_PASSAGE = Measure(
    "longest_passage",
    title="longest passage",
    short="",
    unit="words",
    about="longest passage of any protected book, prompted or not, in words",
    kind="count",
    runs="longest",
    lies_in="any book",
    of_works=True,
    rises=True,
    strict=38,
    overview=True,
    needs=PASSAGES,
    read=lambda analysis: analysis.passages.longest_passage,
    by_round=lambda analysis: analysis.passages.by_round,
)
PASSAGES_OVER = Measure(
    "passages_over",
    title="long passages",
    short="passages",
    unit="over {span_threshold} words",
    about="number of distinct passages of protected books over span_threshold words",
    kind="count",
    runs="number",
    lies_in="any book",
    of_works=True,
    rises=True,
    strict=5,
    needs=PASSAGES,
    read=lambda analysis: analysis.passages.passages_over,
)
NV_LONGEST_PASSAGE = Measure(
    "nv_longest_passage",
    title="longest near-verbatim passage",
    short="nv",
    unit="matching words",
    about="longest near-verbatim passage of any protected book, in matching words",
    kind="count",
    lies_in="any book",
    folded=True,
    of_works=True,
    rises=True,
    strict=38,
    needs=PASSAGES,
    read=lambda analysis: analysis.passages.nv_longest_passage,
    by_round=lambda analysis: analysis.passages.nv_by_round,
)
BMC = Measure(
    "bmc",
    title="coverage",
    unit="share of words, k = {k}",
    about="BMC@k, a share from 0 to 1",
    kind="share",
    of_works=True,
    rises=True,
    strict=0.15,
    paper=0.15,
    overview=True,
    charted=True,
    needs=GENERATIONS,
    read=lambda analysis: Estimate(
        value=analysis.measurement.bmc,
        low=analysis.error.low,
        high=analysis.error.high,
    ),
    by_round=lambda analysis: analysis.counts.covered.tolist(),
)
LONGEST_BLOCK = Measure(
    "longest_block",
    title="longest block",
    short="block",
    unit="words",
    about="longest memorized block, in words",
    kind="count",
    runs="longest",
    lies_in="book",
    of_works=True,
    rises=True,
    strict=50,
    paper=100,
    overview=True,
    needs=GENERATIONS,
    read=lambda analysis: analysis.measurement.longest_block,
)
LONGEST_SPAN = Measure(
    "longest_span",
    title="longest span",
    short="span",
    unit="words",
    about="longest regurgitated span, in words",
    kind="count",
    runs="longest",
    lies_in="excerpt",
    of_works=True,
    rises=True,
    strict=38,
    paper=38,
    overview=True,
    needs=GENERATIONS,
    read=lambda analysis: analysis.measurement.longest_span,
    by_round=lambda analysis: analysis.own_spans.longest,
)
SPANS_OVER = Measure(
    "spans_over",
    title="long spans",
    short="spans",
    unit="over {span_threshold} words",
    about="number of spans over span_threshold words",
    kind="count",
    runs="number",
    lies_in="excerpt",
    of_works=True,
    rises=True,
    strict=0,
    paper=0,
    overview=True,
    needs=GENERATIONS,
    read=lambda analysis: analysis.measurement.spans_over,
    by_round=lambda analysis: analysis.own_spans.over,
)
LEAKING_WORKS = Measure(
    "leaking_works",
    title="leaking works",
    short="works",
    unit="share of works",
    about="share of a collection's works that exceed a limit; default 0",
    kind="share",
    rises=True,
    needs=WORKS,
    read=lambda analysis: len(analysis.works.leaking) / len(analysis.works.works),
)
BMC_EXCESS = Measure(
    "bmc_excess",
    title="coverage above chance",
    short="excess",
    unit="bmc minus null",
    about="BMC minus that of generations for negative controls or other test books",
    kind="share",
    needs=CHANCE,
    read=lambda analysis: _excess_estimate(analysis.null),
)
UPLIFT = Measure(
    "uplift",
    title="coverage above the baseline",
    unit="bmc minus the baseline's",
    about="BMC minus the baseline model's",
    kind="share",
    needs=BASELINE,
    read=lambda analysis: analysis.uplift,
)
NV_RECALL = Measure(
    "nv_recall",
    title="near-verbatim recall",
    short="nv recall",
    unit="share of words",
    about="share of the book's words in near-verbatim spans",
    kind="share",
    rises=True,
    needs=NEAR,
    read=lambda analysis: analysis.near.nv_recall,
)
NV_LONGEST_SPAN = Measure(
    "nv_longest_span",
    title="longest near-verbatim span",
    short="nv span",
    unit="matching words",
    about="longest near-verbatim span, in matching words",
    kind="count",
    folded=True,
    rises=True,
    needs=NEAR,
    read=lambda analysis: analysis.near.longest_span.words,
)
GREEDY_BMC = Measure(
    "greedy_bmc",
    title="greedy coverage",
    short="greedy bmc",
    unit=BMC.unit,
    about='BMC@k of the greedy continuations alone (probe = "continuation")',
    kind="share",
    rises=True,
    strict=BMC.strict,
    needs=GREEDY,
    read=lambda analysis: analysis.greedy.bmc,
)
GREEDY_LONGEST_SPAN = Measure(
    "greedy_longest_span",
    title="longest greedy span",
    short="greedy",
    unit="words",
    about="longest regurgitated span of the greedy continuations, in words",
    kind="count",
    runs="longest",
    lies_in="excerpt",
    rises=True,
    strict=LONGEST_SPAN.strict,
    needs=GREEDY,
    read=lambda analysis: analysis.greedy.longest_span,
)
EXTRACTED = Measure(
    "extracted",
    title="extracted",
    unit="share of words",
    about='share of the book that a conversation extracts (probe = "extraction")',
    kind="share",
    rises=True,
    strict=0.01,
    overview=True,
    needs=EXTRACTION,
    read=lambda result: result.extraction.share,
)
EXTRACTED_WORDS = Measure(
    "extracted_words",
    title="extracted words",
    unit="words",
    about='words of the book that a conversation extracts (probe = "extraction")',
    kind="count",
    rises=True,
    needs=EXTRACTION,
    read=lambda result: result.extraction.words,
)
_ROWS = (
    LONGEST_PASSAGE,
    PASSAGES_OVER,
    NV_LONGEST_PASSAGE,
    BMC,
    LONGEST_BLOCK,
    LONGEST_SPAN,
    SPANS_OVER,
    LEAKING_WORKS,
    BMC_EXCESS,
    UPLIFT,
    NV_RECALL,
    NV_LONGEST_SPAN,
    GREEDY_BMC,
    GREEDY_LONGEST_SPAN,
    EXTRACTED,
    EXTRACTED_WORDS,
)

MEASURES: dict[str, Measure] = {row.name: row for row in _ROWS}
"""The rows of this package, by name, in the order of reports."""

OF_PASSAGES = (LONGEST_PASSAGE.name, PASSAGES_OVER.name, NV_LONGEST_PASSAGE.name)
"""The measures that are split by book and by work of a collection; no others are."""

PRESETS = {
    "strict": {row.name: row.strict for row in _ROWS if row.strict is not None},
    "paper": {row.name: row.paper for row in _ROWS if row.paper is not None},
}
"""The limits of each preset."""

PASSAGE_LIMIT = int(PRESETS["strict"][LONGEST_PASSAGE.name])
"""Words of the longest passage that `strict`, `scan` and `guard` permit."""

CONVERSATION_BUDGET = 380
"""How many words of one book a guard lets through in a conversation, by default."""


def table_with(rows: Mapping[str, Measure]) -> dict[str, Measure]:
    """Return the table with the rows of extensions.

    Raises SettingsError for a row with the name of a built-in measure.
    """
    taken = sorted(MEASURES.keys() & rows.keys())
    if taken:
        raise SettingsError(
            f"an extension adds the measure {taken[0]!r}, but a built-in measure has "
            "that name",
            hint="rename it in memleak_measures",
        )
    return {**MEASURES, **rows}


def with_needs(names: Iterable[str], needs: Needs) -> list[str]:
    """Return which of the measures need this part of an Analysis."""
    built_in = [name for name in names if name in MEASURES]
    return [name for name in built_in if MEASURES[name].needs is needs]


def applies_to(row: Measure, probe: ProbeKind) -> bool:
    """Tell whether a limit on the measure applies to generations of this probe.

    Where prompts request no excerpt, only passages have a prompt of their own.
    """
    if row.name not in MEASURES or probe in BY_EXCERPT:
        return row.needs is not EXTRACTION
    if row.needs is EXTRACTION:
        return probe == "extraction"
    return row.needs is PASSAGES


def why_unmeasured(name: str) -> str:
    """Return what the pair lacks for a measure."""
    needs = MEASURES[name].needs if name in MEASURES else Needs("further")
    return needs.otherwise


def unknown_name_hint(name: str, candidates: Iterable[str]) -> str:
    """Return `did you mean 'bmc'?` for an unknown name, or else the valid names."""
    names = list(candidates)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names) or 'none'}"
