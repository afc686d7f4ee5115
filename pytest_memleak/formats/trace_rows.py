"""Rows of traces and of other APIs, rewritten as requests and responses.

Read so: a message and a batch of Anthropic's API, observations of Langfuse, runs of
LangSmith, and spans and log records of OpenTelemetry, of which a row may have many.
What isn't part of a request stays beside it, and is searched like the response.

Sources: the types of the packages anthropic, langfuse, and langsmith, OpenTelemetry's
semantic conventions for generative AI, and OTLP's encoding in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

Record = dict[str, Any]
Calls = Callable[[Record], list[Record]]
"""Returns the calls in a row; a row of OpenTelemetry may have none."""

# The attributes of a request; also of OpenInference and of OpenLLMetry. All others are
# read as the model's.
_OF_REQUEST = (
    "gen_ai.input.",
    "gen_ai.prompt",
    "gen_ai.system",
    "gen_ai.tool.definitions",
    "gen_ai.user.",
    "gen_ai.content.prompt",
    "gen_ai.request.",
    "input.",
    "llm.input_messages",
    "llm.prompts",
    "llm.request.",
    "llm.tools",
    "traceloop.entity.input",
)
_OF_MODELS = ("gen_ai.", "llm.", "openinference.", "traceloop.")
_REQUESTING_EVENTS = (
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.tool.message",
    "gen_ai.content.prompt",
)
_PARTS_OF_OTLP = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resource_spans": ("scope_spans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resource_logs": ("scope_logs", "log_records"),
}
_IDS = ("traceId", "spanId", "trace_id", "span_id", "id")


def _message(row: Record) -> list[Record]:
    """Rewrite a message of Anthropic's API."""
    return [{"request": None, "response": row}]


def _result_of_batch(row: Record) -> list[Record]:
    return [_renamed(row, {"result": "response"})]


def _observation(row: Record) -> list[Record]:
    """Rewrite an observation of Langfuse, whose texts may be JSON in cells."""
    return [_renamed(row, {"input": "request", "output": "response"})]


def _run(row: Record) -> list[Record]:
    return [_renamed(row, {"inputs": "request", "outputs": "response"})]


def _renamed(row: Record, names: dict[str, str]) -> Record:
    call: Record = {"request": None, "response": None}
    for key, value in row.items():
        name = names.get(key, key)
        call[name] = value if name == key else _parsed_with_key(value)
    return call


def _parsed_with_key(value: Any) -> Any:
    """Return a part of a call, with its text under a key."""
    value = _parsed(value)
    if isinstance(value, str):
        return {"text": value}
    return {"messages": value} if isinstance(value, list) else value


def _span(row: Record) -> list[Record]:
    """Rewrite a span as OpenTelemetry's SDK prints it."""
    call = _call_of_span(row, row.get("attributes"))
    return [call] if call else []


def _otlp(row: Record) -> list[Record]:
    """Return the calls in spans and log records of OTLP."""
    calls: list[Record] = []
    for key, (scopes, records) in _PARTS_OF_OTLP.items():
        for resource in _objects(row.get(key)):
            for scope in _objects(resource.get(scopes)):
                for record in _objects(scope.get(records)):
                    plain = _plain_record(record)
                    call = _call_of_span(plain, plain["attributes"])
                    if call:
                        calls.append(call)
    return calls


def _plain_record(record: Record) -> Record:
    """Return a span or a log record with plain attributes, events, and body."""
    events = [
        {**event, "attributes": _plain_attributes(event.get("attributes"))}
        for event in _objects(record.get("events"))
    ]
    plain = {**record, "attributes": _plain_attributes(record.get("attributes"))}
    if events:
        plain["events"] = events
    name = record.get("eventName", record.get("event_name"))
    if "body" in record:
        body = {"body": _plain_value(record["body"])}
        plain["events"] = [{"name": name or "", "attributes": body}]
        del plain["body"]
    return plain


def _call_of_span(span: Record, attributes: Any) -> Record | None:
    """Return a span as a call; None if it is of no model."""
    attributes = attributes if isinstance(attributes, dict) else {}
    events = _objects(span.get("events"))
    names = [*attributes, *(str(event.get("name")) for event in events)]
    if not any(name.startswith(_OF_MODELS) for name in names):
        return None
    request: Record = {}
    response: Record = {}
    for name, value in attributes.items():
        part = request if name.startswith(_OF_REQUEST) else response
        part[name] = _parsed(value)
    for number, event in enumerate(events):
        is_request = event.get("name") in _REQUESTING_EVENTS
        for name, value in (event.get("attributes") or {}).items():
            of_request = is_request or name.startswith(_OF_REQUEST)
            part = request if of_request else response
            part[f"{name}.{number}"] = _parsed(value)
    asked = request.pop("gen_ai.input.messages", None)
    answers: list[Record] = []
    if _are_objects(response.get("gen_ai.output.messages")):
        answers = list(map(_with_text, response.pop("gen_ai.output.messages")))
    call: Record = {
        "request": {"messages": [asked, {"role": "user", **request}]},
        "response": {"messages": [*answers, {"role": "assistant", **response}]},
    }
    return call | {key: span[key] for key in (*_IDS, "start_time") if key in span}


def _with_text(message: Record) -> Record:
    """Return a message whose parts have their text under the usual key."""
    if not _are_objects(message.get("parts")):
        return message
    parts: list[Record] = []
    for part in message["parts"]:
        is_text = part.get("type") == "text" and "text" not in part
        names = {"content": "text"} if is_text else {}
        parts.append({names.get(key, key): part[key] for key in part})
    return {**message, "parts": parts}


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and len(_objects(value)) == len(value)


def _plain_attributes(pairs: Any) -> Record:
    """Return attributes of OTLP, a list of keys and typed values, as plain ones."""
    return {
        str(pair.get("key")): _plain_value(pair.get("value"))
        for pair in _objects(pairs)
    }


def _plain_value(value: Any) -> Any:
    """Return a typed value of OTLP as a plain one."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, inside),) = value.items()
    if kind in ("kvlistValue", "kvlist_value") and isinstance(inside, dict):
        return _plain_attributes(inside.get("values"))
    if kind in ("arrayValue", "array_value") and isinstance(inside, dict):
        return [_plain_value(element) for element in inside.get("values") or ()]
    return inside


def _parsed(value: Any) -> Any:
    """Return the value of a text that is JSON; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _objects(value: Any) -> list[Record]:
    elements: Iterator[Any] = iter(value if isinstance(value, list) else ())
    return [element for element in elements if isinstance(element, dict)]


WRITERS: tuple[tuple[frozenset[str], Calls], ...] = (
    (frozenset({"role", "content", "stop_reason"}), _message),
    (frozenset({"custom_id", "result"}), _result_of_batch),
    (frozenset({"trace_id", "input", "output"}), _observation),
    (frozenset({"traceId", "input", "output"}), _observation),
    (frozenset({"run_type", "inputs", "outputs"}), _run),
    (frozenset({"attributes", "context", "kind"}), _span),
    *((frozenset({key}), _otlp) for key in _PARTS_OF_OTLP),
)
"""The keys of each writer's rows, and what returns the calls in one."""
