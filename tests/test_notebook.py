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


@pytest.mark.full
@pytest.mark.parametrize(
    ("books", "seconds"),
    [
        (str(ROOT / "fixtures" / "books"), 300),
        pytest.param(NOVELS, 1800, marks=OF_NOVELS),
    ],
    ids=["stories", "novels"],
)
def test_it_ends_in_the_evidences_own_numbers(tmp_path, monkeypatch, books, seconds):
    monkeypatch.setenv("MEMLEAK_BOOKS", books)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    times = {"timeout": seconds, "startup_timeout": 120}
    where = {
        "kernel_name": "python3",
        "resources": {"metadata": {"path": str(tmp_path)}},
    }
    nbclient.NotebookClient(notebook, **times, **where).execute()
    pairs = json.loads((tmp_path / "evidence.json").read_text(encoding="utf-8"))[
        "pairs"
    ]
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        measures, models, _, *rows = csv.reader(file)
    numbers = {
        (row[0], model, measure): float(cell)
        for row in rows
        for model, measure, cell in zip(models[1:], measures[1:], row[1:], strict=True)
    }
    assert numbers == {
        (pair["book"]["title"], pair["model"]["id"], measure): pair["measures"][
            measure
        ]["value"]
        for pair in pairs
        for measure in MEASURES
    }
    assert len(numbers) == len(MEASURES) * 3 * len(list(Path(books).glob("*.epub")))
    shown = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert sum("image/svg+xml" in out.get("data", {}) for out in shown) >= 4
    assert not any(out["output_type"] == "error" for out in shown)
