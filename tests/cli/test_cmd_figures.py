"""`memleak figures`: what is drawn are the evidence's numbers, as SVG and PDF."""

import json
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.errors import SettingsError
from pytest_memleak.reports.evidence_table import Evidence
from pytest_memleak.reports.figure_data import overlaps, plotted_pairs, span_counts
from pytest_memleak.reports.figures import figures_of, write_figures
from pytest_memleak.reports.html.coverage_strips import book_columns
from pytest_memleak.results.coverage_map import decode_times
from pytest_memleak.results.evidence_file import seal_bundle, write_evidence_file

pytest.importorskip("matplotlib")

NAMES = ("coverage", "samples", "bmc", "spans", "overlap")


@pytest.fixture(scope="module")
def bundle(gate, tmp_path_factory):
    """The gate's bundle, and of its first book a second model that recites less."""
    folder = tmp_path_factory.mktemp("figures")

    def write(name, change=lambda pairs: None):
        made = json.loads((gate[0] / "evidence.json").read_text(encoding="utf-8"))
        del made["sha256"]
        other = json.loads(json.dumps(made["pairs"][0]))
        other["model"]["id"] = "other"
        held = other["coverage"]
        words = other["book"]["words"]
        held["times"], held["spans"] = f"0x{words - 60} 1x60", []
        other["measures"]["bmc"] = {"value": 60 / words, "low": 0.0, "high": 0.2}
        held["curve"] = [20 / words, 40 / words, 60 / words]
        made["pairs"].append(other)
        change(made["pairs"])
        write_evidence_file(seal_bundle(made), folder / name)
        return folder / name

    return write


@pytest.fixture(scope="module")
def evidence(bundle):
    return Evidence(bundle("evidence.json"))


