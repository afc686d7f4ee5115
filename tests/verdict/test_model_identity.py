"""Who answered, what was obeyed, how old answers are, and which book records are of."""

import pytest

from pytest_memleak.records import Book, Excerpt
from pytest_memleak.records.provenance import RecordedAs
from pytest_memleak.verdict.model_identity import (
    Answered,
    Obeyed,
    Weights,
    age_gaps,
    answerer_gaps,
    obedience_gaps,
    recorded_gaps,
)


@pytest.mark.parametrize(
    ("asked", "name", "it_is"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "GPT-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4", "gpt-4-0613", True),
        ("claude-x", "claude-x@20240620", True),
        ("gemini-2.0-flash", "gemini-2.0-flash-001", True),
        ("llama", "llama:v2", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4o-mini-2024-07-18", False),
        ("gpt-4", "gpt-4.1", False),
        ("claude-3", "claude-3-5", False),
        ("gpt-4o-2024-08-06", "gpt-4o", False),
        ("gpt-4o", "", True),  # it gives no name
    ],
)
def test_the_model_that_was_asked_has_its_name_or_a_date_behind_it(asked, name, it_is):
    gaps = answerer_gaps(asked, [Answered(name or None, 5)])
    assert [gap.rule for gap in gaps] == ([] if it_is else ["the model asked"])
    assert answerer_gaps(asked, [Answered(name or None, 5)], serves=[name.upper()]) == ()


def test_one_model_answers():
    both = [Answered("m", 5), Answered("m-0613", 3)]
    (gap,) = answerer_gaps("m", both)
    assert gap.cause == '2 models answered ("m" 5, "m-0613" 3)'
    assert answerer_gaps("m", [Answered("m", 5), Answered(None, 3)]) == ()


def test_a_servers_name_is_made_inert():
    (gap,) = answerer_gaps("m", [Answered("evil\x1b[2J" + "x" * 500, 1)])
    assert "\x1b" not in gap.cause + gap.remedy
    assert len(gap.cause) < 200


def test_a_temperature_that_was_not_taken():
    gaps, notes = obedience_gaps(Obeyed(0.7, ("temperature", "top_p")))
    assert [gap.rule for gap in gaps] == ["sampled as asked"]
    assert 'temperature = "default"' in gaps[0].remedy
    assert notes == ("the server would not take top_p",)
    gaps, notes = obedience_gaps(Obeyed(None, ("temperature",)))
    assert (gaps, notes) == ((), ("the server would not take temperature",))


@pytest.mark.parametrize(("agreed", "told"), [(True, []), (None, []), (False, ["greedy"])])
def test_greedy_was_asked_twice(agreed, told):
    gaps, _ = obedience_gaps(Obeyed(0.0, greedy=True, greedy_agreed=agreed))
    assert [gap.rule for gap in gaps] == told


def test_without_a_temperature_nothing_is_greedy():
    gaps, notes = obedience_gaps(Obeyed(0.0, ("temperature", "seed"), greedy=True))
    assert [gap.rule for gap in gaps] == ["greedy"]
    assert "takes no temperature" in gaps[0].cause
    assert notes == ("the server would not take seed",)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (Weights(named=True, age_days=400, canaries=False, reused=True), []),
        (Weights(named=False, age_days=7, canaries=True, reused=True), []),
        (Weights(named=False, age_days=7.01, canaries=True, reused=True), ["age"]),
        (Weights(named=False, age_days=1, reused=True), ["canaries"]),
        (Weights(named=False, age_days=1, canaries=False, reused=True), ["canaries"]),
        (Weights(named=False), []),
    ],
)
def test_answers_of_an_endpoint_that_is_only_a_name_age(weights, told):
    assert [gap.rule for gap in age_gaps(weights)] == told


BOOK = Book(
    "the-road",
    "The Road",
    "A. Writer",
    (Excerpt("p_id1", "Of dust — and ‘ashes’, and more."), Excerpt("p_id2", "The end of it.")),
    "",
)


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (RecordedAs("p_id1"), None),
        (RecordedAs("p_id1", "the road", "a. writer", 'of dust - and "ashes", and MORE.'), None),
        (RecordedAs("p_id1", "the-road"), None),
        (RecordedAs("p_id1", "Another Road"), "book_name"),
        (RecordedAs("p_id1", None, "B. Writer"), "author_name"),
        (RecordedAs("p_id1", None, None, "The end of it."), "excerpt_text"),
        (RecordedAs("p_id9", None, None, "The end of it."), "excerpt_text"),
    ],
)
def test_records_that_are_of_another_book(record, wrong):
    gaps = recorded_gaps(BOOK, [record])
    assert [wrong] == [wrong for gap in gaps if f"another {wrong}" in gap.cause] or not gaps
    assert bool(gaps) is bool(wrong)
    assert "ashes" not in repr(record) + repr(gaps)


def test_under_continuation_records_have_the_whole_excerpt():
    whole = RecordedAs("p_id2", excerpt_text="Well, that was the end of it.")
    assert recorded_gaps(BOOK, [whole], continuation=True) == ()
    assert len(recorded_gaps(BOOK, [whole])) == 1
