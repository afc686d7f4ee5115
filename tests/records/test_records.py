"""The records: how runs compare, what a measurement tells, and that no record quotes a text."""

import copy
import dataclasses
import operator
import pickle
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak import records
from pytest_memleak.interfaces import protocols
from pytest_memleak.records import (
    Block,
    Book,
    BookPrompt,
    BookSource,
    Coverage,
    Excerpt,
    FinishReason,
    Generation,
    LimitCheck,
    Measurement,
    Scoring,
    Span,
)

LENGTHS = st.integers(0, 5)
PLACES = st.integers(0, 3)
BLOCKS = st.builds(
    lambda words, start: Block(words, start, start + words), LENGTHS, PLACES
)
EXCERPTS = st.sampled_from(["p_id1", "p_id2", None])
SPANS = st.builds(
    lambda block, *own: Span(block.words, block.start, block.end, *own),
    BLOCKS,
    EXCERPTS,
    PLACES,
)
RUNS = BLOCKS | SPANS
NUMBERS = LENGTHS | st.floats(-1, 6)


@given(RUNS | NUMBERS, RUNS | NUMBERS)
def test_runs_order_by_length(one, other):
    lengths = [run.words if isinstance(run, Block) else run for run in (one, other)]
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        assert compare(one, other) is compare(*lengths)


@given(RUNS, RUNS | NUMBERS)
def test_a_run_equals_its_length_and_runs_of_the_same_fields(run, other):
    same = run.words == other
    if isinstance(other, Block):
        fields = dataclasses.astuple
        same = type(run) is type(other) and fields(run) == fields(other)
    assert (run == other) is (other == run) is same
    assert (run != other) is not same
    if same:
        assert hash(run) == hash(other)
    assert int(run) == run.words
    assert bool(run) is (run.words > 0)
    assert copy.deepcopy(run) == pickle.loads(pickle.dumps(run)) == run
    assert len({run, copy.copy(run)}) == 1


def measurement(*, reach, starts=(0,)):
    return Measurement(
        words=len(reach), k=2, trim=2, span_threshold=20, word_mode="paper", generations=1,
        bmc=0.5, longest_block=Block(0), longest_span=Span(0), spans_over=0, spans=(),
        coverage=Coverage(array("i", reach), array("i", [1] * len(reach))), excerpt_starts=starts,
    )  # fmt: skip


def test_excerpt_at_is_the_one_that_holds_the_word():
    measured = measurement(
        reach=[0] * 7, starts=(0, 3, 3, 5)
    )  # the second has no words
    assert [measured.excerpt_at(word) for word in range(7)] == [0, 0, 0, 2, 2, 3, 3]


def test_reasons_but_stop_and_length_mean_withheld():
    assert [reason for reason in FinishReason if not reason.withheld] == [
        "stop",
        "length",
    ]


@pytest.mark.parametrize(("value", "high", "over", "in_doubt"), [
    (9, 9, False, False), (9, 10, False, False), (9, 11, False, True), (10, 10, False, False),
    (10, 11, False, True), (11, 11, True, False), (11, 12, True, False),
])  # fmt: skip
def test_a_limit_is_the_most_that_a_measure_may_be(value, high, over, in_doubt):
    check = LimitCheck("longest_span", value, 10, value, high)
    assert (check.is_exceeded, check.is_in_doubt) == (over, in_doubt)


SECRET = "the ferryman counted nine lanterns"

WITH_TEXT = [
    Excerpt("p_id1", SECRET, SECRET, "Chapter I"),
    Book("b", "Title", "Author", (Excerpt("p_id1", SECRET, SECRET),), digest="0"),
    Generation("p_id1", 0, SECRET),
    BookPrompt("prompt-1", SECRET, (SECRET, SECRET), SECRET),
    measurement(reach=[2, 2]),
    protocols.Chapter("I", (SECRET,)),
    protocols.Manuscript("Title", "Author", (protocols.Chapter("I", (SECRET,)),)),
    protocols.Completion(SECRET),
    protocols.SampleRequest("key", SECRET, 1, 1.0, 100),
    protocols.TrainingExample(SECRET, SECRET),
    protocols.TrainingSet((protocols.TrainingExample(SECRET, SECRET),), "0"),
]


@pytest.mark.parametrize("record", WITH_TEXT, ids=lambda record: type(record).__name__)
def test_a_records_repr_quotes_no_text(record):
    for shown in (repr(record), str(record), f"{[record]}"):
        assert "ferryman" not in shown
        assert "array" not in shown


def test_every_field_with_text_is_tried():
    tried = {type(record) for record in WITH_TEXT}
    texts = {
        "text",
        "instruction",
        "paragraphs",
        "excerpts",
        "chapters",
        "coverage",
        "examples",
    }
    for name, kind in (*vars(records).items(), *vars(protocols).items()):
        if (
            dataclasses.is_dataclass(kind) and kind is not BookSource
        ):  # a template, no text
            risky = texts & {field.name for field in dataclasses.fields(kind)}
            assert not risky or kind in tried, f"{name} has {risky}"


@pytest.mark.parametrize(
    ("k", "span_threshold", "shortest_counted"),
    [
        (5, 20, 21),
        (5, 4, 5),
        (5, 3, 5),
        (5, 0, 5),
        (1, 0, 1),
        (21, 20, 21),
        (30, 20, 30),
    ],
)
def test_a_counted_span_has_more_than_t_words_and_at_least_k(
    k, span_threshold, shortest_counted
):
    threshold = Scoring(k=k, span_threshold=span_threshold).effective_threshold
    assert threshold + 1 == shortest_counted
