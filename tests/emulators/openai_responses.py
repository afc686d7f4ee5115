"""Responses as OpenAI's Responses API makes, checks, and streams them."""

import json

from http_server import RequestRejected

# What the API has; it refuses anything else.
_PARAMETERS = {
    "include", "input", "instructions", "max_output_tokens", "metadata", "model",
    "reasoning", "store", "stream", "temperature", "text", "top_p", "truncation",
}  # fmt: skip
_SIZE = 7  # characters of a delta


def respond(answers, body, strike, *, request=None):
    """Return the response to a request, from the chat completion of the same request."""
    for name in body:
        if name not in _PARAMETERS:
            raise RequestRejected(
                400,
                f"Unknown parameter: '{name}'.",
                param=name,
                code="unknown_parameter",
            )
    chat = {**body, "messages": body["input"]}
    limit = chat.pop("max_output_tokens", None)
    if limit is not None:
        chat["max_completion_tokens"] = limit
    completion = answers.complete(chat, strike, request=request)
    (choice,) = completion["choices"]
    status, details = _status(choice["finish_reason"])
    return {
        "id": completion["id"].replace("chatcmpl-", "resp_"),
        "object": "response",
        "created_at": completion["created"],
        "status": status,
        "model": completion["model"],
        "output": [*_reasoning(choice["message"]), _message(choice["message"])],
        "error": None,
        "incomplete_details": details,
        "store": body.get("store", True),
        "truncation": "disabled",
        "usage": {
            "input_tokens": completion["usage"]["prompt_tokens"],
            "output_tokens": completion["usage"]["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _status(finish_reason):
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    if finish_reason in reasons:
        return "incomplete", {"reason": reasons[finish_reason]}
    return "completed", None


def _reasoning(message):
    """Yield the item of a message's thoughts, if it has any."""
    if message.get("reasoning_content"):
        summary = {"type": "summary_text", "text": message["reasoning_content"]}
        yield {"id": "rs_1", "type": "reasoning", "summary": [summary]}


def _message(message):
    part = {
        "type": "output_text",
        "text": message["content"] or "",
        "annotations": [],
        "logprobs": [],
    }
    if message["refusal"]:
        part = {"type": "refusal", "refusal": message["refusal"]}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def events_of(response):
    """Yield the events of a streamed response."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    for number, item in enumerate(response["output"]):
        place = {"item_id": item["id"], "output_index": number}
        yield {"type": "response.output_item.added", "item": {**item, "content": []}}
        for part in item.get("content", []):
            kind = part["type"]
            text = part.get("text") or part.get("refusal") or ""
            for at in range(0, len(text), _SIZE):
                delta = {"delta": text[at : at + _SIZE], "content_index": 0}
                yield {"type": f"response.{kind}.delta", **place, **delta}
            yield {"type": f"response.{kind}.done", **place, "text": text}
        yield {"type": "response.output_item.done", "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def event_line(event):
    """Return an event as a server sends it."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
