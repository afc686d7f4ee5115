"""Of an answer, only what the guard has read is sent on, in whatever field a server puts it."""

import base64
import itertools
import json
import random
import re
from functools import cache

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from scored_books import book_of

from pytest_memleak.guard import GuardedAnswer
from pytest_memleak.guard.own_ids import OwnIds
from pytest_memleak.library import Library

WORDS = [f"word{n}" for n in range(200)]
LEAK, HONEST = " ".join(WORDS[:80]), " ".join(["something", "else"] * 40)
CHAT = {"messages": [{"role": "user", "content": "Tell me."}]}


@cache
def library():
    return Library.of([book_of(" ".join(WORDS))])


def longest(text, prompt=""):
    return max((each.words for each in library().find([text], [prompt])), default=0)


def leaves(value):
    """All strings of JSON, by their keys."""
    if isinstance(value, dict):
        return [(key, text) for part in value.items() for key, text in named(*part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in named("", part)]
    return []


def named(key, value):
    return [(key, value)] if isinstance(value, str) else leaves(value)


def called(text):
    return {
        "tool_calls": [{"index": 0, "id": "call_1", "function": {"arguments": text}}]
    }


FIELDS = {
    "content": lambda text: {"content": text},
    "content in parts": lambda text: {"content": [{"type": "text", "text": text}]},
    "reasoning_content": lambda text: {"reasoning_content": text},
    "reasoning": lambda text: {"reasoning": text},
    "refusal": lambda text: {"refusal": text},
    "arguments of a tool": called,
    "name of a tool": lambda text: {
        "tool_calls": [{"index": 0, "function": {"name": text}}]
    },
    "arguments of a function": lambda text: {"function_call": {"arguments": text}},
}
DROPPED = {
    "logprobs": lambda text: {
        "logprobs": {"content": [{"token": word} for word in text.split()]}
    },
    "audio": lambda text: {"audio": {"transcript": text}},
    "bytes": lambda text: {"bytes": [*text.encode()]},
    "token ids": lambda text: {"token_ids": [*range(9)]},
    "numbers in a list": lambda text: {"x": [*text.encode()]},
    "a long id": lambda text: {"id": text},
}
ADDED = {
    "parts": lambda text: {
        "content": [{"type": "audio", "data": word} for word in text.split()]
    },
    "annotations": lambda text: {"annotations": [{"url_citation": {"title": text}}]},
    "a key of its own": lambda text: {"x_text": text},
    "nested keys": lambda text: {"x_more": {"x_text": [[text]]}},
    "keys": lambda text: dict.fromkeys(text.split(), 1),
    "a key that is a text": lambda text: {text: 1},
    "strings in a list": lambda text: {"content": text.split()},
    "a role": lambda text: {"role": text},
    "a type": lambda text: {"type": text},
}


def chunks(field, text, size=5):
    for at in range(0, len(text), size):
        yield {
            "id": "c",
            "choices": [{"index": 0, "delta": field(text[at : at + size])}],
        }
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def sent_of(request, parts):
    answer = GuardedAnswer(library(), request)
    sent = [guarded for part in parts for guarded in answer.read(part)]
    return answer, [*sent, *answer.end()]


def reason_of(sent):
    choices = [choice for part in sent for choice in part["choices"]]
    (reason,) = {choice.get("finish_reason") for choice in choices} - {None}
    return reason


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_text_of_any_field_is_read(field):
    for text, stops in ((LEAK, True), (HONEST, False)):
        whole = {
            "choices": [{"index": 0, "message": field(text), "finish_reason": "stop"}]
        }
        answer = GuardedAnswer(library(), CHAT)
        for guarded, sent in (
            (answer, answer.read(whole, whole=True)),
            sent_of(CHAT, chunks(field, text)),
        ):
            texts = [
                leaf
                for key, leaf in leaves(sent)
                if key not in ("id", "type", "finish_reason")
            ]
            assert ("".join(texts) == text) is not stops
            assert longest("".join(texts)) == 38 * stops
            assert reason_of(sent) == ("content_filter" if stops else "stop")
            assert [stop.passage.book for stop in guarded.stops] == ["b"] * stops
            assert guarded.ended


def body_with(field, text):
    """Return an answer with a field everywhere in it."""
    message = {"role": "assistant", **field(text)}
    return {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m", **field(text),
        "choices": [{"index": 0, "message": message, **field(text)}],
        "usage": {"total_tokens": 3, **field(text)},
    }  # fmt: skip


def words_of(sent):
    return " ".join(re.findall(r"[a-z]+\d*", json.dumps(sent)))


@pytest.mark.parametrize("field", DROPPED.values(), ids=DROPPED)
def test_what_cannot_be_read_as_text_is_not_sent(field):
    (sent,) = GuardedAnswer(library(), CHAT).read(body_with(field, LEAK), whole=True)
    assert sent["created"] == 1
    assert sent["usage"]["total_tokens"] == 3
    assert sent["choices"][0]["message"]["role"] == "assistant"
    assert not {*words_of(sent).split()} & {*WORDS}
    assert str([*LEAK[:9].encode()])[1:-1] not in json.dumps(sent)


@pytest.mark.parametrize("field", ADDED.values(), ids=ADDED)
def test_what_a_server_adds_is_read_and_sent(field):
    for part in (field, lambda text: {"usage": field(text)}):
        honest, leak = (
            {"object": "list", "choices": [], **part(text)} for text in (HONEST, LEAK)
        )
        assert GuardedAnswer(library(), CHAT).read(honest, whole=True) == [honest]
        (sent,) = GuardedAnswer(library(), CHAT).read(leak, whole=True)
        assert longest(words_of(sent)) <= 38
    (sent,) = GuardedAnswer(library(), CHAT).read(body_with(field, LEAK), whole=True)
    assert longest(words_of(sent["choices"])) <= 76


def test_what_a_server_adds_to_a_stream_arrives_whole_in_its_chunk():
    signature = base64.b64encode(random.Random(3).randbytes(900)).decode()
    added = {"extra_content": {"google": {"thought_signature": signature}}}
    call = {
        "index": 0,
        "id": "c",
        "function": {"name": "f", "arguments": "{}"},
        **added,
    }
    part = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
    (sent,) = GuardedAnswer(library(), CHAT).read(part)
    (guarded,) = sent["choices"][0]["delta"]["tool_calls"]
    assert guarded["extra_content"] == added["extra_content"]


def test_an_answer_has_ids_of_the_guard_and_the_model_of_the_request():
    ids = OwnIds()
    body = {
        "id": LEAK, "model": LEAK, "system_fingerprint": LEAK,
        "choices": [{"message": {"tool_calls": [{"id": "call_x y", "type": "function"}]}}],
    }  # fmt: skip
    asked = {**CHAT, "model": "m"}
    (sent,) = GuardedAnswer(library(), asked, ids=ids).read(body, whole=True)
    assert sent["model"] == "m"
    assert not {*words_of(sent).split()} & {*WORDS}
    (call,) = sent["choices"][0]["message"]["tool_calls"]
    assert re.fullmatch(r"call_[0-9a-f]{24}", call["id"])
    turns = [{"tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"]}]
    restored = ids.restored({"messages": turns, "user": call["id"]})
    assert restored["messages"][0]["tool_calls"][0]["id"] == "call_x y"
    assert restored["messages"][1]["tool_call_id"] == "call_x y"
    assert restored["user"] == call["id"]
    other = {"messages": [{"tool_call_id": "call_of_another_guard"}]}
    assert ids.restored(other) is other


