"""A pair's finding: what reports are told of it, and its way to another process and back."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.pipeline.evaluate_pair import evaluate
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.records import Completeness, Generation, Issue, Kind, RuleCheck
from pytest_memleak.records.pair_result import PairResult, Passage, RunReport, SampledCount
from pytest_memleak.records.provenance import Provenance, ServedBy, Tried
from pytest_memleak.results.build_result import build_result
from pytest_memleak.scoring.quantiles import clopper_pearson
from pytest_memleak.suite.load import load_suite

FIRST = "the ferryman counted nine lanterns along the quay and did not like the number at all"
SECOND = "his grandmother had warned him that an odd light brings an odd passenger before dawn"
SUITE = """
[suite]
samples = 3
span_threshold = 5
max_short = 1.0
max_unanswered = 0.5
[limits]
{limits}
[[book]]
id = "ferry"
source = "ferry.json"
[[model]]
id = "m"
provider = "ngram"
expected = "leak"
"""
BOOK = [
    {"excerpt_id": "p_id1", "excerpt_text": FIRST, "instruction": "W.", "chapter": "The Quay"},
    {"excerpt_id": "p_id2", "excerpt_text": SECOND, "instruction": "W."},
]
CLEAN = ("a boat crossed", "nothing was seen", "it rained")


class Told:
    """Generations that are there already."""

    def __init__(self, *texts):
        self.texts = texts

    def asked(self, book):
        return book

    def generations(self, book):
        return [
            Generation(one.id, n, text)
            for one in book.excerpts
            for n, text in enumerate(self.texts)
        ]


@pytest.fixture
def evaluated(tmp_path):
    """The evaluation of a model that says these texts for each excerpt."""

    def run(*texts, limits="longest_span = 10\nbmc = 0.5"):
        (tmp_path / "ferry.json").write_text(json.dumps(BOOK))
        path = tmp_path / "x.memleak.toml"
        path.write_text(SUITE.format(limits=limits))
        suite = load_suite(path)
        workshop = SuiteRun(suite, Extensions(), state=tmp_path, resources=Resources("sqlite://"))
        return evaluate(suite.pairs[0], workshop, endpoint=Told(*texts))

    return run


def test_a_leak(evaluated):
    evaluation = evaluated(FIRST, *CLEAN[:2])
    found = build_result(evaluation)
    assert (found.suite, found.pair, found.model, found.book) == (
        "x.memleak.toml", "m/ferry", "m", "ferry"
    )  # fmt: skip
    assert (found.suite_digest, found.book_digest) == (
        evaluation.suite_digest, evaluation.book.digest
    )  # fmt: skip
    assert (found.verdict, found.expected) == ("FAIL", "leak")
    assert found.reasons == evaluation.verdict_result.reasons
    assert found.limits == {"longest_span": 10, "bmc": 0.5}
    assert found.measures["longest_span"] == 16
    assert found.measures["spans_over"] == 1
    assert math.isclose(found.measures["bmc"], 16 / found.word_count)
    low, high = found.intervals["bmc"]
    assert low <= found.measures["bmc"] <= high
    assert "longest_span" not in found.intervals
    assert (found.requested, found.received, found.completeness.withheld) == (6, 6, {})
    told = {"samples": 3, "k": 5, "trim": 5, "span_threshold": 5, "word_mode": "paper"}
    assert found.settings.items() >= told.items()


def test_its_passages_the_block_first_and_then_the_spans(evaluated):
    found = build_result(evaluated(FIRST, SECOND, CLEAN[0]))
    block, *spans = found.spans
    found = block.kind, block.words, block.start, block.generation
    assert found == ("longest block", 31, 0, None)
    assert [(one.kind, one.words, one.excerpt_id, one.generation) for one in spans] == [
        ("span", 16, "p_id1", 0),
        ("span", 15, "p_id2", 1),
    ]
    assert spans[0].place == "The Quay, p_id1, words 0-16"
    assert spans[1].place == "p_id2, words 16-31"
    assert spans[1].quote.startswith("his grandmother had warned him that")


def test_how_often_each_came_back(evaluated):
    found = build_result(evaluated(FIRST, FIRST, CLEAN[0]))
    low, high = clopper_pearson(2, 3, confidence=0.95)
    (told,) = found.details["spans_over"]["longest"]
    assert told == {
        "start": 0, "end": 16, "hits": 2, "tries": 3, "low": low, "high": high,
        "approximate": False,
    }  # fmt: skip
    rates = [one.rate for one in (*found.spans, *found.passages) if "near" not in one.kind]
    assert len(rates) >= 3
    assert {dataclasses.astuple(one) for one in rates} == {tuple(told.values())}
    assert [dataclasses.asdict(one.rate) for one in found.plot.spans] == [told]


def test_no_more_than_five_spans(evaluated):
    pieces = " x ".join(" ".join(FIRST.split()[n : n + 2]) for n in range(0, 16, 2))
    pieces += " y " + " z ".join(" ".join(SECOND.split()[n : n + 2]) for n in range(0, 15, 2))
    evaluation = evaluated(pieces, *CLEAN[:2], limits="longest_span = 0")
    measurement = evaluation.measurement
    assert measurement.spans == ()
    many = dataclasses.replace(measurement, spans=(measurement.longest_span,) * 9)
    changed = dataclasses.replace(evaluation, measurement=many)
    assert len(build_result(changed).spans) <= 6


def test_where_no_span_is_over_the_threshold_the_longest_stands_for_them(evaluated):
    five = " ".join(FIRST.split()[2:7])
    found = build_result(evaluated(five, *CLEAN[:2], limits="longest_span = 4"))
    assert [(one.kind, one.words) for one in found.spans] == [("longest block", 5), ("span", 5)]


@pytest.mark.parametrize(("quoted", "words"), [(0, 0), (3, 3), (None, 16), (12, 12)])
def test_quotes_are_as_long_as_asked_for(evaluated, quoted, words):
    span = build_result(evaluated(FIRST, *CLEAN[:2]), quoted=quoted).spans[1]
    assert len(span.quote.partition(" …")[0].split()) == words


def test_what_does_not_fail_shows_no_passage(evaluated):
    assert build_result(evaluated(*CLEAN)).spans == ()
    open_one = evaluated(" ".join(FIRST.split()[:6]), CLEAN[0])
    assert build_result(open_one).verdict == "INCONCLUSIVE"
    assert build_result(open_one).spans == ()


def test_without_evidence_there_is_little_to_tell(evaluated, tmp_path):
    evaluation = evaluated()
    found = build_result(evaluation)
    assert (found.verdict, found.measures, found.word_count) == ("INCONCLUSIVE", {}, 0)
    assert (found.requested, found.received) == (6, 0)
    nothing = build_result(dataclasses.replace(evaluation, book=None, endpoint=None))
    assert (nothing.book_digest, nothing.endpoint, nothing.warnings) == ("", "", ())


def test_of_what_kinds_the_answers_are(evaluated):
    kinds = build_result(evaluated("one", "", "two")).completeness.kinds
    assert {kind: n for kind, n in kinds.items() if n} == {Kind.EMPTY: 2, Kind.SHORT: 4}


def test_no_text_is_in_it_but_the_quotes(evaluated):
    found = build_result(evaluated(FIRST, SECOND, CLEAN[0]), quoted=0)
    told = json.dumps(found.to_json())
    assert not [said for said in ("lanterns", "grandmother", CLEAN[0]) if said in told]
    assert "lanterns" not in repr(build_result(evaluated(FIRST, *CLEAN[:2])))


def plain(value):
    """Whether xdist can carry it: built-in types and nothing else."""
    if type(value) is dict:
        return all(type(name) is str and plain(inner) for name, inner in value.items())
    if type(value) in {list, tuple}:
        return all(map(plain, value))
    return value is None or type(value) in {str, int, float, bool}


@pytest.mark.parametrize("texts", [(FIRST, SECOND, CLEAN[0]), CLEAN, ("one", ""), ()])
def test_it_travels_between_processes_and_comes_back_as_it_was(evaluated, texts):
    found = build_result(evaluated(*texts))
    assert PairResult.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert PairResult.from_json(found.to_json()) == found
    assert plain(found.to_json())


SHORT, TEXT, COUNT, SHARE = st.text(max_size=4), st.text(max_size=8), st.integers(), st.floats(0, 1)


def tuple_of(strategy):
    return st.lists(strategy, max_size=2).map(tuple)


TYPES = {
    "str": TEXT,
    "int": COUNT,
    "str | None": st.none() | TEXT,
    "int | None": st.none() | COUNT,
    "tuple[str, ...]": tuple_of(TEXT),
    "tuple[SampledCount, ...]": tuple_of(
        st.builds(SampledCount, st.sampled_from(["own", "null"]), TEXT, st.none() | TEXT)
    ),
    "Completeness": st.builds(
        Completeness,
        requested=COUNT,
        received=COUNT,
        kinds=st.dictionaries(st.sampled_from(Kind), COUNT),
        withheld=st.dictionaries(SHORT, COUNT),
        median_length_ratio=st.none() | st.floats(0, 2),
        prompt_overlap=st.none() | SHARE,
        accept_refusals=st.booleans(),
        issues=tuple_of(st.builds(Issue, TEXT, TEXT, TEXT)),
        margins=tuple_of(st.builds(RuleCheck, TEXT, SHARE, st.just("<="), SHARE)),
        notes=tuple_of(TEXT),
    ),
    "Provenance | None": st.none()
    | st.builds(
        Provenance,
        requested=st.none() | TEXT,
        served=tuple_of(st.builds(ServedBy, st.none() | TEXT, st.none(), COUNT)),
        first=st.none() | st.floats(0, 2e9),
        last=st.none() | st.floats(0, 2e9),
        refused=tuple_of(TEXT),
        tried=st.none() | st.builds(Tried, st.integers(1, 9), seeds=st.integers(1, 9)),
    ),
    "dict[str, float]": st.dictionaries(SHORT, SHARE | COUNT),
    "dict[str, str]": st.dictionaries(SHORT, TEXT),
    "dict[str, int]": st.dictionaries(SHORT, COUNT),
    "dict[str, tuple[float, float]]": st.dictionaries(SHORT, st.tuples(SHARE, SHARE)),
    "dict[str, Any]": st.dictionaries(SHORT, COUNT | SHARE | SHORT),
}


def filled(kind, **given_):
    return st.builds(
        kind,
        **{
            one.name: given_[one.name] if one.name in given_ else TYPES[one.type]
            for one in dataclasses.fields(kind)
            if one.type in TYPES or one.default is dataclasses.MISSING
        },
    )


FINDINGS = filled(PairResult, spans=st.lists(filled(Passage), max_size=2).map(tuple))


@given(FINDINGS)
def test_any_finding_comes_back(found):
    sent = json.dumps(found.to_json())
    assert PairResult.from_json(json.loads(sent)) == found


def test_a_run_is_its_findings():
    run = RunReport("1.0", ())
    assert run.results == ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.version = "2"
