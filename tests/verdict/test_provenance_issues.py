"""Who answered, what was obeyed, how old answers are, and which book records are of."""

import pytest

from pytest_memleak.records import Book, Excerpt
from pytest_memleak.records.provenance import RecordedAs
from pytest_memleak.verdict.provenance_issues import (
    age_issues,
    greedy_sampling_issues,
    record_issues,
    sampling_issues,
    served_model_issues,
)


@pytest.mark.parametrize(("asked", "name", "it_is"), [
    ("gpt-4o", "gpt-4o", True), ("gpt-4o", "GPT-4o", True), ("gpt-4o", "gpt-4o-2024-08-06", True),
    ("gpt-4", "gpt-4-0613", True), ("claude-x", "claude-x@20240620", True),
    ("gemini-2.0-flash", "gemini-2.0-flash-001", True),
    ("llama", "llama:v2", True), ("gpt-4o", "gpt-4o-mini", False),
    ("gpt-4o", "gpt-4o-mini-2024-07-18", False), ("gpt-4", "gpt-4.1", False),
    ("claude-3", "claude-3-5", False), ("gpt-4o-2024-08-06", "gpt-4o", False),
    ("gpt-4o", "", True),  # it gives no name
])  # fmt: skip
def test_the_model_that_was_asked_has_its_name_or_a_date_behind_it(asked, name, it_is):
    issues = served_model_issues(asked, {name or None: 5})
    assert [issue.rule for issue in issues] == ([] if it_is else ["requested model"])
    assert not list(
        served_model_issues(asked, {name or None: 5}, serves=[name.upper()])
    )


def test_one_model_answers_and_its_name_is_made_inert():
    (issue,) = served_model_issues("m", {"m": 5, "m-0613": 3})
    assert issue.cause == '2 models answered ("m" 5, "m-0613" 3)'
    (issue,) = served_model_issues("m", {"evil\x1b[2J" + "x" * 500: 1})
    assert "\x1b" not in issue.cause + issue.fix
    assert len(issue.cause) < 200


def test_calls_that_name_no_model_beside_a_named_one_are_an_issue():
    (issue,) = served_model_issues("m", {"m": 5, None: 3})
    assert issue.rule == "one model"
    assert issue.cause == '"m" answered, but 3 of 8 calls name no model'
    assert not list(served_model_issues("m", {None: 3}))


@pytest.mark.parametrize(("temperature", "rejected", "rules", "notes", "fix"), [
    (0.7, ("temperature", "top_p"), ["requested temperature"], ("the server rejects top_p",),
     'temperature = "default"'),
    (None, ("temperature",), [], ("the server rejects temperature",), ""),
    (0.0, (), [], (), ""),
])  # fmt: skip
def test_a_rejected_parameter_is_an_issue_or_a_note(
    temperature, rejected, rules, notes, fix
):
    issues, noted = sampling_issues(temperature, rejected)
    assert ([issue.rule for issue in issues], noted) == (rules, notes)
    assert fix in "".join(issue.fix for issue in issues)


@pytest.mark.parametrize(("rejected", "agreed", "causes"), [
    ((), True, []), ((), None, []),
    ((), False, ["the same greedy prompt returned two different generations"]),
    (("temperature", "seed"), None,
     ["the server rejects temperature, so no generation is greedy"]),
])  # fmt: skip
def test_a_greedy_call_that_samples_is_an_issue(rejected, agreed, causes):
    issues = greedy_sampling_issues(rejected, agreed=agreed)
    assert [(issue.rule, issue.cause) for issue in issues] == [
        ("greedy", cause) for cause in causes
    ]


@pytest.mark.parametrize(("age_days", "canaries", "rules"), [
    (7, True, []),
    (7.01, True, ["age"]),
    (1, None, ["canaries"]),
    (1, False, ["canaries"]),
])  # fmt: skip
def test_stored_answers_of_a_named_endpoint_age(age_days, canaries, rules):
    issues = age_issues(age_days, max_age_days=7, canaries=canaries)
    assert [issue.rule for issue in issues] == rules


TEXTS = {"p_id1": "Of dust — and ‘ashes’, and more.", "p_id2": "The end of it."}
BOOK = Book(
    "the-road", "The Road", "A. Writer", tuple(map(Excerpt, TEXTS, TEXTS.values())), ""
)


@pytest.mark.parametrize(("record", "wrong"), [
    (RecordedAs("p_id1"), None),
    (RecordedAs("p_id1", "the road", "a. writer", 'of dust - and "ashes", and MORE.'), None),
    (RecordedAs("p_id1", "the-road"), None),
    (RecordedAs("p_id1", "Another Road"), "book_name"),
    (RecordedAs("p_id1", None, "B. Writer"), "author_name"),
    (RecordedAs("p_id1", None, None, "The end of it."), "excerpt_text"),
    (RecordedAs("p_id9", None, None, "The end of it."), "excerpt_text"),
])  # fmt: skip
def test_a_record_of_another_book_is_an_issue(record, wrong):
    issues = record_issues(BOOK, [record])
    assert [wrong] == [
        wrong for issue in issues if f"a different {wrong} than" in issue.cause
    ] or not issues
    assert bool(issues) is bool(wrong)
    assert "ashes" not in repr(record) + repr(issues)


def test_a_continuations_record_has_the_whole_excerpt():
    whole = RecordedAs("p_id2", excerpt_text="Well, that was the end of it.")
    assert record_issues(BOOK, [whole], continuation=True) == ()
    assert len(record_issues(BOOK, [whole])) == 1
