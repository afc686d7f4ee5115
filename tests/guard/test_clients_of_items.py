"""The clients of the Responses and the Messages API get through the guard what they get without it."""

import json

import anthropic
import openai
import pydantic
import pytest
from examples import examples
from guarded_texts import library, longest, without_names
from hypothesis import given, settings
from hypothesis import strategies as st
from item_answers import (
    ARGUMENTS,
    ASKED,
    BLOCKS,
    HONEST,
    ITEMS,
    LEAK,
    RULES,
    SIGNATURE,
    TOOL,
    TOWN,
    call,
    events,
    message,
    refused,
    reply,
    response,
    said,
    stream_of,
    thinking,
    thought,
    used,
)

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded

from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.formats.stream_events import streamed_text
from pytest_memleak.guard import GuardedItems

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


# --- Responses
# ------------------------------------------------------------------------------


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
