"""The completion in a response of OpenAI's Responses API, whole or streamed.

Source: the types of the package openai (`openai.types.responses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pytest_memleak.formats.server_texts import (
    short_strings_joined_across_places,
    texts_at_places,
    texts_sent,
)
from pytest_memleak.formats.stream_events import streamed_text
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.providers.error_bodies import error_code
from pytest_memleak.providers.openai.choices import served_of
from pytest_memleak.providers.response_fields import (
    FILTER_CODES,
    as_list,
    as_mapping,
    completions_of,
    filtered,
    finish_reason_of_answer,
    server_name,
    token_count,
)
from pytest_memleak.records import FinishReason

_EVENTS = "events"  # the key of what a stream had beside its response
_FAILED = "failed"


class _Output(NamedTuple):
    """What a response's items have.

    texts, refusals: one for each message that has any
    other_items: what else is in the items
    """

    texts: list[str]
    refusals: list[str]
    other_items: list[object]


def read_response(answer: object, *, instruction: str = "") -> list[Completion]:
    """Return the one completion in a response; none if it has no output.

    Its text is that of all the model's messages. Reasoning, its summaries, calls of
    tools, and whatever else has text are beside it. An incomplete response has the
    finish word of its reason: cut at the most tokens, or withheld.

    instruction: not text of the model if a server repeats it
    """
    if not isinstance(answer, Mapping):
        return []
    output = answer.get("output")
    if not output and error_code(answer) in FILTER_CODES:
        return filtered(1)
    has_failed = answer.get("status") == _FAILED
    if not isinstance(output, list) or (has_failed and not output):
        return []
    texts, refusals, other_items = _read_output(output)
    text = "\n\n".join(texts)
    word = _finish_word(answer)
    reason = finish_reason_of_answer(word, text)
    if refusals:
        text = text or "\n\n".join(refusals)
        word = "refusal"
        reason = FinishReason.REFUSAL
    usage = as_mapping(answer.get("usage"))
    return completions_of(
        [(text, reason)],
        [word],
        [texts_sent(other_items, answer=text)],
        apart=_texts_outside_output(answer),
        prompt=token_count(usage.get("input_tokens")),
        total=token_count(usage.get("output_tokens")),
        served=served_of(answer),
        instruction=instruction,
    )


def is_event_of_response(event: Mapping[str, Any]) -> bool:
    """Tell whether an event is one of a streamed response."""
    return str(event.get("type")).startswith("response.")


def streamed_response(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last response in a stream's events, with all their texts beside it.

    A stream that was cut ends with a response in progress, whose text isn't whole.
    """
    answer: Mapping[str, Any] = {}
    pieces: dict[tuple[str | int, ...], list[str]] = {}
    others: list[object] = []
    for event in events:
        delta = event.get("delta")
        streamed = streamed_text(event)
        if streamed:
            pieces.setdefault(streamed.place, []).append(streamed.text)
        elif isinstance(delta, str):
            pieces.setdefault((str(event.get("type")),), []).append(delta)
        elif isinstance(event.get("response"), Mapping):
            others.append(answer)
            answer = event["response"]
        elif event.get("type") == "error":
            answer = {"error": event}
        else:
            others.append(event)
    texts = ["".join(text) for text in pieces.values()]
    return {**answer, _EVENTS: [*texts, *others]}


def _read_output(output: Sequence[object]) -> _Output:
    """Part the texts of the model's messages from what stands beside them."""
    read = _Output([], [], [])
    for item in output:
        if isinstance(item, Mapping) and _is_message_of_model(item):
            read.other_items.append(_read_message(item, read))
        else:
            read.other_items.append(item)
    return read


def _is_message_of_model(item: Mapping[str, Any]) -> bool:
    kind = item.get("type", "message")
    role = item.get("role", "assistant")
    return (kind, role) == ("message", "assistant")


def _read_message(item: Mapping[str, Any], read: _Output) -> dict[str, Any]:
    """Add the text of a message, or its refusal, to what was read; return the rest."""
    content = item.get("content")
    parts = [{"text": content}] if isinstance(content, str) else as_list(content)
    text = ""
    refusal = ""
    rest: list[object] = []
    for part in parts:
        fields = dict(part) if isinstance(part, Mapping) else {"": part}
        if isinstance(fields.get("text"), str):
            text += fields.pop("text")
        if isinstance(fields.get("refusal"), str):
            refusal += fields.pop("refusal")
        rest.append(fields)
    if text:
        read.texts.append(text)
    if refusal:
        read.refusals.append(refusal)
    return {**item, "content": rest}


def _finish_word(answer: Mapping[str, Any]) -> str | None:
    """Return why a response is incomplete, or its status."""
    details = as_mapping(answer.get("incomplete_details"))
    return server_name(details.get("reason") or answer.get("status"))


def _texts_outside_output(answer: Mapping[str, Any]) -> list[str]:
    """Return the texts outside a response's output."""
    others = {key: answer[key] for key in answer if key not in ("output", _EVENTS)}
    texts = texts_sent(others)
    events = as_list(answer.get(_EVENTS))
    for event in events:
        texts += texts_at_places(event)
    streamed = "\n".join(event for event in events if isinstance(event, str))
    return texts + short_strings_joined_across_places(events, answer=streamed)
