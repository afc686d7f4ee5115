"""Verification of a ledger: its tables against its chain, and against each other.

Two kinds of faults: entries and rows that were changed, added, or removed; and rows
that this program can't have written, at the times that they say. Memory grows with the
number of rows, not with their texts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger import CLOCK_SKEW
from pytest_memleak.ledger.call_outcomes import OPEN, CallState
from pytest_memleak.ledger.damage import OF_VALUES, damaged_cell
from pytest_memleak.ledger.generation_texts import generation_images, texts_of_calls
from pytest_memleak.ledger.hash_chain import (
    CHAINED,
    Head,
    Row,
    chain_link,
    image,
    row_key,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import prompt_from_row
from pytest_memleak.ledger.tables import (
    QUESTIONS_AT_ONCE,
    calls,
    chain,
    claims,
    deployments,
    generations,
    in_parts,
    ledger_version,
    questions,
    runs,
    summaries,
)
from pytest_memleak.records.number_format import amount, moment

_PROMPTS_AT_ONCE = 20  # their generations are in memory at a time
_SHOWN = 60  # characters of a value
_LATEST = 86_400  # seconds from the end of a call until its entry
_WRITTEN_ONCE = {questions.name, summaries.name}
_TABLES = {table.name: table for table in CHAINED}
_ONE_OF = {"jobs": "fine-tune", "batches": "batch", "summaries": "summary"}


@dataclass(slots=True)
class Checked:
    """The result of a verification.

    wrong:   a sentence for each fault
    entries: the number of the chain's entries
    calls:   the number of calls
    endpoints: those that its chain names
    at:      when the bundle's head was written, in seconds since 1970
    late:    by endpoint, the end times of calls that ended by `until`, but were written
    after
             the bundle's head
    """

    wrong: list[str] = field(default_factory=list)
    entries: int = 0
    calls: int = 0
    endpoints: set[Any] = field(default_factory=set)
    at: float = 0.0
    late: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def check_ledger(
    ledger: Ledger, *, bundle_head: Head | None = None, until: float = 0.0
) -> Checked:
    """Compare every row with the chain, and the chain with the head in a bundle.

    until: the end of the bundle's run, in seconds since 1970
    """

    def work(connection: Connection) -> Checked:
        check = _Check(connection)
        try:
            return check.done(bundle_head, until)
        except OF_VALUES as error:
            damage = (
                damaged_cell(connection)
                or f"a value can't be read ({type(error).__name__})"
            )
            fault = f"The ledger is damaged: {damage}; the rest wasn't verified"
            check.checked.wrong.append(fault)
            return check.checked

    return ledger.snapshot(work)


class _Check:
    """A pass over the chain, then over every table; rows left in the chain after that are gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.checked = Checked()
        self._entries: dict[tuple[str, Any], list[int]] = defaultdict(
            list
        )  # of each row

    def done(self, bundle_head: Head | None, until: float) -> Checked:
        wrong = self.checked.wrong
        self._read_chain(bundle_head, until)
        for table in CHAINED:
            if table is not calls:
                for rows in self._stream(sa.select(table)).partitions():
                    chained = self._chained(table, [image(table, row) for row in rows])
                    if table is questions:
                        numbers = {row["id"] for row in chained}
                        wrong += [
                            f"prompt {row['id']}: its digests don't match its text and "
                            "settings"
                            for row in rows
                            if row["id"] in numbers and not prompt_from_row(row).keyed
                        ]
        for rows in self._stream(_ASKED).partitions(_PROMPTS_AT_ONCE):
            self._check_calls([row["question"] for row in rows])
        wrong += [f"{_named(table, key)} is gone" for table, key in self._entries]
        wrong += [
            f"run {row.id}: its spending is {row.spent}, but its calls cost {row.cost} "
            "(billionths"
            " of a US dollar)"
            for row in self._connection.execute(_SPENT_AND_COST)
            if row.spent != row.cost
        ]
        return self.checked

    def _read_chain(self, bundle_head: Head | None, until: float) -> None:
        checked, link, number, newest = self.checked, "", 0, 0.0
        rows = self._stream(sa.select(chain).order_by(chain.c.number))
        for number, row in enumerate(rows, 1):
            if row["number"] != number:
                checked.wrong.append(f"The chain has no entry {number:,}")
                return
            if row["link"] != chain_link(link, row["entry"]):
                checked.wrong.append(f"Entry {number:,} of the chain was changed")
            link = row["link"]
            at, written = _entry(row["entry"])
            if at < newest - CLOCK_SKEW:
                checked.wrong.append(
                    f"Entry {number:,} of the chain is older than one before it"
                )
            newest = max(newest, at)
            is_later = bundle_head is not None and number > bundle_head.entries
            self._note_rows(number, at, written, until if is_later else None)
            if bundle_head and number == bundle_head.entries:
                checked.at = at
                if link != bundle_head.link:
                    checked.wrong.append(
                        f"The chain differs from the bundle's at entry {number:,}"
                    )
        checked.entries = number
        if bundle_head and number < bundle_head.entries:
            checked.wrong.append(
                f"The chain ends at entry {number:,}, but the bundle counts"
                f" {bundle_head.entries:,}: it is another, an older copy, or was "
                "truncated"
            )

    def _note_rows(
        self,
        number: int,
        at: float,
        written: Mapping[tuple[str, Any], Row],
        until: float | None,
    ) -> None:
        """Note what an entry wrote; until: the end of the bundle's run if it is after its head."""
        for key, values in written.items():
            self._entries[key].append(number)
            self.checked.endpoints.add(values.get("endpoint"))
            if key[0] == calls.name:
                self.checked.wrong += _time_faults(_named(*key), values, at)
                if until is not None and "generations" in values:
                    ended = sa.and_(calls.c.id == key[1], calls.c.ended <= until)
                    for endpoint, at_end in self._connection.execute(
                        _ENDPOINT.where(ended)
                    ):
                        self.checked.late[endpoint].append(at_end)

    def _check_calls(self, numbers: Sequence[int]) -> None:
        answers: dict[tuple[int, int], list[Any]] = defaultdict(list)
        claimed: dict[tuple[int, int], list[int]] = defaultdict(list)
        prompts = {
            row["id"]: row for row in self._rows(questions, questions.c.id.in_(numbers))
        }
        for row in self._rows(generations, generations.c.question.in_(numbers)):
            answers[row["question"], row["call"]].append(row)
        texts = texts_of_calls(self._connection, (call for _, call in answers))
        for row in self._rows(claims, claims.c.question.in_(numbers)):
            claimed[row["question"], row["call"]].append(row["ordinal"])
        images = [
            image(calls, row)
            | {
                "claims": sorted(claimed.pop(key, ())) or None,
                "generations": generation_images(
                    answers.pop(key, ()), texts.get(row["id"], ())
                )
                or None,
            }
            for row in self._rows(calls, calls.c.question.in_(numbers))
            for key in [(row["question"], row["id"])]
        ]
        for call_row in self._chained(calls, images):
            if fault := _call_fault(call_row, prompts.get(call_row["question"])):
                named = f"call {call_row['id']} is {call_row['state']}"
                self.checked.wrong.append(f"{named}, but {fault}")
        self.checked.wrong += [
            f"Call {call} has or reserves generations of prompt {question}, which it "
            "didn't send"
            for question, call in sorted(answers.keys() | claimed.keys())
        ]
        self.checked.calls += len(images)

    def _chained(self, table: sa.Table, rows: Sequence[Row]) -> list[Row]:
        """Compare rows with their last entries; return those that have one."""
        keys = [(table.name, row_key(table, row)) for row in rows]
        numbers = sorted(
            {number for key in keys for number in self._entries.pop(key, ())}
        )
        written: dict[tuple[str, Any], Row] = {}
        for some in in_parts(numbers):
            for entry in self._rows(chain, chain.c.number.in_(some)):
                for key, values in _entry(entry["entry"])[1].items():
                    before = written.setdefault(key, {})
                    if before.get("generations") or (
                        before and key[0] in _WRITTEN_ONCE
                    ):
                        number = f"entry {entry['number']:,}"
                        self.checked.wrong.append(
                            f"{_named(*key)} had ended, but {number} changed it"
                        )
                    before.update(values)
        matched = []
        for key, row in zip(keys, rows, strict=True):
            if key in written:
                self.checked.wrong += _differences(_named(*key), written[key], row)
                matched.append(row)
            else:
                self.checked.wrong.append(
                    f"{_named(*key)} was added by another program"
                )
        return matched

    # --- reading
    # -----------------------------------------------------------------------------

    def _stream(
        self, statement: sa.Select[Any] | sa.CompoundSelect[Any]
    ) -> sa.MappingResult:
        options = {"yield_per": QUESTIONS_AT_ONCE}
        return self._connection.execute(statement, execution_options=options).mappings()

    def _rows(
        self, table: sa.Table, condition: sa.ColumnElement[bool]
    ) -> Iterable[Any]:
        keys = table.primary_key.columns
        statement = sa.select(table).where(condition).order_by(*keys)
        return self._connection.execute(statement).mappings().all()


