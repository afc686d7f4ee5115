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
from pytest_memleak.ledger.generation_ordinals import IS_PLACED
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import RowTexts, generations_with_texts
from pytest_memleak.ledger.prompts import CANARY_TOKENS
from pytest_memleak.ledger.tables import generations, stored_prompts
from pytest_memleak.redaction.file_writing import whole_file

_Records = Iterable[tuple[Any, Sequence[RowTexts]]]
"""Prompts, each with its generations."""


def export_generations(
    ledger: Ledger,
    path: Path,
    *,
    endpoint_id: str,
    book_id: str | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> int:
    """Write an endpoint's generations for one book to `.json` or `.jsonl`; count them.

    Omit any argument that isn't needed to select one book with one setting. Raises
    LedgerError if none or several match, and if the file can't be written.
    """
    prompts = _selected_prompts(ledger, endpoint_id, book_id, temperature, seed)
    write = _write_lines if path.suffix.lower() == ".jsonl" else _write_list
    with file_errors(LedgerError, path, "can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, encoding="ascii") as file:
            count = write(file, _prompts_with_generations(ledger, prompts))
    return count


def _selected_prompts(
    ledger: Ledger,
    endpoint_id: str,
    book_id: str | None,
    temperature: float | None,
    seed: int | None,
) -> list[Any]:
    """Return the selected prompts' rows, in the order of their excerpts."""
    with_generations = sa.select(generations.c.prompt).where(IS_PLACED)
    query = sa.select(stored_prompts).where(
        stored_prompts.c.endpoint == endpoint_id,
        stored_prompts.c.id.in_(with_generations),
    )
    wanted = (
        (stored_prompts.c.book, book_id),
        (stored_prompts.c.temperature, temperature),
        (stored_prompts.c.seed, seed),
    )
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    rows = ledger.rows(query)
    if not rows:
        of_book = f" for book {book_id!r}" if book_id else ""
        raise LedgerError(
            f"No generations of endpoint {endpoint_id!r}{of_book}",
            location=ledger.place,
            hint="see `memleak ledger list`",
        )
    _validate_one_setting(rows, ledger, endpoint_id)
    rows = _without_canaries(rows)
    _validate_one_prompt_each(rows, ledger)
    return sorted(rows, key=lambda row: (_first_number_in_id(row.excerpt), row.excerpt))


def _validate_one_setting(
    rows: Sequence[Any],
    ledger: Ledger,
    endpoint_id: str,
) -> None:
    """Raise LedgerError for prompts of several books, temperatures, or seeds."""
    settings = {(row.book, row.temperature, row.seed) for row in rows}
    if len(settings) == 1:
        return
    listed = "; ".join(
        f"book {book!r}, temperature {temperature:g}, seed {seed}"
        for book, temperature, seed in sorted(settings)
    )
    raise LedgerError(
        f"Several sets of generations of endpoint {endpoint_id!r}: {listed}",
        location=ledger.place,
        hint="choose one by book, temperature, and seed",
    )


def _without_canaries(rows: Sequence[Any]) -> Sequence[Any]:
    """Leave out canaries, which repeat the instructions of some excerpts."""
    if (rows[0].temperature, rows[0].seed) != (0, 0):
        return rows
    own = {row.instruction_digest for row in rows if row.max_tokens != CANARY_TOKENS}
    return [
        row
        for row in rows
        if row.max_tokens != CANARY_TOKENS or row.instruction_digest not in own
    ]


def _validate_one_prompt_each(rows: Sequence[Any], ledger: Ledger) -> None:
    """Raise LedgerError if an excerpt has several prompts."""
    excerpt, most = Counter(row.excerpt for row in rows).most_common(1)[0]
    if most > 1:
        raise LedgerError(
            f"Excerpt {excerpt!r} has {most} different prompts, "
            "since its book was split or summarized again, or max_tokens changed; "
            "a file can hold only one",
            location=ledger.place,
            hint="sample under a new endpoint id, then export that",
        )


def _first_number_in_id(excerpt_id: str) -> int:
    match = re.search(r"\d+", excerpt_id)
    return int(match.group()) if match else 0


def _prompts_with_generations(ledger: Ledger, prompts: Iterable[Any]) -> _Records:
    """Yield each prompt with its generations: one prompt's are in memory at a time."""
    placed = sa.select(generations).where(IS_PLACED).order_by(generations.c.ordinal)
    for prompt in prompts:
        own = placed.where(generations.c.prompt == prompt.id)
        yield prompt, generations_with_texts(ledger, own)


def _write_list(file: TextIO, records: _Records) -> int:
    count = 0
    file.write("[")
    for place, (prompt, rows) in enumerate(records):
        file.write(",\n" if place else "\n")
        generations = [_generation_json(*row) for row in rows]
        record = _prompt_json(prompt) | {"generations": generations}
        json.dump(record, file, indent=1)
        count += len(rows)
    file.write("\n]\n")
    return count


def _write_lines(file: TextIO, records: _Records) -> int:
    count = 0
    for prompt, rows in records:
        for row in rows:
            file.write(json.dumps(_prompt_json(prompt) | _generation_json(*row)) + "\n")
            count += 1
    return count


def _prompt_json(prompt: Any) -> dict[str, Any]:
    return {
        "excerpt_id": prompt.excerpt,
        "book_name": prompt.book,
        "instruction": prompt.instruction,
    }


def _generation_json(
    row: Any,
    text: str,
    reasoning: str,
) -> dict[str, Any]:
    fields = {
        "ordinal": row.ordinal,
        "generated_text": text,
        "finish_reason": row.finish_reason,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "finish_word": row.finish_word,
        "reasoning": reasoning or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
