"""The verdict over a table of situations, and the census that it rests on."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.records import (
    Block,
    Book,
    Completeness,
    Excerpt,
    FinishReason,
    Generation,
    Limits,
    Sampling,
    Scoring,
    Span,
    Verdict,
)
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.near_verbatim import NearSpan, NearVerbatimRecall
from pytest_memleak.scoring.null import Null, Uplift
from pytest_memleak.verdict import Census, check_limits, judge, what_is_missing

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE

BOOK = Book(
    "b",
    "B",
    "A",
    (Excerpt("p1", "a b c d e f g h", "write"), Excerpt("p2", "i j k l m n o p", "write")),
    digest="",
)
DRAWN = [Generation(one, n, f"nothing {n}") for one in ("p1", "p2") for n in range(10)]
CLEAN = analyse(BOOK, DRAWN, Scoring())


def analysis(*, bmc=0.0, high=None, block=0, span=0, over=0, nv=None, excess=None, gain=None):
    """An analysis with these measures, whose intervals end at `high` or at `(value, high)`."""
    measurement = dataclasses.replace(
        CLEAN.measurement,
        bmc=bmc,
        longest_block=Block(block),
        longest_span=Span(span),
        spans_over=over,
    )
    error = dataclasses.replace(
        CLEAN.error,
        bmc=bmc,
        high=bmc if high is None else high,
        guess=(bmc,) * len(CLEAN.error.guess),
    )
    changed = dataclasses.replace(CLEAN, measurement=measurement, error=error)
    if nv is not None:
        near = NearVerbatimRecall(words=16, nv_recall=nv, longest_span=_near_span(span))
        changed = dataclasses.replace(changed, near=near)
    if excess is not None:
        value, end = excess
        null = Null(
            words=100, bmc=value, null_bmc=0.0, null_longest_span=0, excess=value, low=0.0,
            high=end, confidence=0.95,
        )  # fmt: skip
        changed = dataclasses.replace(changed, null=null)
    if gain is not None:
        value, end = gain
        up = Uplift(bmc=value, baseline_bmc=0.0, uplift=value, low=0.0, high=end, confidence=0.95)
        changed = dataclasses.replace(changed, uplift=up)
    return changed


def _near_span(words):
    names = {one.name for one in dataclasses.fields(NearSpan)}
    return NearSpan(**{name: words if name == "words" else None for name in names})


def completeness(*, asked=100, got=100, withheld=0, most=0.05, gaps=()):
    counts = {FinishReason.REFUSAL: withheld} if withheld else {}
    return Completeness(asked, got, counts, most, gaps)


WHOLE = completeness()
HALF = completeness(got=50)
BLOCKED = completeness(withheld=6)
GAP = completeness(gaps=("the server went away",))

ONE_OVER = (
    "bmc 0.2345 is over its limit 0.1567",
    "longest_block 101 is over its limit 100",
    "longest_span 39 is over its limit 38",
    "spans_over 1 is over its limit 0",
)
NO_CHANCE = "bmc_excess has a limit, but could not be measured: it needs a second test book*"
NO_BASELINE = "uplift has a limit, but could not be measured: the model needs a baseline*"
NO_NV = "nv_recall has a limit, but could not be measured: it was not asked for"
NV_OVER = "nv_recall 0.2345 is over its limit 0.1234"
GOT_HALF = "50 of 100 generations are there"
TOO_MANY_BLOCKED = "6 of 100 generations were withheld or empty (6 refusal), more than*0.05 allows"

SITUATIONS = [
    # complete evidence
    (analysis(), WHOLE, Limits(bmc=0.0), PASS, ()),
    (analysis(bmc=0.1567), WHOLE, Limits(bmc=0.1567), PASS, ()),
    (analysis(bmc=0.1234, high=0.1567), WHOLE, Limits(bmc=0.1567), PASS, ()),
    (analysis(bmc=0.2345), WHOLE, Limits(bmc=0.1567), FAIL, ONE_OVER[:1]),
    (analysis(bmc=0.1234, high=0.2345), WHOLE, Limits(bmc=0.1567), INCONCLUSIVE,
     ("bmc 0.1234 may be over its limit 0.1567: *",)),
    (analysis(block=100, span=38), WHOLE, Limits(longest_block=100, longest_span=38), PASS, ()),
    (analysis(block=101), WHOLE, Limits(longest_block=100), FAIL, ONE_OVER[1:2]),
    (analysis(span=39), WHOLE, Limits(longest_span=38), FAIL, ONE_OVER[2:3]),
    (analysis(over=1), WHOLE, Limits(spans_over=0), FAIL, ONE_OVER[3:]),
    (analysis(bmc=0.2345, block=101, span=39, over=1), WHOLE,
     Limits(bmc=0.1567, longest_block=100, longest_span=38, spans_over=0), FAIL, ONE_OVER),
    # one limit broken outweighs another in doubt
    (analysis(bmc=0.1234, high=0.2345, span=39), WHOLE, Limits(bmc=0.1567, longest_span=38), FAIL,
     ONE_OVER[2:3]),
    # something missing: never a pass, and still a failure where a limit is broken
    (analysis(), HALF, Limits(bmc=0.1567), INCONCLUSIVE, (GOT_HALF,)),
    (analysis(), BLOCKED, Limits(bmc=0.1567), INCONCLUSIVE, (TOO_MANY_BLOCKED,)),
    (analysis(), GAP, Limits(bmc=0.1567), INCONCLUSIVE, ("the server went away",)),
    (analysis(), completeness(got=50, withheld=6, gaps=("gone",)), Limits(bmc=0.1567), INCONCLUSIVE,
     ("gone", GOT_HALF, TOO_MANY_BLOCKED)),
    (analysis(bmc=0.1234, high=0.2345), HALF, Limits(bmc=0.1567), INCONCLUSIVE,
     (GOT_HALF, "bmc 0.1234 may be over*")),
    (analysis(bmc=0.2345), HALF, Limits(bmc=0.1567), FAIL, ONE_OVER[:1]),
    (analysis(span=39), BLOCKED, Limits(longest_span=38), FAIL, ONE_OVER[2:3]),
    (analysis(over=1), GAP, Limits(spans_over=0), FAIL, ONE_OVER[3:]),
    # no measurement, no limit
    (None, WHOLE, Limits(bmc=0.1567), INCONCLUSIVE, ("nothing could be held against a limit",)),
    (None, GAP, Limits(bmc=0.1567), INCONCLUSIVE, ("the server went away",)),
    (None, completeness(asked=0, got=0), Limits(bmc=0.1567), INCONCLUSIVE,
     ("nothing was asked of the model",)),
    (None, completeness(asked=0, got=0, gaps=("no book",)), Limits(bmc=0.1567), INCONCLUSIVE,
     ("no book",)),
    (analysis(), WHOLE, Limits(), INCONCLUSIVE, ("nothing could be held against a limit",)),
    # measures that cannot always be had
    (analysis(), WHOLE, Limits(bmc_excess=0.0512), INCONCLUSIVE, (NO_CHANCE,)),
    (analysis(), WHOLE, Limits(uplift=0.0512), INCONCLUSIVE, (NO_BASELINE,)),
    (analysis(), WHOLE, Limits(nv_recall=0.0512), INCONCLUSIVE, (NO_NV,)),
    (analysis(), WHOLE, Limits(bmc=0.1567, uplift=0.0512), INCONCLUSIVE, (NO_BASELINE,)),
    (analysis(bmc=0.2345), WHOLE, Limits(bmc=0.1567, uplift=0.0512), FAIL, ONE_OVER[:1]),
    (analysis(excess=(0.0123, 0.0434)), WHOLE, Limits(bmc_excess=0.0512), PASS, ()),
    (analysis(excess=(0.0123, 0.0612)), WHOLE, Limits(bmc_excess=0.0512), INCONCLUSIVE,
     ("bmc_excess 0.0123 may be over its limit 0.0512: *",)),
    (analysis(excess=(0.1234, 0.2345)), WHOLE, Limits(bmc_excess=0.0512), FAIL,
     ("bmc_excess 0.1234 is over its limit 0.0512",)),
    (analysis(gain=(0.1234, 0.2345)), WHOLE, Limits(uplift=0.0512), FAIL,
     ("uplift 0.1234 is over its limit 0.0512",)),
    (analysis(nv=0.2345), WHOLE, Limits(nv_recall=0.1234), FAIL, (NV_OVER,)),
    (analysis(nv=0.2345, span=30), WHOLE, Limits(nv_longest_span=29), FAIL,
     ("nv_longest_span 30 is over its limit 29",)),
    (analysis(nv=0.1234, span=30), WHOLE, Limits(nv_recall=0.1234, nv_longest_span=30), PASS, ()),
    # those that more samples may lower do not fail on half the evidence
    (analysis(excess=(0.1234, 0.2345)), HALF, Limits(bmc_excess=0.0512), INCONCLUSIVE, (GOT_HALF,)),
    (analysis(gain=(0.1234, 0.2345)), GAP, Limits(uplift=0.0512), INCONCLUSIVE, ("the server*",)),
    (analysis(nv=0.2345), HALF, Limits(nv_recall=0.1234), FAIL, (NV_OVER,)),
]  # fmt: skip


@pytest.mark.parametrize(("found", "evidence", "limits", "verdict", "reasons"), SITUATIONS)
def test_the_verdict_and_its_reasons(found, evidence, limits, verdict, reasons):
    judgement = judge(found, evidence, limits)
    assert judgement.verdict is verdict
    assert len(judgement.reasons) == len(reasons)
    for reason, said in zip(judgement.reasons, reasons, strict=True):
        first, *last = said.split("*")
        assert reason.startswith(first)
        assert reason.endswith(last[0] if last else "")


def test_a_limit_in_doubt_says_how_sure_it_is():
    judgement = judge(analysis(bmc=0.1234, high=0.2345), WHOLE, Limits(bmc=0.1567))
    assert judgement.reasons[0].startswith(
        "bmc 0.1234 may be over its limit 0.1567: with 10 samples it is known up to 0.2345 "
        "(at confidence 0.95)"
    )


def test_with_confidence_zero_only_the_observed_value_counts():
    drawn = [Generation("p1", 0, "a b c d e"), *DRAWN[1:]]
    for confidence, verdict in ((0.0, PASS), (0.95, INCONCLUSIVE)):
        found = analyse(BOOK, drawn, Scoring(), confidence=confidence)
        judgement = judge(found, WHOLE, Limits(bmc=found.measurement.bmc))
        assert judgement.verdict is verdict


def test_each_limit_that_is_set_stands_beside_its_measure():
    found = judge(analysis(bmc=0.1, high=0.12, block=7), WHOLE, Limits(bmc=0.15, longest_block=9))
    told = [(one.measure, one.value, one.limit, one.high) for one in found.checks]
    assert told == [("bmc", 0.1, 0.15, 0.12), ("longest_block", 7, 9, 7)]
    assert check_limits({}, Limits(bmc=0.1)) == ()


VALUES = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])


@given(VALUES, VALUES, VALUES, st.integers(0, 100), st.integers(0, 100), st.floats(0, 1))
def test_a_pass_needs_all_evidence_within_all_limits(bmc, more, limit, got, withheld, most):
    high = min(1.0, bmc + more)
    evidence = completeness(got=got, withheld=min(got, withheld), most=most)
    verdict = judge(analysis(bmc=bmc, high=high), evidence, Limits(bmc=limit)).verdict
    if bmc > limit:
        assert verdict is FAIL
    elif high > limit or got < 100 or what_is_missing(evidence):
        assert verdict is INCONCLUSIVE
    else:
        assert verdict is PASS


# --- completeness --------------------------------------------------------------------------


@given(st.integers(1, 300), st.data())
def test_exactly_the_share_that_is_allowed_may_be_withheld(asked, data):
    allowed = data.draw(st.integers(0, asked))
    share = allowed / asked
    for withheld in range(max(allowed - 1, 0), min(allowed + 2, asked + 1)):
        evidence = completeness(asked=asked, got=asked, withheld=withheld, most=share)
        assert bool(what_is_missing(evidence)) is (withheld > allowed)


@pytest.mark.parametrize(("share", "withheld"), [(0.29, 29), (0.57, 57), (0.07, 7), (0.05, 5)])
def test_shares_as_they_are_written_in_suites(share, withheld):
    assert not what_is_missing(completeness(withheld=withheld, most=share))
    assert what_is_missing(completeness(withheld=withheld + 1, most=share))


def test_what_was_withheld_is_told_by_its_reason():
    counts = {FinishReason.REFUSAL: 1_000, FinishReason.EMPTY: 2}
    (said,) = what_is_missing(Completeness(2_000, 2_000, counts, 0.1))
    assert said == (
        "1,002 of 2,000 generations were withheld or empty (2 empty, 1,000 refusal), "
        "more than max_blocked = 0.1 allows"
    )


# --- census --------------------------------------------------------------------------------


def counted(generations, *, book=BOOK, gaps=(), **sampling):
    census = Census(book, Sampling(**{"samples": 3} | sampling))
    passed = list(census.watch(generations))
    return passed, census.completeness(gaps)


def rounds(excerpt_id, *texts, reason=FinishReason.STOP):
    return [Generation(excerpt_id, n, text, reason) for n, text in enumerate(texts)]


def test_everything_that_was_asked_for_is_there():
    drawn = [*rounds("p1", "a", "b", "c"), *rounds("p2", "d", "e", "f")]
    passed, found = counted(drawn)
    assert passed == drawn
    assert found == Completeness(6, 6, {}, 0.05)
    assert what_is_missing(found) == ()


def test_rounds_beyond_the_suites_samples_are_not_measured():
    drawn = [*rounds("p1", *"abcde"), *rounds("p2", *"ab")]
    passed, found = counted(drawn)
    assert [(one.excerpt_id, one.ordinal) for one in passed] == [
        ("p1", 0), ("p1", 1), ("p1", 2), ("p2", 0), ("p2", 1)
    ]  # fmt: skip
    assert (found.asked, found.got) == (6, 5)


def test_it_counts_as_it_goes():
    census = Census(BOOK, Sampling(samples=3))
    watched = census.watch(rounds("p1", "a", "b"))
    assert census.completeness().got == 0
    next(watched)
    assert census.completeness().got == 1


@pytest.mark.parametrize("reason", FinishReason)
@pytest.mark.parametrize("text", ["text", "", " \n"])
def test_withheld_are_those_that_say_so_and_blank_ones(reason, text):
    drawn = rounds("p1", text, "other text", "yet another", reason=reason)
    found = counted(drawn)[1]
    if reason.withheld:
        assert found.withheld == {reason: 3}
    else:
        assert found.withheld == ({} if text.strip() else {FinishReason.EMPTY: 1})


def test_excerpts_that_could_not_be_asked_for_are_a_gap():
    book = dataclasses.replace(
        BOOK, excerpts=(BOOK.excerpts[0], dataclasses.replace(BOOK.excerpts[1], instruction=None))
    )
    found = counted(rounds("p1", "a", "b", "c"), book=book)[1]
    assert found.gaps == (
        "1 of 2 excerpts have no instruction, so the model could not be asked for them",
    )
    # Recorded generations may have been asked for all the same.
    drawn = [*rounds("p1", "a", "b", "c"), *rounds("p2", "a", "b", "c")]
    assert counted(drawn, book=book)[1].gaps == ()


@pytest.mark.parametrize(
    ("texts", "temperature", "alike"),
    [
        (("a", "a", "a"), 1.0, True),
        (("a", "a", "a"), 0.0, False),
        (("a", "a", "b"), 1.0, False),
        (("a", "a"), 1.0, False),
        (("", "", ""), 1.0, False),  # these are withheld instead
        (("", "a", "a"), 1.0, False),
    ],
)
def test_a_server_that_gives_the_same_again_and_again_is_a_gap(texts, temperature, alike):
    found = counted(rounds("p1", *texts), temperature=temperature)[1]
    said = [gap for gap in found.gaps if "are alike" in gap]
    assert bool(said) is alike
    assert all("1 excerpts (p1, ...)" in gap for gap in said)


def test_gaps_come_first():
    assert counted(rounds("p1", "a", "a", "a"), gaps=("gone",))[1].gaps[0] == "gone"


def test_nothing_drawn_is_nothing_got():
    found = counted([])[1]
    assert (found.asked, found.got) == (6, 0)
    assert what_is_missing(found) == ("0 of 6 generations are there",)
    assert math.isclose(found.max_withheld, 0.05)
