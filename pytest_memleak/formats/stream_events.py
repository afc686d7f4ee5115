"""Where the events of a stream hold text: of OpenAI's Responses, Anthropic's Messages.

Sources: the types of the packages openai (`openai.types.responses`) and anthropic
(`anthropic.types`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

EventPlace = tuple[str | int, ...]

# The place of a delta in its item of the output; names of indices are the event's keys.
_DELTAS_OF_RESPONSES = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
    "response.function_call_arguments.delta": ("arguments",),
    "response.mcp_call_arguments.delta": ("arguments",),
    "response.custom_tool_call_input.delta": ("input",),
    "response.code_interpreter_call_code.delta": ("code",),
}
# The key of the text in each kind of delta of a content block.
_DELTAS_OF_MESSAGES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}
_DELTA_OF_BLOCK = "content_block_delta"

DELTA_TYPES = frozenset({*_DELTAS_OF_RESPONSES, _DELTA_OF_BLOCK, *_DELTAS_OF_MESSAGES})
"""The types of events, and of deltas in them, whose text goes on in others."""


class StreamedText(NamedTuple):
    """A piece of a text, and the place of that text in the whole answer."""

    place: EventPlace
    text: str


def streamed_text(event: Mapping[str, Any]) -> StreamedText | None:
    """Return the piece of text that an event adds; None if it isn't such an event."""
    kind = event.get("type")
    delta = event.get("delta")
    if not isinstance(kind, str):
        return None
    if kind in _DELTAS_OF_RESPONSES and isinstance(delta, str):
        place: list[str | int] = ["output", index_in_event(event, "output_index")]
        for part in _DELTAS_OF_RESPONSES[kind]:
            is_index = part.endswith("_index")
            place.append(index_in_event(event, part) if is_index else part)
        return StreamedText(tuple(place), delta)
    if kind == _DELTA_OF_BLOCK and isinstance(delta, dict):
        key = _DELTAS_OF_MESSAGES.get(str(delta.get("type")))
        text = delta.get(key) if key else None
        if key and isinstance(text, str):
            return StreamedText(("content", index_in_event(event, "index"), key), text)
    return None


def event_with_text_replaced(event: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return an event that adds a text, with another one.

    It keeps its type, its item's id and numbers, and nothing else.
    """
    kept: dict[str, Any] = {"type": event["type"]}
    for key, value in event.items():
        is_empty = value is None or value in ([], {})
        if key == "item_id" or is_empty or isinstance(value, int | float):
            kept[key] = value
    delta = event["delta"]
    if isinstance(delta, dict):
        kind = delta["type"]
        kept["delta"] = {"type": kind, _DELTAS_OF_MESSAGES[kind]: text}
    else:
        kept["delta"] = text
    return kept


def place_of_part(event: Mapping[str, Any], key: str) -> EventPlace | None:
    """Return the place in the whole answer of what an event holds at a key.

    None: of nothing that the answer has.
    """
    if key in ("response", "message"):
        return ()
    if key == "content_block":
        return "content", index_in_event(event, "index")
    if key not in ("item", "part"):
        return None
    item = ("output", index_in_event(event, "output_index"))
    if key == "item":
        return item
    parts = "summary" if "summary_index" in event else "content"
    return *item, parts, index_in_event(event, f"{parts}_index")


def index_in_event(event: Mapping[str, Any], key: str) -> int:
    """Return an index of an event; 0 if it has none."""
    index = event.get(key)
    return index if isinstance(index, int) and index >= 0 else 0