def test_models_have_the_names_that_clients_ask_for():
    body = {"object": "list", "data": [{"id": "org/model-7b", "object": "model"}]}
    assert GuardedAnswer(library(), {}).read(body, whole=True) == [body]


KEYS = (
    "choices", "delta", "message", "text", "content", "id", "index", "name", "arguments", "error",
    "tool_calls", "function", "reasoning", "logprobs", "token", "usage", "finish_reason", "role",
    "model", "system_fingerprint", "type", "x_text", LEAK, LEAK[:90], LEAK[90:],
)  # fmt: skip
BODIES = st.dictionaries(
    st.sampled_from(KEYS),
    st.recursive(
        st.sampled_from(
            [LEAK, HONEST, LEAK[:90], LEAK[300:], "stop", None, 0, 1, -1, True, 1e300]
        ),
        lambda inside: (
            st.lists(inside, max_size=3)
            | st.dictionaries(st.sampled_from(KEYS), inside, max_size=4)
        ),
        max_leaves=12,
    ),
)


@settings(max_examples=examples(500, fast=25), deadline=None)
@given(st.lists(BODIES, max_size=4), st.booleans())
def test_no_json_of_a_server_takes_a_passage_past_the_guard(bodies, whole):
    answer, sent = GuardedAnswer(library(), CHAT), []
    for body in bodies:
        sent += answer.read(body, whole=whole)
    sent += answer.end()
    assert all(longest(text) <= 38 for _, text in leaves(sent))
    assert all(longest(key) <= 38 for key, _ in leaves(sent))


