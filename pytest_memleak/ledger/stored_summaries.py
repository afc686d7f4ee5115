"""Summaries of excerpts in the ledger, so that none is paid for twice."""

from __future__ import annotations

import time
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.hash_chain import record_changes, text_digest
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.statements import insert_where_new, split_for_statement
from pytest_memleak.ledger.tables import summaries


def stored_summaries(
    ledger: Ledger,
    summarizer: str,
    texts: Iterable[str],
) -> dict[str, str]:
    """Return this summarizer's stored summaries, by the text they summarize.

    `summarizer` identifies model, prompt, and settings: whatever changes a summary.
    """
    by_digest = {text_digest(text): text for text in texts}
    columns = (summaries.c.text_digest, summaries.c.text)
    is_own = summaries.c.summarizer == text_digest(summarizer)
    own = sa.select(*columns).where(is_own)

    def select_summaries(connection: Connection) -> dict[str, str]:
        stored = {}
        for some in split_for_statement(list(by_digest)):
            query = own.where(summaries.c.text_digest.in_(some))
            for digest, summary in connection.execute(query):
                stored[by_digest[digest]] = summary
        return stored

    return ledger.read(select_summaries)


def keep_summary(
    ledger: Ledger,
    summarizer: str,
    text: str,
    summary: str,
) -> None:
    """Store a summary unless one is stored already."""
    row = {
        "text_digest": text_digest(text),
        "summarizer": text_digest(summarizer),
        "text": summary,
        "made": time.time(),
    }

    def insert_if_new(connection: Connection) -> None:
        insert = insert_where_new(connection, summaries).values(row)
        if connection.execute(insert).rowcount:
            record_changes(connection, summaries, [row])

    ledger.write(insert_if_new)
