"""What is wrong with single chapters, as their paragraphs show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_memleak.scoring.matchable import why_unmatchable

# Shorter paragraphs, such as "Yes." or a song's refrain, recur in any novel.
_FEWEST_WORDS_OF_PARAGRAPH = 8
_FEWEST_WORDS_OF_CHAPTER = 100

# A number as of a note: bare, in brackets or parentheses, or before a period.
_NOTE = re.compile(r"[\[(]?(\d{1,4})[\])]?[.:]?\s+\S")
_FEWEST_NOTES = 2


def repeating_places(chapters: Sequence[Sequence[str]]) -> list[int]:
    """Return the indices of chapters most of whose words stand in earlier ones, too.

    chapters: the paragraphs of each. Only chapters of 100 words and more count.
    """
    earlier: set[str] = set()
    places = []
    for place, paragraphs in enumerate(chapters):
        sizes = {
            paragraph: len(paragraph.split()) for paragraph in dict.fromkeys(paragraphs)
        }
        long = {
            paragraph: size
            for paragraph, size in sizes.items()
            if size >= _FEWEST_WORDS_OF_PARAGRAPH
        }
        repeated = sum(long[paragraph] for paragraph in long if paragraph in earlier)
        whole = sum(sizes.values())
        if whole >= _FEWEST_WORDS_OF_CHAPTER and 2 * repeated > whole:
            places.append(place)
        earlier.update(long)
    return places


def unreadable_places(chapters: Sequence[Sequence[str]]) -> Iterator[tuple[int, str]]:
    """Yield the indices of chapters that no generation could match, and why.

    Of a book that has others, which is accepted.
    """
    for place, paragraphs in enumerate(chapters):
        reason = why_unmatchable("\n".join(paragraphs))
        if reason:
            yield place, reason


def places_ending_in_notes(chapters: Sequence[Sequence[str]]) -> dict[int, int]:
    """Return the words of the numbered notes that end chapters, by the index of each.

    Notes are two or more last paragraphs whose numbers follow each other, behind one
    without a number.
    """
    words = {}
    for place, paragraphs in enumerate(chapters):
        notes = _last_numbered(paragraphs)
        if _FEWEST_NOTES <= len(notes) < len(paragraphs):
            words[place] = sum(len(note.split()) for note in notes)
    return words


def _last_numbered(paragraphs: Sequence[str]) -> list[str]:
    """Return the last paragraphs with numbers that follow each other."""
    numbered: list[str] = []
    following = None
    for paragraph in reversed(paragraphs):
        match = _NOTE.match(paragraph)
        if match is None:
            break
        number = int(match[1])
        if following is not None and number != following - 1:
            break
        numbered.append(paragraph)
        following = number
    return numbered[::-1]