def test_a_passage_spread_over_tool_calls_is_one_text():
    words = [f'"{word}" ' for word in [*["other"] * 12, *WORDS[:60]]]
    calls = [
        {
            "index": at // 6,
            "function": {"name": "say", "arguments": "".join(words[at : at + 6])},
        }
        for at in range(0, len(words), 6)
    ]
    parts = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in calls
    ]
    whole = {
        "choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]
    }
    answer = GuardedAnswer(library(), CHAT)
    for sent in (sent_of(CHAT, parts)[1], answer.read(whole, whole=True)):
        texts = [text for key, text in leaves(sent) if key == "arguments"]
        of_calls = {}
        for part in sent:
            choice = part["choices"][0]
            for call in choice.get("delta", choice.get("message"))["tool_calls"]:
                argument = call["function"].get("arguments", "")
                of_calls[call["index"]] = of_calls.get(call["index"], "") + argument
        for index, argument in of_calls.items():
            assert calls[index]["function"]["arguments"].startswith(argument)
        assert 30 <= longest("".join(texts)) <= 38
        assert reason_of(sent) == "content_filter"


def saying(role, content):
    return {"messages": [{"role": role, "content": content}]}


SAID = saying("user", LEAK)
PARTS = [{"type": "text", "text": LEAK}, {"type": "image_url"}]
RESULT = [{"type": "tool_result", "content": LEAK}]


@pytest.mark.parametrize(
    ("asked", "free"),
    [
        ({**SAID, "n": 2}, {0, 1}),
        ({**saying("user", PARTS), "n": 2}, {0, 1}),
        ({"prompt": LEAK, "n": 2}, {0, 1}),
        ({"prompt": LEAK}, {0, 1}),  # one choice was asked for, and both count for it
        ({"prompt": ["?", LEAK]}, {1}),
        ({"prompt": [LEAK, "?"], "n": 2}, {0, 1}),
        ({"prompt": [LEAK, "?"], "n": 2.0}, {0, 1}),
        ({"prompt": [LEAK, "?"], "n": "2"}, {0, 1}),
        ({"prompt": [1, 2, 3]}, set()),
        ({"prompt": None, "n": "many"}, set()),
        (saying("user", [{"type": "file", "file": {"file_data": LEAK}}]), set()),
        ({"messages": "nothing of the kind"}, set()),
    ],
)
def test_words_of_the_request_may_come_back(asked, free):
    body = {"choices": [{"index": n, "text": LEAK} for n in (0, 1)]}
    (sent,) = GuardedAnswer(library(), asked).read(body, whole=True)
    assert {
        choice["index"] for choice in sent["choices"] if choice["text"] == LEAK
    } == free