_ENDPOINT = sa.select(questions.c.endpoint, calls.c.ended).join_from(
    calls, questions, calls.c.question == questions.c.id
)
# A removed prompt may have left its calls behind.
_ASKED = sa.union(
    *(sa.select(table.c.question) for table in (calls, generations, claims))
).order_by("question")


def _entry(text: str) -> tuple[float, dict[tuple[str, Any], Row]]:
    """Return an entry's time and what it wrote, by table and key; nothing if it is invalid."""
    try:
        entry = json.loads(text)
        written = {
            (name, row_key(_TABLES[name], row)): dict(row)
            for name, row in entry["rows"]
        }
        return float(entry["at"]), written
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0.0, {}


def _time_faults(name: str, written: Row, at: float) -> Iterator[str]:
    """Yield a fault for each time of a row that differs from its entry's."""
    for column in ("began", "ended"):
        time = written.get(column)
        if isinstance(time, int | float) and not -CLOCK_SKEW <= at - time <= _LATEST:
            yield f"{name}: {column} is {moment(time)}, but it was written on {moment(at)}"


def _differences(
    name: str, before: Mapping[Any, Any], after: Mapping[Any, Any]
) -> list[str]:
    return [
        f"{name}: {_what_differs(column, before.get(column), after.get(column))}"
        for column in sorted({**before, **after})
        if before.get(column) != after.get(column)
    ]


