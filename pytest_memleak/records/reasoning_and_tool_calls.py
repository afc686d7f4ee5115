"""What stands beside an answer: thoughts and calls of tools, under the names servers give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

REASONING_KEYS = (
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks"),
    *("thoughts", "tool_calls", "function_call", "audio"),
)
"""The names under which servers and their clients keep what a model wrote beside its answer."""

_RUN = re.compile(r"[^\W_]+")
# Names, dates and addresses have no blanks, and few words.
_FEW_RUNS = 12
# Signatures and sounds are sent as text, too, but no language has words so long.
_LONGEST_MEAN = 16

Place = tuple[str, ...]


def texts_in(value: object) -> list[str]:
    """Every text of more than a word in it, however it is wrapped.

    What lists have at one place is one text: a stream parts what was thought wherever it likes.
    """
    pieces: dict[Place, list[str]] = {}
    for place, text in _strings(value):
        pieces.setdefault(place, []).append(text)
    return [text for its in pieces.values() for text in _joined(its) if _is_text(text)]


def without_answer(texts: list[str], answer: str, *, asked: str = "") -> str:
    """These texts, each once, but for what the answer has and for the instruction, said again."""
    if asked:
        texts = [text.replace(asked, " ") for text in texts]
    return "\n\n".join(dict.fromkeys(text for text in texts if text.strip() not in answer))


def count_runs(text: str) -> int:
    """How many runs of letters and digits it has."""
    return len(_RUN.findall(text))


def _strings(value: object) -> Iterator[tuple[Place, str]]:
    """Each string with its place, in order; its place among a list's others is none."""
    # No recursion: a server decides how deep it is.
    waiting: list[tuple[Place, object]] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            yield place, part
        elif isinstance(part, Mapping):
            inside = [((*place, str(key)), value) for key, value in part.items()]
            keys = [((*place, ""), f"{key}\n") for key in part if _is_text(str(key))]
            waiting += reversed(keys + inside)
        elif isinstance(part, list):
            waiting += [(place, value) for value in reversed(part)]


def _joined(pieces: list[str]) -> list[str]:
    """As one text: words where no blanks part them, parts of words where blanks do.

    Both where they part some: they may be parts of words, or words and a few blanks among them.
    """
    if len(set(pieces)) == 1:
        return pieces[:1]  # a name that each has
    parted = {left[-1:].isspace() or right[:1].isspace() for left, right in pairwise(pieces)}
    return [mark.join(pieces) for mark, blank in (("", True), (" ", False)) if blank in parted]


def _is_text(text: str) -> bool:
    if len(text.split(maxsplit=1)) > 1:
        return True
    runs = count_runs(text)
    return runs >= _FEW_RUNS and len(text) <= _LONGEST_MEAN * runs
