"""The ledger's tables.

    questions       prompts: one row per endpoint, instruction, settings
    calls           one row per paid call: the intent before, the outcome after
    claims          ordinals that an open call is sampling; inserting the row reserves one
    generations     completions by prompt and ordinal; surplus ones are below 0: paid for, stored,
                    never scored
    jobs            fine-tunes, by provider and digest of the training set
    batches         batches, by digest of their requests
    deployments     models on machines paid by the hour, active until `undeployed` is set
    tenants         the processes that use a deployment; the last one deletes it
    summaries       summaries of excerpts, by digest of the text and of the summarizer
    leases          the processes that hold calls, jobs, and batches
    runs            each run's spending, its open calls at their highest cost
    chain           every row as it was written, linked to the entry before (hash_chain.py)
    ledger_version  one row: the version of these tables (database.py)

Foreign values (texts, ids, causes) are stored as UTF-8 bytes, so that NUL and lone surrogates
survive in every database. Times are seconds since 1970, costs billionths of a US$.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

metadata = sa.MetaData()


class Text(sa.types.TypeDecorator[str]):
    """Any Python string, stored as UTF-8 bytes that may contain lone surrogates."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Return the stored bytes."""
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        """Return the stored string."""
        if value is None:
            return None
        if not isinstance(value, bytes | memoryview):
            raise TypeError("not text")
        return bytes(value).decode("utf-8", "surrogatepass")


# SQLite assigns row ids only in a column of exactly this type.
RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Digest = sa.String(64)
State = sa.String(16)


ledger_version = sa.Table(
    "ledger_version",
    metadata,
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("lock", sa.String(32), nullable=False, unique=True),
    sa.Column("host", Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("began", sa.Float, nullable=False),
)

questions = sa.Table(
    "questions",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("instruction_digest", Digest, nullable=False),
    sa.Column("settings_digest", Digest, nullable=False),
    sa.Column("book", Text, nullable=False),
    sa.Column("book_words", Digest, nullable=False),
    sa.Column("excerpt", Text, nullable=False),
    sa.Column("instruction", Text, nullable=False),
    sa.Column("temperature", sa.Float, nullable=False),  # -1: the server's own
    sa.Column("max_tokens", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("endpoint", "instruction_digest", "settings_digest"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("provider", Text, nullable=False),
    sa.Column("digest", Digest, nullable=False),
    sa.Column("job_id", Text),
    sa.Column("state", State, nullable=False),  # starting, running, succeeded, failed
    sa.Column("endpoint", Text),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger),
    sa.Column("cause", Text),
    sa.Column("lease", RowId, sa.ForeignKey("leases.id")),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("run", sa.String(64)),
    sa.UniqueConstraint("provider", "digest"),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("provider", Text, nullable=False),
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("digest", Digest, nullable=False, unique=True),
    sa.Column("job_id", Text),
    sa.Column("state", State, nullable=False),  # starting, running, succeeded, failed
    sa.Column("cause", Text),
    sa.Column("lease", RowId, sa.ForeignKey("leases.id")),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("run", sa.String(64)),
)

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("provider", Text, nullable=False),
    sa.Column("digest", Digest, nullable=False, index=True),
    sa.Column("weights", Text, nullable=False),
    sa.Column("options", Text, nullable=False),  # what takes it down, a JSON object
    sa.Column("hours", sa.Float, nullable=False),
    sa.Column("job_id", Text),
    sa.Column("state", State, nullable=False),  # as of jobs; then leaving
    sa.Column("endpoint", Text),
    sa.Column("cause", Text),
    sa.Column("lease", RowId, sa.ForeignKey("leases.id")),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("undeployed", sa.Float),
    sa.Column("run", sa.String(64)),
    sa.Column("estimate", sa.BigInteger),  # of all its hours
    sa.Column("cost", sa.BigInteger),
)

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("deployment", RowId, sa.ForeignKey("deployments.id"), primary_key=True),
    sa.Column("lease", RowId, sa.ForeignKey("leases.id"), primary_key=True),
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), nullable=False),
    sa.Column("batch", RowId, sa.ForeignKey("batches.id")),
    sa.Column("kind", State, nullable=False),  # sample, batch, import
    sa.Column("provider", Text, nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("state", State, nullable=False),  # asked, waiting, answered, failed, lost
    sa.Column("lease", RowId, sa.ForeignKey("leases.id")),
    sa.Column("first", sa.Integer, nullable=False),
    sa.Column("asked", sa.Integer, nullable=False),
    sa.Column("came", sa.Integer),
    sa.Column("recovered", sa.Boolean),
    sa.Column("max_tokens", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger),
    sa.Column("estimate", sa.BigInteger),
    sa.Column("cost", sa.BigInteger),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("cause", Text),
    sa.Column("began", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("run", sa.String(64)),
    sa.Column("model", Text),
    sa.Column("fingerprint", Text),
    sa.Column("response_id", Text),
    sa.Column("refused", Text),  # settings that the server would not take, a JSON list
    sa.Index("calls_by_question", "question", "state"),
    sa.Index("calls_by_batch", "batch"),
    sa.Index("calls_by_lease", "lease", "state"),
    sa.Index("calls_by_request", "request_id"),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("call", RowId, sa.ForeignKey("calls.id"), nullable=False, index=True),
)

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("call", RowId, sa.ForeignKey("calls.id"), nullable=False),
    sa.Column("finish_reason", State, nullable=False),
    sa.Column("finish_word", Text),  # the server's own
    sa.Column("reasoning", Text),  # what it thought, where it was shown
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("text", Text, nullable=False),
    # Counts are read from here, without going through the texts.
    sa.Index("generations_by_reason", "question", "ordinal", "finish_reason"),
)

summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column("text_digest", Digest, primary_key=True),
    sa.Column("summarizer", Digest, primary_key=True),
    sa.Column("text", Text, nullable=False),
    sa.Column("made", sa.Float, nullable=False),
)

chain = sa.Table(
    "chain",
    metadata,
    sa.Column("number", RowId, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    sa.Column("entry", Text, nullable=False),
    sa.Column("link", Digest, nullable=False),
)


def insert_where_new(connection: Connection, table: sa.Table) -> Any:
    """Build an INSERT that skips a row whose key is taken (ON CONFLICT DO NOTHING)."""
    # PostgreSQL's dialect takes a tenth of a second to load.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()