def _what_differs(column: str, written: Any, now: Any) -> str:
    if column != "generations":
        return f"{column} is {_shown(now)}, but was written as {_shown(written)}"
    before = {answer["ordinal"]: answer for answer in written or ()}
    after = {answer["ordinal"]: answer for answer in now or ()}
    changes = [
        f"generation {ordinal} is gone"
        if ordinal not in after
        else f"generation {ordinal} was added"
        if ordinal not in before
        else "; ".join(
            _differences(f"generation {ordinal}", before[ordinal], after[ordinal])
        )
        for ordinal in sorted(before | after)
        if before.get(ordinal) != after.get(ordinal)
    ]
    return "; ".join(changes)


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)[:_SHOWN]


def _named(table: str, key: Any) -> str:
    if table == ledger_version.name:
        return "the ledger's version"
    kind = _ONE_OF.get(table, table.removesuffix("s"))
    return f"{kind} {str(key[0] if isinstance(key, tuple) else key)[:12]}"


def _call_fault(row: Mapping[Any, Any], question: Any) -> str | None:
    """Explain why a call, as its chain entry has it, is inconsistent; None if it isn't."""
    if question is None:
        return f"prompt {row['question']} doesn't exist"
    if row.get("seed") != prompt_from_row(question).seed_from(row["first"]):
        return f"its seed {row.get('seed')} doesn't match its prompt"
    answer_count, claim_count = (
        len(row.get("generations") or ()),
        len(row.get("claims") or ()),
    )
    came = "came" in row
    if row["state"] in OPEN:
        wrong = claim_count != row["asked"] or answer_count or came or "ended" in row
        reserved = f"{claim_count} of {amount(row['asked'], 'generation')}"
        text = f"it reserves {reserved} and has {answer_count}"
        return text if wrong else None
    if claim_count:
        return f"it still reserves {amount(claim_count, 'generation')}"
    if row["state"] == CallState.ANSWERED:
        wrong = row.get("came") != answer_count
        text = f"it has {amount(answer_count, 'generation')}, not {row.get('came')}"
        return text if wrong else None
    cost = 0 if row["state"] == CallState.FAILED else row.get("estimate")
    wrong = answer_count or came or row.get("cost") != cost
    had = amount(answer_count, "generation")
    text = f"it has {had} (not 0) and cost {row.get('cost')} (not {cost})"
    return text if wrong else None


_COST = sa.case(
    (calls.c.state == CallState.ANSWERED, calls.c.cost),
    (calls.c.state == CallState.FAILED, 0),
    else_=calls.c.estimate,
)
_STOOD = sa.case(
    (deployments.c.undeployed.is_(None), deployments.c.estimate),
    else_=deployments.c.cost,
)
_BY_CALLS, _BY_HOURS = (
    sa.select(sa.func.coalesce(sa.func.sum(amount), 0))
    .where(table.c.run == runs.c.id)
    .scalar_subquery()
    for table, amount in ((calls, _COST), (deployments, _STOOD))
)
_SPENT_AND_COST = sa.select(
    runs.c.id, runs.c.spent, sa.cast(_BY_CALLS + _BY_HOURS, sa.BigInteger).label("cost")
).order_by(runs.c.id)
