"""The clients of the Responses and the Messages API get through the guard what they get without it."""

import json
import random

import anthropic
import openai
import pydantic
import pytest
from disguised_texts import prose
from examples import examples
from guarded_texts import deltas, library, longest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded

from pytest_memleak.formats.event_texts import streamed_text
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.guard import GuardedItems

HONEST = " ".join(prose("the-seed-vault")[:60])
LEAK = " ".join(prose("the-lamplighter")[:120])
ASKED = [{"role": "user", "content": "Tell me of the town."}]
SIGNATURE = "Es8CCswC" + "qXw3Yv/9Lb+" * 80 + "=="
ARGUMENTS = '{"town": "Ebb", "n": 3}'
TOWN = json.dumps({"name": "Ebb", "people": 300, "streets": ["Wick", "Quay"]})
TOOL = {
    "type": "function", "name": "look_up", "description": "Look up a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": False,
}  # fmt: skip
LIMIT = 38


@pytest.fixture(scope="module")
def served():
    """The server behind a guard, and the address of each."""
    with guarded(library()) as (server, proxy, address):
        origin = proxy._upstream.removesuffix("/v1")
        yield server, {"server": origin, "guard": address}


@pytest.fixture
def both(served):
    """Calls a function with a client of the server and with one of the guard."""

    def run(call, api=openai.OpenAI):
        results = []
        for address in served[1].values():
            url = f"{address}/v1" if api is openai.OpenAI else address
            with api(base_url=url, api_key="k", max_retries=0) as client:
                results.append(call(client))
        return results

    return run


def without_names(value):
    """Return a result without what the guard replaces: ids, and the model."""
    if isinstance(value, dict):
        return {
            key: "..." if part and _is_replaced(key) else without_names(part)
            for key, part in value.items()
        }
    return [*map(without_names, value)] if isinstance(value, list) else value


def _is_replaced(key):
    return key in ("id", "model") or key.endswith("_id")


def pieces(text):
    return deltas(text, random.Random(1), 12)


# --- Responses
# ------------------------------------------------------------------------------

USAGE = {
    "input_tokens": 9, "output_tokens": 160, "total_tokens": 169,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 12},
}  # fmt: skip
CITED = {
    "type": "url_citation", "url": "https://example.org/ebb?x=1",
    "title": "The town of Ebb", "start_index": 3, "end_index": 17,
}  # fmt: skip


def message(text, annotations=()):
    part = {
        "type": "output_text", "text": text, "annotations": [*annotations],
        "logprobs": [],
    }  # fmt: skip
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [part],
    }  # fmt: skip


def refused(text):
    item = message("")
    return item | {"content": [{"type": "refusal", "refusal": text}]}


def thought(text):
    summary = [{"type": "summary_text", "text": text}]
    return {
        "id": "rs_1", "type": "reasoning", "summary": summary,
        "encrypted_content": SIGNATURE,
    }  # fmt: skip


def call(arguments=ARGUMENTS, number=1):
    return {
        "id": f"fc_{number}", "type": "function_call",
        "call_id": f"call_{'abcdefgh' * 20}{number}",
        "name": "look_up", "arguments": arguments, "status": "completed",
    }  # fmt: skip


def response(*items, status="completed", **more):
    return {
        "id": "resp_1", "object": "response", "created_at": 1_700_000_000,
        "status": status, "model": "served-2025-01-01", "output": [*items],
        "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "reasoning": {"effort": "medium", "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "usage": USAGE if status == "completed" else None, **more,
    }  # fmt: skip


def events(*items, **more):
    """Yield the events of a streamed response, as OpenAI's server sends them."""
    for number, event in enumerate(_events(items, more)):
        yield {**event, "sequence_number": number}


