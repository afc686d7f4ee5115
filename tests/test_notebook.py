"""docs/paper.ipynb, run from its first cell to its last: its tables are the evidence's."""

import csv
import json
import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "paper.ipynb"
NOVELS = os.environ.get("MEMLEAK_BOOKS")
MEASURES = ("bmc", "longest_block", "longest_span", "spans_over")


OF_NOVELS = pytest.mark.skipif(
    not NOVELS, reason="MEMLEAK_BOOKS names no folder with EPUBs"
)


def run_notebook(folder, seconds):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=seconds,
        startup_timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return notebook


def numbers_of_table(path):
    """The table's cells by title, model and measure."""
    with path.open(encoding="utf-8") as file:
        measures, models, _, *rows = csv.reader(file)
    numbers = {}
    for title, *cells in rows:
        for model, measure, cell in zip(models[1:], measures[1:], cells, strict=True):
            numbers[title, model, measure] = float(cell)
    return numbers


def numbers_of_evidence(path):
    """The evidence's values by title, model and measure."""
    numbers = {}
    for pair in json.loads(path.read_text(encoding="utf-8"))["pairs"]:
        for measure in MEASURES:
            key = (pair["book"]["title"], pair["model"]["id"], measure)
            numbers[key] = pair["measures"][measure]["value"]
    return numbers


@pytest.mark.full
@pytest.mark.parametrize(
    ("books", "seconds"),
    [
        (str(ROOT / "fixtures" / "books"), 300),
        pytest.param(NOVELS, 1800, marks=OF_NOVELS),
    ],
    ids=["stories", "novels"],
)
def test_the_notebook_ends_in_the_evidence_s_numbers(
    tmp_path, monkeypatch, books, seconds
):
    monkeypatch.setenv("MEMLEAK_BOOKS", books)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = run_notebook(tmp_path, seconds)
    numbers = numbers_of_table(tmp_path / "table.csv")
    assert numbers == numbers_of_evidence(tmp_path / "evidence.json")
    assert len(numbers) == len(MEASURES) * 3 * len(list(Path(books).glob("*.epub")))
    shown = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/svg+xml" in out.get("data", {}) for out in shown) >= 4
    assert not any(out["output_type"] == "error" for out in shown)
