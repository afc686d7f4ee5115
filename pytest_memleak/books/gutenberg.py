"""Project Gutenberg's licence and credits, which stand around its texts and are not theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Only what is literal is searched for; the stars and spaces before it are looked at from there.
# A pattern that begins with them would begin again at each.
_START = re.compile(r"START OF (?:THE|THIS) PROJECT GUTENBERG\b", re.IGNORECASE)
_REST_OF_START = re.compile(r"[^\n*]*(?:\n[^\n*]+(?=\*))?\**")
_OLD_START = re.compile(r"THE SMALL PRINT![^\n]*", re.IGNORECASE)
_END = re.compile(
    r"END OF (?:THE |THIS )?PROJECT GUTENBERG(?:['’]S)?\b|\bSTART: FULL LICENSE\b", re.IGNORECASE
)
# In every paragraph with a marker; looking for these is far cheaper.
_TOKENS = ("UTENBERG", "utenberg", "SMALL PRINT", "FULL LICENSE")
_CREDIT = re.compile(
    r"\s*(?:Produced|E-?text (?:prepared|produced)|Transcribed|Credits:|This e-?(?:text|book) was"
    r" (?:prepared|produced|transcribed)|HTML version by|Updated editions)\b",
    re.IGNORECASE,
)
_MOST_CREDITS = 3

# So much before a marker is looked at for its stars.
_LONGEST_GAP = 200
_FIELD = re.compile(r"^[^\S\n]*(Title|Author):[ \t]*(\S[^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.MULTILINE)


def without_licence(paragraphs: Sequence[str]) -> list[str]:
    """The paragraphs, as many as before, emptied where they are none of the text's.

    What stands before the start marker and after the end marker goes, and the transcribers'
    credits with it.
    """
    kept = list(paragraphs)
    candidates = [
        i for i, paragraph in enumerate(kept) if any(token in paragraph for token in _TOKENS)
    ]
    start = next((i for i in candidates if _end_of_start(kept[i]) is not None), None)
    end = next(
        (i for i in candidates if i >= (start or 0) and _start_of_end(kept[i]) is not None), None
    )
    # Without a start marker, only what comes late is believed to end the text.
    if end is not None and (start is not None or end > len(kept) // 2):
        kept[end] = kept[end][: _start_of_end(kept[end])].strip()
        kept[end + 1 :] = [""] * (len(kept) - end - 1)
    if start is not None:
        kept[start] = kept[start][_end_of_start(kept[start]) :].strip()
        kept[:start] = [""] * start
        _drop_credits(kept, start)
    return kept


def _end_of_start(text: str) -> int | None:
    """Where the first start marker of a paragraph ends."""
    for match in _START.finditer(text):
        if _before(text, match.start()).endswith("*"):
            rest = _REST_OF_START.match(text, match.end())
            return rest.end() if rest else match.end()
    for match in _OLD_START.finditer(text):
        if "".join(_before(text, match.start()).split()).upper().endswith("*END*"):
            return match.end()
    return None


def _start_of_end(text: str) -> int | None:
    """Where the first end marker of a paragraph begins."""
    for match in _END.finditer(text):
        before = _before(text, match.start())
        plain = before.rstrip("*").rstrip(" \t\xa0")
        if match[0][:5].upper() == "START" or before.endswith("*") or plain[-1:] in {"", "\n"}:
            return max(match.start() - _LONGEST_GAP, 0) + len(plain)
    return None


def _before(text: str, end: int) -> str:
    """What stands before `end`, as far as it matters, without the white space next to it."""
    before = text[max(end - _LONGEST_GAP, 0) : end]
    stripped = before.rstrip()
    # A marker at the start of its line, with no stars before it, has its line end before it.
    return stripped if stripped.endswith("*") else before.rstrip(" \t\xa0")


def _drop_credits(kept: list[str], start: int) -> None:
    filled = [i for i in range(start, len(kept)) if kept[i].strip()][:_MOST_CREDITS]
    for index in filled:
        if not _CREDIT.match(kept[index]):
            return
        kept[index] = ""


def header_field(paragraphs: Sequence[str], name: str) -> str | None:
    """What the header before the start marker gives as `Title` or `Author`, if there is one."""
    start = next(
        (i for i, paragraph in enumerate(paragraphs) if _end_of_start(paragraph) is not None), 0
    )
    for paragraph in paragraphs[:start]:
        for field, value in _FIELD.findall(paragraph):
            if field == name:
                return " ".join(value.split())
    return None