def _events(items, more):
    started = response(status="in_progress", **more)
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    for at, item in enumerate(items):
        where = {"item_id": item["id"], "output_index": at}
        lists = ("content", "summary")
        empty = {key: [] for key in lists if key in item}
        if item["type"] == "function_call":
            empty = {"arguments": ""}
        yield {
            "type": "response.output_item.added", "output_index": at,
            "item": {**item, **empty, "status": "in_progress"},
        }  # fmt: skip
        yield from _events_of_item(item, where)
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": "response.completed", "response": response(*items, **more)}


def _events_of_item(item, where):
    if item["type"] == "function_call":
        name = "response.function_call_arguments"
        yield from _texts(name, "arguments", item["arguments"], where)
    key = "summary" if "summary" in item else "content"
    kind = "reasoning_summary_part" if key == "summary" else "content_part"
    for n, part in enumerate(item.get(key, ())):
        place = {**where, f"{key}_index": n}
        field = "refusal" if part["type"] == "refusal" else "text"
        yield {"type": f"response.{kind}.added", **place, "part": {**part, field: ""}}
        name = "reasoning_summary_text" if key == "summary" else part["type"]
        further = {"logprobs": []} if name == "output_text" else {}
        yield from _texts(f"response.{name}", field, part[field], place | further)
        yield {"type": f"response.{kind}.done", **place, "part": part}


def _texts(name, key, text, place):
    for piece in pieces(text):
        yield {"type": f"{name}.delta", **place, "delta": piece, "obfuscation": "xQ"}
    yield {"type": f"{name}.done", **place, key: text}


