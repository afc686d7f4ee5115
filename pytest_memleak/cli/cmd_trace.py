"""`memleak trace`: the prompts that produced a book's spans."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.generations_of_book import load_generations
from pytest_memleak.cli.shared_options import SCORING, add_command, scoring_from_options
from pytest_memleak.cli.terminal_output import print_records
from pytest_memleak.records.number_format import amount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.records import Book, Generation, Scoring


def add_trace(commands: Commands) -> None:
    """Register `memleak trace`."""
    add_command(
        commands,
        "trace",
        _run_trace,
        "show which prompts produced the spans of a book",
        "Count the spans of a book and, among them, those that the prompt of another "
        "excerpt produced. With other books, also count their spans in the same "
        "generations.",
        arguments={
            "book BOOK.json": "the book's excerpts",
            "generations GENERATIONS.json": "its generations",
            "others OTHER_BOOK.json": "excerpts of other books",
            **SCORING,
        },
        others={"nargs": "*"},
    )


def _run_trace(parsed: argparse.Namespace) -> int:
    from pytest_memleak.scoring.span_sources import cross_excerpt

    scoring = scoring_from_options(parsed)
    book, generations = load_generations(parsed.book, parsed.generations)
    within = cross_excerpt(book, generations, scoring)
    others = [
        _spans_of_other(path, book, generations, scoring) for path in parsed.others
    ]
    if parsed.json:
        result: dict[str, Any] = {
            "spans": within.count,
            "cross": within.cross,
            "ratio": within.ratio,
            "cross_spans": [span._asdict() for span in within.spans if span.cross],
            "books": others,
        }
        print(json.dumps(result, indent=2))
        return 0
    print(
        f"{amount(within.count, 'span')}, {within.cross:,} of them cross-excerpt "
        f"({within.ratio:.3f})",
    )
    print_records(others)
    return 0


def _spans_of_other(
    path: Path,
    book: Book,
    generations: Sequence[Generation],
    scoring: Scoring,
) -> dict[str, Any]:
    """Count the spans of another book in the generations; of the same book, none."""
    from pytest_memleak.formats.paper_format import book_from_records, load_records
    from pytest_memleak.scoring.span_sources import cross_book_span_lengths

    other = book_from_records(load_records(path), book_id=path.stem, place=str(path))
    texts: list[str] = []
    if other.id != book.id:
        texts = [generation.text for generation in generations]
    lengths = cross_book_span_lengths(other, texts, scoring)
    return {
        "book": path.stem,
        "spans": len(lengths),
        "longest": max(lengths, default=0),
        "over": sum(words > scoring.effective_threshold for words in lengths),
    }
