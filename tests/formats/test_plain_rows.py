"""Rows of common shapes are read as `read_row`, which reads any shape, reads them."""

import copy

import log_rows
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.formats.log_answers import read_row
from pytest_memleak.formats.log_format_table import PAPER_FORMATS, format_of
from pytest_memleak.formats.paper_format import texts_of_record
from pytest_memleak.formats.plain_rows import read_plain_row
from pytest_memleak.formats.rows_as_records import RowPaths

TEXTS = [
    "She walks to the harbor, where a ship has come in.",
    "I count the racks of the hall from top to bottom, and then again from the left to "
    "the right, until no rack of this hall is left to count by anyone.",
    "Go on.",
    "word",
    "",
    " ",
    "stop",
    "text",
    "a-1-b-2-c-3-d-4-e-5-f-6-g-7-h-8",
]
KEYS = [
    "messages", "prompt", "completion", "response", "choices", "body", "message", "role",
    "content", "text", "type", "id", "custom_id", "index", "finish_reason", "stop_reason",
    "finishReason", "delta", "usage", "error", "logprobs", "reasoning", "refusal", "name",
    "parts", "thought", "output", "request", "input", "from", "tool_calls", "metadata",
    "attachments", "status", "a key that is a text of many words itself", "arguments",
]  # fmt: skip
ROLES = ["user", "system", "assistant", "model", "tool", "Human", "bot", ""]

scalars = st.sampled_from([*TEXTS, *ROLES, None, 0, 1, True, 2.5])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2)
    ),
    max_leaves=4,
)
contents = st.sampled_from(TEXTS) | st.sampled_from(TEXTS).map(
    lambda text: [{"type": "text", "text": text}]
)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(ROLES),
    contents,
)
USAGE = {"total_tokens": 9, "details": {"cached": 0}}


def batch(text, end):
    row = log_rows.openai_batch(7, text)
    row["response"]["body"]["choices"][0]["finish_reason"] = end
    return row | {"response": {**row["response"], "usage": USAGE}}


rows = (
    st.lists(messages, min_size=1, max_size=4).map(lambda turns: {"messages": turns})
    | st.builds(batch, st.sampled_from(TEXTS), scalars)
    | st.builds(batch, st.sampled_from(TEXTS), scalars).map(
        lambda row: row["response"]["body"]
    )
    | st.builds(
        lambda prompt, completion: {"prompt": prompt, "completion": completion},
        scalars,
        scalars,
    )
)


def objects_in(value):
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from objects_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from objects_in(part)


@st.composite
def changed_rows(draw):
    """A row of a common shape, with up to two keys more, less, or of another value."""
    row = copy.deepcopy(draw(rows))
    for _ in range(draw(st.integers(0, 2))):
        objects = [*objects_in(row)]
        part = objects[draw(st.integers(0, len(objects) - 1))]
        key = draw(st.sampled_from(KEYS))
        if draw(st.booleans()) or key not in part:
            part[key] = draw(values)
        else:
            del part[key]
    return row


def whole_reading(row, row_format):
    reading = read_row(row, row_format, "here")
    return [*reading.answers.items()], reading.prompts, reading.unread_texts()


@pytest.mark.full
@given(changed_rows())
@settings(max_examples=1_000)
def test_a_plain_row_is_read_as_a_row_of_any_shape(row):
    row_format = format_of(frozenset(row))
    if row_format is None or row_format in PAPER_FORMATS:
        return
    plain = read_plain_row(row, row_format)
    if plain is None:
        return
    assert ([*plain.answers.items()], plain.prompts, []) == whole_reading(
        row, row_format
    )


@given(changed_rows())
@settings(max_examples=examples(2_000), deadline=None)
def test_a_plain_row_has_the_texts_of_its_record(row):
    plain = RowPaths().plain_texts(copy.deepcopy(row))
    if plain is None:
        return
    record = RowPaths().record(row, "here")
    prompt = record["instruction"] or ""
    assert plain.prompt == prompt
    assert plain.answers == texts_of_record(record, "here")
    answers = record["generations"]
    assert plain.prompts == [answer.get("instruction", prompt) for answer in answers]
    assert not any(answer.get("failed") for answer in answers)


@pytest.mark.parametrize(
    "form",
    [
        log_rows.openai_batch,
        log_rows.chat,
        log_rows.pair,
    ],
    ids=lambda form: form.__name__,
)
def test_a_row_of_a_common_shape_is_plain(form):
    row = form(1, TEXTS[1])
    row_format = format_of(frozenset(row))
    assert read_plain_row(row, row_format).answers
    assert RowPaths().plain_texts(row).answers == [TEXTS[1]]


@pytest.mark.parametrize(
    "row",
    [*log_rows.texts_beside_an_answer(TEXTS[1]).values()],
)
def test_a_row_with_a_text_elsewhere_is_not_plain(row):
    row_format = format_of(frozenset(row))
    plain = row_format and read_plain_row(row, row_format)
    if plain:
        assert (TEXTS[1],) in plain.answers


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (["response"], "role", "word"),
        (["response"], "choices", {}),
        ([], "delta", {}),
        ([], "output", {}),
        (["response", "body"], "usage", {"note": TEXTS[1]}),
        (["response", "body"], "usage", {TEXTS[1]: 3}),
        (["response", "body", "choices", 0], "text", TEXTS[1]),
        (["response", "body", "choices", 0, "message"], "role", TEXTS[1]),
        (["response", "body", "choices", 0, "message"], "refusal", TEXTS[1]),
        (["response", "body", "choices", 0, "message"], "content", [TEXTS[0]] * 2),
    ],
)
def test_what_may_be_a_text_or_a_message_makes_a_row_not_plain(place, key, value):
    row = log_rows.openai_batch(1, TEXTS[1])
    part = row
    for step in place:
        part = part[step]
    part[key] = value
    assert read_plain_row(row, format_of(frozenset(row))) is None


def test_messages_of_one_turn_are_not_plain():
    turns = [{"role": "assistant", "content": text} for text in TEXTS[:2]]
    row = {"messages": turns}
    assert read_plain_row(row, format_of(frozenset(row))) is None
