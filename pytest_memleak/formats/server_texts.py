"""The texts in a server's answer: every string is read, by its place and in order.

Only values of closed lists, plain ids, and dates are left out (textless_values.py),
since they can hold no text; the guard has the same lists. So words that a server
writes one by one in ids, names, or keys are a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pytest_memleak.formats.reasoning_and_tool_calls import (
    Place,
    count_word_runs,
    joined,
    texts_in,
)
from pytest_memleak.formats.textless_values import USUAL_KEYS, is_usual_value

# A longer string is a text at its own place, and isn't joined with others.
_LONGEST_PART = 600  # characters
_LEAST_WORDS = 20  # of a text across places
_LEAST_WORDS_READ = 5  # of a string that the answer has, too
# Of a whole answer: one name, which `served_names` is compared with.
_MODEL_NAMES = {("model",), ("modelVersion",)}
_KEY = ""  # ends the place of an object's keys


class _SentString(NamedTuple):
    """A string that a server sent; `place` has the keys that lead to it."""

    place: Place
    text: str

    @property
    def is_key(self) -> bool:
        return self.place[-1:] == (_KEY,)


def texts_sent(value: object, *, answer: str = "") -> list[str]:
    """Return the texts in what a server sent, by place and across places.

    answer: what stands beside it
    """
    return [
        *texts_at_places(value),
        *short_strings_joined_across_places(value, answer=answer),
    ]


def texts_at_places(value: object) -> list[str]:
    """Return the texts in what a server sent; strings at one place are joined."""
    return texts_in(value, kept=_without_usual_values)


def short_strings_joined_across_places(value: object, *, answer: str = "") -> list[str]:
    """Return the short strings of different places as a text, in the order sent.

    Once without the keys, and once with unusual ones. Empty under 20 words. A string
    that all objects repeat at a place counts once.

    answer: what stands beside it; a string of it, of five words or more, is left out
    """
    strings = [*_short_strings(value)]
    values = [sent for sent in strings if not sent.is_key]
    texts = _joined_across_places(values, answer)
    if len(strings) > len(values):
        texts += _joined_across_places(strings, answer)
    return texts


def _joined_across_places(strings: list[_SentString], answer: str) -> list[str]:
    constant = _constant_places(strings)
    read = {place for place in constant if place[-1:] in _MODEL_NAMES}
    pieces: list[str] = []
    for sent in strings:
        is_repeated = sent.place in read
        if sent.place in constant:
            read.add(sent.place)
        if not is_repeated and not _is_in_answer(sent.text, answer):
            pieces.append(sent.text)
    words = sum(map(count_word_runs, pieces))
    return joined(pieces) if words >= _LEAST_WORDS else []


def _constant_places(strings: Iterable[_SentString]) -> set[Place]:
    """Return the places where every string is the same, such as an id of chunks."""
    texts: dict[Place, set[str]] = {}
    for sent in strings:
        texts.setdefault(sent.place, set()).add(sent.text)
    return {place for place, different in texts.items() if len(different) == 1}


def _is_in_answer(text: str, answer: str) -> bool:
    return text.strip() in answer and count_word_runs(text) >= _LEAST_WORDS_READ


def _without_usual_values(place: Place, pieces: list[str]) -> list[str]:
    key = place[-1] if place else ""
    return [piece for piece in pieces if not is_usual_value(key, piece)]


def _short_strings(value: object) -> Iterator[_SentString]:
    """Yield strings and unusual keys with their places, in the order sent."""
    waiting: list[tuple[Place, object]] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            key = place[-1] if place else ""
            is_short = 0 < len(part) <= _LONGEST_PART
            if is_short and not is_usual_value(key, part):
                yield _SentString(place, part)
        elif isinstance(part, list | tuple):
            waiting += [(place, element) for element in reversed(part)]
        elif isinstance(part, Mapping):
            inside: list[tuple[Place, object]] = []
            for key, nested in part.items():
                name = str(key)
                if name not in USUAL_KEYS and not name.isdigit():
                    inside.append(((*place, _KEY), name))
                inside.append(((*place, name), nested))
            waiting += reversed(inside)
