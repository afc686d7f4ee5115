"""Numbers of chapters, as their titles have them, and which of them are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_memleak.books.plain_text import roman

_UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_VALUES: dict[str, int] = {}
_VALUES.update((word, number) for number, word in enumerate(_UNITS.split(), start=1))
_VALUES.update(
    (word, 10 * number) for number, word in enumerate(_TENS.split(), start=2)
)
_VALUES.update((word, number) for number, word in enumerate(_ORDINALS.split(), start=1))

_WORD = "|".join(_VALUES)
_NUMBER = rf"(?:\d{{1,3}}|[IVXLC]{{1,8}}|(?i:{_WORD})(?:[- ](?i:{_WORD}))?)(?![\w'’])"
_KIND = "chapter|chapitre|kapitel|cap[ií]tulo|capitolo|hoofdstuk|letter|section|canto"

# "Chapter 7", "CHAPTER IV. The Sea", "Chapter the First".
_AFTER_KIND = re.compile(rf"\b(?i:{_KIND})\.?\s{{1,9}}(?i:the\s{{1,9}})?({_NUMBER})")
# "7", "7 The Sea", "IV.", "Seven: The Sea"; but not "I Enlist".
_LEADING = re.compile(rf"(\d{{1,3}})(?![\w'’])|({_NUMBER})\s*(?:[.:)—–-]|$)")

_FEWEST = 3
_MOST_SHOWN = 5


def missing_numbers(titles: Sequence[str | None]) -> str:
    """Return the numbers that are missing, as in "1, 7-9"; "" if none is.

    Only if more than half of the titles have a number. Each part of a book may count
    from 1.
    """
    numbers = [number for number in map(chapter_number, titles) if number is not None]
    if len(numbers) < _FEWEST or 2 * len(numbers) <= len(titles):
        return ""
    gaps: list[str] = []
    for series in _series(numbers):
        gaps += _gaps(series)
    more = ", …" if len(gaps) > _MOST_SHOWN else ""
    return ", ".join(gaps[:_MOST_SHOWN]) + more


def chapter_number(title: str | None) -> int | None:
    """Return the number in a chapter's title, the innermost one; None without any."""
    for piece in reversed((title or "").split(": ")):
        match = _AFTER_KIND.search(piece) or _LEADING.match(piece.strip())
        if match:
            return _value(next(filter(None, match.groups())))
    return None


def _value(number: str) -> int:
    if number.isdecimal():
        return int(number)
    if number.isupper() and set(number) <= set("IVXLC"):
        return roman(number)
    return sum(_VALUES[word] for word in re.split("[- ]", number.lower()))


def _series(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yield ascending series; a new one begins with 1, or where two ascend again."""
    series: list[int] = []
    for place, number in enumerate(numbers):
        if series and number < series[-1]:
            following = numbers[place + 1 : place + 2]
            if number > 1 and following != [number + 1]:
                continue
            yield series
            series = []
        series.append(number)
    yield series


def _gaps(series: Iterable[int]) -> Iterator[str]:
    expected = 1
    for number in series:
        if number > expected:
            last = number - 1
            yield f"{expected}" if last == expected else f"{expected}-{last}"
        expected = number + 1
