"""Numbers of chapters, as their titles have them: missing, out of place, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

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
    from 1. A number that stands elsewhere isn't missing.
    """
    numbers = _numbers_if_most_have_one(titles)
    strays = {numbers[place] for place in _stray_places(numbers)}
    gaps: list[range] = []
    for series in _series_of_parts(numbers):
        gaps += _gaps(series)
    return _first_few(map(_range_text, (gap for gap in gaps if not strays >= {*gap})))


def misplaced_numbers(titles: Sequence[str | None]) -> str:
    """Return the numbers that are out of order, as in "9 after 5".

    Those between two that follow each other, or those after a larger one in a part that
    has no number twice. "" if there is none, if at most half of the titles have a
    number, or if more than five are: those number parts and sections alike.
    """
    numbers = _numbers_if_most_have_one(titles)
    places = _stray_places(numbers) or _descending_places(numbers)
    if len(places) > _MOST_SHOWN:
        return ""
    return _first_few(
        f"{numbers[place]} after {numbers[place - 1]}"
        if place
        else f"{numbers[place]} first"
        for place in places
    )


def unnumbered_places(titles: Sequence[str | None]) -> list[int]:
    """Return the indices of titles without a number, if most titles have one."""
    if not _numbers_if_most_have_one(titles):
        return []
    return [
        place for place, title in enumerate(titles) if chapter_number(title) is None
    ]


def _numbers_if_most_have_one(titles: Sequence[str | None]) -> list[int]:
    """Return the titles' numbers; none if at most half of the titles have one."""
    numbers = [number for number in map(chapter_number, titles) if number is not None]
    are_few = len(numbers) < _FEWEST or 2 * len(numbers) <= len(titles)
    return [] if are_few else numbers


def _first_few(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = ", …" if len(listed) > _MOST_SHOWN else ""
    return ", ".join(listed[:_MOST_SHOWN]) + more


def chapter_number(title: str | None) -> int | None:
    """Return the number in a chapter's title, the innermost one; None without any."""
    for piece in reversed((title or "").split(": ")):
        match = _AFTER_KIND.search(piece) or _LEADING.match(piece.strip())
        if match:
            return _number_value(next(filter(None, match.groups())))
    return None


def _number_value(number: str) -> int:
    if number.isdecimal():
        return int(number)
    if number.isupper() and set(number) <= set("IVXLC"):
        return roman(number)
    return sum(_VALUES[word] for word in re.split("[- ]", number.lower()))


def _stray_places(numbers: Sequence[int]) -> list[int]:
    """Return the indices of numbers without which the others ascend by 1, or by 2."""
    places: list[int] = []
    before = 0
    for place, number in enumerate(numbers):
        following = numbers[place + 1] if place + 1 < len(numbers) else None
        if following is None:
            is_stray = 1 < number < before
        else:
            ascends = before < following <= before + 2
            is_stray = ascends and not before <= number <= following
        if is_stray:
            places.append(place)
        else:
            before = number
    return places


def _descending_places(numbers: Sequence[int]) -> list[int]:
    """Return the indices of numbers below the one before in a part that counts once."""
    places: list[int] = []
    for start, part in _parts(numbers):
        if _counts_once(part):
            places += (
                start + place
                for place in range(1, len(part))
                if part[place] < part[place - 1]
            )
    return places


def _series_of_parts(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Yield ascending series of numbers, each of which counts from 1."""
    for _, part in _parts(_without_strays(numbers)):
        if _counts_once(part):
            yield sorted({*part})
        else:
            yield from _ascending_series(part)


def _parts(numbers: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield where each part begins, at its number 1, and the numbers of the part."""
    starts = [place for place, number in enumerate(numbers) if number == 1]
    bounds = [0, *(place for place in starts if place > 0), len(numbers)]
    for start, end in pairwise(bounds):
        yield start, numbers[start:end]


def _counts_once(numbers: Sequence[int]) -> bool:
    """Return whether no number comes back after another."""
    distinct = [number for number, _ in groupby(numbers)]
    return len({*distinct}) == len(distinct)


def _without_strays(numbers: Sequence[int]) -> list[int]:
    strays = set(_stray_places(numbers))
    return [number for place, number in enumerate(numbers) if place not in strays]


def _ascending_series(numbers: Sequence[int]) -> Iterator[list[int]]:
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


def _gaps(series: Iterable[int]) -> Iterator[range]:
    expected = 1
    for number in series:
        if number > expected:
            yield range(expected, number)
        expected = number + 1


def _range_text(numbers: range) -> str:
    first, last = numbers[0], numbers[-1]
    return f"{first}" if first == last else f"{first}-{last}"