ITEMS = {
    "plain": [message(HONEST)],
    "cited": [message(HONEST, [CITED, CITED])],
    "refusal": [refused("I can't help with that.")],
    "reasoning": [thought(f"Hm. {HONEST}"), message(HONEST)],
    "tools": [thought("A town."), call(), call(number=2)],
    "structured": [message(TOWN)],
    "unicode": [message("Grüße, 東京 and Москва 🙂 — “naïve” é\u0301")],
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_response_is_the_same(served, both, name):
    served[0].answers[name] = response(*ITEMS[name])
    direct, through = both(
        lambda client: client.responses.create(model=name, input=ASKED).model_dump()
    )
    assert without_names(through) == without_names(direct)
    assert through["model"] == name


@pytest.mark.parametrize("name", ITEMS)
def test_a_streamed_response_is_the_same(served, both, name):
    served[0].answers[name] = [*events(*ITEMS[name])]

    def whole(client):
        with client.responses.stream(model=name, input=ASKED) as stream:
            kinds = [event.type for event in stream]
            return kinds, stream.get_final_response().model_dump()

    (direct_kinds, direct), (kinds, through) = both(whole)
    assert without_names(through) == without_names(direct)
    assert dict.fromkeys(kinds) == dict.fromkeys(direct_kinds)


def test_the_options_that_a_response_repeats_are_the_requests_own(served, both):
    text = f"Read: {LEAK}"
    asked = {"instructions": text, "tools": [TOOL]}
    served[0].answers["plain"] = [*events(message(HONEST), **asked)]

    def whole(client):
        with client.responses.stream(model="plain", input=ASKED, **asked) as stream:
            stream.until_done()
            return stream.get_final_response()

    direct, through = both(whole)
    assert through.instructions == direct.instructions == text
    assert through.output_text == HONEST


class Town(pydantic.BaseModel):
    name: str
    people: int
    streets: list[str]


def test_a_structured_response_is_the_same(served, both):
    served[0].answers["structured"] = response(*ITEMS["structured"])
    _, through = both(
        lambda client: client.responses.parse(
            model="structured", input=ASKED, text_format=Town
        )
    )
    assert through.output_parsed == Town(**json.loads(TOWN))


def test_the_next_request_has_the_servers_ids_and_signatures(served, both):
    server = served[0]
    server.answers["tools"] = response(*ITEMS["tools"])

    def loop(client):
        turns = [*ASKED]
        for _ in range(3):
            answer = client.responses.create(model="tools", input=turns)
            items = [item.model_dump(exclude_none=True) for item in answer.output]
            turns += items
            turns += [
                {"type": "function_call_output", "call_id": item["call_id"],
                 "output": "300 people"}
                for item in items if item["type"] == "function_call"
            ]  # fmt: skip
        client.responses.create(
            model="tools", input="Go on.", previous_response_id=answer.id
        )
        return server.asked[-2][1]["input"], server.asked[-1][1]

    direct, through = both(loop)
    assert through == direct
    assert through[1]["previous_response_id"] == "resp_1"
    assert through[0][1]["encrypted_content"] == SIGNATURE


@pytest.mark.parametrize(
    "items",
    [
        [message(LEAK)],
        [thought(LEAK), message(HONEST)],
        [message(HONEST), call(json.dumps({"text": LEAK})), message(HONEST)],
        [refused(LEAK)],
    ],
    ids=["text", "reasoning", "arguments", "refusal"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_ends_within_the_limit(served, both, items, stream):
    answer = [*events(*items)] if stream else response(*items)
    served[0].answers["leak"] = answer

    def whole(client):
        if not stream:
            return client.responses.create(model="leak", input=ASKED), ""
        sent = ""
        for event in client.responses.create(model="leak", input=ASKED, stream=True):
            if event.type.endswith(".delta"):
                sent += event.delta
        return event.response, sent

    _, (ended, sent) = both(whole)
    assert (ended.status, ended.incomplete_details.reason) == (
        "incomplete", "content_filter",
    )  # fmt: skip
    assert ended.usage.total_tokens == 169
    assert longest(json.dumps(ended.model_dump())) == LIMIT
    assert longest(sent) <= LIMIT
    assert len(ended.output) == len(items) - (len(items) > 1)


def test_logprobs_of_a_response_are_rejected_by_their_name(served, both):
    served[0].answers["plain"] = response(message(HONEST))
    name = "message.output_text.logprobs"

    def rejected(client):
        try:
            return client.responses.create(model="plain", input=ASKED, include=[name])
        except openai.BadRequestError as error:
            return error.message

    assert f"can't send what {name}" in both(rejected)[1]


# --- Messages
# ------------------------------------------------------------------------------

COUNTS = {
    "input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
    "output_tokens": 160, "service_tier": "standard",
}  # fmt: skip


def said(text):
    return {"type": "text", "text": text}


def thinking(text):
    return {"type": "thinking", "thinking": text, "signature": SIGNATURE}


def used(arguments=ARGUMENTS, number=1):
    return {
        "type": "tool_use", "id": f"toolu_{'abcdefgh' * 20}{number}", "name": "look_up",
        "input": json.loads(arguments),
    }  # fmt: skip


def reply(*blocks, reason="end_turn"):
    return {
        "id": "msg_1", "type": "message", "role": "assistant",
        "model": "served-2025-01-01", "content": [*blocks], "stop_reason": reason,
        "stop_sequence": None, "usage": COUNTS,
    }  # fmt: skip


EMPTY = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
PING = {"type": "ping"}


def stream_of(*blocks, reason="end_turn"):
    """Yield the events of a streamed message, as Anthropic's server sends them."""
    yield {"type": "message_start", "message": reply(reason=None)}
    yield PING
    for at, block in enumerate(blocks):
        empty = {**block, **EMPTY[block["type"]]}
        yield {"type": "content_block_start", "index": at, "content_block": empty}
        for delta in _deltas_of(block):
            yield {"type": "content_block_delta", "index": at, "delta": delta}
            yield PING
        yield {"type": "content_block_stop", "index": at}
    delta = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 160}}
    yield {"type": "message_stop"}


def _deltas_of(block):
    if block["type"] == "text":
        for piece in pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "tool_use":
        for piece in pieces(json.dumps(block["input"])):
            yield {"type": "input_json_delta", "partial_json": piece}
    else:
        for piece in pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}


