"""Plain text and Markdown; files of another format under a text's name are errors.

Blank lines separate paragraphs; a paragraph opens a chapter only if it is clearly a
heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path

from pytest_memleak.books.archive import Budget, read_bytes
from pytest_memleak.books.boilerplate import header_field, without_license
from pytest_memleak.books.compose_manuscript import manuscript_from_document
from pytest_memleak.books.declared_encoding import as_utf8
from pytest_memleak.books.heading_lines import heading_level
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.misread_encoding import validate_not_misread
from pytest_memleak.books.parser_subprocess import (
    Format,
    parse_in_subprocess,
    render_markdown,
)
from pytest_memleak.books.text_blocks import Markup, TextBlock
from pytest_memleak.books.text_decoding import (
    decode,
    is_binary,
    legible,
    one_line,
    without_controls,
)
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

_LONE_NUMERAL = re.compile(r"([IVXLC]{1,8})\.?")
_LONE_NUMERAL_LEVEL = 3

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LONGEST_WRAPPED_LINE = 100
_LONGEST_PARAGRAPH = 500

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def read_text(
    path: Path,
    *,
    lines: bool = False,
    encoding: str | None = None,
) -> Manuscript:
    """Read a plain text file, without Project Gutenberg's license.

    lines: keep lines, as in verse; otherwise join the lines of a paragraph.

    The encoding is the declared one, if any; else it follows from a byte order mark;
    without one it is UTF-8 or, with a warning in the manuscript, windows-1252, unless
    that gives signs of a misread encoding. Paragraphs end at blank lines or, without
    any, at every line. Title and author come from a Project Gutenberg header, if any.

    Raises BookError, naming the file and the reason, for a directory, an unreadable
    file, over 64 MiB, a file that isn't text, another encoding, or no words.
    """
    return manuscript_from_text_bytes(
        read_bytes_as_utf8(path, encoding),
        name=path.name,
        place=str(path),
        lines=lines,
    )


def read_bytes_as_utf8(path: Path, encoding: str | None) -> bytes:
    """Return a file's bytes, those of a declared encoding as UTF-8."""
    data = read_bytes(path)
    return as_utf8(data, encoding, place=str(path)) if encoding else data


def manuscript_from_text_bytes(
    data: bytes,
    *,
    name: str,
    place: str,
    lines: bool = False,
) -> Manuscript:
    """Read text from the bytes of `name`. Raises BookError as `read_text` does."""
    validate_no_other_format(data, place=place)
    text, note = decode(data)
    if _PAGE.match(text[:_PREAMBLE]):
        raise BookError(
            "is HTML, not plain text",
            location=place,
            hint="rename the file to .html",
        )
    if is_binary(text):
        raise BookError(
            "isn't text: it has many control characters",
            location=place,
            hint="check that it is a .txt file",
        )
    validate_not_misread(text, note, place=place)
    notes = (note,) if note else ()
    return manuscript_from_text(
        text,
        name=name,
        warnings=notes,
        place=place,
        lines=lines,
    )


def manuscript_from_text(
    text: str,
    *,
    name: str,
    warnings: Sequence[str],
    place: str,
    lines: bool = False,
) -> Manuscript:
    """Return the manuscript of text from any format; `lines`: keep its lines."""
    budget = Budget(place)
    budget.spend(len(text), "characters of text")
    text = _with_line_feeds(text)
    budget.spend(text.count("\n"), "lines")
    legible_text = legible(without_controls(text))
    paragraphs = _paragraphs(legible_text.strip("\n"), lines=lines)
    remaining = without_license(paragraphs)
    kept = [paragraph for paragraph in remaining if paragraph.strip()]
    budget.spend(len(kept), "paragraphs")
    markup = Markup(tuple(_blocks(kept, lines=lines)))
    return manuscript_from_document(
        name,
        markup,
        title=header_field(paragraphs, "Title"),
        author=header_field(paragraphs, "Author"),
        warnings=warnings,
        place=place,
    )


# --- lyrics
# -------------------------------------------------------------------------------

_LYRICS_FIELD = re.compile(r"\[(ti|ar):([^\]\n]{1,300})\]", re.IGNORECASE)
_TIMED_LINE = re.compile(r"((?:\[\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?\])*)(.*)")
_TIME = re.compile(r"\[(\d+):(\d+)(?:[.:](\d+))?\]")
_TIME_OF_WORD = re.compile(r"<\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?>")
_TAG = re.compile(r"\[[a-z#]{1,9}:[^\]\n]*\]", re.IGNORECASE)


