"""The verdict over a table of situations, and the census that it rests on."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from situations import (
    BOOK,
    DRAWN,
    FAIL,
    INCONCLUSIVE,
    PASS,
    SITUATIONS,
    WHOLE,
    analysis,
    completeness,
    says,
)

from pytest_memleak.records import (
    Completeness,
    FinishReason,
    Generation,
    Limits,
    Sampling,
    Scoring,
)
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.verdict.judge import Census, check_limits, judge, what_is_missing


@pytest.mark.parametrize(("found", "evidence", "limits", "verdict", "reasons"), SITUATIONS)
def test_the_verdict_and_its_reasons(found, evidence, limits, verdict, reasons):
    judgement = judge(found, evidence, limits)
    assert judgement.verdict is verdict
    assert says(judgement.reasons, reasons), judgement.reasons


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
        "no instruction for 1 of 2 excerpts, which the model could not be asked for",
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
    assert all("1 excerpt (p1) are alike" in gap for gap in said)


def test_gaps_come_first():
    assert counted(rounds("p1", "a", "a", "a"), gaps=("gone",))[1].gaps[0] == "gone"


def test_nothing_drawn_is_nothing_got():
    found = counted([])[1]
    assert (found.asked, found.got) == (6, 0)
    assert what_is_missing(found) == ("0 of 6 generations are there",)
    assert math.isclose(found.max_withheld, 0.05)
