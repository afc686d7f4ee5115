"""Plain text files: paragraphs from blank lines, chapters from what is surely a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_memleak.books.archive import read_bytes
from pytest_memleak.books.document_selection import of_one_document
from pytest_memleak.books.format_mismatch import refuse_other_formats, refuse_pages
from pytest_memleak.books.gutenberg import header_field, without_licence
from pytest_memleak.books.html_blocks import Block, Markup
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.books.text_decoding import decode, is_binary, legible, without_controls
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
    " first second third fourth fifth sixth seventh eighth ninth tenth last"
)
_NUMBER = rf"(?:\d{{1,3}}|[IVXLC]{{1,8}}|(?:(?i:{_NUMBERS.replace(' ', '|')})-?)+)"
_KINDS = {
    1: "volume book part",
    2: "act canto chapter letter section stave",
    3: "scene",
}
_LEVELS = {kind: level for level, kinds in _KINDS.items() for kind in kinds.split()}
_KIND = "|".join(form for kind in _LEVELS for form in (kind.upper(), kind.capitalize()))

# "CHAPTER IV", "Chapter 1: The Storm", "Part the First", "BOOK TWO" over a line of its own; but
# not "Part one of the plan was simple."
_NUMBERED = re.compile(
    rf"({_KIND})[ \t]+(?:[Tt]he[ \t]+)?{_NUMBER}(?![\w'’])"
    r"(?:\.?[ \t]*$|[ \t]*[.:—–-]+[ \t]*\S.*$|[ \t]+[^a-z\n]+$)(?:\n.*)?",
    re.DOTALL | re.MULTILINE,
)
_NAMED = re.compile(r"(?:PROLOGUE|Prologue|EPILOGUE|Epilogue|INTERLUDE|Interlude)\.?")
_LONE_NUMERAL = re.compile(r"([IVXLC]{1,8})\.?")
_LONE_NUMERAL_LEVEL = 3
_LONGEST_HEADING = 200
_MOST_HEADING_LINES = 3
_MOST_HEADING_WORDS = 15

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LONGEST_WRAPPED_LINE = 100
_LONGEST_PARAGRAPH = 500

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def read_text(path: Path, *, lines: bool = False) -> Manuscript:
    """The chapters of a plain text file, without Project Gutenberg's licence.

    lines: whether lines are kept, as of verse; else those of a paragraph are one.

    The encoding is told by a byte order mark; without one it is UTF-8, or else windows-1252, of
    which the manuscript's `warnings` speak. Paragraphs end at blank lines, or where there are
    none, at every line. Title and author are those of a Project Gutenberg header, if any.

    Raises BookError, naming the file and the reason, for a directory, a file that cannot be
    read, is over 64 MiB, is not text, or has no words.
    """
    return text_manuscript(read_bytes(path), name=path.name, place=str(path), lines=lines)


def text_manuscript(data: bytes, *, name: str, place: str, lines: bool = False) -> Manuscript:
    """What `read_text` makes of the bytes of the file `name`. Raises BookError as it does."""
    refuse_other_formats(data, place=place)
    text, note = decode(data)
    refuse_pages(text, place=place)
    if is_binary(text):
        raise BookError(
            "is not text: it is full of control characters",
            location=place,
            hint="is it a .txt file?",
        )
    noted = (note,) if note else ()
    return lines_manuscript(text, name=name, warnings=noted, place=place, lines=lines)


def lines_manuscript(
    text: str, *, name: str, warnings: Sequence[str], place: str, lines: bool = False
) -> Manuscript:
    """The manuscript in lines of text, of a file in whatever format; `lines`: they are kept."""
    budget = Budget(place)
    budget.spend(len(text), "characters of text")
    text = _with_line_feeds(text)
    budget.spend(text.count("\n"), "lines")
    paragraphs = _paragraphs(legible(without_controls(text)).strip("\n"), lines=lines)
    title, author = header_field(paragraphs, "Title"), header_field(paragraphs, "Author")
    kept = [paragraph for paragraph in without_licence(paragraphs) if paragraph.strip()]
    budget.spend(len(kept), "paragraphs")
    markup = Markup(tuple(_blocks(kept, lines=lines)))
    return of_one_document(name, markup, title=title, author=author, warnings=warnings, place=place)


# --- paragraphs ----------------------------------------------------------------------------


def paragraphs_of(text: str, *, lines: bool = False) -> tuple[str, ...]:
    """The paragraphs of a text that is nothing else: no heading, no licence; `lines`: kept."""
    text = legible(without_controls(_with_line_feeds(text)))
    paragraphs = (
        paragraph for paragraph in _paragraphs(text.strip("\n"), lines=lines) if paragraph.strip()
    )
    return tuple(
        _in_lines(paragraph) if lines else _unwrapped(paragraph) for paragraph in paragraphs
    )


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")


def _paragraphs(text: str, *, lines: bool) -> list[str]:
    """The paragraphs, their lines still as they are in the file."""
    if lines:
        return _BLANK_LINE.split(text)
    if not _BLANK_LINE.search(text):
        return text.split("\n")
    wrapped = max(map(len, text.split("\n"))) <= _LONGEST_WRAPPED_LINE
    paragraphs: list[str] = []
    for paragraph in _BLANK_LINE.split(text):
        # Where lines are not wrapped, each of them is a paragraph that blank lines group.
        long = not wrapped and len(paragraph.split()) > _LONGEST_PARAGRAPH
        paragraphs += paragraph.split("\n") if long else [paragraph]
    return paragraphs


def _unwrapped(paragraph: str) -> str:
    """A paragraph's lines in one, but for the indented ones, as in verse."""
    lines = [line for line in paragraph.split("\n") if line.strip()]
    pieces = [" ".join(lines[0].split())]
    for line in lines[1:]:
        pieces.append("\n" if line[0].isspace() else " ")
        pieces.append(" ".join(line.split()))
    return "".join(pieces)