def read_lyrics(path: Path, *, encoding: str | None = None) -> Manuscript:
    """Read the lines of an LRC file as they are sung, one as often as it has times."""
    place = str(path)
    text, note = decode(read_bytes_as_utf8(path, encoding))
    validate_not_misread(text, note, place=place)
    fields: dict[str, str] = {}
    for key, value in _LYRICS_FIELD.findall(text):
        fields[key.lower()] = one_line(value)
    sung: list[tuple[_Moment, str]] = []
    latest = (0, 0, "")
    for line in _with_line_feeds(text).strip().split("\n"):
        if _TAG.fullmatch(line.strip()):
            continue
        moments: list[_Moment] = []
        words = line
        match = _TIMED_LINE.fullmatch(line.strip())
        if match:
            moments = _lrc_times(match[1])
            words = match[2]
        moments = moments or [latest]
        latest = moments[-1]
        words = _TIME_OF_WORD.sub("", words).strip()
        for moment in moments:
            sung.append((moment, words))
    sung.sort(key=itemgetter(0))
    lyrics = "\n".join(words for _, words in sung)
    notes = (note,) if note else ()
    manuscript = manuscript_from_text(
        lyrics,
        name=path.name,
        warnings=notes,
        place=place,
        lines=True,
    )
    return replace(
        manuscript,
        title=fields.get("ti"),
        author=fields.get("ar"),
    )


# Minute, second, digits of its fraction.
_Moment = tuple[int, int, str]


def _lrc_times(times: str) -> list[_Moment]:
    moments: list[_Moment] = []
    for minute, second, fraction in _TIME.findall(times):
        moments.append((int(minute), int(second), fraction))
    return moments


# --- paragraphs
# ----------------------------------------------------------------------------


def plain_paragraphs(text: str, *, lines: bool = False) -> tuple[str, ...]:
    """Split a text without headings or license into paragraphs; `lines`: keep lines."""
    text = _with_line_feeds(text)
    text = legible(without_controls(text))
    join = _with_lines_stripped if lines else _unwrapped
    paragraphs = _paragraphs(text.strip("\n"), lines=lines)
    return tuple(join(paragraph) for paragraph in paragraphs if paragraph.strip())


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")


def _paragraphs(text: str, *, lines: bool) -> list[str]:
    """Split text into paragraphs whose lines are unchanged."""
    if lines:
        return _BLANK_LINE.split(text)
    if not _BLANK_LINE.search(text):
        return text.split("\n")
    wrapped = max(map(len, text.split("\n"))) <= _LONGEST_WRAPPED_LINE
    paragraphs: list[str] = []
    for paragraph in _BLANK_LINE.split(text):
        # In unwrapped text each line is a paragraph, and blank lines separate groups.
        if not wrapped and len(paragraph.split()) > _LONGEST_PARAGRAPH:
            paragraphs += paragraph.split("\n")
        else:
            paragraphs.append(paragraph)
    return paragraphs


def _unwrapped(paragraph: str) -> str:
    """Join a paragraph's lines, except indented ones, as in verse."""
    lines = [line for line in paragraph.split("\n") if line.strip()]
    pieces = [" ".join(lines[0].split())]
    for line in lines[1:]:
        pieces.append("\n" if line[0].isspace() else " ")
        pieces.append(" ".join(line.split()))
    return "".join(pieces)


def _with_lines_stripped(paragraph: str) -> str:
    lines: list[str] = []
    for line in paragraph.split("\n"):
        words = line.split()
        if words:
            lines.append(" ".join(words))
    return "\n".join(lines)


# --- headings
# ------------------------------------------------------------------------------


def _blocks(paragraphs: Sequence[str], *, lines: bool) -> Iterator[TextBlock]:
    levels = heading_levels(paragraphs)
    for index, paragraph in enumerate(paragraphs):
        level = levels[index]
        following = 0
        if index + 1 < len(levels):
            following = levels[index + 1]
        if not level:
            text = _with_lines_stripped(paragraph) if lines else _unwrapped(paragraph)
            yield TextBlock(text)
        elif not following or following > level:
            title = _with_lines_stripped(paragraph).replace("\n", ": ")
            yield TextBlock(title, level)
        # Else a table of contents: this heading has no text.


def heading_levels(paragraphs: Sequence[str]) -> list[int]:
    """Return each paragraph's level as a heading, 0 for text."""
    levels = [heading_level(paragraph) for paragraph in paragraphs]
    for index in _numerals_in_sequence(paragraphs):
        levels[index] = _LONE_NUMERAL_LEVEL
    return levels


def _numerals_in_sequence(paragraphs: Sequence[str]) -> Iterable[int]:
    """Return the paragraphs that are Roman numerals in a series from I."""
    all_series: list[list[int]] = []
    series: list[int] = []
    for index, paragraph in enumerate(paragraphs):
        match = _LONE_NUMERAL.fullmatch(paragraph.strip())
        if match is None:
            continue
        number = roman(match[1])
        if number == 1:
            series = [index]
            all_series.append(series)
        elif series and number == len(series) + 1:
            series.append(index)
    return chain.from_iterable(series for series in all_series if len(series) > 1)


def roman(numeral: str) -> int:
    """Return the number that a Roman numeral in capitals means."""
    total = 0
    largest_behind = 0
    for letter in reversed(numeral):
        value = _ROMAN[letter]
        if value < largest_behind:
            total -= value
        else:
            total += value
            largest_behind = value
    return total


# --- Markdown
# -----------------------------------------------------------------------------

