"""Thirty ordinary calls of each client: the guard changes neither what is asked nor what comes."""

import json
import random
from itertools import cycle

import anthropic
import chat_answers as chats
import item_answers as items
import openai
import pytest
from disguised_texts import prose
from guarded_texts import deltas, library, without_names

pytest.importorskip("aiohttp", reason="the extra guard is not installed")
from chat_streams import guarded

QUOTED = " ".join(prose("the-lamplighter")[500:525])
TEXTS = {
    "prose": chats.HONEST,
    "short": "Yes.",
    "quotation": f"As the novel has it: “{QUOTED}” That is all that I may quote.",
    "dialogue": '"Are you there?" she asked.\n"No," he said.\n\n"Then who is?"\n' * 3,
    "verse": "The tide is in,\n  the tide is out,\n    and nothing is about.\n" * 3,
    "python": "```python\nfor n in range(3):\n    print(n ** 2)  # squares\n```\n",
    "json": json.dumps({"town": "Ebb", "streets": ["Wick", "Quay"], "n": [1, 2.5]}),
    "table": "| a | b |\n| - | - |\n" + "| 1.5 | x_y |\n" * 12,
    "list": "".join(f"{n}. Step {n}: turn the wick {n} times.\n" for n in range(1, 12)),
    "mathematics": r"So \(\sum_{k=1}^n k = \frac{n(n+1)}{2}\), and $e^{i\pi} = -1$.",
    "unicode": "Grüße, 東京 and Москва 🙂 — “naïve” é\u0301, עברית, ไทย",
    "markup": "<p>Tides &amp; <b>lamps</b></p>\n<!-- none --><br/>\n",
    "links": "See https://example.org/ebb?x=1&y=2#top, and mail a.b@example.org.",
    "numbers": " ".join(map(str, range(120))),
    "base64": "Here it is: " + "aGVsbG8gd29ybGQ" * 3 + "=",
}
assert len(TEXTS) == 15
CONVERSATION = [
    {"role": "user", "content": "Who lives there?"},
    {"role": "assistant", "content": "Three hundred people, most of them fishers."},
    {"role": "user", "content": "Tell me more."},
]
DOT = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}}


@pytest.fixture(scope="module")
def served():
    with guarded(library()) as (server, proxy, address):
        yield server, proxy._upstream.removesuffix("/v1"), address


@pytest.fixture
def same_result(served):
    """Call a function with the addresses of server and guard; compare what comes."""

    def compare(call):
        server, *addresses = served
        results = []
        for address in addresses:
            results.append(without_names(call(address)))
        assert results[1] == results[0]
        assert server.asked[-1][1] == server.asked[-2][1]
        return results[1]

    return compare


def each_with(answers, requests):
    """Pair each text, whole and streamed, with one of the requests in turn."""
    kinds = [(name, stream) for name in answers for stream in (False, True)]
    return [
        pytest.param(name, stream, request, id=f"{name}-{'stream' if stream else ''}")
        for (name, stream), request in zip(kinds, cycle(requests), strict=False)
    ]


# --- OpenAI: chat completions, completions
# ------------------------------------------------------------------------------

CHAT_REQUESTS = [
    {},
    {"messages": CONVERSATION},
    {"temperature": 0.2, "seed": 7, "stop": ["\n\n\n"]},
    {"messages": [{"role": "system", "content": "Be brief."}, *chats.ASKED]},
    {"max_completion_tokens": 500, "user": "u-1", "metadata": {"team": "tides"}},
    {"response_format": {"type": "json_object"}, "reasoning_effort": "low"},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    {
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is that?"},
                {"type": "image_url", "image_url": {"url": DOT}},
            ]}
        ]
    },
]  # fmt: skip
USED = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("name", "stream", "request_"), each_with(TEXTS, CHAT_REQUESTS)
)
def test_a_chat_completion(served, same_result, name, stream, request_):
    text = TEXTS[name]
    steps = [chats.START, *chats.said(text), (0, "stop")]
    answer = [*chats.chunks(*steps)] if stream else chats.chat({"content": text})
    served[0].answers[name] = answer
    asked = {"model": name, "messages": chats.ASKED, **request_}

    def call(address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="k") as client:
            if not stream:
                return client.chat.completions.create(**asked).model_dump()
            with client.chat.completions.stream(**asked, **USED) as events:
                return events.get_final_completion().model_dump()

    assert same_result(call)["choices"][0]["message"]["content"] == text


TEXT_REQUESTS = [
    {},
    {"max_tokens": 300, "temperature": 0.0},
    {"stop": ["\n\n\n"], "seed": 7},
    {"suffix": "And so on."},
    {"top_p": 0.9, "frequency_penalty": 0.1, "user": "u-1"},
    {"prompt": ["It began", "It ended"]},
]


@pytest.mark.parametrize(
    ("name", "stream", "request_"), each_with(TEXTS, TEXT_REQUESTS)
)
def test_a_completion(served, same_result, name, stream, request_):
    text = TEXTS[name]
    asked = {"model": name, "prompt": "It began", **request_}
    prompts = asked["prompt"] if isinstance(asked["prompt"], list) else ["It began"]

    def body(piece, reason, **more):
        choices = [
            {"index": n, "text": piece, "finish_reason": reason, "logprobs": None}
            for n in range(len(prompts))
        ]
        return chats.body("text_completion", choices, **more)

    pieces = deltas(text, random.Random(1), 12)
    chunks = [body(piece, None) for piece in pieces]
    chunks += [body("", "stop"), b"data: [DONE]"]
    served[0].answers[name] = (
        chunks if stream else body(text, "stop", usage=chats.USAGE)
    )

    def call(address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="k") as client:
            answer = client.completions.create(**asked, stream=stream)
            if not stream:
                return answer.model_dump()
            texts = dict.fromkeys(range(len(prompts)), "")
            for chunk in answer:
                for choice in chunk.choices:
                    texts[choice.index] += choice.text
            return {"choices": [{"text": whole} for whole in texts.values()]}

    for choice in same_result(call)["choices"]:
        assert choice["text"] == text