@pytest.mark.parametrize(
    "asked",
    [
        saying("system", LEAK),
        saying("developer", LEAK),
        saying("tool", LEAK),
        saying("user", RESULT),
        {**CHAT, "system": LEAK},
        {**CHAT, "tools": [{"function": {"description": LEAK}}]},
    ],
)
@pytest.mark.parametrize("excuse_context", [False, True])
def test_words_of_the_context_may_come_back_only_if_that_is_allowed(
    asked, excuse_context
):
    body = {"choices": [{"index": 0, "text": LEAK}]}
    answer = GuardedAnswer(library(), asked, excuse_context=excuse_context)
    (sent,) = answer.read(body, whole=True)
    assert (sent["choices"][0]["text"] == LEAK) is excuse_context


@pytest.mark.parametrize("excuse_context", [False, True])
@pytest.mark.parametrize("turn", [{"content": LEAK}, called(LEAK)])
def test_words_of_earlier_turns_never_excuse(turn, excuse_context):
    asked = {"messages": [{"role": "assistant", **turn}]}
    answer = GuardedAnswer(library(), asked, excuse_context=excuse_context)
    (sent,) = answer.read({"choices": [{"index": 0, "text": LEAK}]}, whole=True)
    assert longest(sent["choices"][0]["text"]) <= 38


def test_the_strings_of_an_error_are_one_text():
    words = {"param": " ".join(WORDS[36:48]), "type": " ".join(WORDS[48:60])}
    for message in (LEAK, " ".join(WORDS[:36]) + " "):
        error = {"code": "overloaded", "message": message, **words}
        (sent,) = GuardedAnswer(library(), CHAT).read({"error": error})
        assert sent["error"].pop("code") == "overloaded"
        assert longest("".join(sent["error"].values())) == 38
    (sent,) = GuardedAnswer(library(), CHAT).read({"error": None, "choices": None})
    assert sent == {"error": None, "choices": []}


@pytest.mark.parametrize("n", [1, 2])
def test_words_that_alternate_between_choices_are_one_text_if_one_was_asked_for(n):
    parts = [
        {"choices": [{"index": nth % 2, "delta": {"content": f"{word} "}}]}
        for nth, word in enumerate(WORDS[:100])
    ]
    answer, sent = sent_of({**CHAT, "n": n}, parts)
    texts = [text for key, text in leaves(sent) if key == "content"]
    assert longest("".join(texts)) == (38 if n == 1 else 100)
    assert len(answer.stops) == (n == 1)


@pytest.mark.parametrize("kind", [str, float])
def test_choices_are_those_of_their_index_whatever_its_type(kind):
    words = [
        text for pair in zip(WORDS[:80], HONEST.split(), strict=True) for text in pair
    ]
    parts = [
        {"choices": [{"index": kind(nth % 2), "delta": {"content": f"{word} "}}]}
        for nth, word in enumerate(words)
    ]
    _, sent = sent_of({**CHAT, "n": 2}, parts)
    choices = [choice for part in sent for choice in part.get("choices", ())]
    assert {choice["index"] for choice in choices} == {0, 1}
    texts = [
        text for choice in choices if not choice["index"] for _, text in leaves(choice)
    ]
    assert longest(" ".join(texts)) == 38


def alternating(*texts, size=5):
    """Fields of deltas that say the texts in turn."""
    for at in range(0, max(map(len, texts)), size):
        yield from (
            {name: text[at : at + size]}
            for name, text in zip(("content", "text"), texts, strict=True)
        )


def split(text, size):
    """Fields of deltas that say one text in turn."""
    for nth, at in enumerate(range(0, len(text), size)):
        yield {("content", "reasoning", "text")[nth % 3]: text[at : at + size]}


@pytest.mark.parametrize(
    "deltas",
    [[*alternating(LEAK, HONEST)], *([*split(LEAK, size)] for size in (1, 5, 200))],
)
def test_no_field_hides_a_passage_of_another(deltas):
    parts = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    answer, sent = sent_of(CHAT, parts)
    texts = [text for key, text in leaves(sent) if key != "finish_reason"]
    contents = [text for key, text in leaves(sent) if key == "content"]
    assert max(longest("".join(texts)), longest("".join(contents))) == 38
    assert reason_of(sent) == "content_filter"
    assert answer.ended


