"""Intents and answers written by hand, for tests that are not about drawing."""

from __future__ import annotations

from pytest_memleak.protocols import Completion
from pytest_memleak.sampling.calls import Call
from pytest_memleak.sampling.intents import Intent, number_questions
from pytest_memleak.sampling.ledger import Ledger
from pytest_memleak.sampling.outcomes import Answer
from pytest_memleak.sampling.questions import Ask, Questionnaire


def intent(
    ledger: Ledger,
    asked: Questionnaire,
    *wanted: Ask,
    price: int | None = None,
    limit: int | None = None,
    endpoint_id: str = "e",
) -> Intent:
    return Intent(
        owner=ledger.owner,
        run=ledger.run,
        provider="p",
        candidates=wanted,
        numbers=number_questions(ledger, endpoint_id, asked.questions),
        estimate=lambda ask: None if price is None else price * len(ask.ordinals),
        limit=limit,
    )


def answer(call: Call, *texts: str, cost: int | None = None) -> Answer:
    return Answer(call, [Completion(text) for text in texts], None, None, cost)
