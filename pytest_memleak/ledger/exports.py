"""Generations to files: the paper's JSON, or JSON lines.

    export_generations(ledger, path, endpoint_id="ft:...", book_id="the-road")

JSON is a list with one record per excerpt, `generations: [{"generated_text": ...}]` in it; JSON
lines have one generation each. Both say its round, as `ordinal`. imports.py reads them back.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import generations, questions
from pytest_memleak.redaction.atomic_write import whole_file


def export_generations(
    ledger: Ledger,
    path: Path,
    *,
    endpoint_id: str,
    book_id: str | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> int:
    """Write what was drawn from an endpoint for one book to `.json` or `.jsonl`; how many.

    What is left out may be anything, as long as one book with one setting is meant. Raises
    LedgerError where nothing or more than that is there, and where the file cannot be written.
    """
    asked = _asked(ledger, endpoint_id, book_id, temperature, seed)
    write = _write_lines if path.suffix.lower() == ".jsonl" else _write_list
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, encoding="ascii") as file:
            written = write(file, _records(ledger, asked))
    except OSError as error:
        cause = error.strerror or str(error)
        raise LedgerError(f"cannot be written: {cause}", location=str(path)) from None
    return written


def _asked(
    ledger: Ledger,
    endpoint_id: str,
    book_id: str | None,
    temperature: float | None,
    seed: int | None,
) -> list[Any]:
    """The questions that are meant, in the order of their excerpts."""
    wanted = [questions.c.endpoint == endpoint_id]
    for column, value in (
        (questions.c.book, book_id),
        (questions.c.temperature, temperature),
        (questions.c.seed, seed),
    ):
        if value is not None:
            wanted.append(column == value)
    drawn = sa.select(generations.c.question).where(generations.c.ordinal >= 0)
    found = ledger.read(
        lambda connection: connection.execute(
            sa.select(questions).where(*wanted, questions.c.id.in_(drawn))
        ).all()
    )
    kinds = sorted({(row.book, row.temperature, row.seed) for row in found})
    if not found:
        raise LedgerError(
            f"there are no generations of endpoint {endpoint_id!r}"
            + (f" for book {book_id!r}" if book_id else ""),
            location=ledger.place,
            hint="`memleak ledger list` shows what there is",
        )
    if len(kinds) > 1:
        listed = "; ".join(f"book {b!r}, temperature {t:g}, seed {s}" for b, t, s in kinds)
        raise LedgerError(
            f"there are several kinds of generations of endpoint {endpoint_id!r}: {listed}",
            location=ledger.place,
            hint="say which book, temperature and seed are meant",
        )
    times = Counter(row.excerpt for row in found)
    excerpt, most = times.most_common(1)[0]
    if most > 1:
        raise LedgerError(
            f"excerpt {excerpt!r} was asked for in {most} ways (its book was cut or summarized"
            " anew), and a file has room for one",
            location=ledger.place,
        )
    return sorted(found, key=lambda row: (_number(row.excerpt), row.excerpt))


def _number(excerpt_id: str) -> int:
    found = re.search(r"\d+", excerpt_id)
    return int(found.group()) if found else 0


def _records(ledger: Ledger, asked: Iterable[Any]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Each question with its generations: only those of one are in memory at a time."""
    columns = generations.c
    for question in asked:
        statement = (
            sa.select(generations)
            .where(columns.question == question.id, columns.ordinal >= 0)
            .order_by(columns.ordinal)
        )
        yield question, ledger.read(_All(statement))


@dataclass(frozen=True, slots=True)
class _All:
    statement: sa.Select[Any]

    def __call__(self, connection: Connection) -> Sequence[Any]:
        return connection.execute(self.statement).all()


def _write_list(file: TextIO, records: Iterable[tuple[Any, Sequence[Any]]]) -> int:
    written = 0
    file.write("[")
    for place, (question, rows) in enumerate(records):
        file.write(",\n" if place else "\n")
        record = {
            "excerpt_id": question.excerpt,
            "book_name": question.book,
            "instruction": question.instruction,
            "generations": [_generation(row) for row in rows],
        }
        json.dump(record, file, indent=1)
        written += len(rows)
    file.write("\n]\n")
    return written


def _write_lines(file: TextIO, records: Iterable[tuple[Any, Sequence[Any]]]) -> int:
    written = 0
    for question, rows in records:
        for row in rows:
            line = {
                "excerpt_id": question.excerpt,
                "book_name": question.book,
                "instruction": question.instruction,
                **_generation(row),
            }
            file.write(json.dumps(line) + "\n")
            written += 1
    return written


def _generation(row: Any) -> dict[str, Any]:
    known = {
        name: value
        for name in ("prompt_tokens", "completion_tokens", "finish_word", "reasoning")
        if (value := getattr(row, name)) is not None
    }
    return {
        "ordinal": row.ordinal,
        "generated_text": row.text,
        "finish_reason": row.finish_reason,
        **known,
    }
