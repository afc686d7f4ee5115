"""`memleak table`: the numbers of evidence bundles, as they are, in six forms."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.errors import EvidenceError
from pytest_memleak.reports.evidence_table import ROWS, Evidence
from pytest_memleak.results.coverage_map import decode_times
from pytest_memleak.results.evidence_file import SCHEMA, seal_bundle, write_evidence_file

BMC = {("gpt", "road"): 0.123456789, ("gpt", "sea"): 0.5, ("gemini", "road"): 0.0}
TITLE = "=The | Road & 50 %"


def pair(model, book, bmc, suite="s.memleak.toml"):
    return {
        "pair": f"{model}/{book}",
        "suite": {"name": suite, "path": suite, "sha256": "0" * 64},
        "book": {"id": book, "title": TITLE, "words": 12_345, "excerpts": 31},
        "model": {"id": model, "provider": "openai", "base": "b", "endpoint": None, "options": {}},
        "settings": {"samples": 10, "temperature": 1.0},
        "counts": {"requested": 310, "received": 310, "surplus": 0},
        "measures": {
            "bmc": {"value": bmc, "low": bmc, "high": bmc + 0.25},
            "longest_span": {"value": 1234, "low": 1000, "high": 2000},
        },
        "limits": {"bmc": {"limit": 0.15, "set_by": "limits.bmc"}},
        "expected": "pass",
        "verdict": "FAIL" if bmc > 0.15 else "PASS",
        "provenance": None,
    }


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Writes a bundle of these pairs; the tests run in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pytest_memleak.results.evidence_file.schema_error", lambda made: None)

    def write(name="evidence.json", numbers=BMC, further=(), **more):
        pairs = [pair(*one, bmc) for one, bmc in numbers.items()]
        pairs += further
        made = {"schema": SCHEMA, "created": "2026-11-26T00:00:00+00:00", "pairs": pairs}
        write_evidence_file(seal_bundle(made) | more, tmp_path / name)
        return name

    return write


@pytest.fixture
def table(capsys):
    def run(*arguments):
        assert main(["table", *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_a_row_a_pair_with_the_bundles_own_numbers(bundle, table):
    rows = list(csv.DictReader(io.StringIO(table(bundle(), "--format", "csv"))))
    assert {(one["model"], one["book"]): float(one["bmc"]) for one in rows} == BMC
    assert {one["bmc_limit"] for one in rows} == {"0.15"}
    assert float(rows[0]["bmc_high"]) == BMC["gpt", "road"] + 0.25
    assert [one["verdict"] for one in rows] == ["PASS", "FAIL", "PASS"]
    assert {one["title"] for one in rows} == {f"'{TITLE}"}  # no formula of a spreadsheet
    assert json.loads(table("evidence.json", "--format", "json"))[0]["title"] == TITLE


def test_books_and_models_by_one_measure(bundle, table):
    told = table(bundle(), "--measure", "bmc", "--format", "md").splitlines()
    assert [line.split("|")[1:-1] for line in told] == [
        [" book                      ", "                 gpt ", "              gemini "],
        [" ------------------------- ", " ------------------: ", " ------------------: "],
        [" =The / Road & 50 % (road) ", " 0.123 (0.123–0.373) ", " 0.000 (0.000–0.250) "],
        [" =The / Road & 50 % (sea)  ", " 0.500 (0.500–0.750) ", "                   - "],
    ]
    latex = table("evidence.json", "--measure", "longest_span", "--format", "latex")
    assert latex.splitlines()[0] == r"\begin{tabular}{lrr}"
    assert r" (road) & 1,234 (1,000--2,000) & 1,234 (1,000--2,000) \\" in latex
    assert r"The | Road \& 50 \% (sea)" in latex  # text of others is no markup
    text = table("evidence.json", "--measure", "bmc").splitlines()
    assert text[0].split() == ["book", "gpt", "gemini"]
    assert text[1].endswith("0.123 (0.123–0.373)  0.000 (0.000–0.250)")


def test_a_model_of_two_releases_has_a_column_of_each(bundle, table):
    files = bundle("old.json"), bundle("new.json", {("gpt", "road"): 0.4})
    rows = json.loads(table(*files, "--measure", "bmc", "--format", "json"))
    numbers = {"gpt (old)": 0.123456789, "gemini": 0.0, "gpt (new)": 0.4}
    assert rows[0] == {"book": "road"} | numbers
    # And one of two suites, too.
    files = bundle("two.json", further=[pair("gpt", "road", 0.25, "other.memleak.toml")])
    rows = json.loads(table(files, "--measure", "bmc", "--format", "json"))
    assert rows[0]["gpt (s.memleak.toml)"] == 0.123456789
    assert rows[0]["gpt (other.memleak.toml)"] == 0.25


def test_the_ending_of_the_file_says_how_it_is_written(bundle, table):
    for name, begin in (("t.csv", "bundle,"), ("t.md", "| model"), ("t.tex", r"\begin{tab")):
        assert table(bundle(), "-o", name) == ""
        assert Path(name).read_text(encoding="utf-8").startswith(begin)


def test_a_frame_and_parquet_say_the_same(bundle, table, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    bundle()
    frame = Evidence(tmp_path / "evidence.json").to_frame()
    assert dict(zip(zip(frame.model, frame.book, strict=True), frame.bmc, strict=True)) == BMC
    assert table("evidence.json", "--format", "parquet", "-o", "it.parquet") == ""
    pandas.testing.assert_frame_equal(pandas.read_parquet("it.parquet"), frame)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--measure", "bcm"], "did you mean 'bmc'?"),
        (["--format", "parquet"], "name it with -o"),
        (["gone.json"], "gone.json: cannot be read"),
        (["-o", "evidence.json"], "name another file with -o"),
        (["-o", "no/such/folder.csv"], "folder.csv: cannot be written: No such file or directory"),
        (["--rows", "spans", "--measure", "bmc"], "omit one of them"),
        (["--rows", "excerpts"], "an earlier version wrote the bundle, without excerpts"),
    ],
)
def test_what_cannot_be_had(bundle, capsys, arguments, said):
    assert main(["table", bundle(), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_bundle_that_was_changed_is_refused(bundle, refused):
    assert "memleak verify evidence.json" in refused("table", bundle(sha256="0" * 64))


# --- a run's own bundle --------------------------------------------------------------------


def test_excerpts_and_spans_are_the_evidences(gate, table):
    folder, pairs = gate
    file = str(folder / "evidence.json")
    excerpts = json.loads(table(file, "--rows", "excerpts", "--format", "json"))
    spans = json.loads(table(file, "--rows", "spans", "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(table(file, "--format", "csv"))))
    assert {one["book"] for one in rows} == {*pairs}
    for name, told in pairs.items():
        own = [one for one in excerpts if one["book"] == name]
        measures, words = told["measures"], told["book"]["words"]
        assert len(own) == told["book"]["excerpts"]
        assert sum(one["words"] for one in own) == words
        assert sum(one["covered"] for one in own) / words == measures["bmc"]["value"]
        assert max(one["longest_span"] for one in own) == measures["longest_span"]["value"]
        its = [one for one in spans if one["book"] == name]
        assert len(its) == measures["spans_over"]["value"] > 0
        assert all(one["words"] == one["end"] - one["start"] > 20 for one in its)
        (row,) = [one for one in rows if one["book"] == name]
        ends = row["longest_span_range_low"], row["longest_span_range_high"]
        assert ends == tuple(map(str, told["detection"]["ranges"]["longest_span"]))
        # The map is of the book's words, and its curve ends in bmc.
        held = told["coverage"]
        times = decode_times(held)
        assert len(times) == told["book"]["words"]
        assert np.count_nonzero(times) / len(times) == told["measures"]["bmc"]["value"]
        assert held["curve"][-1] == pytest.approx(told["measures"]["bmc"]["value"], abs=1e-6)
        assert len(held["curve"]) == held["rounds"] == 3
        for one in held["excerpts"]:
            part = times[one["start"] : one["start"] + one["words"]]
            assert np.count_nonzero(part) == one["covered"]


def test_a_map_that_is_none_is_refused():
    held = {"rounds": 3, "times": "0x16", "excerpts": [{"words": 16}]}
    assert len(decode_times(held)) == 16
    for times in ("0x5", "9x16"):
        with pytest.raises(EvidenceError, match="doesn't match the words of its excerpts"):
            decode_times(held | {"times": times})


def test_what_was_not_measured_is_said_and_no_text_appears(gate, table, capsys, tmp_path):
    made = json.loads((gate[0] / "evidence.json").read_text(encoding="utf-8"))
    del made["sha256"]
    made["pairs"][0] |= {"coverage": None, "verdict": "NOT RUN"}
    write_evidence_file(seal_bundle(made), tmp_path / "part.json")
    assert main(["table", str(tmp_path / "part.json"), "--rows", "excerpts"]) == 0
    said = capsys.readouterr()
    assert said.err == f"memleak table: part: {made['pairs'][0]['pair']}: it wasn't run\n"
    assert made["pairs"][1]["book"]["title"] in said.out
    file = str(gate[0] / "evidence.json")
    shown = "".join(table(file, "--rows", kind, "--format", "csv") for kind in ROWS)
    for name in gate[1]:
        records = json.loads((gate[0] / f"{name}.json").read_text(encoding="utf-8"))
        for record in records:
            assert " ".join(record["instruction"].split()[2:6]) not in shown
