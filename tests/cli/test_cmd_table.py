"""`memleak table`: the numbers of evidence bundles, as they are, in five forms."""

import csv
import io
import json

import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.findings.bundle import SCHEMA, sealed, write_evidence_file
from pytest_memleak.reports.evidence_table import Evidence

BMC = {("gpt", "road"): 0.123456789, ("gpt", "sea"): 0.5, ("gemini", "road"): 0.0}
TITLE = "=The | Road & 50 %"


def pair(model, book, bmc):
    return {
        "pair": f"{model}/{book}",
        "suite": {"name": "s.memleak.toml", "path": "s.memleak.toml", "sha256": "0" * 64},
        "book": {"id": book, "title": TITLE, "words": 12_345, "excerpts": 31},
        "model": {"id": model, "provider": "openai", "base": "b", "endpoint": None, "options": {}},
        "settings": {"samples": 10, "temperature": 1.0},
        "counts": {"asked": 310, "got": 310, "surplus": 0},
        "measures": {
            "bmc": {"value": bmc, "low": bmc, "high": bmc + 0.25},
            "longest_span": {"value": 1234, "low": 1000, "high": 2000},
        },
        "limits": {"bmc": {"limit": 0.15, "set_by": "limits.bmc"}},
        "expected": "pass",
        "verdict": "FAIL" if bmc > 0.15 else "PASS",
        "answerer": None,
    }


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Writes a bundle of these pairs; the tests run in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pytest_memleak.findings.bundle.misshapen", lambda made: None)

    def write(name="evidence.json", numbers=BMC, **more):
        pairs = [pair(*one, bmc) for one, bmc in numbers.items()]
        made = {"schema": SCHEMA, "created": "2026-11-26T00:00:00+00:00", "pairs": pairs}
        write_evidence_file(sealed(made) | more, tmp_path / name)
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
    assert table(bundle(), "--measure", "bmc").splitlines() == [
        "| book | gpt | gemini |",
        "| --- | --- | --- |",
        "| road | 0.123 | 0.000 |",
        "| sea | 0.500 | - |",
    ]
    latex = table("evidence.json", "--measure", "longest_span", "--format", "latex")
    assert latex.splitlines()[0] == r"\begin{tabular}{lrr}"
    assert r"road & 1,234 & 1,234 \\" in latex


def test_a_model_of_two_releases_has_a_column_of_each(bundle, table):
    files = bundle("old.json"), bundle("new.json", {("gpt", "road"): 0.4})
    rows = json.loads(table(*files, "--measure", "bmc", "--format", "json"))
    assert rows[0] == {
        "book": "road", "gpt (old)": 0.123456789, "gemini": 0.0, "gpt (new)": 0.4,
    }  # fmt: skip


def test_text_of_others_is_no_markup(bundle, table):
    assert r"The | Road \& 50 \%" in table(bundle(), "--format", "latex")
    assert "=The / Road & 50 %" in table("evidence.json")


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
        (["--format", "parquet"], "name a file with -o"),
        (["gone.json"], "gone.json: cannot be read"),
    ],
)
def test_what_cannot_be_had(bundle, capsys, arguments, said):
    assert main(["table", bundle(), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_bundle_that_was_changed_is_refused(bundle, capsys):
    assert main(["table", bundle(sha256="0" * 64)]) == 2
    assert "memleak verify evidence.json" in capsys.readouterr().err
