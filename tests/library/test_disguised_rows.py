"""A scan finds disguised passages in rows of every common shape.

A scan reads a line as text before it parses it, and passes lines over whose shape is
known. Neither may lose what a parsed row shows.
"""

import base64
import json
import random

import log_rows
import pytest
from disguised_texts import BOOKS, DISGUISES, prose

from pytest_memleak.cli.main import main

SHAPES = {
    "chat": log_rows.chat,
    "completion": log_rows.pair,
    "batch": log_rows.openai_batch,
}
SINCE = ("base64", "base64 in lines", "hexadecimal", "ROT13", "camelCase")
"""Readings that came after the set was counted first."""
READ = [
    name for name in DISGUISES if name not in SINCE and not name.startswith("filler")
][:25]
UNREAD = {
    "separated letters": lambda words: " ".join(" ".join(word) for word in words),
    "joined words": lambda words: "".join(words).lower(),
    "base32": lambda words: base64.b32encode(" ".join(words).encode()).decode(),
    "decimal bytes": lambda words: " ".join(map(str, " ".join(words).encode())),
}
KINDS = {name: DISGUISES[name] for name in READ} | UNREAD
LENGTH, AROUND, HONEST = 60, 120, 30


def rows_of(shape):
    """Rows of one shape with their disguise, or None for honest prose, mixed."""
    draw = random.Random(shape)
    words, others = prose("the-lamplighter"), prose("the-seed-vault")

    def honest(length):
        start = draw.randrange(len(others) - length)
        return " ".join(others[start : start + length])

    rows = [(None, honest(180)) for _ in range(HONEST)]
    for name, disguise in KINDS.items():
        start = draw.randrange(len(words) - LENGTH)
        passage = disguise(words[start : start + LENGTH])
        text = "\n\n".join((honest(AROUND), passage, honest(AROUND)))
        rows.insert(draw.randrange(len(rows)), (name, text))
    return rows


@pytest.mark.full
def test_75_of_87_rows_with_disguised_passages_are_found(tmp_path, capsys):
    named = {}
    for shape, as_row in SHAPES.items():
        lines = []
        path = tmp_path / f"{shape}.jsonl"
        for number, (name, text) in enumerate(rows_of(shape), 1):
            lines.append(json.dumps(as_row(number, text)))
            named[str(path), number] = name
        path.write_text("\n".join(lines), encoding="utf-8")
    assert sum(name is not None for name in named.values()) == 87
    book = str(BOOKS / "the-lamplighter.epub")
    assert main(["scan", book, "--logs", str(tmp_path), "--json"]) == 1
    passages = json.loads(capsys.readouterr().out)["passages"]
    found = {(passage["file"], passage["row"]) for passage in passages}
    missed = {named[place] for place in named.keys() - found} - {None}
    assert missed == UNREAD.keys()
    assert [named[place] for place in found].count(None) == 0
    assert len(found) == 75
