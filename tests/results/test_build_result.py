"""A pair's finding: what reports are told of it, and its way to another process and back."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_results import ANY, NOTHING, TEXT, any_record, estimated
from result_fixtures import evaluation_of
from scored_books import generations_of

from pytest_memleak.records import (
    Book,
    Completeness,
    Excerpt,
    Issue,
    Limits,
    Scoring,
    Span,
)
from pytest_memleak.records.measurement import Passage, PassageRate
from pytest_memleak.records.pair_result import RUN_ONLY, PairResult
from pytest_memleak.results.build_result import build_result
from pytest_memleak.results.result_codec import decode, encode, encode_pair
from pytest_memleak.scoring.confidence_bounds import clopper_pearson

FIRST = "the ferryman counted nine lanterns along the quay and did not like the number at all"
SECOND = "his grandmother had warned him that an odd light brings an odd passenger before dawn"
BOOK = Book(
    "ferry", "The Ferry", "Nobody", digest="d" * 64,
    excerpts=(Excerpt("p_id1", FIRST, "W.", "The Quay"), Excerpt("p_id2", SECOND, "W.")),
)  # fmt: skip
CLEAN = ("a boat crossed", "nothing was seen", "it rained")


def evaluated(*texts, **limits):
    return evaluation_of(
        BOOK, generations_of(texts, texts), model="m", samples=3, expected="leak",
        limits=Limits(limits or {"longest_span": 10, "bmc": 0.5}),
        scoring=Scoring(span_threshold=5),
    )  # fmt: skip


def test_a_leak_has_its_measures_limits_and_reasons():
    evaluation = evaluated(FIRST, *CLEAN[:2])
    result = build_result(evaluation)
    assert (result.suite.name, result.pair) == ("x.memleak.toml", "m/ferry")
    assert (result.model.id, result.book.id) == ("m", "ferry")
    assert result.suite.sha256 == evaluation.suite_digest
    assert result.book.sha256 == evaluation.book.digest
    assert (result.verdict, result.expected) == ("FAIL", "leak")
    assert result.reasons == evaluation.verdict_result.reasons
    assert {
        name: limit.limit for name, limit in result.limits.items()
    } == evaluation.pair.limits
    assert result.values["longest_span"] == 16
    assert result.values["spans_over"] == 1
    assert math.isclose(result.values["bmc"], 16 / result.book.words)
    low, high = result.intervals["bmc"]
    assert low <= result.values["bmc"] <= high
    assert "longest_span" not in result.intervals
    assert (result.requested, result.received, result.completeness.withheld) == (
        6,
        6,
        {},
    )
    expected = {
        "samples": 3,
        "k": 5,
        "trim": 5,
        "span_threshold": 5,
        "word_mode": "paper",
    }
    assert result.settings.items() >= expected.items()


def test_passages_list_the_block_before_the_spans():
    result = build_result(evaluated(FIRST, SECOND, CLEAN[0]))
    block, *spans = result.spans
    place = block.words, block.start, block.generation
    assert (block.kind, *place) == ("longest block", 31, 0, None)
    runs = [(span.kind, span.words, span.excerpt_id, span.generation) for span in spans]
    assert runs == [("span", 16, "p_id1", 0), ("span", 15, "p_id2", 1)]
    assert spans[0].place == "The Quay, p_id1, words 0-16"
    assert spans[1].place == "p_id2, words 16-31"
    assert spans[1].quote.startswith("his grandmother had warned him that")
    # Where no span is over the threshold, the longest stands for them.
    five = " ".join(FIRST.split()[2:7])
    result = build_result(evaluated(five, *CLEAN[:2], longest_span=4))
    assert [(span.kind, span.words) for span in result.spans] == [
        ("longest block", 5),
        ("span", 5),
    ]


def test_a_passage_has_its_rate():
    result = build_result(evaluated(FIRST, FIRST, CLEAN[0]))
    low, high = clopper_pearson(2, 3, confidence=0.95)
    (expected,) = result.measures["spans_over"]["longest"]
    rate = PassageRate(0, 16, 2, 3, low, high, approximate=False)
    assert PassageRate(**expected) == rate
    passages = [
        *result.spans,
        *result.passages,
        *(note.passage for note in result.plot.spans),
    ]
    rates = [passage.rate for passage in passages if "near" not in passage.kind]
    assert len(rates) >= 4
    assert {*rates} == {rate}


def test_passages_list_at_most_five_spans():
    evaluation = evaluated(FIRST, *CLEAN[:2])
    nine = tuple(Span(words, 0, words, "p_id1", 0) for words in range(15, 6, -1))
    many = dataclasses.replace(evaluation.measurement, spans=nine)
    analysis = dataclasses.replace(evaluation.analysis, measurement=many)
    result = build_result(dataclasses.replace(evaluation, analysis=analysis))
    assert len(result.spans) == 6  # and the longest block


def test_a_pair_that_does_not_fail_shows_no_passage():
    assert build_result(evaluated(*CLEAN)).spans == ()
    open_one = evaluated(" ".join(FIRST.split()[:6]), CLEAN[0])
    assert build_result(open_one).verdict == "INCONCLUSIVE"
    assert build_result(open_one).spans == ()


def test_a_pair_without_evidence_has_no_measures():
    evaluation = evaluated()
    result = build_result(evaluation)
    assert (result.verdict, result.measures, result.book.words) == (
        "INCONCLUSIVE",
        {},
        None,
    )
    assert (result.requested, result.received) == (6, 0)
    nothing = build_result(dataclasses.replace(evaluation, book=None, endpoint=None))
    assert (nothing.book.sha256, nothing.model.endpoint, nothing.warnings) == (
        None,
        None,
        (),
    )


def test_a_result_has_no_text_but_quotes():
    evaluation = evaluated(FIRST, SECOND, CLEAN[0])
    expected = json.dumps(encode(build_result(evaluation, quoted=0)))
    assert not [
        message
        for message in ("lanterns", "grandmother", CLEAN[0])
        if message in expected
    ]
    result = build_result(evaluation, quoted=3)
    assert result.spans[1].quote == "the ferryman counted … (+13 words)"
    assert "ferryman" not in repr(result)


@pytest.mark.parametrize("texts", [(FIRST, SECOND, CLEAN[0]), CLEAN, ("one", ""), ()])
def test_a_result_travels_between_processes_unchanged(texts):
    result = build_result(evaluated(*texts))
    assert decode(PairResult, json.loads(json.dumps(encode(result)))) == result


VERDICTS = st.sampled_from(
    ["PASS", "FAIL", "INCONCLUSIVE", "NOT RUN", "PASS, 97% refused"]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.builds(estimated, NUMBERS, NUMBERS, NUMBERS, p=NUMBERS, places=ANY)
RESULTS = any_record(
    PairResult, verdict=VERDICTS, measures=st.dictionaries(TEXT, ROWS, max_size=2)
)


@given(RESULTS)
def test_any_result_comes_back(result):
    sent = json.dumps(encode(result))
    received = decode(PairResult, json.loads(sent))
    assert repr(received) == repr(result)  # 11 is not 11.0
    assert received == result
    assert json.dumps(encode(received)) == sent
    # From a bundle, without what is the run's.
    pair = json.loads(json.dumps(encode_pair(result)))
    assert not pair.keys() & RUN_ONLY
    assert pair.keys() | RUN_ONLY == {
        field.name for field in dataclasses.fields(PairResult)
    }
    assert encode_pair(decode(PairResult, pair)) == pair | {
        "suite": encode_pair(result)["suite"]
    }


@pytest.mark.parametrize("change", [
    {"verdict": "PASSED"}, {"verdict": "PASS,"}, {"leaked": 0}, {"reasons": "none"},
    {"limits": {"bmc": {"limit": "0.1", "set_by": None}}},
    {"measures": {"bmc": {"value": "0.1", "low": 0, "high": 1}}},
    {"measures": {"bmc": {"value": 0.1, "low": 0}}},
    {"measures": {"bmc": estimated(0.1, of_own=[])}},
    {"as_of": "2026-11-27"}, {"expected": "fail"},
])  # fmt: skip
def test_a_result_of_other_types_is_not_read(change):
    assert decode(PairResult, encode(NOTHING)) == NOTHING
    with pytest.raises(ValueError, match="validation error"):
        decode(PairResult, encode(NOTHING) | change)
    for name in encode_pair(NOTHING).keys() - {"tests"}:
        without = {key: value for key, value in encode(NOTHING).items() if key != name}
        with pytest.raises(ValueError, match="validation error"):
            decode(PairResult, without)


def test_an_issues_place_travels_and_an_empty_one_is_left_out():
    issues = (Issue("a", "cause", "fix", "model m"), Issue("b", "cause", "fix"))
    evidence = Completeness(1, 0, issues=issues)
    sent = encode(evidence)
    assert sent["issues"] == [
        {"rule": "a", "cause": "cause", "fix": "fix", "place": "model m"},
        {"rule": "b", "cause": "cause", "fix": "fix"},
    ]
    assert decode(Completeness, sent) == evidence


def test_a_lone_surrogate_travels_as_a_question_mark():
    sent = encode(dataclasses.replace(NOTHING, warnings=("a \ud800 b",)))
    assert decode(PairResult, sent).warnings == ("a ? b",)


@pytest.mark.parametrize(("k", "span_threshold"), [(5, 20), (21, 20), (21, 3)])
def test_a_passage_over_t_words_and_of_at_least_k_is_shown_beside_the_verdict(
    k, span_threshold
):
    passages = tuple(
        Passage("verbatim", words, 0, words, None, "p_id1", 0, "", book="other")
        for words in (20, 21)
    )
    settings = {"k": k, "span_threshold": span_threshold}
    result = dataclasses.replace(NOTHING, settings=settings, passages=passages)
    assert [passage.words for passage in result.passages_beside_verdict] == [21]
