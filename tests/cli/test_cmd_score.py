"""`memleak score`, in the very numbers of the gate."""

import csv
import io
import json

import pytest

from pytest_memleak.cli.main import main

NAMES = ("the-lamplighter", "the-seed-vault")
MEASURES = (
    *("bmc", "longest_block", "longest_span", "spans_over"),
    *("nv_recall", "nv_longest_span"),
    *("longest_passage", "passages_over", "nv_longest_passage"),
)


@pytest.fixture
def score(gate, capsys, monkeypatch):
    monkeypatch.chdir(gate[0])

    def run(*options, names=NAMES):
        files = [f"{folder}{name}.json" for name in names for folder in ("books/", "")]
        assert main(["score", *files, *options]) == 0
        return capsys.readouterr().out

    return run


PLACES = {"start", "end", "excerpt_id", "generation"}


def assert_same_value(shown, expected):
    """A number is the gate's, and so are the places of a span or passage."""
    if isinstance(shown, dict):
        for key in PLACES & shown.keys():
            assert shown[key] == expected[key], key
        shown = shown["words"]
    assert shown == expected["value"]


def rows_of_books(score, *options):
    rows = json.loads(score(*options, "--json"))
    return {row["book"]: row for row in rows}


def test_score_shows_the_gate_s_values(gate, score):
    report = rows_of_books(score, "--near-verbatim")
    assert list(report) == list(NAMES)
    for name, pair in gate[1].items():
        shown = report[name]
        for measure in MEASURES:
            assert_same_value(shown[measure], pair["measures"][measure])
        assert (shown["words"], shown["rounds"]) == (pair["book"]["words"], 3)
        assert 0 < shown["bmc"] < 1
        assert shown["nv_recall"] > 0


def test_score_shows_the_gate_s_intervals_and_ranges(gate, score):
    report = rows_of_books(score, "--near-verbatim")
    for name, pair in gate[1].items():
        shown, bmc = report[name], pair["measures"]["bmc"]
        assert (shown["bmc_low"], shown["bmc_high"]) == (bmc["low"], bmc["high"])
        for measure, (low, high) in pair["detection"]["ranges"].items():
            ends = shown[f"{measure}_range_low"], shown[f"{measure}_range_high"]
            assert ends == (low, high)


def test_passages_of_another_scored_book_count(score):
    report = rows_of_books(score, "--near-verbatim")
    for shown in report.values():
        assert shown["longest_passage"]["book"] in NAMES
        assert shown["passages_over"] > shown["spans_over"] > 0
    (alone,) = json.loads(score("--json", names=NAMES[:1]))
    assert alone["bmc"] == report[NAMES[0]]["bmc"]
    assert alone["passages_over"] < report[NAMES[0]]["passages_over"]


def test_spans_are_those_that_are_counted(gate, score):
    spans = json.loads(score("--spans", "--json"))
    for name, pair in gate[1].items():
        own = [span for span in spans if span["book"] == name]
        assert len(own) == pair["measures"]["spans_over"]["value"]
        assert own[0]["words"] == pair["measures"]["longest_span"]["value"]
        assert all(span["end"] - span["start"] == span["words"] > 20 for span in own)


def test_csv_has_the_numbers_of_json(score):
    spans = json.loads(score("--spans", "--json"))
    rows = list(csv.DictReader(io.StringIO(score("--spans", "--csv"))))
    assert rows == [{key: str(value) for key, value in span.items()} for span in spans]
    # And of the books: a row each, with every number whole.
    rows = list(csv.DictReader(io.StringIO(score("--csv"))))
    report = json.loads(score("--json"))
    assert [float(row["bmc"]) for row in rows] == [book["bmc"] for book in report]
    starts = [book["longest_span"]["start"] for book in report]
    assert [int(row["longest_span_start"]) for row in rows] == starts


def test_the_table_names_a_book_once(score):
    lines = score().splitlines()
    first_words = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert first_words == ["book", *NAMES]
    assert "the-seed-vault, words" in "".join(lines)  # where a passage is of
    models = score(names=NAMES[:1] * 2).splitlines()
    assert models[1].startswith("the-lamplighter (the-lamplighter)  words")


def texts_of(path):
    for record in json.loads(path.read_text(encoding="utf-8")):
        for generation in record["generations"]:
            yield generation["generated_text"]


def test_score_prints_no_words_of_generations(gate, score):
    shown = score("--json") + score() + score("--spans") + score("--csv")
    for name in NAMES:
        for text in texts_of(gate[0] / f"{name}.json"):
            assert " ".join(text.split()[:4]) not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["b.epub", "g.json", "c.epub"], "c.epub isn't followed by its generations"),
        (["b.epub", "g.json", "--csv", "--json"], "omit one of them"),
    ],
)
def test_score_rejects_incomplete_arguments(
    refused, tmp_path, monkeypatch, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    assert expected in refused("score", *arguments)