@pytest.mark.parametrize("size", [full(1), 5, 30])
@pytest.mark.parametrize("said", ["", "First. ", f"{HONEST} {' '.join(WORDS[:30])} "])
def test_no_tool_call_hides_a_passage_of_another(size, said):
    """Calls whose arguments come in turn, after other text; the second recites."""
    parts = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        for at in range(0, len(HONEST), size)
        for nth, text in enumerate((HONEST, LEAK, "more " * 100))
        for call in [{"index": nth, "function": {"arguments": text[at : at + size]}}]
    ]
    before = {"choices": [{"index": 0, "delta": {"content": said}}]}
    answer, sent = sent_of(CHAT, [before, *parts])
    arguments = ["", "", ""]
    for part in sent:
        for choice in part["choices"]:
            for call in choice["delta"].get("tool_calls", ()):
                arguments[call["index"]] += call["function"]["arguments"]
    assert longest(arguments[1]) == 38
    assert HONEST.startswith(arguments[0])
    assert [stop.field for stop in answer.stops] == [
        "choices.delta.tool_calls.function.arguments"
    ]


def test_indices_below_zero_and_names_in_pieces_hide_nothing_either():
    """Clients put calls together by their places in the list, and join their names."""
    noise = [f"noise{nth}" for nth in range(300)]
    calls = [
        (1, WORDS[:37]),
        (0, noise),
        (-1, WORDS[37:74]),
        *((0, ()) for _ in range(9)),
    ]
    deltas = [
        [{"index": index, "id": name, "function": {"arguments": text}}]
        for nth, (index, said) in enumerate(calls)
        for text, name in [
            (" ".join([*each, ""]) for each in (said, WORDS[nth * 9 :][:9]))
        ]
    ]
    parts = [
        {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]} for calls in deltas
    ]
    _, sent = sent_of(CHAT, parts)
    read = [
        call
        for part in sent
        for call in part["choices"][0]["delta"].get("tool_calls", ())
    ]
    for key, index in itertools.product(("id", "arguments"), (0, 1, -1)):
        texts = leaves([call for call in read if call["index"] in {index, abs(index)}])
        assert longest("".join(text for its, text in texts if its == key)) <= 38


@pytest.mark.parametrize("reason", [None, "", "null"])
def test_fields_that_take_turns_arrive_whole(reason):
    quoted = " ".join([*["other"] * 9, *WORDS[:37], "other"])
    end = [{"choices": [{"index": 0, "delta": {"text": "."}, "finish_reason": "stop"}]}]
    parts = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta in alternating(HONEST, quoted)
    ]
    _, sent = sent_of(CHAT, [*parts, *end])
    assert sent[-1]["choices"][0]["finish_reason"] == "stop"
    assert "".join(text for key, text in leaves(sent) if key == "content") == HONEST
    assert "".join(text for key, text in leaves(sent) if key == "text") == f"{quoted}."


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("first", [1, 7])
def test_choices_that_were_not_asked_for_are_text_of_the_nearest(first, whole):
    choices = [
        {"index": first + nth, "text": f"{word} ", "finish_reason": "stop"}
        for nth, word in enumerate(WORDS[:80])
    ]
    answer = GuardedAnswer(library(), CHAT)
    bodies = (
        [{"choices": choices}]
        if whole
        else [{"choices": [choice]} for choice in choices]
    )
    sent = [guarded for body in bodies for guarded in answer.read(body, whole=whole)]
    assert longest("".join([text for key, text in leaves(sent) if key == "text"])) == 38
    assert not answer.ended
    (sent,) = answer.read({"choices": [{"index": 0, "text": LEAK}]})
    assert (sent["choices"][0]["text"], answer.ended) == ("", True)
    # Two of one number are one text, of which none is lost.
    answer = GuardedAnswer(library(), CHAT)
    choices = [{"index": 0, "text": f"{half} "} for half in (HONEST, LEAK)]
    (sent,) = answer.read({"choices": choices}, whole=True)
    first, second = (choice["text"].strip() for choice in sent["choices"])
    assert (first, longest(second)) == (HONEST, 38)
