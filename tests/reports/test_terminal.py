"""The terminal summary: the table of pairs and what is told below it."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_results import NOTHING, SETTINGS, estimated, limited

from pytest_memleak.records import Completeness, Kind, Verdict
from pytest_memleak.records.measurement import PassageRate
from pytest_memleak.records.pair_result import Passage, SampledCount
from pytest_memleak.records.provenance import Provenance, ServedBy, Tried
from pytest_memleak.records.round_stats import DetectionSummary
from pytest_memleak.records.verdicts import verdict_words
from pytest_memleak.reports.report_text import rate_text
from pytest_memleak.reports.terminal import summary

MEASURES = {"bmc": 0.0, "longest_block": 0, "longest_span": 0, "spans_over": 0}


def evidence(asked=6, got=6, **told):
    return Completeness(requested=asked, received=got, **told)


def found(**told):
    """A result that tells this, and of everything else nothing."""
    intervals = told.pop("intervals", {})
    measures = {
        name: estimated(value, *intervals.get(name, ()))
        for name, value in told.pop("measures", MEASURES).items()
    }
    completeness = told.pop("completeness", evidence())
    return dataclasses.replace(
        NOTHING,
        limits=limited(**told.pop("limits", {})),
        measures=measures,
        completeness=completeness,
        verdict=verdict_words(Verdict(told.pop("verdict", "PASS")), completeness),
        **told,
    )


def passage(**told):
    made = {
        "kind": "span", "words": 16, "start": 1000, "end": 1016, "chapter": None,
        "excerpt_id": "p_id1", "generation": 2, "quote": "",
    }  # fmt: skip
    return Passage(**made | told)


def lines(*findings, width=100, color=False):
    text = summary(findings, width=width, color=color)
    told = [line.rstrip() for line in text.splitlines()]
    return [line for line in told if not line.startswith("No positive control leaked")]


SEEN = DetectionSummary(
    rounds=100, confidence=0.95, answers=100, detection=0.02951, clumped=1, drifting=1
)


# --- the table -----------------------------------------------------------------------------


def test_a_row_for_each_pair_and_one_for_the_limits():
    limits = {"bmc": 0.15, "longest_span": 10}
    clean = found(pair="clean/ferry", limits=limits)
    leaky = found(
        pair="leaky/ferry",
        limits=limits,
        verdict="FAIL",
        measures={"bmc": 0.8765, "longest_block": 12_345, "longest_span": 16, "spans_over": 3},
        completeness=evidence(3100, 3100),
    )
    table = lines(clean, leaky)[:4]
    assert [re.sub(" +", " ", line) for line in table] == [
        "pair bmc longest_block longest_span spans_over received verdict",
        "clean/ferry 0.000 0 0 0 6/6 PASS",
        "leaky/ferry 0.876 12,345 16 3 3,100/3,100 FAIL",
        "limit ≤0.150 ≤10",
    ]


def test_beside_each_verdict_stands_what_its_rounds_would_have_seen():
    few = dataclasses.replace(SEEN, rounds=3, answers=3, detection=0.632, confidence=0.9)
    unseen = found(pair="m/unread", verdict="INCONCLUSIVE", measures={})
    told = lines(found(detection=SEEN), found(detection=few), unseen)
    head, first, second, third = told[:4]
    assert head.split()[-4:] == ["received", "detection", "limit", "verdict"]
    assert first.split()[-2:] == ["3.0%", "PASS"]
    assert second.split()[-2:] == ["63.2%", "PASS"]
    assert third.split()[-2:] == ["-", "INCONCLUSIVE"]
    said = (
        "detection limit: a passage generated more often than this per prompt appears at least once"
    )
    assert [line for line in told if said in line] == [
        f"{said} (95% confidence)",
        f"{said} (90% confidence)",
    ]


def test_of_what_does_not_pass_it_stands_in_a_sentence_with_the_ranges():
    known = dataclasses.replace(
        SEEN, answers=59, detection=0.0495, ranges={"longest_span": (9, 41)}
    )
    told = "\n".join(lines(found(verdict="FAIL", detection=known)))
    assert (
        "  Detection limit: 5.0% (100 samples, only 59 answers for one excerpt, 95% confidence)\n"
        "  Expected range for 100 more samples: longest_span 9–41 words"
    ) in told


def test_that_nothing_showed_that_the_gate_could_see_is_told_unless_something_did():
    assert "No positive control leaked" in summary([found()], width=100, color=False)
    leaks = [found(), found(pair="m/known", expected="leak", verdict="FAIL", leaked=True)]
    assert "No positive control leaked" not in summary(leaks, width=100, color=False)


def test_that_rounds_were_not_alike_is_told_even_of_a_pass():
    moody = dataclasses.replace(SEEN, blocks=10, clumped=0.001, detection=0.2589)
    told = lines(found(detection=moody))
    assert any(
        line.startswith("  Rounds aren't exchangeable (clumped, p = 0.002)") for line in told
    )
    drifting = dataclasses.replace(moody, clumped=0.5, drifting=0.0015)
    assert "(drifting, p = 0.003)" in "\n".join(lines(found(detection=drifting)))
    assert "exchangeable" not in "\n".join(lines(found(detection=SEEN)))


def test_limits_that_differ_stand_in_the_cells():
    table = lines(
        found(limits={"longest_span": 10}, measures=MEASURES | {"longest_span": 16}),
        found(
            pair="m/other", limits={"longest_span": 20}, measures=MEASURES | {"longest_span": 16}
        ),
    )
    assert "16>10" in table[1]
    assert "16≤20" in table[2]
    assert not any(line.startswith("limit") for line in table)


@pytest.mark.parametrize("width", [80, 98, 200])
def test_heads_are_the_measures_names_broken_where_the_width_asks_for_it(width):
    long = found(
        pair="reciter/the-lamplighter",
        verdict="FAIL",
        expected="leak",
        completeness=evidence(310, 310),
    )
    told = lines(long, width=width)
    heads, rows = (1, 2) if width < 98 else (1, 1)
    table = told[: heads + rows]
    assert max(map(len, table)) <= width
    names = [*MEASURES]
    if width < 98:
        above, below = told[0].split(), told[1].split()
        assert above == ["longest_", "longest_", "spans_"]
        assert below == ["pair", "bmc", "block", "span", "over", "received", "verdict"]
    else:
        assert told[0].split() == ["pair", *names, "received", "verdict"]


def test_at_eighty_columns_rows_are_folded_at_blank_and_slash():
    limits = {"longest_passage": 38, "bmc": 0.15, "longest_span": 30}
    leak = found(
        pair="reciter/the-lamplighter",
        verdict="FAIL",
        expected="leak",
        limits=limits,
        measures={
            "longest_passage": 604, "bmc": 1.0, "longest_block": 12_345, "longest_span": 476,
            "spans_over": 34,
        },
        completeness=evidence(310, 310),
    )  # fmt: skip
    told = summary([leak], width=80, color=False, wrap=True).splitlines()
    assert max(map(len, told)) <= 80
    assert not [line for line in told if line.endswith(" ")]
    row = next(n for n, line in enumerate(told) if line.startswith("reciter/ "))
    assert told[row].endswith("310/310 FAIL")
    assert told[row + 1].split() == ["the-lamplighter", "(expected)"]


def test_where_that_is_still_too_wide_counts_stand_below_the_verdict():
    limits = dict.fromkeys(("longest_passage", "nv_longest_passage", "longest_span"), 38)
    unseen = found(
        pair="parrot/frankenstein-or-the-modern",
        verdict="INCONCLUSIVE",
        limits=limits,
        measures=MEASURES | dict.fromkeys(("longest_passage", "nv_longest_passage"), 6),
        detection=SEEN,
        completeness=evidence(1552, 1552),
    )
    told = summary([unseen], width=80, color=False, wrap=True).splitlines()
    assert max(map(len, told)) <= 80
    row = next(n for n, line in enumerate(told) if line.startswith("parrot/ "))
    assert told[row].endswith(" INCONCLUSIVE")
    assert told[row + 1].split() == ["frankenstein-or-the-modern", "1,552/1,552"]
    assert told[row + 2].split() == ["3.0%"]
    heads = [line.split()[-1] for line in told[row - 4 : row]]
    assert heads == ["verdict", "received", "detection", "limit"]


def test_measures_that_could_not_be_had_are_a_dash():
    row = lines(found(measures={}, completeness=evidence(0, 0), verdict="INCONCLUSIVE"))[1]
    assert re.sub(" +", " ", row) == "m/book - - - - - - INCONCLUSIVE"


@pytest.mark.parametrize(
    "name", ["bmc_excess", "uplift", "nv_recall", "nv_longest_span", "greedy_longest_span"]
)
def test_further_measures_have_a_column_where_they_have_a_limit(name):
    told = found(limits={name: 1}, measures=MEASURES | {name: 1})
    assert re.search(rf" {name} ", lines(told, width=200)[0])
    assert not re.search(r"uplift|nv|excess|greedy", lines(found(measures=MEASURES | {name: 1}))[0])


def test_an_expected_leak_is_shown_as_one():
    assert "FAIL (expected)" in lines(found(verdict="FAIL", expected="leak"))[1]
    told = lines(found(verdict="PASS", expected="leak"))
    assert told[1].endswith("PASS (a leak was expected)")
    assert told[-2:] == [
        "m/book: PASS (a leak was expected)",
        "  This pair must leak, but all limits hold, so its test fails.",
    ]
    assert lines(found(verdict="INCONCLUSIVE", expected="leak"))[1].endswith("INCONCLUSIVE")


@pytest.mark.parametrize("width", [0, 20, 80])
def test_a_narrow_terminal_folds_the_pair_and_cuts_no_number(width):
    long = found(
        pair="a-model-with-a-very-long-name/a-book-with-a-very-long-name",
        measures={"bmc": 0.5, "longest_block": 12_345, "longest_span": 678, "spans_over": 90},
        completeness=evidence(31_000, 31_000),
        verdict="FAIL",
        expected="leak",
    )
    told = " ".join(lines(long, width=width))
    for shown in ("0.500", "12,345", "678", "90", "31,000/31,000", "FAIL (expected)"):
        assert shown in told
    assert "…" not in told


# --- below it ------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "columns"), [(80, 4), (200, 8)])
def test_no_column_is_cut_and_the_overviews_own_always_show(width, columns):
    limits = {
        "bmc": 0.15, "longest_block": 50, "longest_span": 38, "spans_over": 0, "bmc_excess": 0.05,
        "uplift": 0.05, "nv_recall": 0.1, "nv_longest_span": 60,
    }  # fmt: skip
    values = dict.fromkeys(limits, 12_345) | {
        name: 0.875 for name in limits if isinstance(limits[name], float)
    }
    one = found(pair="candidate/the-road", limits=limits, measures=values)
    other = found(pair="m/b", limits={"bmc": 0.2}, measures=limits, verdict="INCONCLUSIVE")
    text = summary([one, other], width=width, color=False)
    assert "…" not in text
    assert "candidate/" in text
    assert text.count("12,345>") + text.count("0.875>") == columns
    assert " INCONCLUSIVE" in text


def test_what_passes_is_told_by_its_row_alone():
    assert len(lines(found())) == 3


def test_reasons_passages_and_quotes():
    told = lines(
        found(
            verdict="FAIL",
            reasons=("longest_span 16 exceeds the limit 10", "spans_over 1 exceeds the limit 0"),
            spans=(
                passage(kind="longest block", words=1234, generation=None, chapter="The Quay"),
                passage(quote="the ferryman counted … (+13 words)"),
            ),
            spared="stopped after 5 of 10 rounds",
        )
    )
    assert told[3:] == [
        "",
        "m/book: FAIL",
        "  longest block of 1,234 words at The Quay, p_id1, words 1,000-1,016",
        "  span of 16 words at p_id1, words 1,000-1,016, generation 2",
        "    “the ferryman counted … (+13 words)”",
        "  longest_span 16 exceeds the limit 10",
        "  spans_over 1 exceeds the limit 0",
        "  stopped after 5 of 10 rounds",
    ]


def test_v_says_how_often_a_passage_came_back():
    rate = PassageRate(0, 16, hits=3, tries=100, low=0.0062, high=0.0852, approximate=False)
    seldom = found(verdict="FAIL", spans=(passage(rate=rate), passage(start=5)))
    told = summary([seldom], width=100, color=False, verbose=True)
    line = "in 3 of 100 generations from its prompt; expected in 0.62% to 8.5%"
    assert f"generation 2\n    {line}\n  span of" in told
    assert line not in "\n".join(lines(seldom))
    unlike = dataclasses.replace(rate, approximate=True)
    assert rate_text(unlike) == line.replace("expected in", "expected in about")
    point = dataclasses.replace(rate, low=0.03, high=0.03)
    assert rate_text(point) == "in 3 of 100 generations from its prompt"


def test_of_an_expected_leak_the_worst_passages_do_unless_more_are_asked_for():
    leak = found(
        verdict="FAIL", expected="leak", passages=tuple(passage(start=n) for n in range(6))
    )
    told = "\n".join(lines(leak))
    assert told.count("span of 16 words") == 2
    assert "  4 more passages; rerun with -v" in told
    for all_of_it in (
        summary([leak], width=100, color=False, verbose=True),
        "\n".join(lines(dataclasses.replace(leak, expected="pass"))),
    ):
        assert all_of_it.count("span of 16 words") == 6
        assert "rerun with -v" not in all_of_it


def test_warnings_are_told_even_of_what_passes():
    told = lines(found(warnings=("3 images are left out",)))
    assert told[-2:] == ["m/book: PASS", "  warning: 3 images are left out"]


def test_a_long_reason_is_one_line_for_the_terminal_to_fold():
    reason = "word " * 60
    assert f"  {reason.strip()}" in lines(
        found(verdict="INCONCLUSIVE", reasons=(reason,)), width=80
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_for_a_reader_at_a_terminal_long_lines_go_on_below_their_beginning(width):
    one = passage(
        kind="longest passage",
        chapter="The Coming of the Prudence on a Very Long Night in Late Autumn",
        asked_for="p_id24",
        quote=" ".join(["ferryman"] * 14),
    )
    reason = "9 of 31 excerpts have no answer; at most 1 may have none; " * 3
    leak = found(verdict="FAIL", spans=(one,), reasons=(reason.strip(),))
    whole = summary([leak], width=width, color=False)
    told = summary([leak], width=width, color=False, wrap=True)
    assert max(map(len, whole.splitlines())) > width
    lines = told.splitlines()[3:]
    assert max(map(len, lines)) <= width
    assert " ".join(told.split()) == " ".join(whole.split())  # the same words
    assert all(line.startswith("    ") for line in lines if line[:3] == "   ")


def test_a_passage_that_is_near_verbatim_as_well_is_told_once():
    exact = passage(kind="longest passage", words=604)
    near = dataclasses.replace(exact, kind="longest near-verbatim passage")
    longer = dataclasses.replace(near, words=612)
    told = "\n".join(lines(found(verdict="FAIL", spans=(exact, near))))
    assert told.count("passage of 604 words") == 1
    told = "\n".join(lines(found(verdict="FAIL", spans=(exact, longer))))
    assert "longest near-verbatim passage of 612 words" in told


def test_intervals_of_what_the_limits_are_on():
    leak = found(
        verdict="FAIL",
        limits={"bmc": 0.15},
        measures=MEASURES | {"bmc": 0.5},
        intervals={"bmc": (0.46, 0.55), "longest_span": (1, 2)},
        settings=SETTINGS | {"confidence": 0.95},
    )
    assert "  95% confidence intervals: bmc 0.460–0.550" in lines(leak)


# --- colours and hostile text --------------------------------------------------------------

CONTROLS = set("\x00\x07\x08\x0b\x1b\x7f\x9b\u202e\u2066\u200b\ud800")


@pytest.mark.parametrize(
    ("verdict", "code"), [("PASS", "32"), ("FAIL", "31"), ("INCONCLUSIVE", "33")]
)
def test_verdicts_have_colours_where_there_are_some(verdict, code):
    coloured = summary([found(verdict=verdict)], width=100, color=True)
    assert f"\x1b[{code}m{verdict}" in coloured
    assert "\x1b" not in summary([found(verdict=verdict)], width=100, color=False)


def test_a_value_over_its_limit_is_red():
    over = found(limits={"longest_span": 10}, measures=MEASURES | {"longest_span": 16})
    assert re.search("\x1b\\[31m *16\x1b", summary([over], width=100, color=True))
    under = found(limits={"longest_span": 16}, measures=MEASURES | {"longest_span": 16})
    assert "\x1b[31m" not in summary([under], width=100, color=True)


PIECES = [*sorted(CONTROLS), "a", " ", "\n", "[red]", "[/]", ":smile:"]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_nothing_that_a_book_or_a_model_says_acts_on_the_terminal(reason, chapter, one, warning):
    told = found(
        verdict="FAIL",
        reasons=(reason,),
        spans=(passage(chapter=chapter, excerpt_id=one),),
        warnings=(warning,),
    )
    text = summary([told], width=100, color=False)
    assert not set(text) & CONTROLS
    assert len(text.splitlines()) == 9


def test_markup_and_emoji_codes_are_no_markup():
    told = summary(
        [found(verdict="FAIL", reasons=("[bold red]x[/] :warning: [link=http://x]y[/link]",))],
        width=100,
        color=False,
    )
    assert "[bold red]x[/] :warning: [link=http://x]y[/link]" in told


# --- the answers, and who gave them --------------------------------------------------------


def drawn(**told):
    return found(
        completeness=evidence(6, 6, kinds={Kind.ANSWER: 5, Kind.SHORT: 1}, median_length_ratio=0.9),
        **told,
    )


WHO = Provenance(
    "gpt",
    (ServedBy("gpt-2024-08-06", "fp1", 5), ServedBy(None, None, 1)),
    1.7e9,
    1.7e9 + 86_400,
    calls_this_run=2,
    calls=6,
    weights="release R",
)


def test_who_answered_and_when_is_told_of_what_does_not_pass():
    told = lines(drawn(verdict="INCONCLUSIVE", provenance=WHO))[3:]
    assert told == [
        "",
        "m/book: INCONCLUSIVE",
        "  Generations: 5 answers, 1 short; median length ratio 90.0%",
        "  Sampled 2023-11-14 to 2023-11-15, 2 of 6 calls in this run",
        "  Served by gpt-2024-08-06 (fp1), 5 calls; an unnamed server, 1 call; "
        "requested gpt; release R",
        "  Distribution: the model's own",
    ]


def test_of_a_pass_only_what_is_out_of_the_ordinary():
    assert lines(drawn(provenance=WHO))[3:] == []
    again = dataclasses.replace(WHO, tried=Tried(3, seeds=2, runs=3, anew=1, removed=1))
    baseline = SampledCount("baseline", "b/book", None, 10, 10, 5, "0")
    assert lines(drawn(provenance=again, sampled=(baseline,)))[3:] == [
        "",
        "m/book: PASS",
        "  Attempt 3 for this endpoint and book (2 seeds, 1 temperature, "
        "resampled 1 time because of age, 3 runs, 1 generation removed)",
        "  Baseline model: 50% refused",
    ]


def test_a_pass_for_refusals_reads_so():
    refused = evidence(100, 100, kinds={Kind.REFUSAL: 97}, accept_refusals=True)
    assert lines(found(completeness=refused))[1].endswith("PASS, 97% refused")
    leak = found(completeness=refused, verdict="FAIL", expected="leak")
    assert lines(leak)[1].endswith("FAIL, 97% refused (expected)")
