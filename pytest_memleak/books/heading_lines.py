"""Lines that are headings by their wording, such as "CHAPTER IV" or "Prologue"."""

from __future__ import annotations

import re

_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty"
    " seventy eighty ninety"
    " first second third fourth fifth sixth seventh eighth ninth tenth last"
)
_NUMBER = rf"(?:\d{{1,3}}|[IVXLC]{{1,8}}|(?:(?i:{_NUMBERS.replace(' ', '|')})-?)+)"
_LEVELS = {
    "volume": 1,
    "book": 1,
    "part": 1,
    "act": 2,
    "canto": 2,
    "chapter": 2,
    "letter": 2,
    "section": 2,
    "stave": 2,
    "kapitel": 2,
    "chapitre": 2,
    "capítulo": 2,
    "scene": 3,
}
_KIND = "|".join(f"{kind.upper()}|{kind.capitalize()}" for kind in _LEVELS)

# "CHAPTER IV", "Chapter 1: The Storm", "Part the First", "BOOK TWO" over a line of its
# own; but not "Part one of the plan was simple."
_NUMBERED = re.compile(
    rf"({_KIND})[ \t]+(?:[Tt]he[ \t]+)?{_NUMBER}(?![\w'’])"
    r"(?:\.?[ \t]*$|[ \t]*[.:—–-]+[ \t]*\S.*$|[ \t]+[^a-z\n]+$)(?:\n.*)?",
    re.DOTALL | re.MULTILINE,
)
_NAMED = re.compile(r"(?:PROLOGUE|Prologue|EPILOGUE|Epilogue|INTERLUDE|Interlude)\.?")
_NUMBER_ONE = r"(?:1|I|(?i:one|first|eins|un|uno))"
_FIRST = re.compile(
    rf"(?:{_KIND})[ \t]+{_NUMBER_ONE}(?![\w'’]).*"
    rf"|{_NUMBER_ONE}\.?|(?i:prolog(?:ue)?|prólogo)\.?",
)
_LONGEST_HEADING = 200
_MOST_HEADING_LINES = 3
_MOST_HEADING_WORDS = 15


def heading_level(paragraph: str) -> int:
    """Return the level of a paragraph that is clearly a heading, else 0."""
    if len(paragraph) > _LONGEST_HEADING:
        return 0
    text = "\n".join(line.strip() for line in paragraph.strip().split("\n"))
    if text.count("\n") >= _MOST_HEADING_LINES:
        return 0
    if len(text.split()) > _MOST_HEADING_WORDS:
        return 0
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        return _LEVELS[numbered[1].lower()]
    if _NAMED.fullmatch(text):
        return _LEVELS["chapter"]
    return 0


def is_first_heading(line: str) -> bool:
    """Whether a line is the heading of a book's first chapter or of its prologue."""
    return len(line) <= _LONGEST_HEADING and _FIRST.fullmatch(line) is not None
