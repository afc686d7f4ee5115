"""Only what a user certainly wrote excuses; what the model may have written is history."""

from functools import partial

import httpx
import pytest
from disguised_texts import prose
from guarded_texts import library, longest

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded

BOOK = prose("the-lamplighter")
LEAK = " ".join(BOOK[:80])
FIRST, NEXT = " ".join(BOOK[:30]), " ".join(BOOK[30:80])
GO_ON = {"role": "user", "content": "Go on."}
CHAT, TEXT, RESPONSES = "chat/completions", "completions", "responses"


@pytest.fixture(scope="module")
def guards():
    """A server, and the addresses of a guard and of one that excuses context."""
    with (
        guarded(library()) as (server, _, address),
        guarded(library(), excuse_context=True) as (other, _, excusing),
    ):
        other.answers = server.answers
        yield server, {False: address, True: excusing}


@pytest.fixture
def left(guards):
    """Returns what leaves of an answer to a request."""

    def ask(path, asked, text, *, excuse_context=False):
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"choices": [choice]}
        if path == TEXT:
            answer = {"choices": [{"index": 0, "text": text}]}
        elif path == RESPONSES:
            part = {"type": "output_text", "text": text}
            answer = {"output": [{"type": "message", "content": [part]}]}
        server, addresses = guards
        server.answers["m"] = answer
        url = f"{addresses[excuse_context]}/v1/{path}"
        body = httpx.post(url, json={"model": "m", **asked}).json()
        if path == RESPONSES:
            return body["output"][0]["content"][0]["text"]
        (choice,) = body["choices"]
        return choice["text"] if path == TEXT else choice["message"]["content"]

    return ask


def of_role(role, text):
    return {"messages": [GO_ON, {"role": role, "content": text}, GO_ON]}


HISTORY = [
    *[
        pytest.param(CHAT, partial(of_role, role), id=f"a turn of role {role}")
        for role in (
            "assistant", "Assistant", "model", "bot", "ai", "function", "User", "",
            None, 7, ["user"],
        )
    ],
    pytest.param(
        CHAT, lambda text: {"messages": [{"content": text}, GO_ON]}, id="no role"
    ),
    pytest.param(CHAT, lambda text: {"messages": [text, GO_ON]}, id="no object"),
    pytest.param(CHAT, lambda text: {"messages": text}, id="no list"),
    pytest.param(
        CHAT, lambda text: {"messages": [GO_ON], "history": [["?", text]]},
        id="an unknown key",
    ),
    pytest.param(
        CHAT, lambda text: {
            "messages": [GO_ON],
            "prediction": {"type": "content", "content": text},
        },
        id="a prediction",
    ),
    pytest.param(TEXT, lambda text: {"prompt": "?", "suffix": text}, id="a suffix"),
    pytest.param(
        RESPONSES, lambda text: {"input": [text, GO_ON]}, id="a string among items"
    ),
    pytest.param(
        RESPONSES, lambda text: {"input": {"type": "message", "content": text}},
        id="an item alone",
    ),
    pytest.param(
        RESPONSES, lambda text: {
            "input": [
                {"type": "reasoning", "summary": [{"text": text}]},
                GO_ON,
            ]
        },
        id="reasoning",
    ),
    pytest.param(
        RESPONSES, lambda text: {
            "input": [{"type": "message", "content": text}, GO_ON]
        },
        id="a message without a role",
    ),
]  # fmt: skip


@pytest.mark.parametrize("excuse_context", [False, True])
@pytest.mark.parametrize(("path", "asked"), HISTORY)
def test_what_the_model_may_have_written_excuses_nothing(
    left, path, asked, excuse_context
):
    sent = left(path, asked(LEAK), LEAK, excuse_context=excuse_context)
    assert LEAK.startswith(sent)
    assert longest(sent) <= 38


@pytest.mark.parametrize(("path", "asked"), HISTORY)
def test_an_answer_continues_what_the_model_may_have_written(left, path, asked):
    assert len(left(path, asked(FIRST), NEXT).split()) == 8


@pytest.mark.parametrize(("path", "asked"), [
    (CHAT, of_role("user", LEAK)),
    (CHAT, of_role("user", [{"type": "text", "text": LEAK}])),
    (TEXT, {"prompt": LEAK}),
    (RESPONSES, {"input": LEAK}),
    (RESPONSES, {"input": [{"role": "user", "content": LEAK}]}),
])  # fmt: skip
def test_what_the_user_wrote_excuses(left, path, asked):
    assert left(path, asked, LEAK) == LEAK


CONTEXT = [
    *[
        pytest.param(CHAT, partial(of_role, role), id=f"a turn of role {role}")
        for role in ("system", "developer", "tool")
    ],
    pytest.param(
        CHAT, lambda text: {"messages": [GO_ON], "documents": [{"text": text}]},
        id="documents",
    ),
    pytest.param(
        RESPONSES, lambda text: {"input": "?", "instructions": text}, id="instructions"
    ),
    pytest.param(
        RESPONSES, lambda text: {
            "input": [GO_ON, {"type": "function_call_output", "output": text}]
        },
        id="a tool's output",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "asked"), CONTEXT)
def test_context_excuses_where_that_is_allowed(left, path, asked):
    assert longest(left(path, asked(LEAK), LEAK)) == 38
    assert left(path, asked(LEAK), LEAK, excuse_context=True) == LEAK


@pytest.mark.parametrize(("path", "asked"), CONTEXT)
def test_an_answer_does_not_continue_context(left, path, asked):
    assert longest(left(path, asked(FIRST), NEXT)) == 38
