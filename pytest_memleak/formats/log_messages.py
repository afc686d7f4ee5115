"""The messages in a row of a log, at any depth, and who wrote them.

One rule for all formats: texts of users, systems, tools, and requests are the prompt of
what follows them, but not in an answer. All other messages are the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pytest_memleak.formats.message_texts import (
    KEYS_OF_ARGUMENTS,
    KEYS_OF_END,
    KEYS_OF_TEXT,
    Record,
    is_without_text,
    texts_of_message,
)

_ASKING_ROLES = frozenset(
    {"user", "human", "system", "developer", "tool", "function", "ipython"},
)
_SYSTEM = frozenset(
    {"system", "instructions", "systemInstruction", "system_instruction"},
)
KEYS_OF_REQUEST = _SYSTEM | {"request", "prompt", "input"}
"""Keys below which messages are a request's, unless a role is the model's."""

_LISTS_OF_MODEL = frozenset({"choices", "candidates", "output"})
_OF_MODEL = _LISTS_OF_MODEL | {"response", "completion"}
KEYS_OF_MODEL = _OF_MODEL | KEYS_OF_ARGUMENTS
"""Keys below which a dataset's keys are the model's."""

CONTAINERS = (
    KEYS_OF_REQUEST
    | _OF_MODEL
    | {"messages", "contents", "body", "message", "content", "delta"}
)
"""Keys below which messages are, at any depth."""

_CONTAINERS_IN_ANSWERS = CONTAINERS - KEYS_OF_REQUEST
# Whether what is below a key is in an answer.
_IN_ANSWER = {
    **dict.fromkeys(KEYS_OF_REQUEST, False),
    **dict.fromkeys(_OF_MODEL, True),
}


class Choice(NamedTuple):
    """One answer of several.

    end:    why it ended, under the key of a generation
    number: its index
    """

    end: Record
    number: object


class Message(NamedTuple):
    """A message, whether the model wrote it, and the choice that it belongs to."""

    content: Record
    of_model: bool
    choice: Choice


# What is still to be opened: a key, its value, whether that is in an answer (None: in
# neither an answer nor a request), and the choice around it.
_Part = tuple[str, Any, bool | None, Choice]


@dataclass(slots=True)
class RowMessages:
    """What a row holds.

    messages: in their order
    other_values:   what stands beside them, by its key
    chunks:   the number of the choice of each chunk of a stream
    """

    messages: list[Message]
    other_values: list[Record]
    chunks: list[str]


def messages_in(row: Record) -> RowMessages:
    """Return the messages in a row, with what stands beside them."""
    in_row = RowMessages(
        messages=[],
        other_values=[],
        chunks=[],
    )
    # Not recursive: the writer decides the depth.
    waiting: list[_Part] = [("", row, None, Choice({}, 0))]
    while waiting:
        key, value, in_answer, choice = waiting.pop()
        if isinstance(value, list):
            waiting += [
                (key, element, in_answer, choice) for element in reversed(value)
            ]
        elif not isinstance(value, dict):
            in_row.other_values.append({key: value})
        else:
            choice = _choice_in(value, key, choice)
            if _is_unfinished_chunk(value, choice):
                in_row.chunks.append(str(choice.number))
            if value is row:
                nested = _containers_in(row, in_answer)
                waiting += _nested_parts(
                    row, nested, in_answer, choice, in_row.other_values
                )
            else:
                waiting += _add_object_or_return_parts(
                    in_row, key, value, in_answer, choice
                )
    return in_row


def _add_object_or_return_parts(
    in_row: RowMessages,
    key: str,
    value: Record,
    in_answer: bool | None,
    choice: Choice,
) -> list[_Part]:
    """Add an object to what is in the row, or return the parts to open instead."""
    if "role" in value:
        of_model = in_answer or not is_prompt_turn(value)
        in_row.messages.append(Message(value, of_model, choice))
        return []
    nested = _containers_in(value, in_answer)
    if not nested <= {"content"} or isinstance(value.get("content"), dict):
        return _nested_parts(value, nested, in_answer, choice, in_row.other_values)
    if _is_message_without_role(key, value, in_answer):
        of_model = in_answer or (in_answer is None and not is_prompt_turn(value))
        in_row.messages.append(Message(value, of_model, choice))
    else:
        in_row.other_values.append({key: value})
    return []


def _choice_in(
    part: Record,
    key: str,
    choice: Choice,
) -> Choice:
    """Return the choice of what is in an object, by default the one around it."""
    number = part.get("index") or 0 if key in _LISTS_OF_MODEL else choice.number
    if KEYS_OF_END.isdisjoint(part):
        return Choice(choice.end, number)
    first = next(name for name in part if name in KEYS_OF_END)
    return Choice({"finish_reason": part[first]}, number)


def _is_unfinished_chunk(part: Record, choice: Choice) -> bool:
    """Return whether it is a chunk of a stream, without a sign of the end."""
    is_delta = isinstance(part.get("delta"), dict) and not part.get("message")
    return is_delta and not any(choice.end.values())


def _containers_in(part: Record, in_answer: bool | None) -> set[str]:
    """Return the keys of an object below which there may be messages."""
    containers = _CONTAINERS_IN_ANSWERS if in_answer else CONTAINERS
    return {
        key for key in part if key in containers and isinstance(part[key], dict | list)
    }


def _is_message_without_role(
    key: str,
    part: Record,
    in_answer: bool | None,
) -> bool:
    if key in _LISTS_OF_MODEL or in_answer is False:
        return True
    return any(map(part.__contains__, KEYS_OF_TEXT))


def _nested_parts(
    part: Record,
    nested: set[str],
    in_answer: bool | None,
    choice: Choice,
    other_values: list[Record],
) -> list[_Part]:
    """Return the nested parts of an object; add its `other_values`."""
    parts: list[_Part] = []
    for key in _prompts_last(tuple(part)):
        value = part[key]
        if key in nested:
            parts.append((key, value, _IN_ANSWER.get(key, in_answer), choice))
        elif is_without_text(key, value):
            continue
        elif value and (key in _IN_ANSWER or in_answer is False):
            message = {"content": value}
            parts.append((key, message, _IN_ANSWER.get(key, False), choice))
        elif in_answer:
            other_values.append({"response": {key: value}})  # the key says that it is
        else:
            other_values.append({key: value})
    return parts


@lru_cache(1 << 6)
def _prompts_last(keys: tuple[str, ...]) -> list[str]:
    """Order an object's keys for a stack, which opens the last one first.

    A row may have its response before its request.
    """
    return sorted(keys, key=_OF_MODEL.__contains__, reverse=True)


def prompts_in(values: list[Any]) -> list[str]:
    """Return the texts of messages that are prompts, at any depth."""
    waiting = [*values]
    prompts: list[str] = []
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "role" in part and is_prompt_turn(part):
                prompts += texts_of_message(part)
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return prompts


def is_prompt_turn(turn: object) -> bool:
    """Return whether a turn is a prompt: one of a role that asks, or a text alone."""
    if isinstance(turn, str):
        return True
    for key in ("role", "from", "type"):
        if role := value_at(turn, [key]):
            return is_prompt_role(str(role))
    return False


@lru_cache(1 << 6)
def is_prompt_role(role: str) -> bool:
    """Return whether texts of a role are prompts."""
    return role.lower() in _ASKING_ROLES


def value_at(row: object, path: Sequence[str]) -> Any:
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
