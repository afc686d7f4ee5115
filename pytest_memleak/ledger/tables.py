"""The ledger's tables.

    prompts         prompts: one row per endpoint, instruction, settings
    calls           one row per paid call: the intent before, the outcome after
    claims          ordinals that open calls are sampling: inserting a row reserves one
    generations     completions by prompt and ordinal (generation_ordinals.py)
    call_texts      what each call brought: its texts and reasoning, compressed as one
    jobs            fine-tunes, by provider and digest of the training set
    batches         batches, by digest of their requests
    deployments     models on machines paid by the hour, active until `undeployed`
    tenants         the processes that use a deployment; the last one deletes it
    summaries       summaries of excerpts, by digest of the text and of the summarizer
    leases          the processes that hold calls, jobs, and batches
    runs            each run's spending, its open calls at their highest cost
    chain           what each transaction wrote, in linked entries (hash_chain.py)
    ledger_version  one row: the version of these tables (database.py)

Foreign values (texts, ids, causes) are stored as UTF-8 bytes, so that NUL and lone
surrogates survive in every database; generated texts and the chain's entries are
compressed (stored_text.py). Times are seconds since 1970, costs billionths of a US$.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pytest_memleak.ledger.stored_text import ChainEntry, Text

metadata = sa.MetaData()

# SQLite assigns row ids only in a column of exactly this type.
RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Digest = sa.String(64)
State = sa.String(16)
# Else SQLite stores a key of several columns twice.
_BY_KEY: Any = {"sqlite_with_rowid": False}


def _row_id_column(
    name: str,
    row_id: str,
    **options: Any,
) -> sa.Column[int]:
    """Return a column that has the id of a row of another table."""
    return sa.Column(name, RowId, sa.ForeignKey(row_id), **options)


def _key_column(name: str) -> sa.Column[int]:
    """Return a column of a primary key that counts something else than rows."""
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


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

stored_prompts = sa.Table(
    "prompts",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("instruction_digest", Digest, nullable=False),
    sa.Column("settings_digest", Digest, nullable=False),
    sa.Column("book", Text, nullable=False),
    sa.Column("book_words", Digest, nullable=False),
    sa.Column("excerpt", Text, nullable=False),
    sa.Column("instruction", Text, nullable=False),
    sa.Column("parent", sa.String(64), nullable=False),  # "" if nothing came before
    sa.Column("temperature", sa.Float, nullable=False),  # -1: the server's own
    sa.Column("max_tokens", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("endpoint", "instruction_digest", "settings_digest"),
)

# What a pair's prompts have in common, and another attempt may change.
SETTING = (
    stored_prompts.c.endpoint,
    stored_prompts.c.book,
    stored_prompts.c.temperature,
    stored_prompts.c.seed,
)


def _job_table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    """Return a table of jobs at a provider."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", RowId, primary_key=True),
        sa.Column("provider", Text, nullable=False),
        sa.Column("job_id", Text),
        sa.Column("state", State, nullable=False),  # a JobRow
        sa.Column("cause", Text),
        _row_id_column("lease", "leases.id"),
        sa.Column("began", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("run", sa.String(64)),
        *columns,
    )


jobs = _job_table(
    "jobs",
    sa.Column("digest", Digest, nullable=False),
    sa.Column("endpoint", Text),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger),
    sa.UniqueConstraint("provider", "digest"),
)

batches = _job_table(
    "batches",
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("digest", Digest, nullable=False, unique=True),
)

deployments = _job_table(
    "deployments",
    sa.Column("digest", Digest, nullable=False, index=True),
    sa.Column("weights", Text, nullable=False),
    sa.Column("options", Text, nullable=False),  # what takes it down, a JSON object
    sa.Column("hours", sa.Float, nullable=False),
    sa.Column("endpoint", Text),
    sa.Column("undeployed", sa.Float),  # its state may also be leaving
    sa.Column("estimate", sa.BigInteger),  # of all its hours
    sa.Column("cost", sa.BigInteger),
)

tenants = sa.Table(
    "tenants",
    metadata,
    _row_id_column("deployment", "deployments.id", primary_key=True),
    _row_id_column("lease", "leases.id", primary_key=True),
    **_BY_KEY,
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    _row_id_column("prompt", "prompts.id", nullable=False),
    _row_id_column("batch", "batches.id"),
    sa.Column("kind", State, nullable=False),  # sample, batch
    sa.Column("provider", Text, nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("state", State, nullable=False),  # a CallState
    _row_id_column("lease", "leases.id"),
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
    sa.Index("calls_by_prompt", "prompt"),
)


# An index with PostgreSQL's own options would load its dialect, which takes 0.1 s.
@sa.event.listens_for(calls, "after_create")
def _create_index_by_batch(
    _table: sa.Table,
    connection: Connection,
    **_options: object,
) -> None:
    index = "CREATE INDEX calls_by_batch ON calls (batch) WHERE batch IS NOT NULL"
    connection.exec_driver_sql(index)


claims = sa.Table(
    "claims",
    metadata,
    _row_id_column("prompt", "prompts.id", primary_key=True),
    _key_column("ordinal"),
    _row_id_column("call", "calls.id", nullable=False, index=True),
    **_BY_KEY,
)

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("prompt", RowId, sa.ForeignKey("prompts.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    _row_id_column("call", "calls.id", nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # among the call's texts
    sa.Column("finish_reason", State, nullable=False),
    sa.Column("finish_word", Text),  # the server's own
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    **_BY_KEY,
)

call_texts = sa.Table(
    "call_texts",
    metadata,
    _row_id_column("call", "calls.id", primary_key=True, autoincrement=False),
    _key_column("part"),
    sa.Column("data", sa.LargeBinary, nullable=False),
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
    sa.Column("entry", ChainEntry, nullable=False),
    sa.Column("link", Digest, nullable=False),
)
