"""Whether a ledger's tables are what its chain says was written, and whether they agree.

    found = check_ledger(ledger, said=head)      # -> Checked; `said`: what a bundle keeps
    found.wrong                                  # sentences, none where all holds

Two kinds of faults: what is not as it was written (entries and rows that were changed, added, taken
out), and what cannot have been (consistency.py). Memory grows with the number of rows, not with
their texts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.consistency import fault_of_call, fault_of_question, faults_of_runs
from pytest_memleak.ledger.hash_chain import CHAINED, Head, Row, call_image, image, key_of, link_of
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import calls, chain, claims, generations, questions

_QUESTIONS_AT_ONCE = 20  # their generations are in memory at a time
_ROWS_AT_ONCE = 400
_SHOWN = 60  # characters of a value
_TABLES = {table.name: table for table in CHAINED}
_ONE_OF = {
    "leases": "lease",
    "runs": "run",
    "questions": "question",
    "jobs": "fine-tune",
    "batches": "batch",
    "deployments": "deployment",
    "calls": "call",
    "summaries": "summary",
}


@dataclass(slots=True)
class Checked:
    """What a check found.

    wrong:   a sentence for each fault
    entries: of the chain
    calls:   that the ledger holds; imports: those of them that brought answers from files
    at:      when the head that a bundle says was written, in seconds since 1970
    """

    wrong: list[str] = field(default_factory=list)
    entries: int = 0
    calls: int = 0
    imports: int = 0
    at: float = 0.0


def check_ledger(ledger: Ledger, *, said: Head | None = None) -> Checked:
    """Hold every row against the chain, and the chain against the head that a bundle says."""
    return ledger.snapshot(lambda connection: _Check(connection).done(said))


class _Check:
    """Reads the chain, then every table; what is left of the chain after that is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._checked = Checked()
        self._last: dict[tuple[str, Any], int] = {}  # the number of each row's last entry

    def done(self, said: Head | None) -> Checked:
        wrong = self._checked.wrong
        self._read_chain(said)
        for table in CHAINED:
            if table is not calls:
                for rows in self._parts(sa.select(table), _ROWS_AT_ONCE):
                    kept = self._chained(table, [image(table, row) for row in rows])
                    if table is questions:
                        asked = {row["id"]: row for row in rows}
                        wrong += filter(None, (fault_of_question(asked[one["id"]]) for one in kept))
        for rows in self._parts(_ASKED, _QUESTIONS_AT_ONCE):
            self._look_at_calls([row["question"] for row in rows])
        wrong += [f"{_named(table, key)} is gone" for table, key in self._last]
        wrong += faults_of_runs(self._connection)
        return self._checked

    def _read_chain(self, said: Head | None) -> None:
        checked, link, number = self._checked, "", 0
        rows = self._stream(sa.select(chain).order_by(chain.c.number))
        for number, row in enumerate(rows, 1):
            if row["number"] != number:
                checked.wrong.append(f"the chain has no entry {number:,}")
                return
            if row["link"] != link_of(link, row["entry"]):
                checked.wrong.append(f"entry {number:,} of the chain is not what was sealed")
            link = row["link"]
            entry = _entry(row["entry"])
            if entry is not None:
                table = _TABLES[entry["table"]]
                self._last[table.name, key_of(table, entry["row"])] = number
                if said and number == said.entries and isinstance(entry.get("at"), float):
                    checked.at = entry["at"]
            if said and number == said.entries and link != said.link:
                checked.wrong.append(
                    f"at its entry {number:,} the ledger's chain is another than the bundle's"
                )
        checked.entries = number
        if said and number < said.entries:
            checked.wrong.append(
                f"the ledger's chain ends at entry {number:,}, and had {said.entries:,} when the"
                " bundle was made: it is an older copy, or was cut short"
            )

    def _look_at_calls(self, numbers: Sequence[int]) -> None:
        brought: dict[tuple[int, int], list[Row]] = defaultdict(list)
        held: dict[tuple[int, int], list[int]] = defaultdict(list)
        asked = {row["id"]: row for row in self._rows(questions, questions.c.id.in_(numbers))}
        for row in self._rows(generations, generations.c.question.in_(numbers)):
            brought[row["question"], row["call"]].append(image(generations, row))
        for row in self._rows(claims, claims.c.question.in_(numbers)):
            held[row["question"], row["call"]].append(row["ordinal"])
        made = [
            call_image(row, held.pop(key, ()), brought.pop(key, ()))
            for row in self._rows(calls, calls.c.question.in_(numbers))
            for key in [(row["question"], row["id"])]
        ]
        for one in self._chained(calls, made):
            fault = fault_of_call(one, asked.get(one["question"]))
            self._checked.wrong += [fault] if fault else []
        self._checked.wrong += [
            f"there are answers or claims of call {call}, which did not ask question {question}"
            for question, call in sorted(brought.keys() | held.keys())
        ]
        self._checked.calls += len(made)
        self._checked.imports += sum(one["kind"] == "import" for one in made)

    def _chained(self, table: sa.Table, rows: Sequence[Row]) -> list[Row]:
        """Compare rows with their last entries; return those that have one."""
        keys = [key_of(table, row) for row in rows]
        numbers = [self._last.pop((table.name, key), 0) for key in keys]
        entries: dict[int, Any] = {}
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            some = chain.c.number.in_(numbers[start : start + _ROWS_AT_ONCE])
            entries |= {row["number"]: _entry(row["entry"]) for row in self._rows(chain, some)}
        native = []
        for key, row, number in zip(keys, rows, numbers, strict=True):
            entry = entries.get(number)
            if entry is None:
                self._checked.wrong.append(f"{_named(table.name, key)} was added by something else")
                continue
            self._checked.wrong += _differences(_named(table.name, key), entry["row"], row)
            native.append(row)
        return native

    # --- reading -----------------------------------------------------------------------------

    def _stream(self, statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> Iterator[Any]:
        options = {"yield_per": _ROWS_AT_ONCE}
        yield from self._connection.execute(statement, execution_options=options).mappings()

    def _parts(
        self, statement: sa.Select[Any] | sa.CompoundSelect[Any], size: int
    ) -> Iterator[list[Any]]:
        rows = self._stream(statement)
        while part := list(islice(rows, size)):
            yield part

    def _rows(self, table: sa.Table, condition: sa.ColumnElement[bool]) -> Iterable[Any]:
        keys = table.primary_key.columns
        statement = sa.select(table).where(condition).order_by(*keys)
        return self._connection.execute(statement).mappings().all()


# Whatever table knows a question: one that was taken out may have left its calls behind.
_ASKED = sa.union(
    *(sa.select(table.c.question) for table in (calls, generations, claims)),
).order_by("question")


def _entry(text: str) -> Any:
    """An entry as it was written; None for what is none."""
    try:
        entry = json.loads(text)
        key_of(_TABLES[entry["table"]], entry["row"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry


def _differences(name: str, written: Mapping[Any, Any], row: Mapping[Any, Any]) -> list[str]:
    differ = [one for one in sorted({**written, **row}) if written.get(one) != row.get(one)]
    return [f"{name}: {_what_differs(one, written.get(one), row.get(one))}" for one in differ]


def _what_differs(column: str, written: Any, now: Any) -> str:
    if column != "generations":
        return f"{column} is {_shown(now)}, and was written as {_shown(written)}"
    before = {one["ordinal"]: one for one in written or ()}
    after = {one["ordinal"]: one for one in now or ()}
    told = [
        f"answer {ordinal} is gone"
        if ordinal not in after
        else f"answer {ordinal} was added"
        if ordinal not in before
        else "; ".join(_differences(f"answer {ordinal}", before[ordinal], after[ordinal]))
        for ordinal in sorted(before | after)
        if before.get(ordinal) != after.get(ordinal)
    ]
    return "; ".join(told)


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)[:_SHOWN]


def _named(table: str, key: Any) -> str:
    if table not in _ONE_OF:
        return "the ledger's version"
    return f"{_ONE_OF[table]} {key[0][:12] if isinstance(key, tuple) else key}"
