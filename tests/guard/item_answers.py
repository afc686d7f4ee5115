"""What servers of the Responses and of the Messages API answer, whole and streamed."""

import json
import random

from disguised_texts import prose
from guarded_texts import deltas

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
