"""The texts of one message, without the metadata that only describes them.

All text in a message is its writer's, but for metadata of a few words outside the
arguments of a call.
"""

from __future__ import annotations

from typing import Any

from pytest_memleak.formats.reasoning_and_tool_calls import (
    NO_TEXT,
    Place,
    count_word_runs,
    has_few_word_runs,
    has_several_words,
    is_text_key,
    joined,
    texts_in,
)

Record = dict[str, Any]

WORDS_OF_TEXT = 20
"""Words from which a text is long enough for a passage."""

KEYS_OF_TEXT = ("content", "parts", "text")
KEYS_OF_END = frozenset({"finish_reason", "stop_reason", "finishReason"})
KEYS_OF_ARGUMENTS = frozenset({"arguments", "args"})
# What describes a text, in a few words.
_METADATA = frozenset(
    {*KEYS_OF_END, "role", "id", "type", "source", "model", "name", "object",
     "provider", "logprobs", "error", "usage", "status", "event", "timestamp",
     "metrics", "uuid", "span_id", "parent_id", "tool_call_id", "op", "path",
     "custom_id", "request_id", "system_fingerprint"},
)  # fmt: skip


def texts_of_message(message: Record) -> tuple[str, ...]:
    """Return the text of a message, and whatever else is in it."""
    place = next(filter(message.get, KEYS_OF_TEXT), "")
    texts, rest = _split_content(message.get(place, ""))
    rest.append(_without(place, message))
    readings = dict.fromkeys(["".join(texts), *joined(texts)])
    beside = [part for part in rest if part]
    if not beside:
        return tuple(readings)
    texts_beside = texts_in(beside, kept=without_metadata)
    return (*readings, *texts_beside, *_short_texts_joined([*texts, *texts_beside]))


def _short_texts_joined(texts: list[str]) -> list[str]:
    """Return texts of several places as one, if each has too few words for a passage.

    Such as the lines of a poem, each under a key of its own.
    """
    short = [
        text for text in dict.fromkeys(texts) if count_word_runs(text) < WORDS_OF_TEXT
    ]
    words = sum(map(count_word_runs, short))
    return joined(short) if words >= WORDS_OF_TEXT else []


def _split_content(content: object) -> tuple[list[str], list[object]]:
    """Return the texts of a message's content, and what stands beside them."""
    texts: list[str] = []
    rest: list[object] = []
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and _is_plain_text(part):
            texts.append(part["text"])
            rest.append(_without("text", part))
        else:
            rest.append(part)
    return texts, rest


def _is_plain_text(part: Record) -> bool:
    return isinstance(part.get("text"), str) and not part.get("thought")


def _without(key_read: str, part: Record) -> Record:
    """Return what else of an object may hold text."""
    return {
        key: value
        for key, value in part.items()
        if key != key_read and not is_without_text(key, value)
    }


def is_without_text(key: str, value: object) -> bool:
    """Return whether neither a key nor its value holds text; faster than `texts_in`."""
    if isinstance(value, str):
        return key in _METADATA and not has_several_words(value)
    if value and not isinstance(value, NO_TEXT):
        return False
    return not is_text_key(key)


def without_metadata(place: Place, pieces: list[str]) -> list[str]:
    """Return the texts at a place in a message; none if they only describe it."""
    if "input" not in place and is_metadata(place, pieces):
        return []
    return pieces


def is_metadata(place: Place, pieces: list[str]) -> bool:
    """Return whether texts at a place describe another, in a few words."""
    if _METADATA.isdisjoint(place) or not KEYS_OF_ARGUMENTS.isdisjoint(place):
        return False
    different = {*pieces}
    # Names and ids are single words; a stream may have one in each event below them.
    is_single = "logprobs" in place or place[-1] in _METADATA
    texts = filter(has_several_words if is_single else None, different)
    return has_few_word_runs(" ".join(texts))
