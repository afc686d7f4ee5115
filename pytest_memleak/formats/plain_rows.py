"""Rows of the commonest shapes, read at once: pairs, chats, and single answers.

`log_answers.read_row` reads rows of any shape, which takes two to three times as long.
What is here reads a row only if each of its messages is one text and nothing else in
the row may be one, and then as that function does (tests/formats/test_plain_rows.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_memleak.formats.chat_cells import may_be_chat
from pytest_memleak.formats.log_answers import AnswerFacts, RowReading
from pytest_memleak.formats.log_format_table import LogFormat
from pytest_memleak.formats.log_messages import CONTAINERS, is_prompt_role
from pytest_memleak.formats.message_texts import KEYS_OF_END, Record, is_without_text
from pytest_memleak.formats.reasoning_and_tool_calls import NO_TEXT, is_text_key

_KEYS_OF_TEXTS = frozenset({"messages", "prompt", "completion", "response", "choices"})
_KEYS_OF_TURN = frozenset({"role", "content"})
_KEYS_OF_MESSAGE = KEYS_OF_END | {"role"}
_SINGLE_VALUES = (str, *NO_TEXT)
_KEYS_OF_PART = frozenset({"type", "text"})


class PlainTexts(NamedTuple):
    """The texts of a row of a common shape.

    answers: what the model wrote
    prompts: the prompt of each
    prompt:  the whole row's
    """

    answers: list[str]
    prompts: list[str]
    prompt: str

    @classmethod
    def of(cls, answers: list[tuple[str, int]], prompts: list[str]) -> PlainTexts:
        """Return the texts; answers: each with the number of prompts before it."""
        prompt = joined_prompts(prompts)
        own_prompts: list[str] = []
        for _, before in answers:
            is_last = before == len(prompts)
            own_prompts.append(prompt if is_last else joined_prompts(prompts[:before]))
        return cls([text for text, _ in answers], own_prompts, prompt)


def joined_prompts(prompts: list[str]) -> str:
    """Return prompts as one text."""
    return "\n\n".join(filter(None, prompts))


def read_plain_row(row: Record, row_format: LogFormat) -> RowReading | None:
    """Read a row of a common shape; None for one of another shape."""
    if row_format.dataset or not _is_plain(row, _KEYS_OF_TEXTS):
        return None
    keys = _KEYS_OF_TEXTS & row.keys()
    if keys == {"messages"}:
        return _chat(row["messages"])
    if keys == {"prompt", "completion"}:
        return _pair(row["prompt"], row["completion"])
    if keys == {"choices"}:
        return _single_choice(row["choices"])
    if keys == {"response"}:
        return _response(row["response"])
    return None


def _chat(messages: Any) -> RowReading | None:
    """Read a list of messages; no two of the model's may be one answer."""
    if not isinstance(messages, list):
        return None
    prompts: dict[str, None] = {}
    answers: dict[tuple[str, ...], AnswerFacts] = {}
    is_after_answer = False
    for message in messages:
        text = _text_of(message)
        if text is None:
            return None
        if is_prompt_role(message["role"]):
            prompts[text] = None
            is_after_answer = False
        elif is_after_answer:
            return None
        else:
            answers.setdefault((text,), AnswerFacts(len(prompts), {}))
            is_after_answer = True
    return _reading(answers, [*prompts])


def _pair(prompt: Any, completion: Any) -> RowReading | None:
    if not (_is_filled(prompt) and _is_filled(completion)) or may_be_chat(prompt):
        return None
    return _reading({(completion,): AnswerFacts(1, {})}, [prompt])


def _response(response: Any) -> RowReading | None:
    """Read the response to a request of a batch, with one choice."""
    if not isinstance(response, dict) or not _is_plain(response, {"body"}):
        return None
    body = response.get("body")
    if not isinstance(body, dict) or not _is_plain(body, {"choices"}):
        return None
    return _single_choice(body.get("choices"))


def _single_choice(choices: Any) -> RowReading | None:
    if not isinstance(choices, list) or len(choices) != 1:
        return None
    (choice,) = choices
    if not isinstance(choice, dict):
        return None
    end: Record = {}
    for key, value in choice.items():
        if key in KEYS_OF_END:
            if end or not is_without_text(key, value):
                return None
            end["finish_reason"] = value
        elif key != "message" and not _is_plain_value(key, value):
            return None
    text = _text_of(choice.get("message"))
    if text is None:
        return None
    return _reading({(text,): AnswerFacts(0, end)}, [])


def _text_of(message: Any) -> str | None:
    """Return the text of a message that has a role and nothing else to read."""
    if not isinstance(message, dict):
        return None
    role = message.get("role")
    if not _is_filled(role) or is_text_key(role):
        return None
    if len(message) > len(_KEYS_OF_TURN) and not _is_plain(message, _KEYS_OF_TURN):
        return None
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1:
        (part,) = content
        is_text_part = isinstance(part, dict) and part.keys() <= _KEYS_OF_PART
        if is_text_part and part.get("type", "text") == "text":
            content = part.get("text")
    return content if _is_filled(content) else None


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_plain(part: Record, read: Any) -> bool:
    """Return whether an object is no message, and has text under the keys read only."""
    for key, value in part.items():
        if key not in read and not _is_plain_value(key, value):
            return False
    return True


def _is_plain_value(key: str, value: Any) -> bool:
    """Return whether what stands beside a text is no text, and no message."""
    if key in _KEYS_OF_MESSAGE:
        return False
    if isinstance(value, _SINGLE_VALUES):
        return is_without_text(key, value)
    if _may_hold_messages(key, value):
        return False
    return is_without_text(key, value) or _has_only_numbers(key, value)


def _may_hold_messages(key: str, value: Any) -> bool:
    return key in CONTAINERS and isinstance(value, dict | list)


def _has_only_numbers(key: str, value: Any) -> bool:
    """Return whether a value is an object of numbers, such as the tokens of `usage`."""
    if is_text_key(key) or not isinstance(value, dict):
        return False
    for name, number in value.items():
        if is_text_key(name):
            return False
        if isinstance(number, NO_TEXT):
            continue
        if not _has_only_numbers(name, number):
            return False
    return True


def _reading(
    answers: dict[tuple[str, ...], AnswerFacts],
    prompts: list[str],
) -> RowReading:
    return RowReading(answers, prompts, other_values=[], dataset=frozenset())
