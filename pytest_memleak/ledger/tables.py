"""The ledger's tables, and the step from each older version to the next.

    questions       what was asked of an endpoint: one row per endpoint, instruction, settings
    calls           one row per paid call: the intent before, the outcome after
    claims          ordinals that a call is drawing now; whoever inserts the row draws it
    generations     completions by question and ordinal; below 0 stand surplus ones: paid for
                    and kept, never scored
    jobs            fine-tunes, by provider and digest of the training set
    batches         batches, by digest of their requests
    summaries       summaries of excerpts, by digest of the text and who wrote them
    leases          the processes that hold calls, jobs and batches
    runs            what each run has spent, its open calls counted at their worst
    ledger_version  one row: the version of these tables

Whatever others wrote (texts, ids, causes) is stored as UTF-8 bytes, so that NUL and lone
surrogates survive in every database. Times are seconds since 1970, costs billionths of a US$.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from pytest_memleak.errors import LedgerError

__all__ = ["SCHEMA_VERSION", "prepare"]

SCHEMA_VERSION = 3

metadata = sa.MetaData()


class Text(sa.types.TypeDecorator[str]):
    """Any Python string, as UTF-8 bytes with lone surrogates let through."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """The bytes that are stored."""
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: bytes | None, _dialect: Dialect) -> str | None:
        """The string that was stored."""
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


# SQLite numbers rows by itself only in a column of exactly this type.
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


# --- versions ------------------------------------------------------------------------------


def _runs_and_their_budgets(connection: Connection) -> None:
    """Version 2: calls, jobs and batches know their run, and runs what they have spent."""
    for table in ("calls", "jobs", "batches"):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN run VARCHAR(64)")
    connection.exec_driver_sql(
        "CREATE TABLE runs (id VARCHAR(64) NOT NULL PRIMARY KEY, spent BIGINT NOT NULL,"
        " began FLOAT NOT NULL)"
    )


def _leases_and_who_answered(connection: Connection) -> None:
    """Version 3: calls say who answered and what was refused; owners are called leases."""
    blob = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    for statement in (
        "ALTER TABLE owners RENAME TO leases",
        "DROP INDEX calls_by_owner",
        "ALTER TABLE calls RENAME COLUMN owner TO lease",
        "ALTER TABLE jobs RENAME COLUMN owner TO lease",
        "ALTER TABLE batches RENAME COLUMN owner TO lease",
        "CREATE INDEX calls_by_lease ON calls (lease, state)",
        "ALTER TABLE batches RENAME COLUMN batch_id TO job_id",
        *(
            f"ALTER TABLE calls ADD COLUMN {one} {blob}"
            for one in ("model", "fingerprint", "response_id", "refused")
        ),
        f"ALTER TABLE generations ADD COLUMN finish_word {blob}",
        f"ALTER TABLE generations ADD COLUMN reasoning {blob}",
    ):
        connection.exec_driver_sql(statement)


# The step from the version before to this one. A step never changes once it is released:
# it says what the tables were then, in plain SQL, and not what they have become.
MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    2: _runs_and_their_budgets,
    3: _leases_and_who_answered,
}


def prepare(connection: Connection, *, place: str) -> None:
    """Bring the database to this version, within the caller's transaction.

    Creates the tables in a database without them and migrates older ones. Raises LedgerError
    for a newer version and for a database that holds something else.
    """
    version = version_of(connection, place=place)
    if version == SCHEMA_VERSION:
        return
    if version is None:
        metadata.create_all(connection, checkfirst=False)
        connection.execute(
            ledger_version.insert().values(version=SCHEMA_VERSION, since=time.time())
        )
        return
    for step in range(version + 1, SCHEMA_VERSION + 1):
        MIGRATIONS[step](connection)
    connection.execute(ledger_version.update().values(version=SCHEMA_VERSION, since=time.time()))


def version_of(connection: Connection, *, place: str) -> int | None:
    """The version of the tables that are there, None where there are none.

    Raises LedgerError for a newer version and for tables that are not a ledger's.
    """
    present = set(sa.inspect(connection).get_table_names())
    if ledger_version.name not in present:
        foreign = present & set(metadata.tables)
        if connection.dialect.name == "sqlite":
            foreign = present
        if foreign:
            raise LedgerError(
                f"the database is not a ledger: it holds a table {min(foreign)!r} of some other"
                " program's",
                place=place,
                hint="give the ledger a file or a database of its own",
            )
        return None
    found = connection.execute(sa.select(ledger_version.c.version)).scalars().all()
    if len(found) != 1 or found[0] < 1:
        raise LedgerError(
            f"the ledger is damaged: it has {len(found)} versions where 1 was expected"
            if len(found) != 1
            else f"the ledger is damaged: its version is {found[0]}",
            place=place,
            hint="restore it from a copy, or move it away to begin a new one",
        )
    version = int(found[0])
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger has version {version} and this program knows versions up to"
            f" {SCHEMA_VERSION}",
            place=place,
            hint="upgrade pytest-memleak, or use another ledger",
        )
    return version
