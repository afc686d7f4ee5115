"""Project Gutenberg's licence and credits, which stand around its texts and are not theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["header_field", "without_licence"]

_START = re.compile(
    r"\*+\s*START OF (?:THE|THIS) PROJECT GUTENBERG\b[^\n*]*(?:\n[^\n*]+(?=\*))?\**"
    r"|\*\s*END\s*\*\s*THE SMALL PRINT![^\n]*",
    re.IGNORECASE,
)
_END = re.compile(
    r"\*+\s*END OF (?:THE|THIS) PROJECT GUTENBERG\b"
    r"|^\s*\**\s*END OF (?:THE |THIS )?PROJECT GUTENBERG(?:['’]S)?\b"
    r"|\bSTART: FULL LICENSE\b",
    re.IGNORECASE | re.MULTILINE,
)
# In every paragraph with a marker; looking for these is far cheaper.
_TOKENS = ("UTENBERG", "utenberg", "SMALL PRINT", "FULL LICENSE")
_CREDIT = re.compile(
    r"\s*(?:Produced|E-?text (?:prepared|produced)|Transcribed|Credits:|This e-?(?:text|book) was"
    r" (?:prepared|produced|transcribed)|HTML version by|Updated editions)\b",
    re.IGNORECASE,
)
_MOST_CREDITS = 3
_FIELD = re.compile(r"^\s*(Title|Author):[ \t]*(\S[^\n]*(?:\n[ \t]+\S[^\n]*)*)", re.MULTILINE)


def without_licence(paragraphs: Sequence[str]) -> list[str]:
    """The paragraphs, as many as before, emptied where they are none of the text's.

    What stands before the start marker and after the end marker goes, and the transcribers'
    credits with it.
    """
    kept = list(paragraphs)
    candidates = [i for i, one in enumerate(kept) if any(token in one for token in _TOKENS)]
    start = next((i for i in candidates if _START.search(kept[i])), None)
    end = next((i for i in candidates if i >= (start or 0) and _END.search(kept[i])), None)
    # Without a start marker, only what comes late is believed to end the text.
    if end is not None and (start is not None or end > len(kept) // 2):
        match = _END.search(kept[end])
        kept[end] = kept[end][: match.start()].strip() if match else ""
        kept[end + 1 :] = [""] * (len(kept) - end - 1)
    if start is not None:
        match = _START.search(kept[start])
        kept[start] = kept[start][match.end() :].strip() if match else ""
        kept[:start] = [""] * start
        _drop_credits(kept, start)
    return kept


def _drop_credits(kept: list[str], start: int) -> None:
    filled = [i for i in range(start, len(kept)) if kept[i].strip()][:_MOST_CREDITS]
    for index in filled:
        if not _CREDIT.match(kept[index]):
            return
        kept[index] = ""


def header_field(paragraphs: Sequence[str], name: str) -> str | None:
    """What the header before the start marker gives as `Title` or `Author`, if there is one."""
    start = next((i for i, one in enumerate(paragraphs) if _START.search(one)), 0)
    for paragraph in paragraphs[:start]:
        for field, value in _FIELD.findall(paragraph):
            if field == name:
                return " ".join(value.split())
    return None