@pytest.fixture(scope="module")
def figures(evidence):
    drawn, left_out = figures_of(evidence)
    assert left_out == []
    assert set(drawn) == set(NAMES)
    return drawn


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def points(axes):
    """The markers of error bars: place and value."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 1]
    return [(at.get_xdata()[0], at.get_ydata()[0]) for at in lines if at.get_marker() in "osD"]


def plotted(evidence):
    return [pair for pairs in plotted_pairs(evidence).values() for pair in pairs]


@pytest.mark.full
def test_curves_end_in_the_evidences_bmc(evidence, figures):
    for (_, pair), row in zip(evidence.pairs, evidence.rows, strict=True):
        axes = panels(figures["samples"])[row["title"]]
        curves = [list(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 3]
        assert pair["coverage"]["curve"] in curves
        assert any(value == row["bmc"] for _, value in points(axes))


def test_bmc_of_each_pair_has_its_interval_and_limit(evidence, figures):
    (axes,) = figures["bmc"].axes
    assert sorted(x for x, _ in points(axes)) == sorted(row["bmc"] for row in evidence.rows)
    ends = {
        tuple(path.vertices[:, 0].round(12))
        for bars in axes.collections
        for path in bars.get_paths()
        if path.vertices[0, 1] == path.vertices[1, 1]
    }
    assert ends == {tuple(np.round((r["bmc_low"], r["bmc_high"]), 12)) for r in evidence.rows}


def test_strips_hold_every_covered_word_and_are_drawn_over_the_whole_book(evidence, figures):
    for pair in plotted(evidence):
        words = sum(excerpt["words"] for excerpt in pair.coverage["excerpts"])
        for columns in (7, 400, 10**6):
            strip = book_columns(pair.times, 3, columns=columns)
            assert strip.width.sum() == words
            covered = strip.covered * strip.width
            assert covered.sum() == pytest.approx(pair.bmc.value * words)
            assert (covered * strip.frequency).sum() * 3 == pytest.approx(pair.times.sum())
    for title, axes in panels(figures["coverage"]).items():
        own = [row for row in evidence.rows if row["title"] == title]
        assert axes.get_xlim() == (0, own[0]["words"])
        labels = [text.get_text() for text in axes.get_yticklabels()]
        assert labels == [row["model"] for row in reversed(own)]


def test_spans_are_counted_by_length(evidence):
    for title, pairs in plotted_pairs(evidence).items():
        over = {row["model"]: row["spans_over"] for row in evidence.rows if row["title"] == title}
        for pair in pairs:
            lengths, counts = span_counts(pair)
            spans = [span["end"] - span["start"] for span in pair.coverage["spans"]]
            assert counts == [sum(size >= least for size in spans) for least in lengths]
            assert len(spans) == over[pair.label] or pair.label == "other"


def test_overlaps_are_the_jaccard_index_of_what_both_cover(evidence, figures):
    ((title, found),) = overlaps(plotted_pairs(evidence)).items()
    (a, _, b) = (decode_times(pair["coverage"]) > 0 for _, pair in evidence.pairs)
    assert found.labels == ["m", "other"]
    assert found.jaccard[0, 1] == found.jaccard[1, 0] == (a & b).sum() / (a | b).sum()
    p, q = a.mean(), b.mean()
    assert found.independent[1, 0] == pytest.approx(p * q / (p + q - p * q))
    written = {text.get_text() for text in panels(figures["overlap"])[title].texts}
    assert f"{found.jaccard[0, 1]:.2f}\n({found.independent[0, 1]:.2f})" in written


@pytest.mark.full
def test_svg_and_pdf_of_each(bundle, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["figures", str(bundle("evidence.json")), "-o", str(folder)]) == 0
    paths = [str(folder / f"{name}.{form}") for name in NAMES for form in ("svg", "pdf")]
    assert capsys.readouterr().out.splitlines() == paths
    for name in NAMES:
        svg = ElementTree.fromstring((folder / f"{name}.svg").read_bytes())
        assert svg.tag.endswith("svg")
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
    assert b"The Lamplighter of Saltmarsh Row" in (folder / "coverage.svg").read_bytes()


@pytest.mark.full
def test_the_same_evidence_gives_the_same_file(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_memleak.reports.figures._UNDATED", {"svg": {"Date": None}})
    made = []
    for _ in range(2):
        write_figures(Evidence(bundle("part.json", lambda pairs: pairs.pop(0))), tmp_path)
        made.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert made[0] == made[1]
    assert made[0]


def test_what_is_not_drawn_is_said(bundle, tmp_path, capsys):
    def change(pairs):
        del pairs[2]
        pairs[0] |= {"coverage": None, "verdict": "NOT RUN"}
        pairs[1]["coverage"]["spans"] = []

    file = bundle("part.json", change)
    assert main(["figures", str(file), "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(": it wasn't run")
    assert said[1:] == [
        "memleak figures: spans: no pair has a span over its span_threshold",
        "memleak figures: overlap: no book was tested with two models",
    ]
    assert {path.stem for path in tmp_path.iterdir()} == {"coverage", "samples", "bmc"}


def test_evidence_without_a_map_is_no_figure(bundle, tmp_path, refused):
    file = bundle("old.json", lambda pairs: [pair.pop("coverage") for pair in pairs])
    error = refused("figures", file, "-o", tmp_path / "new")
    assert "the evidence contains nothing to draw" in error
    assert "an earlier version wrote the bundle" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.full
def test_titles_of_others_are_no_formulas(bundle, tmp_path):
    odd = {"title": "$\\frac{1}$ 第 <b>\x1b[31m"}
    file = bundle("odd.json", lambda pairs: [pair["book"].update(odd) for pair in pairs])
    assert main(["figures", str(file), "-o", str(tmp_path)]) == 0
    assert b"$" in (tmp_path / "coverage.svg").read_bytes()


def test_without_the_extra(evidence, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingsError, match=r"matplotlib") as caught:
        figures_of(evidence)
    assert "pytest-memleak[tables]" in caught.value.hint
