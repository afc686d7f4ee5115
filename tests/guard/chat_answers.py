"""What a server of chat completions answers, whole and streamed."""

import json
import random

from disguised_texts import prose
from guarded_texts import deltas

HONEST = " ".join(prose("the-seed-vault")[:120])
LEAK = " ".join(prose("the-lamplighter")[:120])
ASKED = [{"role": "user", "content": "Tell me of the town."}]
USAGE = {
    "prompt_tokens": 9, "completion_tokens": 160, "total_tokens": 169,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12},
}  # fmt: skip
SIGNATURE = "Es8CCswC" + "qXw3Yv/9Lb+" * 80 + "=="
SIGNED = {"google": {"thought_signature": SIGNATURE}}
CALLS = [
    {"id": f"call_{'abcdefgh' * 20}{n}", "type": "function", "extra_content": SIGNED,
     "function": {"name": "look_up", "arguments": '{"town": "Ebb", "n": 3}'}}
    for n in range(2)
]  # fmt: skip
CITED = {
    "type": "url_citation",
    "url_citation": {
        "url": "https://example.org/ebb?x=1", "title": "The town of Ebb",
        "start_index": 3, "end_index": 17,
    },
}  # fmt: skip


def body(kind, choices, **more):
    return {
        "id": "chatcmpl-9aZ", "object": kind, "created": 1_700_000_000,
        "model": "served-2025-01-01", "system_fingerprint": "fp_44709d6fcb",
        "service_tier": "default", "choices": choices, **more,
    }  # fmt: skip


def chat(*messages, reason="stop"):
    choices = [
        {
            "index": n,
            "message": {"role": "assistant", **message},
            "finish_reason": reason,
        }
        for n, message in enumerate(messages)
    ]
    return body("chat.completion", choices, usage=USAGE)


def chunks(*steps, usage=True):
    """Yield the chunks of a stream: pairs of a choice and its delta, or its reason."""
    for number, step in steps:
        choice = {"index": number, "delta": {}, "finish_reason": None}
        choice |= {"delta": step} if isinstance(step, dict) else {"finish_reason": step}
        yield body("chat.completion.chunk", [choice])
    if usage:
        yield body("chat.completion.chunk", [], usage=USAGE)
    yield b"data: [DONE]"


def said(text, field="content", number=0):
    rng = random.Random(number)
    return [(number, {field: piece}) for piece in deltas(text, rng, 12)]


def called():
    """Return the deltas of two tool calls, the arguments in pieces."""
    for n, call in enumerate(CALLS):
        function = {"name": "look_up", "arguments": ""}
        yield 0, {"tool_calls": [{"index": n, **call, "function": function}]}
        for piece in deltas(call["function"]["arguments"], random.Random(n)):
            yield 0, {"tool_calls": [{"index": n, "function": {"arguments": piece}}]}


START = (0, {"role": "assistant", "content": ""})
TOWN = json.dumps({"name": "Ebb", "people": 300, "streets": ["Wick", "Quay"]})
WHOLE = {
    "plain": chat({"content": HONEST, "refusal": None, "annotations": []}),
    "short": chat({"content": "Yes."}),
    "empty": chat({"content": ""}),
    "null": chat({"content": None, "refusal": "I can't help with that."}),
    "choices": chat({"content": HONEST}, {"content": "No."}, {"content": HONEST[:99]}),
    "reasoning": chat({"content": HONEST, "reasoning_content": f"Hm. {HONEST}"}),
    "annotations": chat({"content": HONEST, "annotations": [CITED, CITED]}),
    "tools": chat({"content": None, "tool_calls": CALLS}, reason="tool_calls"),
    "structured": chat({"content": TOWN}),
    "length": chat({"content": HONEST}, reason="length"),
    "code": chat(
        {"content": "```python\nfor n in range(3):\n    print(n ** 2)\n```\n"}
    ),
    "table": chat({"content": "| a | b |\n| - | - |\n" + "| 1.5 | x_y |\n" * 20}),
    "unicode": chat({"content": "Grüße, 東京 and Москва 🙂 — “naïve” é\u0301"}),
    "numbers": chat({"content": " ".join(map(str, range(200)))}),
}
STREAMS = {
    "plain": [START, *said(HONEST), (0, "stop")],
    "reasoning": [
        START,
        *said(HONEST, "reasoning_content"),
        *said(HONEST),
        (0, "stop"),
    ],
    "tools": [START, *called(), (0, "tool_calls")],
    "text and tools": [
        START,
        *said("Let me look that up."),
        *called(),
        (0, "tool_calls"),
    ],
    "choices": [
        *said(HONEST),
        *said(HONEST[:200], number=1),
        (0, "stop"),
        (1, "stop"),
    ],
    "structured": [START, *said(TOWN), (0, "stop")],
    "refusal": [START, *said("I can't help with that.", "refusal"), (0, "stop")],
}