_FRONT_MATTER = re.compile(
    r"---[ \t]*\n((?:[^\n]*\n){0,100}?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)",
)
_FIELD = re.compile(
    r"^(title|author):[ \t]*[\"']?([^\n\"']{1,300})",
    re.MULTILINE | re.IGNORECASE,
)
# markdown-it takes up to 15 seconds and 500 MB for a million characters that are all
# marks.
_MARKDOWN_IN_PROCESS = 200_000
_LONGEST_MARKDOWN = 8_000_000


def read_markdown(
    path: Path,
    *,
    lines: bool = False,
    encoding: str | None = None,
) -> Manuscript:
    """Read a Markdown file; title and author come from a YAML header, if any.

    lines: keep every line, as in verse, not only explicit line breaks.

    Raises BookError as `read_text` does, and for more than 8,000,000 characters.
    """
    place = str(path)
    data = read_bytes_as_utf8(path, encoding)
    validate_no_other_format(data, place=place)
    text, note = decode(data)
    validate_not_misread(text, note, place=place)
    if len(text) > _LONGEST_MARKDOWN:
        raise BookError(
            f"has {len(text):,} characters; the maximum for Markdown is "
            f"{_LONGEST_MARKDOWN:,}",
            location=place,
            hint="if this is a collection, split it into one file per book, or convert "
            "it to EPUB with pandoc",
        )
    text = without_controls(text.replace("\r\n", "\n"))
    header = _FRONT_MATTER.match(text)
    fields = {}
    if header:
        fields = {
            key.lower(): one_line(value) for key, value in _FIELD.findall(header[1])
        }
        text = text[header.end() :]
    budget = Budget(place)
    if len(text) <= _MARKDOWN_IN_PROCESS:
        html = render_markdown(text, lines=lines)
    else:
        source = text.encode("utf-8", "surrogatepass")
        kind: Format = "verse" if lines else "markdown"
        [html] = parse_in_subprocess(kind, source, budget=budget, of="bytes of markup")
    markup = read_markup(html.encode("utf-8"), budget=budget)
    return manuscript_from_document(
        path.name,
        markup,
        title=fields.get("title"),
        author=fields.get("author"),
        warnings=(note,) if note else (),
        place=place,
    )


# --- files of another format
# --------------------------------------------------------------

_CALIBRE = (
    "if it has no DRM, convert it with Calibre: ebook-convert FILE.mobi FILE.epub"
)
_CONVERT = "save it as .docx or .txt, or convert it: soffice --convert-to {} FILE"
# Offset (None: after white space), magic bytes, format, hint.
_BEGINNINGS = (
    (None, b"pk\x03\x04", "a zip", "rename the file to .epub, .docx, or .zip"),
    (None, b"%pdf-", "PDF", "rename the file to .pdf"),
    (None, b"{\\rtf", "RTF", "rename the file to .rtf"),
    (None, b"\xd0\xcf\x11\xe0", "an old Office document", _CONVERT.format("docx")),
    (None, b"\x1f\x8b\x08", "a gzip", "unpack it"),
    (60, b"bookmobi", "a Kindle book", _CALIBRE),
)
_MARKS = b"\xef\xbb\xbf \t\r\n"  # a byte order mark, and white space

_PREAMBLE = 1_000
_PAGE = re.compile(
    r"\ufeff?\s*(?:<!--(?:[^-]|-(?!->)){0,900}-->\s*)?(?:<!doctype html|<html|<\?xml)",
    re.IGNORECASE,
)
# Tags between lines and paragraphs, which don't occur in prose.
_MARKUP = re.compile(r"<(?:br|/p|/div|/span)\s*/?>", re.IGNORECASE)


def validate_no_other_format(data: bytes, *, place: str) -> None:
    """Raise BookError, naming `place`, if the bytes begin like another format."""
    beginning = data[:_PREAMBLE].lower()
    for place_of, magic, kind, hint in _BEGINNINGS:
        start = beginning.lstrip(_MARKS) if place_of is None else beginning[place_of:]
        if start.startswith(magic):
            raise BookError(f"is {kind}, not text", location=place, hint=hint)


def _validate_no_html_tags(text: str, *, place: str) -> None:
    """Raise BookError for text with HTML tags, which would split its words."""
    if _MARKUP.search(text):
        raise BookError(
            "is HTML, not plain text",
            location=place,
            hint="remove the tags, or save each work as an .html file",
        )


# --- rows of JSON
# --------------------------------------------------------------------------

ROW = (
    'a row is {"title": "...", "author": "...", "text": "..."}; '
    "title and author are optional"
)


def row_fields(row: object, place: str) -> tuple[str, str | None, str | None]:
    """Return text, title, and author of a row. Raises BookError for any other row."""
    text = row_text(row, "text", place)
    title = row_text(row, "title", place)
    author = row_text(row, "author", place)
    if text is None:
        raise BookError("text is missing", location=place, hint=ROW)
    _validate_no_html_tags(text, place=place)
    return text, title, author


def row_text(
    row: object,
    key: str,
    place: str,
) -> str | None:
    """Return a row's string of that key, if any. Raises BookError for other values."""
    if not isinstance(row, Mapping):
        raise BookError("isn't an object", location=place, hint=ROW)
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise BookError(f"{key} isn't a string", location=place, hint=ROW)
    return value or None
