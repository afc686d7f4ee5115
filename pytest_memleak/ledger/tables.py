"""The ledger's tables.

    questions       prompts: one row per endpoint, instruction, settings
    calls           one row per paid call: the intent before, the outcome after
    claims          ordinals that an open call is sampling; inserting the row reserves
    one generations     completions by prompt and ordinal; surplus ones are below 0:
    paid for, stored,
                    never scored
    call_texts      what each call brought: its completions' texts and reasoning,
    compressed as one jobs            fine-tunes, by provider and digest of the training
    set
    batches         batches, by digest of their requests
    deployments     models on machines paid by the hour, active until `undeployed` is
    set tenants         the processes that use a deployment; the last one deletes it
    summaries       summaries of excerpts, by digest of the text and of the summarizer
    leases          the processes that hold calls, jobs, and batches
    runs            each run's spending, its open calls at their highest cost
    chain           what each transaction wrote, linked to the entry before
    (hash_chain.py) ledger_version  one row: the version of these tables (database.py)

Foreign values (texts, ids, causes) are stored as UTF-8 bytes, so that NUL and lone
surrogates survive in every database; generated texts and the chain's entries are
compressed. Times are seconds since 1970, costs billionths of a US$.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

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

    def process_result_value(
        self, value: bytes | None, _dialect: Dialect
    ) -> str | None:
        """Return the stored string."""
        if value is None:
            return None
        if not isinstance(value, bytes | memoryview):
            raise TypeError("not text")
        return bytes(value).decode("utf-8", "surrogatepass")


class ChainEntry(sa.types.TypeDecorator[str]):
    """An entry of the chain, stored compressed."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> bytes | None:
        """Return the stored bytes."""
        return None if value is None else _compress(value, _OF_ENTRIES, zlib.Z_FILTERED)

    def process_result_value(
        self, value: bytes | None, _dialect: Dialect
    ) -> str | None:
        """Return the stored entry."""
        return None if value is None else _decompress(value, _OF_ENTRIES)


