"""Generations from files: as if they had been drawn from an endpoint.

    import_generations(ledger, path, endpoint_id="ft:...", questionnaire=...)

Reads the paper's JSON, JSON lines, and what exports.py writes. What is in the ledger already
stays as it is, so importing the same file twice changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.errors import LedgerError, RecordsError
from pytest_memleak.ledger.call_reservations import number_questions
from pytest_memleak.ledger.calls import CallState
from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PairPrompts, PromptSpec
from pytest_memleak.ledger.tables import calls, generations
from pytest_memleak.records import FinishReason, Generation
from pytest_memleak.records.paper_format import generations_from_records, load_records

_MOST = 2**31
_LONGEST_WORD = 500


@dataclass(frozen=True, slots=True)
class Imported:
    """How many generations were added, and how many were there already."""

    added: int
    known: int


def import_generations(
    ledger: Ledger, path: Path, *, endpoint_id: str, questionnaire: PairPrompts
) -> Imported:
    """Take the generations in a file as drawn from an endpoint; all of them or none.

    Raises RecordsError for a file that is not of the paper's form or does not answer the
    questionnaire, LedgerError where other generations have their places.
    """
    records = load_records(path)
    place = str(path)
    asked = {question.excerpt_id: question for question in questionnaire.questions}
    _refuse_other_instructions(records, asked, place)
    by_question: dict[PromptSpec, list[Generation]] = {}
    drawn = generations_from_records(records, place=place)
    for one in _with_details(drawn, records):
        question = asked.get(one.excerpt_id)
        if question is None:
            raise RecordsError(
                f"the book has no excerpt {one.excerpt_id!r} with an instruction",
                location=place,
                hint="import it for the book that it was drawn for",
            )
        by_question.setdefault(question, []).append(one)
    for question, several in by_question.items():
        ordinals = [one.ordinal for one in several]
        if len(set(ordinals)) < len(ordinals):
            raise RecordsError(
                f"two generations of excerpt {question.excerpt_id!r} have the same ordinal",
                location=place,
            )
    numbers = number_questions(ledger, endpoint_id, by_question)
    file_digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def work(connection: Connection) -> Imported:
        added = known = 0
        for question, drawn in by_question.items():
            number = numbers[question.key]
            new = _not_there(connection, number, drawn, place)
            known += len(drawn) - len(new)
            added += len(new)
            if new:
                _add(connection, number, question, new, file_digest)
        return Imported(added, known)

    return ledger.write(work)


def _with_details(drawn: Iterable[Generation], records: Sequence[object]) -> Iterator[Generation]:
    """The generations with what only our own files say: round, token counts, finish word."""
    answers: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if isinstance(record, Mapping):
            several = record.get("generations", [record])
            answers.setdefault(str(record["excerpt_id"]), []).extend(several)
    for one in drawn:
        said = answers[one.excerpt_id][one.ordinal]
        ordinal = _count(said, "ordinal")
        unknown = one.finish_word if one.finish_reason is FinishReason.UNKNOWN else None
        yield replace(
            one,
            ordinal=one.ordinal if ordinal is None else ordinal,
            prompt_tokens=_count(said, "prompt_tokens"),
            completion_tokens=_count(said, "completion_tokens"),
            finish_word=said["finish_word"] if _is_word(said.get("finish_word")) else unknown,
        )


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST
    return value if right else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_WORD


def _refuse_other_instructions(
    records: Sequence[object], asked: Mapping[str, PromptSpec], place: str
) -> None:
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            continue
        question = asked.get(str(record.get("excerpt_id")))
        told = record.get("instruction")
        if question is not None and told and told != question.instruction:
            raise RecordsError(
                f"excerpt {question.excerpt_id!r} was asked for with another instruction than the"
                " book's",
                location=f"{place}, record {number}",
                hint="import it with the book, and the summaries, that were used then",
            )


def _not_there(
    connection: Connection, question: int, drawn: Sequence[Generation], place: str
) -> list[Generation]:
    columns = generations.c
    there = {
        row.ordinal: row
        for row in connection.execute(
            sa.select(columns.ordinal, columns.text, columns.finish_reason).where(
                columns.question == question, columns.ordinal >= 0
            )
        )
    }
    new = []
    for one in drawn:
        row = there.get(one.ordinal)
        if row is None:
            new.append(one)
        elif (row.text, row.finish_reason) != (one.text, one.finish_reason):
            raise LedgerError(
                f"generation {one.ordinal} of excerpt {one.excerpt_id!r} is in the ledger already,"
                " and is another one",
                location=place,
                hint="import it under another endpoint id",
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
    call = connection.execute(
        calls.insert()
        .values(
            question=number,
            kind="import",
            provider="file",
            request_id=file_digest,
            state=CallState.ANSWERED,
            first=new[0].ordinal,
            asked=len(new),
            came=len(new),
            max_tokens=question.max_tokens,
            began=now,
            ended=now,
        )
        .returning(calls.c.id)
    ).scalar_one()
    rows = [
        {
            "question": number,
            "ordinal": one.ordinal,
            "call": call,
            "finish_reason": one.finish_reason,
            "finish_word": one.finish_word,
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "text": one.text,
            "reasoning": one.reasoning or None,
        }
        for one in new
    ]
    connection.execute(generations.insert(), rows)
    changed(connection, calls, [call], brought=rows)
