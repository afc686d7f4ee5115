"""Generations in files: written from a ledger, and taken into one.

Reads the paper's JSON, JSON lines, and what this file writes. Importing the same file twice
changes nothing: stored generations stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, RecordsError
from pytest_memleak.ledger.call_outcomes import CallState
from pytest_memleak.ledger.call_reservations import prompt_ids
from pytest_memleak.ledger.generation_texts import insert_generations, texts_of_calls
from pytest_memleak.ledger.hash_chain import add_row, changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import rows_with_texts
from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec
from pytest_memleak.ledger.tables import calls, generations, questions
from pytest_memleak.records import FinishReason, Generation
from pytest_memleak.records.paper_format import generations_from_records, load_records
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

    Omit any argument that isn't needed to select one book with one setting. Raises LedgerError if
    none or several match, and if the file can't be written.
    """
    prompts = _asked(ledger, endpoint_id, book_id, temperature, seed)
    write = _write_lines if path.suffix.lower() == ".jsonl" else _write_list
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, encoding="ascii") as file:
            count = write(file, _records(ledger, prompts))
    except OSError as error:
        cause = error.strerror or str(error)
        raise LedgerError(f"Can't write the file: {cause}", location=str(path)) from None
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
    with_generations = sa.select(generations.c.question).where(generations.c.ordinal >= 0)
    query = sa.select(questions).where(*conditions, questions.c.id.in_(with_generations))
    rows = ledger.rows(query)
    kinds = sorted({(row.book, row.temperature, row.seed) for row in rows})
    if not rows:
        raise LedgerError(
            f"No generations of endpoint {endpoint_id!r}"
            + (f" for book {book_id!r}" if book_id else ""),
            location=ledger.place,
            hint="see `memleak ledger list`",
        )
    if len(kinds) > 1:
        listed = "; ".join(f"book {b!r}, temperature {t:g}, seed {s}" for b, t, s in kinds)
        raise LedgerError(
            f"Several sets of generations of endpoint {endpoint_id!r}: {listed}",
            location=ledger.place,
            hint="choose one by book, temperature, and seed",
        )
    times = Counter(row.excerpt for row in rows)
    excerpt, most = times.most_common(1)[0]
    if most > 1:
        raise LedgerError(
            f"Excerpt {excerpt!r} has {most} different prompts, since its book was split or"
            " summarized again; a file can hold only one",
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
        record = _prompt(question) | {"generations": [_generation(*row) for row in rows]}
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


_MOST = 2**31
_LONGEST_WORD = 500


@dataclass(frozen=True, slots=True)
class Imported:
    """The number of generations that were added, and of those that were present."""

    added: int
    present: int


def import_generations(
    ledger: Ledger, path: Path, *, endpoint_id: str, prompts: PairPrompts
) -> Imported:
    """Store a file's generations as an endpoint's; all of them or none.

    Raises RecordsError if the file isn't in the paper's format or doesn't match the prompts, and
    LedgerError if different generations have their ordinals.
    """
    records = load_records(path)
    place = str(path)
    by_excerpt = {question.excerpt_id: question for question in prompts.questions}
    _validate_instructions(records, by_excerpt, place)
    by_question: dict[PromptSpec, list[Generation]] = {}
    imported = generations_from_records(records, place=place)
    for generation in _with_details(imported, records):
        question = by_excerpt.get(generation.excerpt_id)
        if question is None:
            raise RecordsError(
                f"The book has no excerpt {generation.excerpt_id!r} with an instruction",
                location=place,
                hint="import the file for the book it was sampled for",
            )
        by_question.setdefault(question, []).append(generation)
    for question, samples in by_question.items():
        ordinals = [generation.ordinal for generation in samples]
        if len(set(ordinals)) < len(ordinals):
            raise RecordsError(
                f"Two generations of excerpt {question.excerpt_id!r} have the same ordinal",
                location=place,
                hint="number the generations of each excerpt from 0",
            )
    numbers = prompt_ids(ledger, endpoint_id, by_question)
    file_digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def work(connection: Connection) -> Imported:
        added = present = 0
        for question, samples in by_question.items():
            number = numbers[question.key]
            new = _not_there(connection, number, samples, place)
            present += len(samples) - len(new)
            added += len(new)
            if new:
                _add(connection, number, question, new, file_digest)
        return Imported(added, present)

    return ledger.write(work)


def _with_details(
    imported: Iterable[Generation], records: Sequence[object]
) -> Iterator[Generation]:
    """Add what only our own files hold: round, token counts, finish word."""
    answers: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if isinstance(record, Mapping):
            new_answers = record.get("generations", [record])
            answers.setdefault(str(record["excerpt_id"]), []).extend(new_answers)
    for generation in imported:
        details = answers[generation.excerpt_id][generation.ordinal]
        ordinal = _count(details, "ordinal")
        unknown = (
            generation.finish_word if generation.finish_reason is FinishReason.UNKNOWN else None
        )
        yield replace(
            generation,
            ordinal=generation.ordinal if ordinal is None else ordinal,
            prompt_tokens=_count(details, "prompt_tokens"),
            completion_tokens=_count(details, "completion_tokens"),
            finish_word=details["finish_word"] if _is_word(details.get("finish_word")) else unknown,
        )


def _count(details: Mapping[str, Any], name: str) -> int | None:
    value = details.get(name)
    valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST
    return value if valid else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_WORD


def _validate_instructions(
    records: Sequence[object], prompts: Mapping[str, PromptSpec], place: str
) -> None:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            continue
        question = prompts.get(str(record.get("excerpt_id")))
        instruction = record.get("instruction")
        if question is not None and instruction and instruction != question.instruction:
            raise RecordsError(
                f"The instruction for excerpt {question.excerpt_id!r} differs from the book's",
                location=f"{place}, record {number}",
                hint="import the file with the book and summaries that were used then",
            )


def _not_there(
    connection: Connection, question: int, samples: Sequence[Generation], place: str
) -> list[Generation]:
    columns = generations.c
    query = sa.select(generations).where(columns.question == question, columns.ordinal >= 0)
    rows = connection.execute(query).all()
    texts = texts_of_calls(connection, (row.call for row in rows))
    stored = {row.ordinal: (texts[row.call][row.place][0], row.finish_reason) for row in rows}
    new = []
    for generation in samples:
        if generation.ordinal not in stored:
            new.append(generation)
        elif stored[generation.ordinal] != (generation.text, generation.finish_reason):
            raise LedgerError(
                f"The ledger already holds a different generation {generation.ordinal} of excerpt"
                f" {generation.excerpt_id!r}",
                location=place,
                hint="import the file under a different endpoint id",
            )
    return new


def _add(
    connection: Connection,
    number: int,
    question: PromptSpec,
    new: Sequence[Generation],
    file_digest: str,
) -> None:
    now = time.time()
    call = add_row(
        connection,
        calls,
        {
            "question": number,
            "kind": "import",
            "provider": "file",
            "request_id": file_digest,
            "state": CallState.ANSWERED,
            "first": new[0].ordinal,
            "asked": len(new),
            "came": len(new),
            "max_tokens": question.max_tokens,
            "began": now,
            "ended": now,
        },
    )
    ordinals = [generation.ordinal for generation in new]
    images = insert_generations(connection, [(number, call, ordinals, new)])
    changed(connection, calls, [{"id": call, **images[call]}])
