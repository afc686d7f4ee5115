"""`memleak score`, in the very numbers of the gate."""

import csv
import io
import json

import pytest

from pytest_memleak.cli.main import main

NAMES = ("the-lamplighter", "the-seed-vault")
MEASURES = (
    *(
        "bmc",
        "longest_block",
        "longest_span",
        "spans_over",
        "nv_recall",
        "nv_longest_span",
    ),
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


def test_the_numbers_are_the_gates(gate, score):
    report = {
        row["book"]: row for row in json.loads(score("--near-verbatim", "--json"))
    }
    assert list(report) == list(NAMES)
    for name, pair in gate[1].items():
        measures, ranges = pair["measures"], pair["detection"]["ranges"]
        shown = report[name]
        for measure in MEASURES:
            value, expected = shown[measure], measures[measure]
            if isinstance(value, dict):
                both = {"start", "end", "excerpt_id", "generation"} & value.keys()
                assert {key: value[key] for key in both} == {
                    key: expected[key] for key in both
                }
                value = value["words"]
            assert value == expected["value"]
        assert shown["bmc_low"] == measures["bmc"]["low"]
        assert shown["bmc_high"] == measures["bmc"]["high"]
        for measure, (low, high) in ranges.items():
            ends = shown[f"{measure}_range_low"], shown[f"{measure}_range_high"]
            assert ends == (low, high)
        assert (shown["words"], shown["rounds"]) == (pair["book"]["words"], 3)
        assert 0 < shown["bmc"] < 1
        assert shown["nv_recall"] > 0
        # What it recites of the other book is found, too.
        assert shown["longest_passage"]["book"] in NAMES
        assert shown["passages_over"] > shown["spans_over"] > 0
    (alone,) = json.loads(score("--json", names=NAMES[:1]))
    assert alone["bmc"] == report[NAMES[0]]["bmc"]
    assert alone["passages_over"] < report[NAMES[0]]["passages_over"]


def test_spans_are_those_that_are_counted_and_the_table_names_each_book_once(
    gate, score
):
    spans = json.loads(score("--spans", "--json"))
    for name, pair in gate[1].items():
        own = [span for span in spans if span["book"] == name]
        assert len(own) == pair["measures"]["spans_over"]["value"]
        assert own[0]["words"] == pair["measures"]["longest_span"]["value"]
        assert all(one["end"] - one["start"] == one["words"] > 20 for one in own)
    rows = list(csv.DictReader(io.StringIO(score("--spans", "--csv"))))
    assert rows == [{key: str(value) for key, value in span.items()} for span in spans]
    # And of the books: a row each, with every number whole.
    rows = list(csv.DictReader(io.StringIO(score("--csv"))))
    report = json.loads(score("--json"))
    assert [float(row["bmc"]) for row in rows] == [one["bmc"] for one in report]
    starts = [one["longest_span"]["start"] for one in report]
    assert [int(row["longest_span_start"]) for row in rows] == starts
    lines = score().splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "book",
        *NAMES,
    ]
    assert "the-seed-vault, words" in "".join(lines)  # where a passage is of
    models = score(names=NAMES[:1] * 2).splitlines()
    assert models[1].startswith("the-lamplighter (the-lamplighter)  words")
    shown = score("--json") + score() + score("--spans") + score("--csv")
    for name in NAMES:
        records = json.loads((gate[0] / f"{name}.json").read_text(encoding="utf-8"))
        texts = [
            generation["generated_text"]
            for record in records
            for generation in record["generations"]
        ]
        assert not any(" ".join(text.split()[:4]) in shown for text in texts)


@pytest.mark.parametrize(("arguments", "expected"), [
    (["b.epub", "g.json", "c.epub"], "c.epub isn't followed by its generations"),
    (["b.epub", "g.json", "--csv", "--json"], "omit one of them"),
])  # fmt: skip
def test_score_says_what_it_lacks(refused, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused("score", *arguments)
