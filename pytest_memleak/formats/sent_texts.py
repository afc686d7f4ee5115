"""The texts in a server's answer: every string is read, by its place and in order.

Only values of closed lists, plain ids, and dates can be no text (usual_names.py), as
for the guard. So words that a server writes one by one in ids, names, or keys are a
text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_memleak.formats.reasoning_and_tool_calls import (
    Place,
    count_runs,
    joined,
    texts_in,
)
from pytest_memleak.formats.usual_names import USUAL_KEYS, is_usual_value

# A passage in longer strings is read by its place; fewer words are none.
_LONGEST_PART = 600  # characters
_LEAST_WORDS = 20
_LEAST_MATCH = 5
# Of a whole answer: one name, which `served_names` is compared with.
_MODEL_NAMES = {("model",), ("modelVersion",)}
_KEY = ""  # ends the place of an object's keys

_String = tuple[Place, str]


def texts_sent(value: object, *, answer: str = "") -> list[str]:
    """Return the texts in what a server sent, by place and across places.

    answer: what stands beside it
    """
    return [*texts_at_places(value), *text_in_order(value, answer=answer)]


def texts_at_places(value: object) -> list[str]:
    """Return the texts in what a server sent; strings at one place are joined."""
    return texts_in(value, kept=_without_usual)


def text_in_order(value: object, *, answer: str = "") -> list[str]:
    """Return the short strings of different places as a text, in the order sent.

    Once without the keys, and once with unusual ones. Empty under 20 words. A string
    that all objects repeat at a place counts once.

    answer: what stands beside it; a string of it, of five words or more, is left out
    """
    strings = [*_short_strings(value)]
    values = [string for string in strings if _KEY not in string[0]]
    texts = _joined_places(values, answer)
    if len(strings) > len(values):
        texts += _joined_places(strings, answer)
    return texts


def _joined_places(strings: list[_String], answer: str) -> list[str]:
    different: dict[Place, set[str]] = {}
    for place, text in strings:
        different.setdefault(place, set()).add(text)
    seen: set[Place] = set()
    pieces: list[str] = []
    for place, text in strings:
        is_same = len(different[place]) == 1
        is_repeated = is_same and (place in seen or place[-1:] in _MODEL_NAMES)
        is_read = text.strip() in answer and count_runs(text) >= _LEAST_MATCH
        seen.add(place)
        if not is_repeated and not is_read:
            pieces.append(text)
    words = sum(map(count_runs, pieces))
    return joined(pieces) if words >= _LEAST_WORDS else []


def _without_usual(place: Place, pieces: list[str]) -> list[str]:
    key = place[-1] if place else ""
    return [piece for piece in pieces if not is_usual_value(key, piece)]


def _short_strings(value: object) -> Iterator[_String]:
    """Yield strings and unusual keys with their places, in the order sent."""
    waiting: list[tuple[Place, object]] = [((), value)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, str):
            key = place[-1] if place else ""
            is_short = 0 < len(part) <= _LONGEST_PART
            if is_short and not is_usual_value(key, part):
                yield place, part
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