BLOCKS = {
    "plain": [said(HONEST)],
    "thinking": [thinking(f"Hm. {HONEST}"), said(HONEST)],
    "tools": [thinking("A town."), said("Let me look."), used(), used(number=2)],
    "unicode": [said("Grüße, 東京 and Москва 🙂 — “naïve” é\u0301")],
}
RULES = {"max_tokens": 500, "messages": ASKED}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_message_is_the_same(served, both, name):
    served[0].answers[name] = reply(*BLOCKS[name])
    direct, through = both(
        lambda client: client.messages.create(model=name, **RULES).model_dump(),
        anthropic.Anthropic,
    )
    assert without_names(through) == without_names(direct)
    assert through["model"] == name


@pytest.mark.parametrize("name", BLOCKS)
def test_a_streamed_message_is_the_same(served, both, name):
    served[0].answers[name] = [*stream_of(*BLOCKS[name])]

    def whole(client):
        with client.messages.stream(model=name, **RULES) as stream:
            return stream.get_final_message().model_dump()

    direct, through = both(whole, anthropic.Anthropic)
    assert without_names(through) == without_names(direct)


def test_tools_of_messages_get_back_the_ids_and_signatures_of_the_server(served, both):
    server = served[0]
    server.answers["tools"] = reply(*BLOCKS["tools"], reason="tool_use")

    def loop(client):
        turns = [*ASKED]
        for _ in range(3):
            answer = client.messages.create(
                model="tools", max_tokens=500, messages=turns
            )
            content = [block.model_dump(exclude_none=True) for block in answer.content]
            turns.append({"role": "assistant", "content": content})
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "300"}
                for block in content if block["type"] == "tool_use"
            ]  # fmt: skip
            turns.append({"role": "user", "content": results})
        return server.asked[-1][1]["messages"]

    direct, through = both(loop, anthropic.Anthropic)
    assert through == direct
    assert through[1]["content"][0]["signature"] == SIGNATURE


