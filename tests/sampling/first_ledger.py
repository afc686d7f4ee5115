"""A ledger of version 1, in each kind of database."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

FOLDER = Path(__file__).parents[1] / "ledger"


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def a_first_ledger(url: str, asked) -> None:
    """A ledger of version 1 with one generation in it."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    statements = (FOLDER / f"ledger_v1.{kind}.sql").read_text().split(";\n")
    question = asked.questions[0]
    binary = "X'{}'" if kind == "sqlite" else "'\\x{}'"
    text = [binary.format(one.encode().hex()) for one in ("e", "book", "p_id1", "Write number 1.")]
    execute(
        url,
        *(statement for statement in statements if statement.strip()),
        "INSERT INTO ledger_version (version, since) VALUES (1, 0)",
        "INSERT INTO questions (endpoint, book, excerpt, instruction, instruction_digest,"
        f" settings_digest, temperature, max_tokens, seed) VALUES ({', '.join(text)},"
        f" '{question.instruction_digest}', '{question.settings_digest}', 1.0, 55, 0)",
        "INSERT INTO calls (question, kind, provider, request_id, state, first, asked, came,"
        f" max_tokens, began) VALUES (1, 'sample', {text[0]}, 'r', 'answered', 0, 1, 1, 55, 0)",
        "INSERT INTO generations (question, ordinal, call, finish_reason, text) VALUES"
        f" (1, 0, 1, 'length', {text[1]})",
        f"INSERT INTO owners (lock, host, pid, began, ended) VALUES ('l', {text[0]}, 1, 0, 1)",
        "INSERT INTO jobs (provider, digest, job_id, state, examples, owner, began) VALUES"
        f" ({text[0]}, 'd', {text[1]}, 'running', 1, 1, 0)",
        "INSERT INTO batches (provider, endpoint, digest, batch_id, state, owner, began) VALUES"
        f" ({text[0]}, {text[0]}, 'd', {text[1]}, 'running', 1, 0)",
        "INSERT INTO calls (question, batch, kind, provider, request_id, state, owner, first,"
        f" asked, max_tokens, began) VALUES (1, 1, 'batch', {text[0]}, 'b', 'asked', 1, 1, 1, 55,"
        " 0)",
    )
