"""A suite whose books stand in a table (CSV): its items, plan, evidence and report."""

from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from suite_files import read_bundle, write_answers, write_book

SUITE = """
limits = { longest_span = 38 }
suite = { samples = 3 }
[[book]]
source = "books/table.csv"
[[model]]
id = "of-{year}"
provider = "recorded"
options = { path = "{book}.json" }
"""
TABLE = "id,source,year,other\nferry,ferry.json,1901,1902\nquay,quay.json,1902,1901\n"
ASKED = "Write what a man who works on a river sees on a dark night in autumn."


@pytest.fixture
def suite(pytester):
    Path("books").mkdir()
    for number, name in enumerate(("ferry", "quay")):
        write_book(f"books/{name}.json", {"p_id1": BOOK[number]}, lambda _: ASKED)
        write_answers(f"{name}.json", {"p_id1": CLEAN})
    Path("books/table.csv").write_text(TABLE, encoding="utf-8")
    Path("table.memleak.toml").write_text(SUITE, encoding="utf-8")


def test_a_table_of_books_gives_pairs_whose_metadata_reports_show(suite, gate):
    reports = ("--memleak-evidence=evidence.json", "--memleak-html=page.html")
    lines = [f"*test_memorization[[]{pair}[]]*" for pair in ("of-1901/ferry", "of-1902/quay")]
    gate("-v", *reports, lines=lines)
    books = [pair["book"] for pair in read_bundle()["pairs"]]
    assert [(book["id"], book["metadata"]) for book in books] == [
        ("ferry", {"year": "1901", "other": "1902"}), ("quay", {"year": "1902", "other": "1901"}),
    ]  # fmt: skip
    page = Path("page.html").read_text("utf-8")
    assert "year 1901" in page
    assert "year 1902" in page
