"""The messages in a row of a log, at any depth, and who wrote them.

One rule for all formats: texts of users, systems, tools, and requests are the prompt of
what follows them, but not in an answer. All other text is the model's, but for metadata
of a few words outside arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pytest_memleak.formats.reasoning_and_tool_calls import (
    NO_TEXT,
    Place,
    has_few_runs,
    is_text,
    is_text_key,
    joined,
    texts_in,
)

Record = dict[str, Any]
Path = Sequence[str]

_ASKING = frozenset(
    {"user", "human", "system", "developer", "tool", "function", "ipython"}
)
_SYSTEM = frozenset(
    {"system", "instructions", "systemInstruction", "system_instruction"}
)
_OF_REQUEST = _SYSTEM | {"request", "prompt", "input"}
_LISTS_OF_MODEL = frozenset({"choices", "candidates", "output"})
_OF_MODEL = _LISTS_OF_MODEL | {"response", "completion"}
_ARGUMENTS = frozenset({"arguments", "args"})
KEYS_OF_MODEL = _OF_MODEL | _ARGUMENTS  # below which a dataset's keys are the model's
# Where messages are, at any depth.
CONTAINERS = frozenset(
    {*_OF_REQUEST, *_OF_MODEL, "messages", "contents", "body", "message", "content", "delta"}
)  # fmt: skip
_IN_ANSWERS = CONTAINERS - _OF_REQUEST
_IN_ANSWER = {**dict.fromkeys(_OF_REQUEST, False), **dict.fromkeys(_OF_MODEL, True)}
_ENDS = frozenset({"finish_reason", "stop_reason", "finishReason"})
_TEXTS = ("content", "parts", "text")
# What describes a text, in a few words.
_METADATA = frozenset(
    {*_ENDS, "role", "id", "type", "source", "model", "name", "object", "provider", "logprobs",
     "error", "usage", "status", "event", "timestamp", "metrics", "uuid", "span_id", "parent_id",
     "tool_call_id", "op", "path", "custom_id", "request_id", "system_fingerprint"}
)  # fmt: skip


# Why an answer of several ended, under the key of a generation, and its number.
_Choice = tuple[Record, object]
# A value with its key, whether it is in an answer (None: in neither), and the choice.
_Part = tuple[str, Any, bool | None, _Choice]


@dataclasses.dataclass(slots=True)
class RowMessages:
    """What a row holds.

    messages: each message, whether the model wrote it, and its choice
    beside:   what stands beside them, by its key
    chunks:   the number of the choice of each chunk of a stream
    """

    messages: list[tuple[Record, bool, _Choice]]
    beside: list[Record]
    chunks: list[str]


def messages_in(row: Record) -> RowMessages:
    """Return the messages in a row, with what stands beside them."""
    result = RowMessages([], [], [])
    waiting: list[_Part] = [("", row, None, ({}, 0))]
    while waiting:
        key, part, in_answer, choice = waiting.pop()
        if isinstance(part, list):
            waiting += [(key, element, in_answer, choice) for element in reversed(part)]
            continue
        if not isinstance(part, dict):
            result.beside.append({key: part})
            continue
        choice = _choice_in(part, key, choice)
        is_delta = isinstance(part.get("delta"), dict) and not part.get("message")
        if is_delta and not any(choice[0].values()):  # nothing says that it has ended
            result.chunks.append(str(choice[1]))
        if "role" in part and part is not row:
            result.messages.append((part, in_answer or not is_asking(part), choice))
            continue
        containers = _IN_ANSWERS if in_answer else CONTAINERS
        nested = {
            key
            for key in part
            if key in containers and isinstance(part[key], dict | list)
        }
        if (
            part is row
            or not nested <= {"content"}
            or isinstance(part.get("content"), dict)
        ):
            waiting += _opened(part, nested, in_answer, choice, result.beside)
        elif (
            key in _LISTS_OF_MODEL
            or in_answer is False
            or not part.keys().isdisjoint(_TEXTS)
        ):
            of_model = in_answer or (in_answer is None and not is_asking(part))
            result.messages.append((part, of_model, choice))
        else:
            result.beside.append({key: part})
    return result


def prompts_in(values: list[Any]) -> list[str]:
    """Return the texts of messages that are prompts, at any depth."""
    waiting, prompts = [*values], list[str]()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            prompts += (
                texts_of_message(part) if "role" in part and is_asking(part) else ()
            )
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return prompts


def is_asking(turn: object) -> bool:
    """Return whether a turn is a prompt: one of a role that asks, or a text alone."""
    role = next(
        filter(None, (value_at(turn, [key]) for key in ("role", "from", "type"))), ""
    )
    return isinstance(turn, str) or str(role).lower() in _ASKING


def value_at(row: object, path: Path) -> Any:
    """Return the value at a path of keys; None if there is none."""
    value = row
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal():
            value = dict(enumerate(value)).get(int(key))
        else:
            return None
    return value


def _choice_in(part: Record, key: str, choice: _Choice) -> _Choice:
    end, number = choice
    if key in _LISTS_OF_MODEL:
        number = part.get("index") or 0
    if not _ENDS.isdisjoint(part):
        end = {"finish_reason": part[next(filter(_ENDS.__contains__, part))]}
    return end, number


def _opened(
    part: Record,
    nested: set[str],
    in_answer: bool | None,
    choice: _Choice,
    beside: list[Record],
) -> list[_Part]:
    """Return the nested parts of an object; what stands beside them is added to `beside`."""
    parts: list[_Part] = []
    for key in _prompts_first(tuple(part)):
        value = part[key]
        if key in nested:
            parts.append((key, value, _IN_ANSWER.get(key, in_answer), choice))
        elif not _is_without_text(key, value):
            if value and (key in _IN_ANSWER or in_answer is False):
                parts.append(
                    (key, {"content": value}, _IN_ANSWER.get(key, False), choice)
                )
            else:  # with a key that says whether it is in an answer
                beside.append({"response": {key: value}} if in_answer else {key: value})
    return parts


@lru_cache(1 << 6)
def _prompts_first(keys: tuple[str, ...]) -> list[str]:
    """Order the keys of an object; a row may have its response before its request."""
    return sorted(keys, key=_OF_MODEL.__contains__, reverse=True)


def texts_of_message(message: Record) -> tuple[str, ...]:
    """Return the text of a message, and whatever else is in it."""
    place = next(filter(message.get, _TEXTS), "")
    content = message.get(place, "")
    texts, rest = [], []
    for part in content if isinstance(content, list) else [content]:
        text = part if isinstance(part, str) else value_at(part, ["text"])
        if isinstance(text, str) and not value_at(part, ["thought"]):
            texts.append(text)
            rest.append(_with_text(part, "text") if isinstance(part, dict) else {})
        else:
            rest.append(part)
    parts = [*filter(None, [*rest, _with_text(message, place)])]
    readings = dict.fromkeys(["".join(texts), *joined(texts)])
    return *readings, *(texts_in(parts, kept=without_metadata) if parts else ())


def without_metadata(place: Place, pieces: list[str]) -> list[str]:
    """Return the texts at a place in a message; none if they only describe it."""
    return [] if "input" not in place and is_metadata(place, pieces) else pieces


def _with_text(part: Record, read: str) -> Record:
    return {k: part[k] for k in part if k != read and not _is_without_text(k, part[k])}


def _is_without_text(key: str, value: object) -> bool:
    """Return whether neither a key nor its value holds text; faster than `texts_in`."""
    if isinstance(value, str):
        return key in _METADATA and not is_text(value)
    return (not value or isinstance(value, NO_TEXT)) and not is_text_key(key)


def is_metadata(place: Place, pieces: list[str]) -> bool:
    """Return whether texts at a place describe another, in a few words."""
    described = not _METADATA.isdisjoint(place) and _ARGUMENTS.isdisjoint(place)
    # Names and ids are single words; below them, a stream may have a word in each
    # event.
    is_name = "logprobs" in place or not _METADATA.isdisjoint(place[-1:])
    return described and has_few_runs(
        " ".join(filter(is_text if is_name else None, {*pieces}))
    )
