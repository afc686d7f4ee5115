"""The words in which the two sides of a near-verbatim passage differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import WORD
from pytest_memleak.results.quotes import REST

if TYPE_CHECKING:
    from pytest_memleak.records.measurement import Passage

_WORD = re.compile(f"({WORD.pattern})")


def compare_sides(passage: Passage) -> list[list[tuple[str, bool]]]:
    """Return the book's quote and the generation's in pieces, and whether each piece differs.

    Words that one side has more than the other at the end don't differ: the other may
    go on so.
    """
    quote, *count = passage.quote.partition(REST)
    sides = [
        _WORD.split(text) for text in (quote, passage.answer)
    ]  # every second is a word
    book, answer = ([word.casefold() for word in side[1::2]] for side in sides)
    *steps, last = SequenceMatcher(None, book, answer, autojunk=False).get_opcodes()
    kind, start, end, place, place_end = last
    both = min(end - start, place_end - place)
    steps.append((kind, start, start + both, place, place + both))
    changes = [step[1:] for step in steps if step[0] != "equal"]
    differing = [
        {n for step in changes for n in range(*step[at : at + 2])} for at in (0, 2)
    ]
    compared = [
        [(piece, at % 2 == 1 and at // 2 in words) for at, piece in enumerate(side)]
        for side, words in zip(sides, differing, strict=True)
    ]
    compared[0].append(("".join(count), False))
    return compared
