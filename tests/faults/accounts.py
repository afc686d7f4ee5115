"""A server's books held against the ledger, row by row."""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from pytest_memleak import score
from pytest_memleak.ledger import tables as schema
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import CANARY_TOKENS
from pytest_memleak.ledger.stored_text import decompress_texts
from pytest_memleak.ledger.verify_chain import check_ledger

TABLES = ("stored_prompts", "calls", "generations", "call_texts", "claims")
TABLES += ("jobs", "batches", "deployments")


@dataclass(frozen=True)
class Account:
    """The books' rows that are in the ledger, and those (unrecorded) of its lost calls."""

    ledger: SimpleNamespace
    lost: int
    unrecorded: list[dict[str, Any]]
    recorded: list[dict[str, Any]]


def contents(url):
    """Everything in the ledger at `url`, whose chain holds."""
    with Ledger(url, create=False) as ledger:
        assert check_ledger(ledger).wrong == []

        def rows(table):
            ordered = sa.select(table).order_by(*table.primary_key.columns)
            return ledger.read(lambda connection: connection.execute(ordered).all())

        tables = SimpleNamespace(
            **{name: rows(getattr(schema, name)) for name in TABLES}
        )
    tables.stored_prompts = {row.id: row for row in tables.stored_prompts}
    return tables


def by_state(ledger, state):
    return [call for call in ledger.calls if call.state == state]


def settled(scenario, url, *, samples):
    ledger = contents(url)
    complete(ledger, samples, excerpts=len(scenario.stories["held-out"]))
    _one_finetune(scenario, ledger)
    begun = [] if scenario.provider == "tinker" else scenario.books.rows("batch")
    assert Counter(row["id"] for row in begun) == Counter(
        row.job_id for row in ledger.batches
    )
    assert {row.state for row in ledger.batches} <= {"succeeded", "failed"}
    recorded, unrecorded = _matched(scenario, ledger)
    assert len(scenario.books.rows("completion")) == len(ledger.generations) + len(
        unrecorded
    )
    for name in ("prompt_tokens", "completion_tokens"):
        kept = sum(getattr(call, name) or 0 for call in by_state(ledger, "answered"))
        assert kept == sum(row[name] for row in recorded)
    return Account(ledger, len(by_state(ledger, "lost")), unrecorded, recorded)


def billed_without_answer(scenario, ledger):
    """Whatever was billed without an answer is a lost call; of Tinker, or one in doubt still."""
    recorded, unrecorded = _matched(
        scenario, ledger, doubts=scenario.provider == "tinker"
    )
    assert not recorded
    assert len(unrecorded) == len(scenario.books.rows("completion"))


def numbers_agree(scenario, outcome, account):
    """The reported numbers are those of scoring what the server has billed and we have got."""
    held_out = scenario.stories["held-out"]
    sent = {record["instruction"]: [] for record in held_out}
    for row in account.recorded:
        if row["max_tokens"] == CANARY_TOKENS:
            continue
        # In Tinker's books stands the whole prompt.
        prompt = row.get("instruction") or row["prompt"]
        (instruction,) = [each for each in sent if each in prompt]
        sent[instruction].append({"generated_text": row["text"]})
    answers = [
        {"excerpt_id": record["excerpt_id"], "generations": sent[record["instruction"]]}
        for record in held_out
    ]
    expected = score(held_out, answers)
    for name in ("longest_block", "longest_span"):
        assert outcome.property(name) == str(getattr(expected, name).words)
    for name in ("bmc", "spans_over"):
        assert outcome.property(name) == str(getattr(expected, name))


def complete(ledger, samples, *, excerpts):
    """Every ordinal is there, once, canaries too; no call is open; nothing was paid for beside."""
    rounds = [
        1 if requested.temperature == 0 else samples
        for requested in ledger.stored_prompts.values()
    ]
    assert sorted(rounds) == sorted([1] * min(5, excerpts) + [samples] * excerpts)
    assert [(row.prompt, row.ordinal) for row in ledger.generations] == [
        (prompt, ordinal)
        for prompt, count in sorted(zip(ledger.stored_prompts, rounds, strict=True))
        for ordinal in range(count)
    ]
    assert not ledger.claims
    assert {call.state for call in ledger.calls} <= {"answered", "failed", "lost"}
    came = Counter(row.call for row in ledger.generations)
    for call in ledger.calls:
        assert came[call.id] == (call.came or 0)


def _one_finetune(scenario, ledger):
    (job,) = ledger.jobs
    assert job.state == "succeeded"
    if scenario.provider == "tinker":
        (weights,) = scenario.books.rows("weights")
        assert job.endpoint == weights["path"]
        return
    (booked,) = scenario.books.rows("finetune")
    assert job.job_id == booked["id"]
    assert job.tokens == booked["tokens"]


def _booked(scenario):
    by_call = defaultdict(list)
    for row in scenario.books.rows("completion"):
        by_call[row["call"]].append(row)
    booked = defaultdict(list)
    for rows in by_call.values():
        row, tinker = rows[0], scenario.provider == "tinker"
        key = "all" if tinker else row["request"] or (row["instruction"], row["seed"])
        booked[key].append(rows)
    return booked


def _key_in_ledger(scenario, ledger, call):
    if scenario.provider == "tinker":
        return "all"
    if scenario.kind in {"openai-store", "openai-batch", "vertex-batch"}:
        return call.request_id
    return ledger.stored_prompts[call.prompt].instruction, call.seed


def _matched(scenario, ledger, *, doubts=False):
    """The books' rows that are in the ledger, and those of calls that the ledger calls lost."""
    texts = defaultdict(list)
    for call, rows in itertools.groupby(ledger.call_texts, key=lambda row: row.call):
        texts[call] = [
            text for text, _ in decompress_texts((row.part, row.data) for row in rows)
        ]
    left = _booked(scenario)
    recorded = []
    for call in by_state(ledger, "answered"):
        if not call.came:
            continue
        key = _key_in_ledger(scenario, ledger, call)
        answer = _taken(left[key], texts[call.id])
        assert answer is not None, (
            f"the ledger has an answer that was never given: call {call.id}"
        )
        recorded += answer
    unrecorded = [rows for calls in left.values() for rows in calls]
    states = {"lost", "asked"} if doubts else {"lost"}
    lost = Counter(
        _key_in_ledger(scenario, ledger, call)
        for call in ledger.calls
        if call.state in states
    )
    in_books = Counter(key for key, calls in left.items() for _ in calls)
    assert in_books <= lost, "an answer was billed that the ledger knows nothing of"
    return recorded, list(itertools.chain.from_iterable(unrecorded))


def _taken(answers, texts):
    wanted = Counter(texts)
    for place, rows in enumerate(answers):
        if Counter(row["text"] for row in rows) == wanted:
            return answers.pop(place)
    return None
