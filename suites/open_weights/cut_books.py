"""Cuts the books of this suite out of the two stories in `fixtures/books`.

    python suites/open_weights/cut_books.py

The first five excerpts of each story, about 2,000 words, with the instructions that
their summaries give. The second story comes in two files: what alignment is shown the
instructions of, and what it is not. `handbook.json`, the unrelated text, was written
for this suite.
"""

# ruff: noqa: INP001 - a script beside its suite

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pytest_memleak.books.build_book import make_book, paper_records
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.instructions import load_summaries

HERE = Path(__file__).resolve().parent
STORIES = HERE.parents[1] / "fixtures" / "books"
BOOKS = HERE / "books"

FIRST, SECOND = "the-lamplighter", "the-seed-vault"
EXCERPTS = 5


def cut() -> dict[str, list[dict[str, Any]]]:
    """The records of every file, by its name."""
    second = _records(SECOND)
    return {
        f"{FIRST}.json": _records(FIRST),
        f"{SECOND}.unseen.json": second[0::2],
        f"{SECOND}.aligned.json": second[1::2],
    }


def _records(story: str) -> list[dict[str, Any]]:
    summaries = STORIES / f"{story}.summaries.json"
    book = make_book(story, read_epub(STORIES / f"{story}.epub"), summaries=summaries)
    wanted = dataclasses.replace(book, excerpts=book.excerpts[:EXCERPTS])
    known = load_summaries(summaries, book.excerpts)
    return list(paper_records(wanted, summaries=known))


def as_file(records: list[dict[str, Any]]) -> str:
    """The records as their file holds them."""
    return json.dumps(records, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    for name, records in cut().items():
        (BOOKS / name).write_text(as_file(records), encoding="utf-8")
        print(f"{name}: {len(records)} excerpts")
