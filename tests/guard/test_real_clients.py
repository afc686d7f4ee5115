"""Clients that others wrote get through the guard what they get without it."""

import json
import random

import openai
import pydantic
import pytest
from chat_answers import (
    ASKED,
    CALLS,
    HONEST,
    LEAK,
    SIGNED,
    START,
    STREAMS,
    TOWN,
    USAGE,
    WHOLE,
    body,
    chat,
    chunks,
    said,
)
from guarded_texts import deltas, library, without_names

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded


@pytest.fixture(scope="module")
def served():
    """The server behind a guard, and the address of each."""
    with guarded(library()) as (server, proxy, address):
        yield server, proxy, {"guard": f"{address}/v1", "server": proxy._upstream}


@pytest.fixture
def both(served):
    """Calls a function with a client of the server and with one of the guard."""

    def run(call):
        results = []
        for address in ("server", "guard"):
            url = served[2][address]
            with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
                results.append(call(client))
        return results

    return run


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_of_openai_is_the_same(served, both, name):
    served[0].answers[name] = WHOLE[name]
    direct, through = both(
        lambda client: client.chat.completions.create(
            model=name, messages=ASKED, n=len(WHOLE[name]["choices"])
        ).model_dump()
    )
    assert without_names(through) == without_names(direct)
    assert through["model"] == name


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_openai_is_the_same(served, both, name):
    served[0].answers[name] = [*chunks(*STREAMS[name])]

    def whole(client):
        with client.chat.completions.stream(
            model=name, messages=ASKED, n=2, stream_options={"include_usage": True}
        ) as stream:
            return stream.get_final_completion().model_dump()

    direct, through = both(whole)
    assert without_names(through) == without_names(direct)
    assert through["usage"]["total_tokens"] == 169


class Town(pydantic.BaseModel):
    name: str
    people: int
    streets: list[str]


def test_structured_output_of_openai_is_the_same(served, both):
    served[0].answers["structured"] = WHOLE["structured"]
    direct, through = both(
        lambda client: client.chat.completions.parse(
            model="structured", messages=ASKED, response_format=Town
        )
    )
    assert through.choices[0].message.parsed == Town(**json.loads(TOWN))
    assert through.choices[0].message.parsed == direct.choices[0].message.parsed


def test_tools_in_a_loop_get_back_the_ids_and_signatures_of_the_server(served, both):
    server = served[0]
    server.answers["tools"] = WHOLE["tools"]

    def loop(client):
        messages = [*ASKED]
        for _ in range(3):
            answer = client.chat.completions.create(model="tools", messages=messages)
            message = answer.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "300 people"}
                for call in message.tool_calls
            ]
        return server.asked[-1][1]["messages"]

    direct, through = both(loop)
    assert through == direct
    assert through[2]["tool_call_id"] == CALLS[0]["id"]
    assert through[1]["tool_calls"][0]["extra_content"] == SIGNED


def test_completions_of_openai_are_the_same(served, both):
    server = served[0]
    choices = [
        {"index": 0, "text": HONEST, "finish_reason": "length", "logprobs": None}
    ]
    server.answers["text"] = body("text_completion", choices, usage=USAGE)
    server.answers["texts"] = [
        *[
            body(
                "text_completion", [{"index": 0, "text": piece, "finish_reason": None}]
            )
            for piece in deltas(HONEST, random.Random(1), 12)
        ],
        b"data: [DONE]",
    ]

    def streamed(client):
        parts = client.completions.create(model="texts", prompt="It began", stream=True)
        return "".join(part.choices[0].text for part in parts)

    direct, through = both(
        lambda client: client.completions.create(
            model="text", prompt="It began"
        ).model_dump()
    )
    assert without_names(through)["usage"] == without_names(direct)["usage"]
    assert through["choices"][0]["text"] == HONEST
    assert both(streamed) == [HONEST, HONEST]


def test_usage_is_in_the_last_chunk_of_a_stopped_stream(served, both):
    served[0].answers["leak"] = [*chunks(START, *said(LEAK), (0, "stop"))]

    def last(client):
        parts = client.chat.completions.create(
            model="leak",
            messages=ASKED,
            stream=True,
            stream_options={"include_usage": True},
        )
        return [*parts]

    _, parts = both(last)
    assert parts[-1].usage.total_tokens == 169
    assert "content_filter" in [c.finish_reason for part in parts for c in part.choices]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 3}, "logprobs, top_logprobs"),
        (
            {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}},
            "audio",
        ),
        ({"extra_body": {"return_token_ids": True}}, "return_token_ids"),
    ],
)
def test_what_the_guard_would_drop_is_rejected_by_its_name(served, both, asked, name):
    served[0].answers["plain"] = WHOLE["plain"]

    def call(client):
        try:
            return client.chat.completions.create(
                model="plain", messages=ASKED, **asked
            )
        except openai.BadRequestError as error:
            return error.message

    _, through = both(call)
    assert f"can't send what {name}" in through
    assert "omit the option, or start the guard with --drop" in through


def test_with_drop_the_rest_of_an_answer_arrives():
    logprobs = {
        "content": [{"token": "Yes", "logprob": -0.1, "bytes": [1], "top_logprobs": []}]
    }
    answer = chat({"content": "Yes."})
    answer["choices"][0]["logprobs"] = logprobs
    with guarded(library(), drop=True) as (server, _, address):
        server.answers["m"] = answer
        with openai.OpenAI(base_url=f"{address}/v1", api_key="k") as client:
            (choice,) = client.chat.completions.create(
                model="m", messages=ASKED, logprobs=True
            ).choices
    assert (choice.message.content, choice.logprobs) == ("Yes.", None)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of its own imports
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["plain", "tools"])
def test_answers_of_litellm_are_the_same(served, name, stream, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # asks no other server
    litellm = pytest.importorskip("litellm")
    asked = [*chunks(*STREAMS[name])] if stream else WHOLE[name]
    served[0].answers[name] = asked

    def call(address):
        answer = litellm.completion(
            model=f"openai/{name}", api_base=served[2][address], api_key="k",
            messages=ASKED, stream=stream,
        )  # fmt: skip
        if stream:
            answer = litellm.stream_chunk_builder([*answer])
        return answer.choices[0].message.model_dump()

    assert without_names(call("guard")) == without_names(call("server"))
