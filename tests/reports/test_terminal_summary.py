"""The terminal summary: the table of pairs and what is told below it."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_results import NOTHING, SETTINGS, estimated, limited

from pytest_memleak.records import BookPart, Completeness, Issue, Kind, Verdict
from pytest_memleak.records.measurement import (
    DetectionSummary,
    Passage,
    PassageRate,
    PlannedRounds,
)
from pytest_memleak.records.pair_result import SampledCount
from pytest_memleak.records.prompt_rates import PromptRate
from pytest_memleak.records.provenance import Provenance, ServedBy, Tried
from pytest_memleak.records.verdicts import verdict_with_accepted_refusals
from pytest_memleak.reports.measure_text import rate_text
from pytest_memleak.reports.pair_outcome import BRIEF_FROM_PAIRS
from pytest_memleak.reports.plan_tables import plan_table
from pytest_memleak.reports.terminal_summary import summary
from pytest_memleak.results.run_verdict import verdict_counts
from pytest_memleak.sampling.cost_plan import Plan, PlannedStep, RunPlan

PASSAGES = dict.fromkeys(("longest_passage", "nv_longest_passage"), 6)
MEASURES = {"bmc": 0.0, "longest_block": 0, "longest_span": 0, "spans_over": 0}


def evidence(requested=6, got=6, **fields):
    return Completeness(requested=requested, received=got, **fields)


def result_with(**fields):
    """A result that tells this, and of everything else nothing."""
    intervals = fields.pop("intervals", {})
    measures = {
        name: estimated(value, *intervals.get(name, ()))
        for name, value in fields.pop("measures", MEASURES).items()
    }
    completeness = fields.pop("completeness", evidence())
    return dataclasses.replace(
        NOTHING,
        limits=limited(**fields.pop("limits", {})),
        measures=measures,
        completeness=completeness,
        verdict=verdict_with_accepted_refusals(
            Verdict(fields.pop("verdict", "PASS")), completeness
        ),
        **fields,
    )


def passage(**fields):
    span = {"kind": "span", "words": 16, "start": 1000, "end": 1016, "chapter": None}
    return Passage(
        **span | {"excerpt_id": "p_id1", "generation": 2, "quote": ""} | fields
    )


def lines(*findings, width=100, color=False, **shown):
    text = summary(findings, width=width, color=color, **shown)
    fields = [line.rstrip() for line in text.splitlines()]
    return [
        line for line in fields if not line.startswith("No positive control leaked")
    ]


SEEN = DetectionSummary(100, 0.95, 100, detection=0.02951, clumped=1, drifting=1)


LEAKY_VALUES = {
    "bmc": 0.8765,
    "longest_block": 12_345,
    "longest_span": 16,
    "spans_over": 3,
}


def squeezed(line):
    return re.sub(" +", " ", line)


def test_a_pair_has_a_row_and_the_limits_have_one():
    limits = {"bmc": 0.15, "longest_span": 10}
    clean = result_with(pair="clean/ferry", limits=limits)
    leaky = result_with(
        pair="leaky/ferry",
        limits=limits,
        verdict="FAIL",
        measures=LEAKY_VALUES,
        completeness=evidence(3100, 3100),
    )
    table = lines(clean, leaky)[:4]
    assert [squeezed(line) for line in table] == [
        "pair bmc longest_block longest_span spans_over received verdict",
        "clean/ferry 0.000 0 0 0 6/6 PASS",
        "leaky/ferry 0.876 12,345 16 3 3,100/3,100 FAIL",
        "limit ≤0.150 ≤10",
    ]


def test_a_table_without_measures_has_columns_of_what_is_limited():
    result = result_with(
        verdict="INCONCLUSIVE", measures={}, limits={"bmc": 0.15, "longest_span": 38}
    )
    text = summary([result], width=200, color=False)
    assert "longest_span" in text
    assert "extracted" not in text
    assert "longest_block" not in text


def test_a_pair_without_measures_has_a_row_of_dashes():
    unmeasured = result_with(
        limits={"bmc": 0.15, "longest_span": 10},
        verdict="INCONCLUSIVE",
        measures={},
        completeness=evidence(0, 0),
    )
    clean = result_with(pair="clean/ferry")
    assert squeezed(lines(clean, unmeasured)[2]) == "m/book - - - - - INCONCLUSIVE"


def test_a_verdict_stands_beside_its_detection_limit():
    few = dataclasses.replace(
        SEEN, rounds=3, answers=3, detection=0.632, confidence=0.9
    )
    unseen = result_with(pair="m/unread", verdict="INCONCLUSIVE", measures={})
    shown = lines(result_with(detection=SEEN), result_with(detection=few), unseen)
    ends = [line.split()[-2:] for line in shown[:4]]
    assert ends[0] == ["limit", "verdict"]
    assert ends[1:] == [["3.0%", "PASS"], ["63.2%", "PASS"], ["-", "INCONCLUSIVE"]]


def test_a_failing_pair_states_its_detection_limit_and_ranges():
    seen = dataclasses.replace(
        SEEN, answers=59, detection=0.0495, ranges={"longest_span": (9, 41)}
    )
    assert lines(result_with(verdict="FAIL", detection=seen), verbosity=1)[-3:-1] == [
        "  Detection limit: 5.0% (100 samples, only 59 answers for one excerpt, 95% "
        "confidence)",
        "  Expected range in a second run of 100 samples: longest_span 9–41 words",
    ]


def test_a_pass_states_that_rounds_are_not_exchangeable():
    moody = dataclasses.replace(SEEN, blocks=10, clumped=0.001, detection=0.2589)
    drifting = dataclasses.replace(moody, clumped=0.5, drifting=0.0015)
    for seen, why in ((moody, "clumped, p = 0.002"), (drifting, "drifting, p = 0.003")):
        assert f"\n  Rounds aren't exchangeable ({why})" in "\n".join(
            lines(result_with(detection=seen))
        )
    assert "exchangeable" not in "\n".join(lines(result_with(detection=SEEN)))


def test_differing_limits_stand_in_the_cells():
    measures = MEASURES | {"longest_span": 16}
    pairs = [
        result_with(limits={"longest_span": limit}, measures=measures)
        for limit in (10, 20)
    ]
    table = lines(*pairs)
    assert ("16>10" in table[1], "16≤20" in table[2]) == (True, True)
    assert not any(line.startswith("limit") for line in table)


LEAK = {"pair": "reciter/the-lamplighter", "verdict": "FAIL", "expected": "leak"}
LEAK["completeness"] = evidence(310, 310)


LEAKED = {
    "longest_passage": 604,
    "bmc": 1.0,
    "longest_block": 12_345,
    "longest_span": 476,
}
LIMITS = {"longest_passage": 38, "bmc": 0.15, "longest_span": 30}
# A pair and what is told of it; the ends of its lines at 80 columns.
FOLDED = {
    "at blank and slash": (
        {**LEAK, "limits": LIMITS, "measures": LEAKED | {"spans_over": 34}},
        ("reciter/ ", "310/310 FAIL"),
        ("the-lamplighter ", "(expected)"),
    ),
    "not the name where it is short": (
        {**LEAK, "pair": "reciter/lamplight", "measures": LEAKED, "detection": SEEN},
        ("reciter/lamplight ", "FAIL"),
        ("", "(expected)"),
    ),
    "counts below the verdict where that is still too wide": (
        {
            "pair": "parrot/frankenstein-or-the-modern",
            "verdict": "INCONCLUSIVE",
            "limits": dict.fromkeys((*PASSAGES, "longest_span"), 38),
            "detection": SEEN,
            "measures": MEASURES | PASSAGES,
            "completeness": evidence(1552, 1552),
        },
        ("parrot/ ", " INCONCLUSIVE"),
        ("frankenstein-or-the-modern ", " 1,552/1,552"),
        ("", "3.0%"),
    ),
}


@pytest.mark.parametrize("how", FOLDED)
def test_rows_are_folded_at_eighty_columns(how):
    leak, *rows = FOLDED[how]
    shown = summary(
        [result_with(**leak)], width=80, color=False, wrap=True
    ).splitlines()
    assert max(map(len, shown)) <= 80
    assert not [line for line in shown if line.endswith(" ")]
    first = next(n for n, line in enumerate(shown) if line.startswith(rows[0][0]))
    for line, (begin, end) in zip(shown[first:], rows, strict=False):
        assert line.startswith(begin)
        assert line.endswith(end)
    if len(rows) > 2:
        heads = [line.split()[-1] for line in shown[first - 4 : first]]
        assert heads == ["verdict", "received", "detection", "limit"]


def test_in_a_narrow_terminal_rows_have_the_measures_that_fit():
    leak = result_with(**LEAK, measures=LEAKED)
    text = summary([leak], width=45, color=False, wrap=True)
    assert max(map(len, text.splitlines())) <= 45
    for part in ("bmc", "1.000", "310/310", "FAIL"):
        assert part in text
    assert "spans_" not in text


@pytest.mark.parametrize("width", [0, 20, 80])
def test_a_narrow_terminal_cuts_no_number(width):
    pair = "a-model-with-a-very-long-name/a-book-with-a-very-long-name"
    leak = result_with(**LEAK | {"pair": pair}, measures=LEAKED | {"spans_over": 90})
    text = " ".join(lines(leak, width=width))
    for shown in ("1.000", "12,345", "476", "90", "310/310", "FAIL (expected)"):
        assert shown in text
    assert "…" not in text


TIMED = Plan("p", 36, 315, 0, 11_198, 180_330, None)


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        ((700.0, 5.0), "Time: about 12 minutes at the pace of earlier calls"),
        (
            (40.0, None),
            "Time: about 40 seconds at the pace of earlier calls, plus 1 pair whose "
            "model has no earlier calls",
        ),
        ((10_000.0, 1.0), "Time: about 3 hours at the pace of earlier calls"),
        ((None, None), None),
    ],
)
def test_a_plan_states_its_time_if_earlier_calls_show_it(seconds, line):
    steps = [
        PlannedStep(f"m/{n}", TIMED, seconds=each) for n, each in enumerate(seconds)
    ]
    text = plan_table(RunPlan(tuple(steps), ()), width=80, color=False, wrap=False)
    times = [line for line in text.splitlines() if line.startswith("Time: ")]
    assert times == ([line] if line else [])


@pytest.mark.parametrize("wrap", [True, False])
def test_a_plan_fits_eighty_columns(wrap):
    plan = Plan("p", 36, 315, 0, 11_198, 180_330, None)
    rounds = PlannedRounds(6, 0.95, 0.394, detection_limit=0.05, needed=66)
    step = PlannedStep("reciter/the-lamplighter", plan, rounds=rounds)
    text = plan_table(RunPlan((step,), ()), width=80, color=False, wrap=wrap)
    assert "reciter/the-lamplighter 36 315" in " ".join(text.split())
    assert "detection_limit = 0.05 even if" in " ".join(text.split())
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in (lines if wrap else lines[:2]))
    step = PlannedStep("candidate-release/the-lamplighter (greedy)", plan)
    text = plan_table(RunPlan((step,), ()), width=80, color=False, wrap=wrap)
    assert ("(greedy) " in text) is not wrap


REFUSED = evidence(100, 100, kinds={Kind.REFUSAL: 97}, accept_refusals=True)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"verdict": "FAIL", "expected": "leak"}, "FAIL (expected)"),
        ({"verdict": "PASS", "expected": "leak"}, "PASS (a leak was expected)"),
        ({"verdict": "INCONCLUSIVE", "expected": "leak"}, "INCONCLUSIVE"),
        ({"completeness": REFUSED}, "PASS, 97% refused"),
        (
            {"completeness": REFUSED, "verdict": "FAIL", "expected": "leak"},
            "FAIL, 97% refused (expected)",
        ),
    ],
)
def test_a_row_ends_in_the_verdict_and_what_it_is_of(fields, end):
    result = result_with(**fields)
    counted = end.replace("PASS, 97% refused", "PASS (with refusals)").replace(
        ", 97% refused", ""
    )
    assert verdict_counts([result]) == f"1 {counted}"
    shown = lines(result)
    assert shown[1].endswith(f" {end}")
    note = "  This pair must leak, but all limits hold, so its test fails."
    assert (shown[-2:] == [f"{end} m/book", note]) is ("was expected" in end)


@pytest.mark.parametrize(("width", "columns"), [(80, 4), (200, 8)])
def test_a_measure_with_a_limit_has_a_column_and_columns_are_whole(width, columns):
    limits = {
        "bmc": 0.15,
        "longest_block": 50,
        "longest_span": 38,
        "spans_over": 0,
        "bmc_excess": 0.05,
        "uplift": 0.05,
        "nv_recall": 0.1,
        "nv_longest_span": 60,
    }
    values = dict.fromkeys(limits, 12_345) | {
        name: 0.875 for name in limits if isinstance(limits[name], float)
    }
    one = result_with(pair="candidate/the-road", limits=limits, measures=values)
    other = result_with(
        pair="m/b", limits={"bmc": 0.2}, measures=limits, verdict="INCONCLUSIVE"
    )
    text = summary([one, other], width=width, color=False)
    assert "…" not in text
    assert "candidate/" in text
    assert text.count("12,345>") + text.count("0.875>") == columns
    assert not re.search("uplift|nv|excess", lines(result_with(measures=values))[0])
    assert " INCONCLUSIVE" in text


WHO = Provenance(
    "gpt",
    (ServedBy("gpt-2024-08-06", "fp1", 5), ServedBy(None, None, 1)),
    1.7e9,
    1.7e9 + 86_400,
    calls_this_run=2,
    calls=6,
    weights="release R",
)
AGAIN = dataclasses.replace(
    WHO, tried=Tried(3, seeds=2, runs=3, resampled=1, removed=1)
)
KINDS = evidence(kinds={Kind.ANSWER: 5, Kind.SHORT: 1}, median_length_ratio=0.9)
MARKUP = "[bold red]x[/] :warning: [link=http://x]y[/link]"  # which is none here
DETAILS = {
    "of a pass with its generations nothing": (
        {"completeness": KINDS, "provenance": WHO},
        [],
    ),
    "of a pass what is out of the ordinary": (
        {
            "provenance": AGAIN,
            "sampled": (SampledCount("baseline", "b", None, 10, 10, 5, "0"),),
        },
        [
            "PASS m/book",
            "  Attempt 3 for book and model, by weights or name (2 seeds, 1 "
            "temperature, "
            "resampled 1 time because of age, 3 runs, 1 generation removed)",
            "  Baseline model: 50% refused",
        ],
    ),
    "of a pass its warnings": (
        {"warnings": ("3 images are left out",)},
        ["PASS m/book", "  warning: 3 images are left out"],
    ),
    "reasons, passages and quotes": (
        {
            "verdict": "FAIL",
            "reasons": ("longest_span 16 exceeds the limit 10", "word " * 60, MARKUP),
            "spans": (
                passage(
                    kind="longest block",
                    words=1234,
                    generation=None,
                    chapter="The Quay",
                ),
                passage(quote="the ferryman counted … (+13 words)"),
            ),
            "spared": "stopped after 5 of 10 rounds",
        },
        [
            "FAIL m/book",
            "  longest block, 1,234 words: The Quay, p_id1, words 1,000-1,016",
            "  span, 16 words: p_id1, words 1,000-1,016, generation 2",
            "    “the ferryman counted … (+13 words)”",
            "  longest_span 16 exceeds the limit 10",
            f"  {'word ' * 60}".rstrip(),
            f"  {MARKUP}",
            "  stopped after 5 of 10 rounds",
            "  Book text: not approved",
        ],
    ),
    "intervals of what the limits are on": (
        {
            "verdict": "FAIL",
            "limits": {"bmc": 0.15},
            "measures": MEASURES | {"bmc": 0.5},
            "intervals": {"bmc": (0.46, 0.55), "longest_span": (1, 2)},
            "settings": SETTINGS | {"confidence": 0.95},
        },
        [
            "FAIL m/book",
            "  95% confidence intervals: bmc 0.460–0.550",
            "  Book text: not approved",
        ],
    ),
    "who answered and when": (
        {"verdict": "INCONCLUSIVE", "completeness": KINDS, "provenance": WHO},
        [
            "INCONCLUSIVE m/book",
            "  Generations: 5 answers, 1 short; median length ratio 90.0%",
            "  Sampled 2023-11-14 to 2023-11-15, 2 of 6 calls made in this run",
            "  Served by gpt-2024-08-06 (fp1), 5 calls; an unnamed server, 1 call; "
            "requested gpt; weights: release R",
            "  Sampling distribution: the model's own",
            "  Book text: not approved",
        ],
    ),
}


@pytest.mark.parametrize(("fields", "below"), DETAILS.values(), ids=DETAILS)
def test_a_pair_s_details_stand_below_the_table(fields, below):
    passes = fields.get("verdict", "PASS") == "PASS"
    # Behind the table.
    shown = lines(result_with(**fields), verbosity=0 if passes else 1)[3:]
    assert shown == ([""] if below else []) + below


WORST = passage(
    kind="longest passage", words=104, quote="the ferryman counted … (+101 words)"
)
LEAKS = {
    "verdict": "FAIL",
    "limits": {"bmc": 0.15, "longest_span": 38, "spans_over": 0},
    "measures": MEASURES | {"bmc": 0.1677, "longest_span": 104, "spans_over": 3},
    "reasons": ("bmc ...", "longest_span ...", "spans_over ..."),
    "passages": (WORST, passage(words=60)),
    "warnings": ("3 images are left out",),
}


def test_a_failing_pair_takes_six_lines():
    assert lines(result_with(**LEAKS))[-6:] == [
        "",
        "FAIL m/book",
        "  bmc 0.168 > 0.15, longest_span 104 > 38, spans_over 3 > 0",
        "  longest passage, 104 words: p_id1, words 1,000-1,016, generation 2",
        "    “the ferryman counted … (+101 words)”",
        "  1 more passage, 1 notice: see -v",
    ]


def test_notices_are_shown_where_a_pair_has_nothing_else_to_show():
    undecided = LEAKS | {
        "verdict": "INCONCLUSIVE",
        "reasons": ("incomplete",),
        "measures": MEASURES,
    }
    assert lines(result_with(**undecided))[-2:] == [
        "INCONCLUSIVE m/book",
        "  warning: 3 images are left out",
    ]


def test_a_failing_pair_of_named_prompts_shows_each_rate_at_once():
    leaking = PromptRate("first", 9, 10, 0.6058, 0.9949, 104, "p_id1, words 1-105")
    silent = PromptRate("second", 0, 10, 0.0, 0.2589, 0, "")
    failed = result_with(**LEAKS, prompt_rates=(leaking, silent))
    shown = lines(failed)
    assert shown[-5:-3] == [
        "  first: 9 of 10 samples over the limit (60.6%–99.5%); the longest passage has "
        "104 words (p_id1, words 1-105)",
        "  second: 0 of 10 samples over the limit, at most 25.9%",
    ]
    assert shown[-1] == "  1 more passage, 1 notice: see -v"


def test_a_near_verbatim_passage_over_its_limit_shows_both_sides():
    near = dataclasses.replace(
        WORST,
        kind="longest near-verbatim passage",
        quote="he saw some",
        answer="he saw no",
    )
    short = dataclasses.replace(WORST, words=12)
    leak = result_with(
        verdict="FAIL",
        reasons=("too long",),
        passages=(short, near),
        measures={"longest_passage": 12, "nv_longest_passage": 104},
        limits={"longest_passage": 38, "nv_longest_passage": 38},
    )
    assert lines(leak)[-6:] == [
        "FAIL m/book",
        "  nv_longest_passage 104 > 38",
        "  longest near-verbatim passage, 104 words: p_id1, words 1,000-1,016, "
        "generation 2",
        "    book: “he saw some”",
        "    answer: “he saw no”",
        "  1 more passage: see -v",
    ]


def test_a_failing_pair_names_changed_weights():
    issues = (
        Issue("canaries", "the model answers otherwise", "set weights_version"),
        Issue("short", "1 of 6", "read it"),
    )
    shown = lines(result_with(**LEAKS, completeness=evidence(issues=issues)))
    assert "  the model answers otherwise; set weights_version" in shown
    assert not any("1 of 6" in line for line in shown)
    every = lines(
        result_with(**LEAKS, completeness=evidence(issues=issues)), verbosity=1
    )
    assert "  the model answers otherwise; set weights_version" in every


def result_of(model, book, **fields):
    records = {
        name: dataclasses.replace(getattr(NOTHING, name), id=its)
        for name, its in (("model", model), ("book", book))
    }
    return result_with(pair=f"{model}/{book}", **records, **fields)


def many(count):
    """Pairs of two models: of each four the first fails, the second is inconclusive."""
    fields = (
        LEAKS,
        {"verdict": "INCONCLUSIVE", "reasons": ("no summaries", "x")},
        {},
        {},
    )
    for number in range(count):
        yield result_of(
            f"model-{number % 2}", f"book-{number // 2:02}", **fields[number % 4]
        )


def test_many_pairs_have_notices_alone():
    notice = "warning: 3 images are left out (model-0/book-00 and 2 more pairs)"
    assert lines(*many(12)) == [notice]


def test_a_further_v_shows_more_of_many_pairs():
    pairs = tuple(many(BRIEF_FROM_PAIRS))
    counts = [len(lines(*pairs, verbosity=verbosity)) for verbosity in (-1, 0, 1, 2)]
    assert counts == sorted(set(counts))
    heads = [lines(*pairs, verbosity=verbosity)[0].split()[0] for verbosity in (1, 2)]
    assert heads == ["pair", "pair"]


def test_an_undecided_pair_is_explained_by_the_first_screen():
    doubted = result_with(verdict="INCONCLUSIVE", reasons=("a", "b"), passages=(WORST,))
    assert "  a" not in lines(doubted)
    assert "  b" in lines(doubted, verbosity=1)


def test_v_shows_a_passage_s_rate():
    rate = PassageRate(
        0, 16, hits=3, tries=100, low=0.0062, high=0.0852, approximate=False
    )
    seldom = result_with(verdict="FAIL", spans=(passage(rate=rate), passage(start=5)))
    shown = summary([seldom], width=100, color=False, verbosity=1)
    line = "in 3 of 100 generations from its prompt; likely rate 0.62% to 8.5%"
    assert f"generation 2\n    {line}\n  span, 16 words" in shown
    assert line not in "\n".join(lines(seldom))
    unlike = dataclasses.replace(rate, approximate=True)
    assert rate_text(unlike) == line.replace("likely rate", "likely rate about")
    point = dataclasses.replace(rate, low=0.03, high=0.03)
    assert rate_text(point) == "in 3 of 100 generations from its prompt"


def test_an_expected_leak_shows_its_passages_only_with_v():
    passages = tuple(passage(start=n) for n in range(6))
    leak = result_with(verdict="FAIL", expected="leak", leaked=True, passages=passages)
    shown = ["\n".join(lines(leak, verbosity=verbosity)) for verbosity in (0, 1)]
    assert [text.count("span, 16 words") for text in shown] == [0, 6]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_long_lines_are_wrapped_and_indented_in_a_terminal(width):
    one = passage(
        kind="longest passage",
        chapter="The Coming of the Prudence on a Very Long Night in Late Autumn",
        prompted_excerpt="p_id24",
        quote=" ".join(["ferryman"] * 14),
    )
    reason = "9 of 31 excerpts have no answer; at most 1 may have none; " * 3
    leak = result_with(verdict="FAIL", spans=(one,), reasons=(reason.strip(),))
    whole = summary([leak], width=width, color=False)
    shown = summary([leak], width=width, color=False, wrap=True)
    assert max(map(len, whole.splitlines())) > width
    lines = shown.splitlines()[3:]
    assert max(map(len, lines)) <= width
    assert " ".join(shown.split()) == " ".join(whole.split())  # the same words
    assert all(line.startswith("    ") for line in lines if line[:3] == "   ")


def test_a_passage_that_is_near_verbatim_as_well_is_listed_once():
    exact = passage(kind="longest passage", words=604)
    near = dataclasses.replace(exact, kind="longest near-verbatim passage")
    longer = dataclasses.replace(near, words=612)
    shown = "\n".join(
        lines(result_with(verdict="FAIL", spans=(exact, near)), verbosity=1)
    )
    assert shown.count("passage, 604 words") == 1
    shown = "\n".join(
        lines(result_with(verdict="FAIL", spans=(exact, longer)), verbosity=1)
    )
    assert "longest near-verbatim passage, 612 words" in shown


CONTROLS = set("\x00\x07\x08\x0b\x1b\x7f\x9b\u202e\u2066\u200b\ud800")


def test_a_verdict_and_a_value_over_its_limit_have_a_color():
    measures = MEASURES | {"longest_span": 16}
    for limit, verdict, red in ((10, "FAIL", True), (16, "PASS", False)):
        pair = result_with(
            limits={"longest_span": limit}, measures=measures, verdict=verdict
        )
        text = summary([pair], width=100, color=True)
        assert bool(re.search("\x1b\\[31m *16\x1b", text)) is red
        assert f"\x1b[{31 if red else 32}m{verdict}" in text
        assert "\x1b" not in summary([pair], width=100, color=False)


PIECES = [*sorted(CONTROLS), "a", " ", "\n", "[red]", "[/]", ":smile:"]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text_prints_without_control_characters(reason, chapter, name, warning):
    spans = (passage(chapter=chapter, excerpt_id=name),)
    result = result_with(
        verdict="FAIL", reasons=(reason,), spans=spans, warnings=(warning,)
    )
    text = summary([result], width=100, color=False, verbosity=1)
    assert not set(text) & CONTROLS
    assert len(text.splitlines()) == 9


MEASURED = BookPart(
    "a", "One", kept=True, rule="it is text", words=930, notes=10, headings=20
)
TITLED = BookPart(
    "b", "Notes", kept=False, rule="its title", words=0, matter=40, by_title=True
)


def test_a_pass_states_what_a_title_alone_excludes():
    line = "  7.0% of the file excluded; 40 words of that only because of a title"
    for part, shown in (
        (TITLED, True),
        (dataclasses.replace(TITLED, by_title=False), False),
    ):
        book = dataclasses.replace(NOTHING.book, parts=(MEASURED, part))
        assert (line in lines(result_with(book=book))) is shown
    line = "  7.0% of the file excluded"
    assert line in lines(result_with(book=book, verdict="FAIL"), verbosity=1)
