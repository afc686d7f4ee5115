"""Summaries of excerpts, kept so that none is paid for twice.

    kept = summaries(ledger, summarizer, texts)      # what there is, by text
    keep_summary(ledger, summarizer, text, summary)

`summarizer` says who wrote them: model, prompt, settings; whatever would make another summary.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.hash_chain import changed
from pytest_memleak.ledger.inserts import insert_where_new
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import summaries as table

_AT_ONCE = 400  # texts that one statement names


def summaries(ledger: Ledger, summarizer: str, texts: Iterable[str]) -> dict[str, str]:
    """The summaries by this summarizer that the ledger has, by the text they summarize."""
    by_digest = {_digest(text): text for text in texts}
    digests = list(by_digest)

    def work(connection: Connection) -> dict[str, str]:
        return {
            by_digest[row.text_digest]: row.text
            for start in range(0, len(digests), _AT_ONCE)
            for row in connection.execute(
                sa.select(table.c.text_digest, table.c.text).where(
                    table.c.summarizer == _digest(summarizer),
                    table.c.text_digest.in_(digests[start : start + _AT_ONCE]),
                )
            )
        }

    return ledger.read(work)


def keep_summary(ledger: Ledger, summarizer: str, text: str, summary: str) -> None:
    """Keep a summary; one that is there already stays as it is."""
    row = {
        "text_digest": _digest(text),
        "summarizer": _digest(summarizer),
        "text": summary,
        "made": time.time(),
    }

    def work(connection: Connection) -> None:
        added = connection.execute(insert_where_new(connection, table).values(row))
        if added.rowcount:
            changed(connection, table, [(row["text_digest"], row["summarizer"])])

    ledger.write(work)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
