"""A line that has the shape of others has the texts that parsing it finds."""

import json
from pathlib import Path

import log_rows
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_files import RowBlock, parsed_line
from pytest_memleak.formats.row_shapes import RowShapes
from pytest_memleak.formats.rows_as_records import RowPaths
from pytest_memleak.library.library import Library
from pytest_memleak.library.log_scan import LogScan
from pytest_memleak.records import Book, Excerpt

SAID = "She walks to the harbor."
TEXTS = st.sampled_from([
    SAID, "I count the racks, and then again.", "Go on.", "a", "", " ", "\n", 'the "sea"', "café",
    "—", "\ud83d\ude00", "\ud83d", "\\", "\\n", "\x7f", "\x00", "x" * 30, "stop", "assistant",
])  # fmt: skip
NAMES = st.sampled_from(["p_id1", "req_2", "", "a b", "x" * 22, "x" * 23, "é", 'a"b', "a-1-b-2-c-3"])  # fmt: skip
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "bot"])
NUMBERS = st.sampled_from(
    [0, -1, 200, 10**17, 10**30, 1.5, 1e30, -0.0, None, True, False]
)


def completed(text, name, number, end):
    row = log_rows.openai_batch(7, text)
    body = row["response"]["body"]
    body["usage"] = {"total_tokens": number, "details": {"cached": 0}}
    body["choices"][0]["finish_reason"] = end
    return row | {"custom_id": name, "id": name}


def turns(messages, name, number):
    return {"id": name, "created": number, "messages": messages}


CONTENTS = TEXTS | TEXTS.map(lambda text: [{"type": "text", "text": text}])
MESSAGES = st.builds(
    lambda role, content: {"role": role, "content": content}, ROLES, CONTENTS
)
ROWS = (
    st.builds(completed, TEXTS, NAMES, NUMBERS, NAMES | NUMBERS)
    | st.builds(turns, st.lists(MESSAGES, max_size=4), NAMES, NUMBERS)
    | st.builds(lambda prompt, text: {"prompt": prompt, "completion": text}, TEXTS, TEXTS)
    | st.builds(lambda prompt, text: {"completion": text, "prompt": prompt}, TEXTS, TEXTS)
)  # fmt: skip
WRITERS = st.sampled_from([
    json.dumps,
    lambda row: json.dumps(row, ensure_ascii=False),
    lambda row: json.dumps(row, separators=(",", ":")),
    lambda row: json.dumps(row, separators=(" ,\t", " : ")),
])  # fmt: skip


def line_of(row, write):
    return write(row).encode("utf-8", "surrogatepass")


def assert_read_as_parsed(shapes, line):
    texts = shapes.texts_of(line)
    if texts is None:
        return
    row = parsed_line(line, "here")
    assert not isinstance(row, RecordsError)
    assert texts == RowPaths().plain_texts(row)


def learned(rows, write):
    shapes = RowShapes()
    for row in rows:
        line = line_of(row, write)
        parsed = parsed_line(line, "here")
        if not isinstance(parsed, RecordsError) and RowPaths().plain_texts(parsed):
            shapes.learn(line, parsed)
    return shapes


@given(st.lists(ROWS, min_size=1, max_size=5), st.lists(ROWS, max_size=8), WRITERS)
@settings(max_examples=examples(2_000), deadline=None)
def test_a_line_of_a_shape_is_read_as_parsed(rows, others, write):
    shapes = learned(rows, write)
    for row in [*rows, *others]:
        assert_read_as_parsed(shapes, line_of(row, write))


PIECES = st.sampled_from([
    b'"', b"\\", b"\\u00e9", b"\\x", b"\n", b"\xff", b"\xc3\xa9", b", ", b'", "role": "user', b"{}", b"1",
    b"e9", b".", b"0" * 20, b'"text": "more"', b"null", b" ", b"",
])  # fmt: skip


@given(ROWS, WRITERS, st.integers(0, 400), st.integers(0, 9), PIECES)
@settings(max_examples=examples(3_000), deadline=None)
def test_a_damaged_line_is_read_as_parsed(row, write, place, removed, piece):
    shapes = learned([row], write)
    line = line_of(row, write)
    place = min(place, len(line))
    assert_read_as_parsed(shapes, line[:place] + piece + line[place + removed :])


@pytest.mark.parametrize("form", [log_rows.openai_batch, log_rows.chat, log_rows.pair])
def test_rows_of_a_common_shape_have_one(form):
    shapes = RowShapes()
    first = form(1, SAID)
    shapes.learn(line_of(first, json.dumps), first)
    for number, text in enumerate(["It's “dark”.", "A\n\n**b**", "No."]):
        texts = shapes.texts_of(line_of(form(number, text), json.dumps))
        assert texts.answers == [text]


def test_a_text_under_a_key_of_another_row_is_found():
    novel = " ".join(f"w{number}" for number in range(400))
    library = Library.of(
        [Book("novel", "N", "A", (Excerpt("p_id1", novel),), digest="")]
    )
    passage = " ".join(novel.split()[50:120])
    rows = [log_rows.openai_batch(number, SAID) for number in range(6)]
    rows[2]["error"] = passage
    rows[3]["response"]["body"]["model"] = passage
    rows[4]["response"]["body"]["choices"][0]["message"]["refusal"] = passage
    rows[5]["extra"] = passage
    scan = LogScan(library, RowPaths(), least=20, training=False, quote=False)
    scan.add(
        RowBlock(Path("a.jsonl"), 1, [line_of(row, json.dumps) for row in rows], 0)
    )
    assert {place["row"] for place in scan.counted.passages} == {3, 4, 5, 6}
    assert scan.counted.counts["rows"] == 6


def test_shapes_that_few_lines_have_are_tried_no_longer():
    shapes = RowShapes()
    first = log_rows.pair(1, SAID)
    line = line_of(first, json.dumps)
    shapes.learn(line, first)
    assert shapes.texts_of(line)
    for _ in range(600):
        assert shapes.texts_of(b"{}") is None
    assert shapes.texts_of(line) is None
