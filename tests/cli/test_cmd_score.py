"""`memleak score`: several books, EPUBs among them, in the very numbers of the gate."""

import csv
import io
import json

import pytest

from pytest_memleak.cli.main import main

NAMES = ("the-lamplighter", "the-seed-vault")
MEASURES = (
    *("bmc", "longest_block", "longest_span", "spans_over", "nv_recall", "nv_longest_span"),
    *("longest_passage", "passages_over", "nv_longest_passage"),
)


@pytest.fixture
def score(gate, capsys, monkeypatch):
    monkeypatch.chdir(gate[0])

    def run(*options, names=NAMES):
        files = [f"{name}{end}" for name in names for end in (".epub", ".json")]
        assert main(["score", *files, *options]) == 0
        return capsys.readouterr().out

    return run


def test_the_numbers_are_the_gates(gate, score):
    told = {one["book"]: one for one in json.loads(score("--near-verbatim", "--json"))}
    assert list(told) == list(NAMES)
    for name, pair in gate[1].items():
        measures, ranges = pair["measures"], pair["detection"]["ranges"]
        shown = told[name]
        for measure in MEASURES:
            value, said = shown[measure], measures[measure]
            if isinstance(value, dict):
                both = {"start", "end", "excerpt_id", "generation"} & value.keys()
                assert {key: value[key] for key in both} == {key: said[key] for key in both}
                value = value["words"]
            assert value == said["value"]
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
    assert alone["bmc"] == told[NAMES[0]]["bmc"]
    assert alone["passages_over"] < told[NAMES[0]]["passages_over"]


def test_spans_are_those_that_are_counted(gate, score):
    spans = json.loads(score("--spans", "--json"))
    for name, pair in gate[1].items():
        own = [one for one in spans if one["book"] == name]
        assert len(own) == pair["measures"]["spans_over"]["value"]
        assert own[0]["words"] == pair["measures"]["longest_span"]["value"]
        assert all(one["end"] - one["start"] == one["words"] > 20 for one in own)
    rows = list(csv.DictReader(io.StringIO(score("--spans", "--csv"))))
    assert rows == [{key: str(value) for key, value in one.items()} for one in spans]
    # And of the books: a row each, with every number whole.
    rows = list(csv.DictReader(io.StringIO(score("--csv"))))
    told = json.loads(score("--json"))
    assert [float(one["bmc"]) for one in rows] == [one["bmc"] for one in told]
    starts = [one["longest_span"]["start"] for one in told]
    assert [int(one["longest_span_start"]) for one in rows] == starts


def test_the_table_names_each_book_once(score):
    lines = score().splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["book", *NAMES]
    assert "the-seed-vault, words" in "".join(lines)  # where a passage is of
    models = score(names=NAMES[:1] * 2).splitlines()
    assert models[1].startswith("the-lamplighter (the-lamplighter)  words")


def test_no_text_appears(gate, score):
    shown = score("--json") + score() + score("--spans") + score("--csv")
    for name in NAMES:
        records = json.loads((gate[0] / f"{name}.json").read_text(encoding="utf-8"))
        texts = [one["generated_text"] for record in records for one in record["generations"]]
        assert not any(" ".join(text.split()[:4]) in shown for text in texts)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["b.epub", "g.json", "c.epub"], "c.epub has no generations"),
        (["b.epub", "g.json", "--csv", "--json"], "omit one of them"),
        (["b.epub", "g.json"], "b.epub: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_had(refused, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("score", *arguments)