@pytest.mark.parametrize(
    "blocks",
    [
        [said(LEAK)],
        [thinking(LEAK), said(HONEST)],
        [said(HONEST), used(json.dumps({"text": LEAK})), said(HONEST)],
    ],
    ids=["text", "thinking", "input"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_ends_within_the_limit(served, both, blocks, stream):
    served[0].answers["leak"] = [*stream_of(*blocks)] if stream else reply(*blocks)

    def whole(client):
        if not stream:
            answer = client.messages.create(model="leak", **RULES)
            return answer, json.dumps(answer.model_dump())
        sent = ""
        with client.messages.stream(model="leak", **RULES) as events:
            for event in events:
                if event.type == "content_block_delta":
                    sent += "".join(event.delta.model_dump(exclude={"type"}).values())
            return events.get_final_message(), sent

    _, (ended, sent) = both(whole, anthropic.Anthropic)
    assert ended.stop_reason == "refusal"
    assert ended.usage.output_tokens == 160
    assert longest(sent) == LIMIT
    assert len(ended.content) == len(blocks) - (len(blocks) > 1)


WORDS = LEAK.split()
SPLIT = [" ".join(WORDS[:30]), " ".join(WORDS[30:60]), HONEST]


@pytest.mark.parametrize("stream", [False, True])
def test_a_passage_over_items_ends_within_the_limit(stream):
    thought_of, *others = SPLIT
    items = [thought(thought_of), *map(message, others)]
    blocks = [thinking(thought_of), *map(said, others)]
    answers = (
        (stream_of(*blocks), reply(*blocks)),
        (events(*items), response(*items)),
    )
    for streamed, whole in answers:
        answer = GuardedItems(library(), {"input": ASKED})
        bodies = [*streamed] if stream else [whole]
        sent = [part for body in bodies for part in answer.read(body, whole=not stream)]
        texts = texts_of_deltas(sent) if stream else texts_in(sent)
        assert longest(" ".join(texts)) == LIMIT
        assert len(answer.stops) == 1
        assert answer.ended


def texts_of_deltas(sent):
    """Return each text of a stream, in the order in which they began."""
    texts = {}
    for event in sent:
        if streamed := streamed_text(event):
            texts[streamed.place] = texts.get(streamed.place, "") + streamed.text
    return texts.values()


def test_text_leaves_before_the_event_after_it():
    answer = GuardedItems(library(), {"messages": ASKED})
    left = {}
    for event in stream_of(thinking(HONEST), said(HONEST), used()):
        for part in answer.read(event):
            if streamed := streamed_text(part):
                place = streamed.place
                left[place] = left.get(place, "") + streamed.text
            elif part["type"] == "content_block_stop":
                assert part["index"] in [index for _, index, _ in left]
    assert left["content", 0, "thinking"] == left["content", 1, "text"] == HONEST
    assert json.loads(left["content", 2, "partial_json"]) == json.loads(ARGUMENTS)


@pytest.mark.parametrize("api", [openai.OpenAI, anthropic.Anthropic])
def test_earlier_turns_count_and_excuse_nothing(served, both, api):
    said_before = [*ASKED, {"role": "assistant", "content": LEAK}, *ASKED]
    passage = " ".join(LEAK.split()[60:100])
    is_openai = api is openai.OpenAI
    served[0].answers["more"] = (
        response(message(passage)) if is_openai else reply(said(passage))
    )

    def whole(client):
        if is_openai:
            return client.responses.create(model="more", input=said_before).status
        return client.messages.create(
            model="more", max_tokens=500, messages=said_before
        ).stop_reason

    assert both(whole, api)[1] == ("incomplete" if is_openai else "refusal")


@pytest.mark.parametrize("api", [openai.OpenAI, anthropic.Anthropic])
def test_what_the_user_wrote_is_excused(served, both, api):
    asked = [{"role": "user", "content": f"Correct this: {LEAK}"}]
    is_openai = api is openai.OpenAI
    served[0].answers["own"] = (
        response(message(LEAK)) if is_openai else reply(said(LEAK))
    )

    def whole(client):
        if is_openai:
            return client.responses.create(model="own", input=asked).output_text
        answer = client.messages.create(model="own", max_tokens=500, messages=asked)
        return answer.content[0].text

    assert both(whole, api) == [LEAK, LEAK]


@pytest.mark.parametrize(
    ("api", "error"),
    [(openai.OpenAI, openai.APIError), (anthropic.Anthropic, anthropic.APIError)],
)
def test_a_stream_that_is_cut_is_an_error(served, both, api, error):
    is_openai = api is openai.OpenAI
    made = events(message(HONEST)) if is_openai else stream_of(said(HONEST))
    served[0].answers["cut"] = [*made][:9]

    def whole(client):
        create = client.responses.create if is_openai else client.messages.create
        asked = {"input": ASKED} if is_openai else RULES
        try:
            return [*create(model="cut", stream=True, **asked)]
        except error as failure:
            return str(failure)

    assert "ended the stream early" in both(whole, api)[1]


TYPES = st.sampled_from(
    ["content_block_delta", "response.output_text.delta", "message_delta", "text_delta",
     "response.completed", "content_block_stop", "message_start"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["delta", "text", "index", "output", "output_index", "content", "response", "item",
     "part", "message", "content_block", "summary_index"]
)  # fmt: skip


def objects(values):
    made = st.dictionaries(KEYS, values, max_size=3)
    return st.builds(lambda each, kind: {**each, "type": kind}, made, TYPES)


VALUES = st.recursive(
    st.sampled_from([None, -1, 2.5, True, "", LEAK, "Yes."]),
    lambda inner: st.lists(inner, max_size=2) | objects(inner),
    max_leaves=4,
)


@settings(max_examples=examples(300, fast=40), deadline=None)
@given(st.lists(objects(VALUES), max_size=4), st.booleans())
def test_no_events_break_the_guard_or_take_more_than_the_limit(bodies, whole):
    answer = GuardedItems(library(), {"input": ASKED})
    for body in bodies[:1] if whole else bodies:
        sent = answer.read(body, whole=whole)
        assert all(longest(text) <= LIMIT for text in texts_in(sent))
    answer.end()
    answer.close()
