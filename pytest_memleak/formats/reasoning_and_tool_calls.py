"""Reasoning and tool calls beside a completion, under the names that servers use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise

REASONING_KEYS = (
    *(
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "thinking",
        "thinking_blocks",
    ),
    *("thoughts", "tool_calls", "function_call", "audio"),
)
"""The keys under which servers and clients return what a model wrote beside its completion."""

NO_TEXT = (int, float, type(None))
_RUN = re.compile(r"[^\W_]+")
# Names, dates and addresses have no blanks and few words.
FEW_RUNS = 12
_MANY_RUNS = re.compile(rf"(?:[\W_]*+[^\W_]++){{{FEW_RUNS}}}")
_SHORTEST = 2 * FEW_RUNS - 1  # characters of so many runs
# Signatures and audio are also sent as text, but no language has words so long.
_LONGEST_MEAN = 16

Place = tuple[str, ...]


def texts_in(
    value: object,
    *,
    kept: Callable[[Place, list[str]], list[str]] = lambda _, pieces: pieces,
) -> list[str]:
    """Return every text of more than a word in a nested value, of each place's strings to keep.

    Strings at one place in lists are joined: a stream splits reasoning anywhere. So are
    single words at different places, if there are many.
    """
    pieces: dict[Place, list[str]] = {}  # by place; indices in lists are no part of it
    # Not recursive: the server decides the depth.
    waiting: list[tuple[Place, object]] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            pieces.setdefault(place, []).append(part)
        elif isinstance(part, (list, tuple)):  # a map of Parquet has pairs
            waiting += [
                (place, each)
                for each in reversed(part)
                if not isinstance(each, NO_TEXT)
            ]
        elif isinstance(part, (dict, Mapping)):  # a dict is known faster
            inside: list[tuple[Place, object]] = []
            for key, each in part.items():
                if is_text_key(name := str(key)):
                    pieces.setdefault((*place, ""), []).append(f"{name}\n")
                if not isinstance(each, NO_TEXT):
                    inside.append(((*place, name), each))
            waiting += reversed(inside)
    every = [text for at, its in pieces.items() for text in joined(kept(at, its))]
    texts = [text for text in every if is_text(text)]
    words = (
        [text for text in every if count_runs(text) == 1]
        if len(every) >= FEW_RUNS
        else []
    )
    return [*texts, " ".join(words)] if len(words) >= FEW_RUNS else texts


def without_answer(texts: list[str], answer: str, *, asked: str = "") -> str:
    """Join the texts, each once, without the answer and repetitions of the instruction."""
    if asked:
        texts = [text.replace(asked, " ") for text in texts]
    return "\n\n".join(
        dict.fromkeys(text for text in texts if text.strip() not in answer)
    )


def count_runs(text: str) -> int:
    """Count its runs of letters and digits."""
    return len(_RUN.findall(text))


def has_few_runs(text: str) -> bool:
    """Return whether it has no more than names, dates and addresses have."""
    return len(text) < _SHORTEST or not _MANY_RUNS.match(text)


def joined(pieces: list[str]) -> list[str]:
    """Join pieces of a text: by blanks if none has one at its edge, directly if all have.

    If only some have, return both readings.
    """
    if len(set(pieces)) == 1:
        return pieces[:1]  # a name that each has
    parted = {
        left[-1:].isspace() or right[:1].isspace() for left, right in pairwise(pieces)
    }
    return [
        mark.join(pieces)
        for mark, blank in (("", True), (" ", False))
        if blank in parted
    ]


def is_text(text: str) -> bool:
    """Return whether it has more than a word; names, dates and addresses are one."""
    if len(text.split(maxsplit=1)) > 1:
        return True
    runs = count_runs(text) if len(text) >= _SHORTEST else 0
    return runs >= FEW_RUNS and len(text) <= _LONGEST_MEAN * runs


is_text_key = lru_cache(1 << 10)(is_text)  # the rows of a file have the same keys
