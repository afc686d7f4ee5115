"""Which texts of a row are the model's."""

import json

import pytest

from pytest_memleak.formats.rows_as_records import record_of

WORDS = [f"w{n}" for n in range(90)]
TEXT = " ".join(WORDS)
LINES = [" ".join(WORDS[at : at + 9]) for at in range(0, 90, 9)]
ASKED = {"role": "user", "content": "Write."}
SAID = {"role": "assistant", "content": "Here it is."}


def chat(**beside):
    return {"messages": [ASKED, SAID | beside]}


def body(*output):
    return {"custom_id": "p_id1", "response": {"body": {"output": [SAID, *output]}}}


def named(key, values):
    return [{key: value} for value in values]


CALL = {"type": "tool_call", "name": "save"}
PARTS = [
    {"type": "text", "text": " ".join(WORDS[at : at + 5])} for at in range(0, 90, 5)
]
PIECES = [TEXT[at : at + 7] for at in range(0, len(TEXT), 7)]
THOUGHTS = [
    {"delta": {"content": None, "reasoning_content": f"{word} "}} for word in WORDS
]
LONG_PARTS = [" ".join(WORDS[at:][:30]) for at in (0, 30, 60)]
DELTAS = [
    {"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in PIECES
]
ENDED = [
    [{"content": {"parts": [{"text": it}]}, "finishReason": "STOP"}] for it in PIECES
]
EVENT = {
    "output": {"tool_calls": [{"function": "save", "arguments": {"target": TEXT}}]}
}
NO_CHOICES = {"choices": []}
INSPECT = {"output": NO_CHOICES, "epoch": 1}
UNREAD = {
    "lines by their own keys": chat(
        content=[
            {
                "type": "tool_use",
                "name": "save",
                "input": dict(zip("abcdefghij", LINES, strict=True)),
            }
        ]
    ),
    "lines in fields": chat(
        content=LINES[0], **dict(zip("bcdefghij", LINES[1:], strict=True))
    ),
    "lines by name": chat(
        tool_calls=[{"function": {"arguments": {"i": named("name", LINES)}}}]
    ),
    "words by name": chat(
        tool_calls=[{"function": {"arguments": {"i": named("name", WORDS)}}}]
    ),
    "input of a tool": chat(content=[{"type": "tool_use", "input": {"source": LINES}}]),
    "types of parts": chat(content=[{"text": "Here."}, *named("type", LINES)]),
    "content in short parts": chat(content=PARTS),
    "content in lines": chat(content=LINES),
    "target of a tool": chat() | INSPECT | {"events": [EVENT]},
    "beside messages": chat() | {"store": {"source": LINES}},
    "input of a call": body(CALL | {"input": {"text": TEXT}}),
    "of a user": {
        "choices": [{"message": SAID}, {"message": {"role": "user", "content": TEXT}}]
    },
    "Gemini's chunks": {"request": {}, "response": named("candidates", ENDED)},
    "OpenAI's chunks": {
        "request": {},
        "response": [{"choices": [delta]} for delta in DELTAS],
    },
    "a message with a delta": {
        "choices": [{"message": {"content": TEXT}, "delta": {}}]
    },
    "long parts": {"prompt": "", "completion": [*LONG_PARTS, "x " * 300]},
    "messages of a prompt": chat()
    | {"prompt": {"messages": [ASKED, SAID | {"content": TEXT}]}},
    "words of reasoning": {"choices": [*THOUGHTS, {"delta": {"content": "B"}}]},
    "texts of an output": body(*named("text", PIECES)),
    "turns": {"messages": [{"role": "model", "content": piece} for piece in PIECES]},
    "an attachment": chat()
    | INSPECT
    | {"attachments": {"a": TEXT}, "events": ["attachment://a"]},
    "a file beside messages": chat() | {"attachments": {"story.md": TEXT}},
    "a draft of the target": chat()
    | INSPECT
    | {"target": TEXT, "events": [{"output": TEXT}]},
    "words below an event": chat()
    | {"stream": [{"event": {"text": f"{w} "}} for w in WORDS]},
    "metadata of an output": chat()
    | INSPECT
    | {"output": NO_CHOICES | {"metadata": TEXT}},
    "messages in a cell": {"messages": json.dumps([ASKED, SAID | {"content": TEXT}])},
    "prompt in a choice": {"choices": [{"message": SAID}, {"prompt": {"text": TEXT}}]},
}


@pytest.mark.parametrize("row", UNREAD.values(), ids=UNREAD)
def test_texts_of_an_answer_are_the_models(row):
    record = record_of(row)
    assert TEXT in str(record["generations"])
    assert "w1" not in record["instruction"]


CALLED = {"type": "function_call_output", "output": TEXT}
SHORT = {"request": {}, "response": "Yes."}
LATER, KEPT_APART = (
    {"role": "user", "content": TEXT},
    INSPECT | {"attachments": {"a": TEXT}},
)
OTHERS = {
    **{
        str(r): {"request": r, "response": SAID}
        for r in ({"system": TEXT}, {"input": [CALLED]})
    },
    "a type for a role": {"messages": [{"type": "human", "content": TEXT}, SAID]},
    "a system prompt": {"system": TEXT, "messages": [ASKED], "response": SAID},
    "repeated instructions": {
        "custom_id": "a",
        "response": {"instructions": TEXT, "body": SAID},
    },
    "a later turn": {
        "messages": [ASKED, SAID, LATER, SAID],
        "turns": [{"input": TEXT}],
    },
    "an attachment": chat()
    | KEPT_APART
    | {"target": TEXT, "store": {"target": "attachment://a"}},
    "a prompt in a cell": {"messages": json.dumps([LATER, SAID])},
    "a grader's prompt": chat() | {"scores": {"graded": [LATER]}},
    "a failed answer": {"custom_id": "a", "response": "", "error": TEXT},
    "a dataset": chat() | INSPECT | {"choices": [TEXT], "metadata": {"a": TEXT}},
    "samples": {"doc": {}, "resps": [[" ".join(WORDS[:40]), " ".join(WORDS[40:])]]},
    "an error": {
        "prompt": {"raw": "q"},
        "provider": "",
        "response": {"error": TEXT},
        "error": ".",
    },
}


@pytest.mark.parametrize("row", OTHERS.values(), ids=OTHERS)
def test_text_of_requests_datasets_and_errors_is_not_of_an_answer(row):
    answers = [
        answer for answer in record_of(row)["generations"] if not answer.get("failed")
    ]
    assert "w39 w40" not in str(answers)


def test_names_and_times_are_no_text():
    events = [
        {"id": f"a-{n}", "timestamp": f"2026-01-01T00:00:{n}", "name": "f"}
        for n in WORDS
    ]
    (answer,) = record_of(chat() | {"events": events})["generations"]
    assert "reasoning" not in answer


def test_a_short_response_is_an_answer():
    answers = [
        record_of(row)["generations"]
        for row in (SHORT, chat() | {"response": "Yes, sir."})
    ]
    assert [answer[-1]["generated_text"] for answer in answers] == ["Yes.", "Yes, sir."]


def test_choices_are_texts_of_their_own():
    choices = [
        {"message": {"content": line}, "index": n} for n, line in enumerate(LINES)
    ]
    answers = record_of({"choices": choices})["generations"]
    assert [answer["generated_text"] for answer in answers] == LINES
    assert not any("reasoning" in answer for answer in answers)
