"""Responses that a server streams, as events that add up to one response."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_memleak.formats.distinct_keys import json_with_distinct_keys
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.providers.openai.responses import (
    is_event_of_response,
    streamed_response,
)
from pytest_memleak.providers.response_fields import MOST_CHOICES, server_name
from pytest_memleak.records import FinishReason
from pytest_memleak.records.generation import finish_reason_from_word

# Not str.splitlines, which also splits at characters that JSON's strings may have.
_LINE_END = re.compile(r"\r\n|\n|\r")
# The beginnings of an event's lines.
_FIELDS = ("data:", "event:", "id:", "retry:", ":")
# Each is the same in all events that have it.
_CONSTANT = {"id", "object", "model", "system_fingerprint", "role"}
_FROM_LEAST_WITHHELD = (
    FinishReason.STOP,
    FinishReason.LENGTH,
    FinishReason.UNKNOWN,
    FinishReason.REFUSAL,
    FinishReason.CONTENT_FILTER,
    FinishReason.RECITATION,
)


def read_response_body(content: bytes) -> object:
    """Return the JSON of a response, or of the one that a stream's events add up to."""
    text = content.decode("utf-8").lstrip("\ufeff \n\r")
    lines = _LINE_END.split(text)
    if not lines[0].startswith(_FIELDS):
        return json_with_distinct_keys(text)
    events = [_parse_event(data) for data in _data_of(lines)]
    if any(map(is_event_of_response, events)):
        return streamed_response(events)
    return _JoinedResponse(events).answer


def _parse_event(data: str) -> Mapping[str, Any]:
    event = json_with_distinct_keys(data)
    if not isinstance(event, Mapping):
        raise ValueError("an event isn't an object")  # noqa: TRY004 - as invalid JSON
    return event


class _JoinedResponse:
    """The response that a stream's events add up to."""

    def __init__(self, events: list[Mapping[str, Any]]) -> None:
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._others: list[object] = []
        for number, event in enumerate(events):
            self._add_event(event, number)

    @property
    def answer(self) -> dict[str, Any]:
        """The fields, and the choices in the order of their indexes."""
        indexes = sorted(self._choices)
        choices = [self._choices[index] for index in indexes]
        listed = [*choices, *self._others]
        if not listed:
            return self._fields
        return self._fields | {"choices": listed}

    def _add_event(self, event: Mapping[str, Any], number: int) -> None:
        fields = dict(event)
        choices = _list_of_parts(fields.pop("choices", None) or [])
        _append_values(self._fields, fields)
        for choice in choices[:MOST_CHOICES]:
            if not isinstance(choice, Mapping):
                self._others.append(choice)
                continue
            index = choice.get("index")
            if not isinstance(index, int):
                index = 0
            whole = self._choices.setdefault(index, {})
            _append_values(whole, _fields_of(choice, number))


def _data_of(lines: list[str]) -> Iterator[str]:
    """Yield the data of each event: of several lines, joined."""
    data: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:"))
        elif not line and data:  # a blank line ends an event
            text = "\n".join(data).strip()
            data = []
            if text not in {"", "[DONE]"}:
                yield text


def _fields_of(choice: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return a choice whose message is its delta, with a message's texts beside it."""
    if "delta" not in choice:
        return choice
    fields = dict(choice)
    # Some servers repeat the whole message in each event: its texts mustn't be joined.
    texts = texts_in(fields.pop("message", None))
    fields["message"] = fields.pop("delta")
    fields["messages"] = {f"{number}": texts}
    return fields


def _append_values(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Append the values of `part` to those of `whole`; replace numbers and types.

    Raises ValueError for a name that changes.
    """
    for key, value in part.items():
        before = whole.get(key)
        if key == "finish_reason":
            whole[key] = max(before, value, key=_withheld_rank)
        elif key in _CONSTANT:
            if before and value and value != before:
                raise ValueError(f"the events have more than one {key}")
            whole[key] = before or value
        elif value is None or (key == "type" and value == before):
            whole.setdefault(key, None)
        elif isinstance(value, Mapping) and isinstance(before, dict):
            _append_values(before, value)
        elif _replaces_earlier_value(key, before):
            whole[key] = _extensible_copy(value)
        elif isinstance(value, str) and isinstance(before, str) and key != "type":
            whole[key] = before + value
        else:
            whole[key] = [*_list_of_parts(before), *_list_of_parts(value)]


def _replaces_earlier_value(key: str, before: object) -> bool:
    if not isinstance(before, str | list | dict):
        return True
    return key == "type" and not texts_in(before)


def _extensible_copy(value: object) -> object:
    """Return an object that may be added to."""
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _list_of_parts(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value]


def _withheld_rank(reason: object) -> int:
    if reason in (None, "", "null"):  # what servers send until there is a reason
        return -1
    return _FROM_LEAST_WITHHELD.index(finish_reason_from_word(server_name(reason)))
