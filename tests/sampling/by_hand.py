"""Books, intents and answers written by hand."""

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import CallResult
from pytest_memleak.ledger.call_reservations import Intent, prompt_row_ids
from pytest_memleak.records import Book, Excerpt


def intent(ledger, prompts, *wanted, price=None, limit=None, endpoint_id="e"):
    return Intent(
        lease=ledger.lease,
        run=ledger.run,
        provider="p",
        candidates=wanted,
        prompt_ids=prompt_row_ids(ledger, endpoint_id, prompts.specs),
        estimate=lambda ask: None if price is None else price * len(ask.ordinals),
        limit=limit,
    )


def answer(call, *texts, cost=None):
    return CallResult(call, [Completion(text) for text in texts], None, None, cost)


def a_book(excerpts, *, book_id="book"):
    its = tuple(
        Excerpt(
            f"p_id{number}", f"words of excerpt {number}", f"Write number {number}."
        )
        for number in range(1, excerpts + 1)
    )
    return Book(book_id, "A Book", "An Author", its, digest="0" * 64)


def count_words(text):
    return len(text.split())
