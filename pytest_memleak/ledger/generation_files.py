"""Generations written from a ledger to a file, in the paper's JSON or as JSON lines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa

from pytest_memleak.errors import LedgerError, file_errors
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import rows_with_texts
from pytest_memleak.ledger.prompts import CANARY_TOKENS
from pytest_memleak.ledger.tables import generations, questions
from pytest_memleak.redaction.file_writing import whole_file

_Records = Iterable[tuple[Any, Sequence[tuple[Any, str, str]]]]
"""Prompts, each with its generations: their rows, texts, and reasoning."""


def export_generations(
    ledger: Ledger,
    path: Path,
    *,
    endpoint_id: str,
    book_id: str | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> int:
    """Write an endpoint's generations for one book to `.json` or `.jsonl`; return their number.

    Omit any argument that isn't needed to select one book with one setting. Raises
    LedgerError if none or several match, and if the file can't be written.
    """
    prompts = _asked(ledger, endpoint_id, book_id, temperature, seed)
    write = _write_lines if path.suffix.lower() == ".jsonl" else _write_list
    with file_errors(LedgerError, path, "can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, encoding="ascii") as file:
            count = write(file, _records(ledger, prompts))
    return count


def _asked(
    ledger: Ledger,
    endpoint_id: str,
    book_id: str | None,
    temperature: float | None,
    seed: int | None,
) -> list[Any]:
    """Return the selected prompts' rows, in the order of their excerpts."""
    conditions = [questions.c.endpoint == endpoint_id]
    for column, value in (
        (questions.c.book, book_id),
        (questions.c.temperature, temperature),
        (questions.c.seed, seed),
    ):
        if value is not None:
            conditions.append(column == value)
    with_generations = sa.select(generations.c.question).where(
        generations.c.ordinal >= 0
    )
    conditions.append(questions.c.id.in_(with_generations))
    rows = ledger.rows(sa.select(questions).where(*conditions))
    kinds = sorted({(row.book, row.temperature, row.seed) for row in rows})
    if not rows:
        raise LedgerError(
            f"No generations of endpoint {endpoint_id!r}"
            + (f" for book {book_id!r}" if book_id else ""),
            location=ledger.place,
            hint="see `memleak ledger list`",
        )
    if len(kinds) > 1:
        listed = "; ".join(
            f"book {b!r}, temperature {t:g}, seed {s}" for b, t, s in kinds
        )
        raise LedgerError(
            f"Several sets of generations of endpoint {endpoint_id!r}: {listed}",
            location=ledger.place,
            hint="choose one by book, temperature, and seed",
        )
    if kinds[0][1:] == (
        0,
        0,
    ):  # among them are canaries, with the instructions of some excerpts
        canaries = {row.id: row for row in rows if row.max_tokens == CANARY_TOKENS}
        own = {row.instruction_digest for row in rows if row.id not in canaries}
        rows = [
            row
            for row in rows
            if row.id not in canaries or row.instruction_digest not in own
        ]
    excerpt, most = Counter(row.excerpt for row in rows).most_common(1)[0]
    if most > 1:
        raise LedgerError(
            f"Excerpt {excerpt!r} has {most} different prompts, since its book was "
            "split or"
            " summarized again, or max_tokens changed; a file can hold only one",
            location=ledger.place,
            hint="sample under a new endpoint id, then export that",
        )
    return sorted(rows, key=lambda row: (_number(row.excerpt), row.excerpt))


def _number(excerpt_id: str) -> int:
    match = re.search(r"\d+", excerpt_id)
    return int(match.group()) if match else 0


def _records(ledger: Ledger, prompts: Iterable[Any]) -> _Records:
    """Yield each prompt with its generations; only one prompt's are in memory at a time."""
    columns = generations.c
    for question in prompts:
        statement = (
            sa.select(generations)
            .where(columns.question == question.id, columns.ordinal >= 0)
            .order_by(columns.ordinal)
        )
        yield question, rows_with_texts(ledger, statement)


def _write_list(file: TextIO, records: _Records) -> int:
    count = 0
    file.write("[")
    for place, (question, rows) in enumerate(records):
        file.write(",\n" if place else "\n")
        record = _prompt(question) | {
            "generations": [_generation(*row) for row in rows]
        }
        json.dump(record, file, indent=1)
        count += len(rows)
    file.write("\n]\n")
    return count


def _write_lines(file: TextIO, records: _Records) -> int:
    count = 0
    for question, rows in records:
        for row in rows:
            file.write(json.dumps(_prompt(question) | _generation(*row)) + "\n")
            count += 1
    return count


def _prompt(question: Any) -> dict[str, Any]:
    return {
        "excerpt_id": question.excerpt,
        "book_name": question.book,
        "instruction": question.instruction,
    }


def _generation(row: Any, text: str, reasoning: str) -> dict[str, Any]:
    details = {
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "finish_word": row.finish_word,
        "reasoning": reasoning or None,
    }
    return {
        "ordinal": row.ordinal,
        "generated_text": text,
        "finish_reason": row.finish_reason,
        **{name: value for name, value in details.items() if value is not None},
    }
