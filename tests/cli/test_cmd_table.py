"""`memleak table`: the numbers of evidence bundles, as they are."""

import copy
import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pair_results import NOTHING, estimated, limited, named

from pytest_memleak.cli.cmd_table import ROWS
from pytest_memleak.cli.main import main
from pytest_memleak.errors import EvidenceError
from pytest_memleak.records import Completeness
from pytest_memleak.records.pair_result import RunReport, SuiteFacts
from pytest_memleak.records.plot_records import CoverageMap, CoveredExcerpt, PlacedSpan
from pytest_memleak.reports.evidence_rows import Evidence
from pytest_memleak.results.coverage_map import decode_rounds_per_word
from pytest_memleak.results.evidence_file import seal_bundle, write_evidence_file
from pytest_memleak.results.result_codec import decode, encode_pair
from pytest_memleak.results.run_evidence import run_evidence

BMC = {("gpt", "road"): 0.123456789, ("gpt", "sea"): 0.5, ("gemini", "road"): 0.0}
TITLE = "=The | Road & 50 %"


def pair(model, book, bmc, suite="s.memleak.toml"):
    result = dataclasses.replace(
        named(NOTHING, model=model, book=book),
        pair=f"{model}/{book}",
        suite=SuiteFacts(suite, f"/suites/{suite}", "0" * 64),
        settings={**NOTHING.settings, "samples": 10, "temperature": 1.0},
        completeness=Completeness(310, 310),
        measures={
            "bmc": estimated(bmc, bmc, bmc + 0.25),
            "longest_span": estimated(1234, 1000, 2000),
        },
        limits=limited(bmc=0.15),
        verdict="FAIL" if bmc > 0.15 else "PASS",
        expected="leak" if bmc > 0.15 else "pass",
    )
    words = dataclasses.replace(result.book, title=TITLE, words=12_345, excerpts=31)
    return encode_pair(dataclasses.replace(result, book=words))


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Writes a bundle of these pairs; the tests run in its folder."""
    monkeypatch.chdir(tmp_path)

    def write(name="evidence.json", numbers=BMC, further=(), **more):
        content = run_evidence(RunReport("1.0", ()))
        del content["sha256"]
        content["pairs"] = [
            *(pair(*one, bmc) for one, bmc in numbers.items()),
            *further,
        ]
        write_evidence_file(seal_bundle(content) | more, tmp_path / name)
        return name

    return write


@pytest.fixture
def table(capsys):
    def run(*arguments):
        assert main(["table", *arguments]) == 0
        out = capsys.readouterr().out
        if "csv" in arguments:
            return list(csv.DictReader(io.StringIO(out)))
        return json.loads(out) if "json" in arguments else out

    return run


def test_numbers_are_the_bundle_s_own(bundle, table):
    rows = table(bundle(), "--format", "csv")
    assert {(row["model"], row["book"]): float(row["bmc"]) for row in rows} == BMC
    assert {row["bmc_limit"] for row in rows} == {"0.15"}
    assert float(rows[0]["bmc_high"]) == BMC["gpt", "road"] + 0.25
    assert [row["verdict"] for row in rows] == ["PASS", "FAIL", "PASS"]
    assert table("evidence.json").splitlines()[2].endswith(" FAIL (expected)")


def test_titles_are_no_formulas_of_a_spreadsheet(bundle, table):
    rows = table(bundle(), "--format", "csv")
    assert {row["title"] for row in rows} == {f"'{TITLE}"}
    assert table("evidence.json", "--format", "json")[0]["title"] == TITLE


def test_markdown_has_a_column_for_a_model(bundle, table):
    report = table(bundle(), "--measure", "bmc", "--format", "md")
    assert report.splitlines() == [
        "| book                      |                 gpt |              gemini |",
        "| ------------------------- | ------------------: | ------------------: |",
        "| =The / Road & 50 % (road) | 0.123 (0.123–0.373) | 0.000 (0.000–0.250) |",
        "| =The / Road & 50 % (sea)  | 0.500 (0.500–0.750) |                   - |",
    ]


def test_latex_escapes_the_text_of_others(bundle, table):
    latex = table(bundle(), "--measure", "longest_span", "--format", "latex")
    assert latex.splitlines()[0] == r"\begin{tabular}{lrr}"
    assert r" (road) & 1,234 (1,000--2,000) & 1,234 (1,000--2,000) \\" in latex
    assert r"The | Road \& 50 \% (sea)" in latex


def test_the_terminal_s_table_of_a_measure_has_a_column_for_a_model(bundle, table):
    text = table(bundle(), "--measure", "bmc").splitlines()
    assert text[0].split() == ["book", "gpt", "gemini"]
    assert text[1].endswith("0.123 (0.123–0.373)  0.000 (0.000–0.250)")


def test_models_of_one_name_are_told_apart_by_bundle(bundle, table):
    files = bundle("old.json"), bundle("new.json", {("gpt", "road"): 0.4})
    rows = table(*files, "--measure", "bmc", "--format", "json")
    columns = {"gpt (old)": 0.123456789, "gemini": 0.0, "gpt (new)": 0.4}
    assert rows[0] == {"book": "road"} | columns


def test_models_of_one_name_are_told_apart_by_suite(bundle, table):
    further = [pair("gpt", "road", 0.25, "other.memleak.toml")]
    file = bundle("two.json", further=further)
    rows = table(file, "--measure", "bmc", "--format", "json")
    assert rows[0]["gpt (s.memleak.toml)"] == 0.123456789
    assert rows[0]["gpt (other.memleak.toml)"] == 0.25


STUDY = {
    ("gpt-a", "road"): 0.2,
    ("gpt-b", "sea"): 0.4,
    ("gpt-c", "lake"): 0.9,
    ("gem", "road"): 0.1,
    ("gem", "sea"): 0.3,
    ("gem", "lake"): 0.8,
}
AUTHORS = {"road": "McCarthy", "sea": "McCarthy", "lake": "Woolf"}


@pytest.fixture
def study(bundle, tmp_path):
    """A bundle of a study: base models tuned for each book, and facts of the books."""
    bundle("study.json", STUDY)
    content = json.loads((tmp_path / "study.json").read_text("utf-8"))
    del content["sha256"]
    for row in content["pairs"]:
        row["model"]["base_model"] = row["model"]["id"].partition("-")[0]
        row["book"] |= {
            "author": AUTHORS[row["book"]["id"]],
            "metadata": {"year": 1999},
        }
        row["measures"]["cross_excerpt"] = {"spans": 4, "cross": 1, "ratio": 0.25}
    write_evidence_file(seal_bundle(content), tmp_path / "study.json")
    return "study.json"


def test_a_measure_by_any_two_facts_is_the_mean_of_their_pairs(study, table):
    arguments = (study, "--measure", "bmc", "--by", "author", "--columns", "base_model")
    assert table(*arguments, "--format", "json") == [
        {"author": "McCarthy", "gpt": pytest.approx(0.3), "gem": pytest.approx(0.2)},
        {"author": "Woolf", "gpt": 0.9, "gem": 0.8},
    ]
    lines = [line.split() for line in table(*arguments).splitlines()]
    assert lines == [
        ["author", "gpt", "gem"],
        ["McCarthy", "0.300", "0.200"],
        ["Woolf", "0.900", "0.800"],
    ]
    (row,) = table(
        study, "--measure", "cross_excerpt", "--by", "year", "--format", "json"
    )
    assert row == {"year": 1999} | {model: 0.25 for model, _ in STUDY}
    rows = table(study, "--format", "csv")
    assert {
        (row["author"], row["year"], row["cross_excerpt_spans"]) for row in rows
    } == {
        ("McCarthy", "1999", "1"),
        ("Woolf", "1999", "1"),
    }


def test_models_are_correlated_over_books(study, table):
    by_base = (study, "--rows", "correlations", "--columns", "base_model")
    (row,) = table(*by_base, "--format", "json")
    r = np.corrcoef([0.2, 0.4, 0.9], [0.1, 0.3, 0.8])[0, 1]
    names = {"model": "gpt", "other_model": "gem", "books": 3}
    assert row == names | {"r": pytest.approx(r)}
    lines = [line.split() for line in table(*by_base).splitlines()]
    heads = ["model", "other_model", "books", "r"]
    assert lines == [heads, ["gpt", "gem", "3", f"{r:.3f}"]]


def test_models_that_share_too_few_books_have_no_correlation(study, table):
    options = ("--rows", "correlations", "--measure", "longest_span")
    rows = table(study, *options, "--format", "json")
    uncorrelated = [row["books"] for row in rows if row["r"] is None]
    assert sorted(uncorrelated) == [0, 0, 0, 1, 1, 1]
    assert all((row["other_model"] == "gem") == row["books"] for row in rows)


def test_curves_are_the_evidence_s(two_models, table):
    file, evidence = str(two_models), Evidence(two_models)
    curve = table(file, "--rows", "curve", "--format", "json")
    for (_, pair), row in zip(evidence.pairs, evidence.rows, strict=True):
        keys = (row["model"], row["book"])
        own = [row for row in curve if (row["model"], row["book"]) == keys]
        assert [one["bmc"] for one in own] == list(pair.coverage.curve)
        assert [one["samples"] for one in own] == [1, 2, 3]


def test_overlaps_are_computed_from_the_evidence_s_maps(two_models, table):
    file, evidence = str(two_models), Evidence(two_models)
    (overlap,) = table(file, "--rows", "overlap", "--format", "json")
    heads = table(file, "--rows", "overlap").splitlines()[0].split()
    assert heads == ["book", "model", "other_model", "jaccard", "baseline"]
    assert (overlap["model"], overlap["other_model"]) == ("m", "other")
    (first, _, second) = (
        decode_rounds_per_word(pair.coverage) > 0 for _, pair in evidence.pairs
    )
    assert overlap["jaccard"] == (first & second).sum() / (first | second).sum()
    p, q = first.mean(), second.mean()
    assert overlap["baseline"] == pytest.approx(p * q / (p + q - p * q))


def test_a_file_s_extension_selects_its_format(bundle, table):
    for name, begin in (
        ("t.csv", "bundle,"),
        ("t.md", "| model"),
        ("t.tex", r"\begin{tab"),
    ):
        assert table(bundle(), "-o", name) == ""
        assert Path(name).read_text(encoding="utf-8").startswith(begin)


def test_a_frame_and_parquet_say_the_same(bundle, table, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    bundle()
    frame = Evidence(tmp_path / "evidence.json").to_frame()
    assert (
        dict(zip(zip(frame.model, frame.book, strict=True), frame.bmc, strict=True))
        == BMC
    )
    assert table("evidence.json", "--format", "parquet", "-o", "it.parquet") == ""
    pandas.testing.assert_frame_equal(pandas.read_parquet("it.parquet"), frame)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "memleak verify evidence.json"),  # of a bundle that was changed
        (["--measure", "bcm"], "did you mean 'bmc'?"),
        (["--format", "parquet"], "name it with -o"),
        (["gone.json"], "gone.json: can't be read"),
        (["./evidence.json"], "evidence.json: the same bundle as "),
        (
            [__file__],
            "_table.py: not a bundle: it isn't JSON (line 1, column 3)\n  name a ",
        ),
        (["-o", "evidence.json"], "name a different file with -o"),
        (["-o", "t.xlsx"], "no format has the extension '.xlsx'\n  use .txt, .md, "),
        (
            ["-o", "no/such/folder.csv"],
            "folder.csv: can't be written: No such file or directory",
        ),
        (["--rows", "spans", "--measure", "bmc"], "omit one of them"),
        (["--rows", "excerpts"], "nothing was measured"),
        (["--measure", "bmc", "--by", "autor"], "no pair has the column 'autor'"),
        (["--by", "author"], "add --measure bmc"),
        (["--rows", "curve", "--by", "author"], "omit one of them"),
    ],
)
def test_an_unwritable_table_is_an_error_with_its_cause(
    bundle, capsys, arguments, message
):
    changed = {"sha256": "0" * 64} if not arguments else {}
    assert main(["table", bundle(**changed), *arguments]) == 2
    assert message in capsys.readouterr().err


def rows_by_book(table, folder, kind):
    rows = table(str(folder / "evidence.json"), "--rows", kind, "--format", "json")
    by_book = {}
    for row in rows:
        by_book.setdefault(row["book"], []).append(row)
    return by_book


def test_excerpts_add_up_to_the_evidence_s_values(gate, table):
    folder, pairs = gate
    excerpts = rows_by_book(table, folder, "excerpts")
    assert excerpts.keys() == pairs.keys()
    for name, pair in pairs.items():
        own, measures, words = excerpts[name], pair["measures"], pair["book"]["words"]
        assert len(own) == pair["book"]["excerpts"]
        assert sum(row["words"] for row in own) == words
        assert sum(row["covered"] for row in own) / words == measures["bmc"]["value"]
        longest = max(row["longest_span"] for row in own)
        assert longest == measures["longest_span"]["value"]


def test_spans_are_those_that_the_evidence_counts(gate, table):
    folder, pairs = gate
    spans = rows_by_book(table, folder, "spans")
    for name, pair in pairs.items():
        own = spans[name]
        assert len(own) == pair["measures"]["spans_over"]["value"] > 0
        assert all(row["words"] == row["end"] - row["start"] > 20 for row in own)


def test_ranges_are_the_evidence_s(gate, table):
    folder, pairs = gate
    rows = table(str(folder / "evidence.json"), "--format", "csv")
    assert {row["book"] for row in rows} == {*pairs}
    for row in rows:
        expected = pairs[row["book"]]["detection"]["ranges"]["longest_span"]
        ends = row["longest_span_range_low"], row["longest_span_range_high"]
        assert ends == tuple(map(str, expected))


def test_a_coverage_map_holds_the_book_s_words_and_its_curve_ends_in_bmc(gate):
    for pair in gate[1].values():
        coverage = decode(CoverageMap, pair["coverage"])
        times, bmc = decode_rounds_per_word(coverage), pair["measures"]["bmc"]["value"]
        assert len(times) == pair["book"]["words"]
        assert np.count_nonzero(times) / len(times) == bmc
        assert coverage.curve[-1] == pytest.approx(bmc, abs=1e-6)
        assert len(coverage.curve) == coverage.rounds == 3
        for excerpt in coverage.excerpts:
            part = times[excerpt.start : excerpt.start + excerpt.words]
            assert np.count_nonzero(part) == excerpt.covered


def test_a_string_that_is_no_map_is_rejected():
    held = CoverageMap(3, "0x16", (CoveredExcerpt("p_id0", 0, 16, 0, 0),), (), ())
    assert len(decode_rounds_per_word(held)) == 16
    for times in ("0x5", "9x16", "0x999999999"):
        with pytest.raises(
            EvidenceError, match="doesn't match the words of its excerpts"
        ):
            decode_rounds_per_word(dataclasses.replace(held, times=times))
    less = CoveredExcerpt("p_id0", 0, 16, -1, 0), PlacedSpan(-1, 5, "p_id0", 0)
    changes = [{"rounds": -1}, {"excerpts": less[:1]}, {"spans": less[1:]}]
    wrong = ("", "0x16 ", "0x-1 0x17", "0x1000000000", "nine times")
    changes += [{"times": times} for times in wrong]
    for change in changes:
        with pytest.raises(ValueError, match="no map of covered words"):
            dataclasses.replace(held, **change)


def test_a_table_names_what_was_not_measured_and_has_no_text(
    gate, table, capsys, tmp_path
):
    content = json.loads((gate[0] / "evidence.json").read_text(encoding="utf-8"))
    del content["sha256"]
    content["pairs"][0] |= {"coverage": None, "verdict": "NOT RUN"}
    write_evidence_file(seal_bundle(content), tmp_path / "part.json")
    assert main(["table", str(tmp_path / "part.json"), "--rows", "excerpts"]) == 0
    output = capsys.readouterr()
    assert (
        output.err
        == f"memleak table: part: {content['pairs'][0]['pair']}: it wasn't run\n"
    )
    assert content["pairs"][1]["book"]["title"] in output.out
    file = str(gate[0] / "evidence.json")
    shown = str([table(file, "--rows", kind, "--format", "csv") for kind in ROWS])
    for name in gate[1]:
        records = json.loads((gate[0] / f"{name}.json").read_text(encoding="utf-8"))
        for record in records:
            assert " ".join(record["instruction"].split()[2:6]) not in shown


@pytest.fixture
def two_models(gate, tmp_path_factory):
    """The gate's bundle, and of its first book a second model that recites less."""
    content = json.loads((gate[0] / "evidence.json").read_text(encoding="utf-8"))
    del content["sha256"]
    other = copy.deepcopy(content["pairs"][0])
    other["model"]["id"] = "other"
    held, words = other["coverage"], other["book"]["words"]
    held["times"], held["spans"] = f"0x{words - 60} 1x60", []
    other["measures"]["bmc"] = {"value": 60 / words, "low": 0.0, "high": 0.2}
    held["curve"] = [20 / words, 40 / words, 60 / words]
    content["pairs"].append(other)
    path = tmp_path_factory.mktemp("models") / "study.json"
    write_evidence_file(seal_bundle(content), path)
    return path