def _in_lines(paragraph: str) -> str:
    lines = (" ".join(line.split()) for line in paragraph.split("\n"))
    return "\n".join(line for line in lines if line)


# --- headings ------------------------------------------------------------------------------


def _blocks(paragraphs: Sequence[str], *, lines: bool) -> Iterator[Block]:
    levels = [_heading_level(paragraph) for paragraph in paragraphs]
    for index in _numerals_in_sequence(paragraphs):
        levels[index] = _LONE_NUMERAL_LEVEL
    for index, paragraph in enumerate(paragraphs):
        level = levels[index]
        following = levels[index + 1] if index + 1 < len(levels) else 0
        if level and following and following <= level:
            # A table of contents: nothing stands under this one.
            continue
        if level:
            yield Block(_in_lines(paragraph).replace("\n", ": "), level)
        else:
            yield Block(_in_lines(paragraph) if lines else _unwrapped(paragraph))


def _heading_level(paragraph: str) -> int:
    if len(paragraph) > _LONGEST_HEADING:
        return 0
    text = "\n".join(line.strip() for line in paragraph.strip().split("\n"))
    if text.count("\n") >= _MOST_HEADING_LINES or len(text.split()) > _MOST_HEADING_WORDS:
        return 0
    if match := _NUMBERED.fullmatch(text):
        return _LEVELS[match[1].lower()]
    return _LEVELS["chapter"] if _NAMED.fullmatch(text) else 0


def _numerals_in_sequence(paragraphs: Sequence[str]) -> list[int]:
    """Where a Roman numeral stands alone, as the next of a series that began with I."""
    indices: list[int] = []
    series: list[int] = []
    for index, paragraph in enumerate(paragraphs):
        match = _LONE_NUMERAL.fullmatch(paragraph.strip())
        if match is None:
            continue
        number = _roman(match[1])
        if number == 1:
            indices += series if len(series) > 1 else []
            series = [index]
        elif series and number == len(series) + 1:
            series.append(index)
    return indices + (series if len(series) > 1 else [])


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(
        -value if value < max(values[index + 1 :], default=0) else value
        for index, value in enumerate(values)
    )
