"""JSON of a chat in a cell excuses with what its users wrote, and not with an answer."""

import json

import pytest

from pytest_memleak.formats.row_shapes import RowShapes
from pytest_memleak.formats.rows_as_records import RowPaths, record_of

ANSWER = "She walks to the harbor, where a ship has come in at last."
TURNS = [
    {"role": "user", "content": "Write."},
    {"role": "assistant", "content": ANSWER},
]
CHATS = {"turns": json.dumps(TURNS), "request": json.dumps({"messages": TURNS})}


@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize(
    "row",
    [{"messages": TURNS}, {"messages": json.dumps(TURNS)}, {"completion": ANSWER}],
    ids=["messages", "cell of messages", "completion"],
)
@pytest.mark.parametrize("key", ["prompt", "input", "request"])
def test_an_answer_in_a_prompts_chat_excuses_nothing(row, chat, key):
    if "completion" in row:
        key = "prompt"
    record = record_of({**row, key: chat})
    assert record["instruction"] == "Write."
    assert [each["generated_text"] for each in record["generations"]] == [ANSWER]


@pytest.mark.parametrize(
    "prompt",
    [
        '[{"role": "knight", "words": "Write."}]',
        '{"role": "knight"} and then: Write.',
        '{"messages": [], "role": "user"}',
        '[{"role": "user"}, 3]',
    ],
)
def test_json_of_no_chat_is_a_prompt(prompt):
    record = record_of({"prompt": prompt, "completion": ANSWER})
    assert record["instruction"] == prompt


def test_a_line_like_others_is_parsed_if_its_prompt_may_be_a_chat():
    shapes = RowShapes()
    row = {"prompt": "Write.", "completion": ANSWER}
    shapes.learn(json.dumps(row).encode(), row)
    assert shapes.texts_of(json.dumps(row | {"prompt": "Go on."}).encode())
    of_chat = row | {"prompt": CHATS["turns"]}
    assert shapes.texts_of(json.dumps(of_chat).encode()) is None
    assert RowPaths().plain_texts(of_chat) is None
