"""The one diagnosis of a pair's incomplete evidence, and what stays beside it."""

import dataclasses

import pytest
from screen_runs import ANSWERS, ILL, evidence

from pytest_memleak.records import Completeness, Issue, Kind
from pytest_memleak.verdict.diagnosis import diagnosis

KEYS = {
    "refuse": "refuses",
    "short": "short",
    "canned": "same text",
    "echo": "echo",
    "garble": "not prose",
    "empty": "empty",
    "think": "empty",
    "dead": "no answer",
    "gone": "no answer",
}


@pytest.mark.parametrize("name", ILL)
def test_an_ill_model_has_one_diagnosis_with_nothing_beside(name):
    diagnosed = diagnosis(ILL[name], recorded=False)
    assert diagnosed.key == KEYS[name]
    assert diagnosed.fix
    assert diagnosed.unexplained == ()


def test_complete_evidence_has_no_diagnosis():
    assert diagnosis(Completeness(6, 6), recorded=False) is None


def test_a_dead_server_is_diagnosed_by_its_own_error():
    diagnosed = diagnosis(ILL["dead"], recorded=False)
    assert diagnosed.cause == "the server failed: 500 Internal Server Error"
    assert diagnosed.fix == "rerun later"


@pytest.mark.parametrize(("count", "key"), [(50, "refuses"), (49, "unanswered")])
def test_a_kind_needs_half_of_what_is_no_answer(count, key):
    kinds = {Kind.REFUSAL: count, Kind.EMPTY: 26, Kind.ECHO: 24}
    if count < 50:
        kinds[Kind.EMPTY] += 1
    issues = (Issue("unanswered", "many aren't answers"),)
    mixed = Completeness(100, 100, kinds=kinds, issues=issues)
    assert diagnosis(mixed, recorded=False).key == key


GREEDY = Issue("unanswered", "120 of 120", place="greedy")
UNALIKE = Issue("one answer", "greedy generations differ", place="greedy")
CANARIES = Issue("canaries", "5 of 5 canaries are missing")
LIMIT = Issue("detection", "detection limit is 25.9%")


@pytest.mark.parametrize(
    ("count", "beside"),
    [(108, (LIMIT,)), (107, (CANARIES, UNALIKE, LIMIT))],
)
def test_at_nine_in_ten_nothing_else_can_be_compared(count, beside):
    more = (GREEDY, UNALIKE, CANARIES, LIMIT)
    refused = evidence(Kind.REFUSAL, *ANSWERS, count=count, more=more)
    assert diagnosis(refused, recorded=False).unexplained == beside


def test_greedy_answers_alone_are_not_explained_by_a_few_sampled_ones():
    kinds = {Kind.ANSWER: 308, Kind.CANNED: 2}
    evidence_of_few = Completeness(310, 310, kinds=kinds, issues=(GREEDY,))
    diagnosed = diagnosis(evidence_of_few, recorded=False)
    assert diagnosed.cause == "greedy: 120 of 120"


def test_an_issue_of_other_books_stays_beside():
    of_null = Issue("unanswered", "6 of 6", place="null book 'quay'")
    refused = evidence(Kind.REFUSAL, "unanswered", more=(of_null,))
    assert diagnosis(refused, recorded=False).unexplained == (of_null,)


def test_what_was_withheld_explains_the_excerpts_that_it_was_withheld_of():
    rules = ("withheld per excerpt", *ANSWERS)
    withheld = evidence(Kind.WITHHELD, *rules, count=30)
    diagnosed = diagnosis(withheld, recorded=False)
    assert (diagnosed.key, diagnosed.unexplained) == ("withheld", ())
    assert diagnosed.cause == "the provider withheld 30 of 120 generations"


def test_prose_alone_and_variety_alone_are_diagnoses():
    prose = evidence(Kind.SHORT, "common words", count=0)
    variety = evidence(Kind.SHORT, "distinct answers", "distinct 8-word runs", count=0)
    keys = [diagnosis(each, recorded=False).key for each in (prose, variety)]
    assert keys == ["not prose", "repeats"]
    assert diagnosis(variety, recorded=False).unexplained == ()


def test_missing_generations_come_last():
    missing = Issue(
        "all received", "100 of 120 requested generations received", "rerun"
    )
    late = Completeness(120, 100, issues=(LIMIT, missing))
    diagnosed = diagnosis(late, recorded=False)
    assert (diagnosed.key, diagnosed.fix, diagnosed.unexplained) == (
        "incomplete",
        "rerun",
        (LIMIT,),
    )


def test_recorded_generations_have_fixes_of_their_own():
    fixes = {diagnosis(ILL["empty"], recorded=recorded).fix for recorded in (0, 1)}
    assert len(fixes) == 2


def test_a_model_that_changed_is_the_diagnosis():
    short = Issue("median length ratio", "the median answer has 34.9%")
    greedy = dataclasses.replace(short, place="greedy")
    changed = Completeness(120, 120, issues=(greedy, short, CANARIES))
    diagnosed = diagnosis(changed, recorded=False)
    assert (diagnosed.key, diagnosed.beside) == ("canaries", (short,))


def test_what_sampled_and_greedy_answers_lack_is_said_once():
    short = Issue("median length ratio", "the median answer has 34.9%")
    greedy = dataclasses.replace(short, place="greedy")
    both = Completeness(120, 120, issues=(greedy, short))
    diagnosed = diagnosis(both, recorded=False)
    assert (diagnosed.cause, diagnosed.beside) == (short.cause, ())
