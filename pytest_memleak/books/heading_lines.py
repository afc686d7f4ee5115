"""Lines that are headings by their wording: "CHAPTER IV", "Part the First", "Prologue"."""

from __future__ import annotations

import re

_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
    "eighty ninety"
    " first second third fourth fifth sixth seventh eighth ninth tenth last"
)
_NUMBER = rf"(?:\d{{1,3}}|[IVXLC]{{1,8}}|(?:(?i:{_NUMBERS.replace(' ', '|')})-?)+)"
_KINDS = {
    1: "volume book part",
    2: "act canto chapter letter section stave kapitel chapitre capítulo",
    3: "scene",
}
_LEVELS = {kind: level for level, kinds in _KINDS.items() for kind in kinds.split()}
_KIND = "|".join(form for kind in _LEVELS for form in (kind.upper(), kind.capitalize()))

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
    rf"(?:{_KIND})[ "
    rf"\t]+{_NUMBER_ONE}(?![\w'’]).*|{_NUMBER_ONE}\.?|(?i:prolog(?:ue)?|prólogo)\.?"
)
_LONGEST_HEADING = 200
_MOST_HEADING_LINES = 3
_MOST_HEADING_WORDS = 15


def heading_level(paragraph: str) -> int:
    """Return the level of a paragraph that is clearly a heading, else 0."""
    if len(paragraph) > _LONGEST_HEADING:
        return 0
    text = "\n".join(line.strip() for line in paragraph.strip().split("\n"))
    if (
        text.count("\n") >= _MOST_HEADING_LINES
        or len(text.split()) > _MOST_HEADING_WORDS
    ):
        return 0
    if match := _NUMBERED.fullmatch(text):
        return _LEVELS[match[1].lower()]
    return _LEVELS["chapter"] if _NAMED.fullmatch(text) else 0


def opens_book(line: str) -> bool:
    """Whether a line is the heading of a book's first chapter or of its prologue."""
    return len(line) <= _LONGEST_HEADING and _FIRST.fullmatch(line) is not None
