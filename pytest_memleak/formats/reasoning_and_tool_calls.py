"""Reasoning and tool calls beside a completion, under the names that servers use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise

from pytest_memleak.formats.decode_words import hides_words

REASONING_KEYS = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
    "thoughts",
    "tool_calls",
    "function_call",
    "audio",
)
"""The keys under which servers return what a model wrote beside its completion."""

NO_TEXT = (int, float, type(None))
_RUN = re.compile(r"[^\W_]+")
# Names, dates and addresses have no blanks and few words.
FEW_RUNS = 12
_MANY_RUNS = re.compile(rf"(?:[\W_]*+[^\W_]++){{{FEW_RUNS}}}")
_SHORTEST = 2 * FEW_RUNS - 1  # characters of so many runs
# Signatures and audio are also sent as text, but no language has words so long.
_LONGEST_MEAN = 16

Place = tuple[str, ...]
_Part = tuple[Place, object]

Kept = Callable[[Place, list[str]], list[str]]
"""A choice among the strings at a place."""


def _all_kept(_place: Place, pieces: list[str]) -> list[str]:
    return pieces


def texts_in(value: object, *, kept: Kept = _all_kept) -> list[str]:
    """Return every text of more than a word in a nested value, also if it is encoded.

    Strings at one place in lists are joined: a stream splits reasoning anywhere. So are
    single words at different places, if there are many.

    kept: chooses among the strings of each place
    """
    every: list[str] = []
    for place, pieces in _strings_by_place(value).items():
        every += joined(kept(place, pieces))
    texts = [text for text in every if has_several_words(text) or hides_words(text)]
    if len(every) < FEW_RUNS:
        return texts
    words = [text for text in every if count_word_runs(text) == 1]
    return [*texts, " ".join(words)] if len(words) >= FEW_RUNS else texts


def _strings_by_place(value: object) -> dict[Place, list[str]]:
    """Return a nested value's strings by their keys; list indices are no part of it.

    A key that is a text is a string at the place "" of its object.
    """
    strings: dict[Place, list[str]] = {}
    # Not recursive: the server decides the depth.
    waiting: list[_Part] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            strings.setdefault(place, []).append(part)
        elif isinstance(part, (list, tuple)):  # a map of Parquet has pairs
            elements = [each for each in part if not isinstance(each, NO_TEXT)]
            waiting += [(place, element) for element in reversed(elements)]
        elif isinstance(part, (dict, Mapping)):  # a dict is known faster
            inside: list[_Part] = []
            for key, nested in part.items():
                name = str(key)
                if is_text_key(name):
                    of_keys = strings.setdefault((*place, ""), [])
                    of_keys.append(f"{name}\n")
                if not isinstance(nested, NO_TEXT):
                    inside.append(((*place, name), nested))
            waiting += reversed(inside)
    return strings


def join_without_answer(
    texts: list[str],
    answer: str,
    *,
    asked: str = "",
) -> str:
    """Join the texts, each once, without the answer and repeated instructions."""
    if asked:
        texts = [text.replace(asked, " ") for text in texts]
    beside = [text for text in texts if text.strip() not in answer]
    return "\n\n".join(dict.fromkeys(beside))


def count_word_runs(text: str) -> int:
    """Count its runs of letters and digits."""
    return len(_RUN.findall(text))


def has_few_word_runs(text: str) -> bool:
    """Return whether it has no more than names, dates and addresses have."""
    return len(text) < _SHORTEST or not _MANY_RUNS.match(text)


def joined(pieces: list[str]) -> list[str]:
    """Join pieces of a text: by blanks if none has one at its edge, else directly.

    If only some have, return both readings.
    """
    if len(set(pieces)) == 1:
        return pieces[:1]  # a name that each has
    has_blank = set()
    for left, right in pairwise(pieces):
        has_blank.add(left[-1:].isspace() or right[:1].isspace())
    readings: list[str] = []
    if True in has_blank:
        readings.append("".join(pieces))
    if False in has_blank:
        readings.append(" ".join(pieces))
    return readings


def has_several_words(text: str) -> bool:
    """Return whether it has more than a word; names, dates and addresses are one."""
    if len(text.split(maxsplit=1)) > 1:
        return True
    if len(text) < _SHORTEST:
        return False
    runs = count_word_runs(text)
    return runs >= FEW_RUNS and len(text) <= _LONGEST_MEAN * runs


is_text_key = lru_cache(1 << 10)(
    has_several_words
)  # the rows of a file have the same keys
