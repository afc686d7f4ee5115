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
from pytest_memleak.ledger.call_states import (
    OPEN,
    SPENT,
    CallState,
    spent_without_answer,
)
from pytest_memleak.ledger.damage import OF_VALUES, damaged_cell
from pytest_memleak.ledger.deployments import SPENT_ON_HOURS
from pytest_memleak.ledger.generation_texts import generation_chain_rows, texts_of_calls
from pytest_memleak.ledger.hash_chain import (
    CHAINED,
    Head,
    Row,
    RowName,
    chain_link,
    row_key,
    row_without_nulls,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import prompt_from_row
from pytest_memleak.ledger.statements import PROMPTS_PER_STATEMENT, split_for_statement
from pytest_memleak.ledger.tables import (
    calls,
    chain,
    claims,
    deployments,
    generations,
    ledger_version,
    runs,
    stored_prompts,
    summaries,
)
from pytest_memleak.records.number_format import amount, moment

_PROMPTS_AT_ONCE = 20  # their generations are in memory at a time
_SHOWN = 60  # characters of a value
_SHOWN_OF_KEY = 12
_LATEST = 86_400  # seconds from the end of a call until its entry
_WRITTEN_ONCE = {stored_prompts.name, summaries.name}
_TABLES = {table.name: table for table in CHAINED}
_ONE_OF = {"jobs": "fine-tune", "batches": "batch", "summaries": "summary"}


@dataclass(slots=True)
class ChainCheckResult:
    """The result of a verification.

    wrong:     a sentence for each fault
    entries:   the number of the chain's entries
    calls:     the number of calls
    endpoints: those that its chain names
    at:        when the bundle's head was written, in seconds since 1970
    late:      by endpoint, the end times of calls that ended by `until`,
               but were written after the bundle's head
    """

    wrong: list[str] = field(default_factory=list)
    entries: int = 0
    calls: int = 0
    endpoints: set[Any] = field(default_factory=set)
    at: float = 0.0
    late: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def check_ledger(
    ledger: Ledger,
    *,
    bundle_head: Head | None = None,
    until: float = 0.0,
) -> ChainCheckResult:
    """Compare every row with the chain, and the chain with the head in a bundle.

    until: the end of the bundle's run, in seconds since 1970
    """

    def check_in_snapshot(connection: Connection) -> ChainCheckResult:
        check = _Check(connection)
        try:
            return check.done(bundle_head, until)
        except OF_VALUES as error:
            damage = damaged_cell(connection)
            if damage is None:
                damage = f"a value can't be read ({type(error).__name__})"
            fault = f"The ledger is damaged: {damage}; the rest wasn't verified"
            check.checked.wrong.append(fault)
            return check.checked
        finally:
            check.close()

    return ledger.snapshot(check_in_snapshot)


# The number of a prompt, and of one of its calls.
_CallOfPrompt = tuple[int, int]


class _Check:
    """A pass over the chain, then over every table.

    A row that the chain has and no table is gone.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.checked = ChainCheckResult()
        # The entries that wrote each row, by its table and key.
        self._entries: dict[RowName, list[int]] = defaultdict(list)
        self._streams: list[sa.CursorResult[Any]] = []

    def close(self) -> None:
        """Close what an error left half read."""
        for stream in self._streams:
            stream.close()

    def done(self, bundle_head: Head | None, until: float) -> ChainCheckResult:
        wrong = self.checked.wrong
        self._read_chain(bundle_head, until)
        for table in CHAINED:
            if table is not calls:
                self._check_table(table)
        for rows in self._stream_rows(_ASKED).partitions(_PROMPTS_AT_ONCE):
            self._check_calls([row["prompt"] for row in rows])
        wrong += [f"{_row_name(table, key)} is gone" for table, key in self._entries]
        for row in self._connection.execute(_SPENT_AND_COST):
            if row.spent != row.cost:
                wrong.append(
                    f"run {row.id}: its spending is {row.spent}, but its calls cost "
                    f"{row.cost} (billionths of a US dollar)",
                )
        return self.checked

    def _read_chain(self, bundle_head: Head | None, until: float) -> None:
        checked = self.checked
        link = ""
        number = 0
        newest = 0.0
        entries = sa.select(chain).order_by(chain.c.number)
        for number, row in enumerate(self._stream_rows(entries), 1):
            if row["number"] != number:
                checked.wrong.append(f"The chain has no entry {number:,}")
                return
            if row["link"] != chain_link(link, row["entry"]):
                checked.wrong.append(f"Entry {number:,} of the chain was changed")
            link = row["link"]
            at, written = _parse_entry(row["entry"])
            if at < newest - CLOCK_SKEW:
                checked.wrong.append(
                    f"Entry {number:,} of the chain is older than one before it",
                )
            newest = max(newest, at)
            self._note_rows(number, at, written)
            if bundle_head and number > bundle_head.entries:
                self._note_calls_answered_after_head(written, until)
            if bundle_head and number == bundle_head.entries:
                checked.at = at
                if link != bundle_head.link:
                    checked.wrong.append(
                        f"The chain differs from the bundle's at entry {number:,}",
                    )
        checked.entries = number
        if bundle_head and number < bundle_head.entries:
            checked.wrong.append(
                f"The chain ends at entry {number:,}, but the bundle counts "
                f"{bundle_head.entries:,}: it is another, an older copy, or was "
                "truncated",
            )

    def _note_rows(
        self,
        number: int,
        at: float,
        written: Mapping[RowName, Row],
    ) -> None:
        """Note what an entry wrote."""
        for name, values in written.items():
            self._entries[name].append(number)
            self.checked.endpoints.add(values.get("endpoint"))
            if name[0] == calls.name:
                self.checked.wrong += _time_faults(_row_name(*name), values, at)

    def _note_calls_answered_after_head(
        self, written: Mapping[RowName, Row], until: float
    ) -> None:
        """Note the calls that an entry after the bundle's head answered.

        until: the end of the bundle's run
        """
        for (table_name, number), values in written.items():
            if table_name != calls.name or "generations" not in values:
                continue
            is_call = calls.c.id == number
            query = _ENDPOINT.where(is_call, calls.c.ended <= until)
            for endpoint, ended in self._connection.execute(query):
                self.checked.late[endpoint].append(ended)

    def _check_table(self, table: sa.Table) -> None:
        for rows in self._stream_rows(sa.select(table)).partitions():
            images = [row_without_nulls(table, row) for row in rows]
            chained = self._rows_with_entries(table, images)
            if table is stored_prompts:
                numbers = {row["id"] for row in chained}
                self._check_digests(rows, numbers)

    def _check_digests(self, rows: Iterable[Any], numbers: set[int]) -> None:
        """Check the digests of the prompts with these numbers."""
        for row in rows:
            number = row["id"]
            if number not in numbers or prompt_from_row(row).has_matching_digests:
                continue
            self.checked.wrong.append(
                f"prompt {number}: its digests don't match its text and settings",
            )

    def _check_calls(self, numbers: Sequence[int]) -> None:
        """Check the calls of some prompts, with their claims and generations."""
        prompt_rows = self._rows(stored_prompts.c.id, numbers)
        prompts = {row["id"]: row for row in prompt_rows}
        answers: dict[_CallOfPrompt, list[Any]] = defaultdict(list)
        for row in self._rows(generations.c.prompt, numbers):
            key = (row["prompt"], row["call"])
            answers[key].append(row)
        texts = texts_of_calls(self._connection, (call for _, call in answers))
        claimed: dict[_CallOfPrompt, list[int]] = defaultdict(list)
        for row in self._rows(claims.c.prompt, numbers):
            key = (row["prompt"], row["call"])
            claimed[key].append(row["ordinal"])
        images = []
        for row in self._rows(calls.c.prompt, numbers):
            key = (row["prompt"], row["id"])
            call_claims = claimed.pop(key, [])
            call_generations = generation_chain_rows(
                answers.pop(key, ()),
                texts.get(row["id"], ()),
            )
            call_image = row_without_nulls(calls, row)
            call_image["claims"] = sorted(call_claims) or None
            call_image["generations"] = call_generations or None
            images.append(call_image)
        for row in self._rows_with_entries(calls, images):
            prompt = prompts.get(row["prompt"])
            fault = _call_fault(row, prompt)
            if fault is not None:
                self.checked.wrong.append(
                    f"call {row['id']} is {row['state']}, but {fault}",
                )
        self.checked.wrong += [
            f"Call {call} has or reserves generations of prompt {prompt_id}, which it "
            "didn't send"
            for prompt_id, call in sorted(answers.keys() | claimed.keys())
        ]
        self.checked.calls += len(images)

    def _rows_with_entries(self, table: sa.Table, rows: Sequence[Row]) -> list[Row]:
        """Compare rows with their last entries; return those that have one."""
        names = [(table.name, row_key(table, row)) for row in rows]
        numbers: set[int] = set()
        for name in names:
            entries = self._entries.pop(name, ())
            numbers.update(entries)
        written = self._last_written(sorted(numbers))
        matched = []
        for name, row in zip(names, rows, strict=True):
            shown_name = _row_name(*name)
            if name in written:
                self.checked.wrong += _differences(shown_name, written[name], row)
                matched.append(row)
            else:
                self.checked.wrong.append(
                    f"{shown_name} was added by another program",
                )
        return matched

    def _last_written(self, numbers: Sequence[int]) -> dict[RowName, Row]:
        """Return the last values in these entries; note rows that had ended before."""
        written: dict[RowName, Row] = {}
        for some in split_for_statement(numbers):
            for entry in self._rows(chain.c.number, some):
                _, rows = _parse_entry(entry["entry"])
                for key, values in rows.items():
                    before = written.setdefault(key, {})
                    if _has_ended(key[0], before):
                        self.checked.wrong.append(
                            f"{_row_name(*key)} had ended, "
                            f"but entry {entry['number']:,} changed it",
                        )
                    before.update(values)
        return written

    # --- reading ----------------------------------------------------------------------

    def _stream_rows(
        self,
        statement: sa.Select[Any] | sa.CompoundSelect[Any],
    ) -> sa.MappingResult:
        options = {"yield_per": PROMPTS_PER_STATEMENT}
        result = self._connection.execute(statement, execution_options=options)
        self._streams.append(result)
        return result.mappings()

    def _rows(self, column: sa.Column[Any], numbers: Sequence[int]) -> Iterable[Any]:
        """Return the rows with one of these numbers in the column, by their key."""
        table = column.table
        keys = table.primary_key
        rows = sa.select(table).where(column.in_(numbers))
        result = self._connection.execute(rows.order_by(*keys))
        return result.mappings().all()


_ENDPOINT = sa.select(stored_prompts.c.endpoint, calls.c.ended).join_from(
    calls,
    stored_prompts,
    calls.c.prompt == stored_prompts.c.id,
)
# A removed prompt may have left its calls behind.
_ASKED = sa.union(
    sa.select(calls.c.prompt),
    sa.select(generations.c.prompt),
    sa.select(claims.c.prompt),
).order_by("prompt")


def _parse_entry(text: str) -> tuple[float, dict[RowName, Row]]:
    """Return an entry's time and what it wrote, by table and key; empty if invalid."""
    try:
        entry = json.loads(text)
        written = {}
        for table_name, row in entry["rows"]:
            key = row_key(_TABLES[table_name], row)
            written[table_name, key] = dict(row)
        return float(entry["at"]), written
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0.0, {}


def _has_ended(table_name: str, written: Row) -> bool:
    """Tell whether what is written of a row is never changed again."""
    if written.get("generations"):
        return True
    return bool(written) and table_name in _WRITTEN_ONCE


def _time_faults(
    name: str,
    written: Row,
    at: float,
) -> Iterator[str]:
    """Yield a fault for each time of a row that differs from its entry's."""
    for column in ("began", "ended"):
        time = written.get(column)
        if not isinstance(time, int | float):
            continue
        if not -CLOCK_SKEW <= at - time <= _LATEST:
            yield (
                f"{name}: {column} is {moment(time)}, "
                f"but it was written on {moment(at)}"
            )


def _differences(
    name: str,
    before: Mapping[Any, Any],
    after: Mapping[Any, Any],
) -> list[str]:
    differences = []
    for column in sorted({**before, **after}):
        written = before.get(column)
        now = after.get(column)
        if written != now:
            differences.append(f"{name}: {_difference_text(column, written, now)}")
    return differences


def _difference_text(
    column: str,
    written: Any,
    now: Any,
) -> str:
    if column != "generations":
        return (
            f"{column} is {_value_text(now)}, but was written as {_value_text(written)}"
        )
    before = _generations_by_ordinal(written)
    after = _generations_by_ordinal(now)
    changes: list[str] = []
    for ordinal in sorted(before | after):
        name = f"generation {ordinal}"
        if ordinal not in after:
            changes.append(f"{name} is gone")
        elif ordinal not in before:
            changes.append(f"{name} was added")
        else:
            changes += _differences(name, before[ordinal], after[ordinal])
    return "; ".join(changes)


def _generations_by_ordinal(images: Any) -> dict[Any, Any]:
    """Return a call's generations, as the chain has them, by ordinal."""
    return {row["ordinal"]: row for row in images or ()}


def _value_text(value: Any) -> str:
    if value is None:
        return "nothing"
    return json.dumps(value)[:_SHOWN]


def _row_name(table: str, key: Any) -> str:
    if table == ledger_version.name:
        return "the ledger's version"
    singular = table.removesuffix("s")
    kind = _ONE_OF.get(table, singular)
    number = key[0] if isinstance(key, tuple) else key
    return f"{kind} {str(number)[:_SHOWN_OF_KEY]}"


def _call_fault(row: Mapping[Any, Any], prompt: Any) -> str | None:
    """Explain why a call, as its chain entry has it, is inconsistent; else None."""
    if prompt is None:
        return f"prompt {row['prompt']} doesn't exist"
    seed = prompt_from_row(prompt).seed_from(row["first"])
    if row.get("seed") != seed:
        return f"its seed {row.get('seed')} doesn't match its prompt"
    stored = len(row.get("generations") or ())
    reserved = len(row.get("claims") or ())
    if row["state"] in OPEN:
        has_outcome = stored or "came" in row or "ended" in row
        if reserved == row["asked"] and not has_outcome:
            return None
        requested = amount(row["asked"], "generation")
        return f"it reserves {reserved} of {requested} and has {stored}"
    if reserved:
        return f"it still reserves {amount(reserved, 'generation')}"
    return _outcome_fault(row, stored)


def _outcome_fault(row: Mapping[Any, Any], stored: int) -> str | None:
    """Explain why an ended call doesn't match its stored generations; else None."""
    if row["state"] == CallState.ANSWERED:
        came = row.get("came")
        if came == stored:
            return None
        return f"it has {amount(stored, 'generation')}, not {came}"
    cost = spent_without_answer(row["state"], row.get("estimate"))
    has_answer = stored or "came" in row
    if not has_answer and row.get("cost") == cost:
        return None
    return (
        f"it has {amount(stored, 'generation')} (not 0) "
        f"and cost {row.get('cost')} (not {cost})"
    )


def _sum_of_run(table: sa.Table, spent: sa.ColumnElement[int]) -> sa.ScalarSelect[int]:
    total = sa.func.coalesce(sa.func.sum(spent), 0)
    of_run = sa.select(total).where(table.c.run == runs.c.id)
    return of_run.scalar_subquery()


_COST = _sum_of_run(calls, SPENT) + _sum_of_run(deployments, SPENT_ON_HOURS)
_SPENT_AND_COST = sa.select(
    runs.c.id,
    runs.c.spent,
    sa.cast(_COST, sa.BigInteger).label("cost"),
).order_by(runs.c.id)