def compress_texts(texts: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the parts in which a call's generations, as text and reasoning, are stored."""
    data = _compress(json.dumps(texts, ensure_ascii=False), _OF_TEXTS)
    return [data[start : start + _PART] for start in range(0, len(data), _PART)]


def decompress_texts(parts: Iterable[tuple[int, bytes]]) -> list[tuple[str, str]]:
    """Invert `compress_texts`, from numbered parts; TypeError or ValueError if it can't."""
    data = []
    for number, (part, piece) in enumerate(parts):
        if part != number:
            raise ValueError("a part is missing")
        data.append(piece)
    texts = json.loads(_decompress(b"".join(data), _OF_TEXTS))
    if not all(type(text) is type(reasoning) is str for text, reasoning in texts):
        raise TypeError("not a text")
    return [(text, reasoning) for text, reasoning in texts]


def _compress(
    text: str, dictionary: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY
) -> bytes:
    """Return a text's zlib stream; `dictionary` is what such texts have in common."""
    stream = zlib.compressobj(strategy=strategy, zdict=dictionary)
    return stream.compress(text.encode("utf-8", "surrogatepass")) + stream.flush()


def _decompress(value: object, dictionary: bytes) -> str:
    """Return the text of one whole zlib stream; TypeError or ValueError for anything else."""
    if not isinstance(value, bytes | memoryview):
        raise TypeError("not compressed")
    stream = zlib.decompressobj(zdict=dictionary)
    try:
        text = stream.decompress(value)
    except zlib.error:
        raise ValueError("not compressed") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("not one whole stream")
    return text.decode("utf-8", "surrogatepass")


# Larger rows would leave much of a page empty, and PostgreSQL would store them
# elsewhere.
_PART = 1_960


# What English texts have in common, the most frequent last.
_OF_TEXTS = (
    b"something nothing everything morning evening together another against between "
    b"through "
    b"without because before after himself herself themselves thought looked turned "
    b"seemed father "
    b"mother brother sister children people little great world house night heart hands "
    b"eyes face "
    b"voice young woman never always again still where there their these those which "
    b"while would "
    b"could should might shall every other under about being having going coming. It "
    b"was not until "
    b"At the end of the In the middle of the and in the of the to the on the for the "
    b"from the with "
    b"the by the at the that the into the over the was a had been have been it is "
    b"there was there "
    b"were they were he had she had he said she said I have I am you are you have do "
    b"not did not "
    b"could not would not as if and then and yet but the when the. The . He . She . It "
    b". They . "
    b"And . But . I , and , but , the , with a , who , which ing the tion that the "
    b"ment ness less "
    b'ful ly ed the er est , he said. "I "You "What "Why said the of his of her in his '
    b"in her to "
    b'be it was he was she was as the as a like a in a of a to a for a with the [["", '
    b'""]]'
)

# What the chain's entries have in common, the most frequent last.
_OF_ENTRIES = (
    b'"cause": "fingerprint": "finish_word": "STOP" "length" "reasoning": "run": '
    b'"imported"'
    b'[["calls", {"cause": null, "claims": null, "cost": 0, "ended": , "state": '
    b'"failed"}]'
    b'"refused": "[]", "response_id": "chatcmpl-", "model": "kind": "batch", "batch": '
    b'{"at": 17, "rows": [["calls", {"claims": null, "came": 1, "completion_tokens": , '
    b'"cost": , '
    b'"ended": 17, "fingerprint": null, "generations": [{"completion_tokens": , '
    b'"finish_reason": '
    b'"stop", "ordinal": 0, "prompt_tokens": , "text": "0123456789abcdef"}], "id": , '
    b'"model": null,'
    b' "prompt_tokens": , "recovered": false, "refused": null, "response_id": null, '
    b'"state": "answered"}], ["calls", {"asked": 1, "began": 17, "claims": [0], '
    b'"estimate": '
    b'"first": 0, "id": , "kind": "sample", "lease": 1, "max_tokens": , "provider": '
    b'"openai", '
    b'"question": , "request_id": "fedcba9876543210", "run": "", "seed": , "state": '
    b'"asked"}]]}'
)


# SQLite assigns row ids only in a column of exactly this type.
RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Digest = sa.String(64)
State = sa.String(16)
_BY_KEY: Any = {
    "sqlite_with_rowid": False
}  # else SQLite stores a key of several columns twice


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


def _jobs(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    """Return a table of jobs at a provider."""
    return sa.Table(
        name,
        metadata,
        sa.Column("id", RowId, primary_key=True),
        sa.Column("provider", Text, nullable=False),
        sa.Column("job_id", Text),
        sa.Column(
            "state", State, nullable=False
        ),  # starting, running, succeeded, failed
        sa.Column("cause", Text),
        sa.Column("lease", RowId, sa.ForeignKey("leases.id")),
        sa.Column("began", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("run", sa.String(64)),
        *columns,
    )


jobs = _jobs(
    "jobs",
    sa.Column("digest", Digest, nullable=False),
    sa.Column("endpoint", Text),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("tokens", sa.BigInteger),
    sa.UniqueConstraint("provider", "digest"),
)

batches = _jobs(
    "batches",
    sa.Column("endpoint", Text, nullable=False),
    sa.Column("digest", Digest, nullable=False, unique=True),
)

deployments = _jobs(
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
    sa.Column("deployment", RowId, sa.ForeignKey("deployments.id"), primary_key=True),
    sa.Column("lease", RowId, sa.ForeignKey("leases.id"), primary_key=True),
    **_BY_KEY,
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("id", RowId, primary_key=True),
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), nullable=False),
    sa.Column("batch", RowId, sa.ForeignKey("batches.id")),
    sa.Column("kind", State, nullable=False),  # sample, batch
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
    sa.Index("calls_by_question", "question"),
)


# An index with PostgreSQL's own options would load its dialect, which takes a tenth of
# a second.
@sa.event.listens_for(calls, "after_create")
def _create_index_by_batch(
    _table: sa.Table, connection: Connection, **_options: object
) -> None:
    index = "CREATE INDEX calls_by_batch ON calls (batch) WHERE batch IS NOT NULL"
    connection.exec_driver_sql(index)


claims = sa.Table(
    "claims",
    metadata,
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("call", RowId, sa.ForeignKey("calls.id"), nullable=False, index=True),
    **_BY_KEY,
)

generations = sa.Table(
    "generations",
    metadata,
    sa.Column("question", RowId, sa.ForeignKey("questions.id"), primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("call", RowId, sa.ForeignKey("calls.id"), nullable=False),
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
    sa.Column(
        "call", RowId, sa.ForeignKey("calls.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
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


def insert_where_new(connection: Connection, table: sa.Table) -> Any:
    """Build an INSERT that skips a row whose key is taken (ON CONFLICT DO NOTHING)."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing()


# Databases limit the parameters of one statement.
QUESTIONS_AT_ONCE = 400

_T = TypeVar("_T")


def in_parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield values in parts that one statement may name."""
    for start in range(0, len(values), QUESTIONS_AT_ONCE):
        yield values[start : start + QUESTIONS_AT_ONCE]


def count_where(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """Count the rows of a group that match."""
    return sa.func.sum(sa.case((condition, 1), else_=0))