# --- OpenAI: responses
# ------------------------------------------------------------------------------

RESPONSE_REQUESTS = [
    {},
    {"input": "Tell me of the town."},
    {"input": CONVERSATION, "instructions": "Be brief."},
    {"tools": [items.TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    {"max_output_tokens": 500, "temperature": 0.3, "top_p": 0.9},
    {"store": False, "include": ["reasoning.encrypted_content"]},
    {"reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"team": "tides"}},
    {"previous_response_id": "resp_0", "user": "u-1", "truncation": "auto"},
]


@pytest.mark.parametrize(
    ("name", "stream", "request_"), each_with(TEXTS, RESPONSE_REQUESTS)
)
def test_a_response(served, same_result, name, stream, request_):
    text = TEXTS[name]
    output = [items.message(text)]
    if "reasoning" in request_:
        output.insert(0, items.thought(f"Hm. {text}"))
    answer = [*items.events(*output)] if stream else items.response(*output)
    served[0].answers[name] = answer
    asked = {"model": name, "input": items.ASKED, **request_}

    def call(address):
        with openai.OpenAI(base_url=f"{address}/v1", api_key="k") as client:
            if not stream:
                return client.responses.create(**asked).model_dump()
            with client.responses.stream(**asked) as events:
                events.until_done()
                return events.get_final_response().model_dump()

    sent = same_result(call)["output"][-1]
    assert sent["content"][0]["text"] == text


# --- Anthropic: messages
# ------------------------------------------------------------------------------

MESSAGE_TOOL = {"name": "look_up", "input_schema": SCHEMA}
MESSAGE_REQUESTS = [
    {},
    {"system": "Be brief.", "extra_body": {"temperature": 0.2}},
    {"messages": CONVERSATION, "stop_sequences": ["\n\n\n"]},
    {"tools": [MESSAGE_TOOL], "tool_choice": {"type": "auto"}},
    {"metadata": {"user_id": "u-1"}, "service_tier": "auto"},
    {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
    {
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is that?"},
                {"type": "image", "source": {
                    "type": "base64", "media_type": "image/png", "data": "iVBORw0K"
                }},
            ]}
        ]
    },
    {"system": [{"type": "text", "text": "Be brief.",
                 "cache_control": {"type": "ephemeral"}}]},
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stream", "request_"), each_with(TEXTS, MESSAGE_REQUESTS)
)
def test_a_message(served, same_result, name, stream, request_):
    text = TEXTS[name]
    blocks = [items.said(text)]
    if "thinking" in request_:
        blocks.insert(0, items.thinking(f"Hm. {text}"))
    if "tools" in request_:
        blocks.append(items.used())
    answer = [*items.stream_of(*blocks)] if stream else items.reply(*blocks)
    served[0].answers[name] = answer
    asked = {"model": name, "max_tokens": 2_000, "messages": items.ASKED, **request_}

    def call(address):
        with anthropic.Anthropic(base_url=address, api_key="k") as client:
            if not stream:
                return client.messages.create(**asked).model_dump()
            with client.messages.stream(**asked) as events:
                return events.get_final_message().model_dump()

    texts = [part["text"] for part in same_result(call)["content"] if part.get("text")]
    assert texts == [text]


# --- LiteLLM
# ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def litellm():
    """Return the package, which takes seconds to import."""
    with pytest.MonkeyPatch.context() as environment:
        # Asks no other server.
        environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield pytest.importorskip("litellm")


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of its own imports
@pytest.mark.parametrize(
    ("name", "stream", "request_"), each_with(TEXTS, CHAT_REQUESTS[:5])
)
def test_a_completion_of_litellm(served, same_result, litellm, name, stream, request_):
    text = TEXTS[name]
    steps = [chats.START, *chats.said(text), (0, "stop")]
    answer = [*chats.chunks(*steps)] if stream else chats.chat({"content": text})
    served[0].answers[name] = answer
    asked = {"messages": chats.ASKED, "stream": stream, **request_}

    def call(address):
        answer = litellm.completion(
            model=f"openai/{name}", api_base=f"{address}/v1", api_key="k", **asked
        )
        if stream:
            answer = litellm.stream_chunk_builder([*answer])
        return answer.choices[0].model_dump()

    assert same_result(call)["message"]["content"] == text


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of its own imports
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_of_litellm(served, same_result, litellm, stream):
    blocks = [items.said(chats.HONEST), items.used()]
    answer = [*items.stream_of(*blocks)] if stream else items.reply(*blocks)
    served[0].answers["claude"] = answer

    def call(address):
        answer = litellm.completion(
            model="anthropic/claude", api_base=address, api_key="k",
            messages=items.ASKED, stream=stream,
        )  # fmt: skip
        if stream:
            answer = litellm.stream_chunk_builder([*answer])
        return answer.choices[0].model_dump()

    assert same_result(call)["message"]["content"] == chats.HONEST
