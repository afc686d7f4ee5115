"""PDF books: paragraphs, chapters and notes from the positions and sizes of lines.

A PDF contains positioned characters, neither words nor paragraphs. Running heads, page
numbers and note references are removed, notes at the foot of pages are set apart, and
hyphens that divide words are resolved by the book's own spelling. The outline, if there
is one, divides the book as an EPUB's table of contents does.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

from pytest_memleak.books.archive import Budget, read_bytes
from pytest_memleak.books.boilerplate import header_field
from pytest_memleak.books.document_selection import compose
from pytest_memleak.books.parser_subprocess import parse_in_subprocess
from pytest_memleak.books.plain_text import heading_levels
from pytest_memleak.books.text_blocks import Entry, Leaf, Markup, TextBlock
from pytest_memleak.books.text_decoding import (
    legible,
    letters_and_digits,
    without_controls,
)
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript


class _Line(NamedTuple):
    """A line of a page: size of its type, edges, text."""

    size: float
    left: float
    right: float
    bottom: float
    text: str


@dataclass(slots=True)
class _Paragraph:
    """A paragraph's lines, and the page and height where it begins."""

    page: int
    top: float
    lines: list[_Line] = field(default_factory=list)
    text: str = ""


def read_pdf(
    path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Manuscript:
    """Read a PDF file with pypdfium2; the outline's entries are documents (`read_epub`).

    Raises BookError, naming the file and the reason, for an invalid or locked PDF, more
    than 3,000 pages, more text than the budget, too much time or memory, or no words,
    as in scanned pages.
    """
    place = str(path)
    budget = Budget(place)
    outline, *texts = parse_in_subprocess(
        "pdf", read_bytes(path), budget=budget, of="characters of text"
    )
    pages = [[_line(row) for row in text.split("\n") if row] for text in texts]
    if not any(pages):
        raise BookError(
            "contains no words",
            location=place,
            hint="its pages are images: run OCR first (ocrmypdf), or use a different edition",
        )
    letters: Counter[float] = Counter()
    for line in chain.from_iterable(pages):
        letters[line.size] += len(line.text)
    body_size = letters.most_common(1)[0][0]
    kept, heads = _remove_heads(pages, body_size)
    bodies, notes_of_pages = _split_notes(kept, body_size)
    vocabulary = _vocabulary(bodies)
    bodies = [_join_initials(page, body_size, vocabulary) for page in bodies]
    paragraphs = _paragraphs(bodies, body_size)
    hyphens = 0
    for paragraph in paragraphs:
        paragraph.text, count = _join_lines(paragraph.lines, vocabulary)
        hyphens += count
    paragraphs = [paragraph for paragraph in paragraphs if paragraph.text]
    budget.spend(
        sum(len(paragraph.text) for paragraph in paragraphs), "characters of text"
    )
    budget.spend(len(paragraphs), "paragraphs")
    notes = [_join_lines(lines, vocabulary)[0] for lines in notes_of_pages]
    leaves, entries = _documents(paragraphs, notes, json.loads(outline), body_size)
    warning = (
        "read from a PDF, so paragraphs are guessed from the lines;"
        f" removed running heads and page numbers ({heads:,}), line-end hyphens "
        f"({hyphens:,}),"
        f" and lines of footnotes ({sum(map(len, notes_of_pages)):,})"
    )
    front = [paragraph.text for paragraph in paragraphs]
    title, author = header_field(front, "Title"), header_field(front, "Author")
    return compose(
        leaves,
        (),
        entries,
        title=title,
        author=author,
        include=include,
        exclude=exclude,
        warnings=[warning],
        place=place,
    )


def _line(row: str) -> _Line:
    size, left, right, bottom, text = row.split(" ", 4)
    return _Line(float(size), float(left), float(right), float(bottom), text)


# --- running heads and page numbers
# ---------------------------------------------------------

_EDGE_LINES = 2
_FEWEST_PAGES = 3
_SHARE_OF_PAGES = 0.2
# So many of the lines at one height of pages' edges are running heads: then all are.
_SHARE_OF_HEIGHT = 0.8

_NUMBER = re.compile(r"\d+|\b[ivxlc]{1,8}\b")
_PAGE_NUMBER = re.compile(r"\W{0,5}(?:\d{1,5}|[ivxlc]{1,8})\W{0,5}", re.IGNORECASE)
_LONGEST_EDGE = 120


def _remove_heads(
    pages: Sequence[list[_Line]], body_size: float
) -> tuple[list[list[_Line]], int]:
    """Remove running heads and page numbers from the pages, and count them."""
    large = _OTHER_SIZE * body_size  # as of chapters' numbers
    edges = [[*{*page[:_EDGE_LINES], *page[-_EDGE_LINES:]}] for page in pages]
    seen = Counter(key for lines in edges for key in {_key(line) for line in lines})
    at_height = Counter(round(line.bottom) for lines in edges for line in lines)
    heads = Counter(
        round(line.bottom)
        for lines in edges
        for line in lines
        if seen[_key(line)] >= _FEWEST_PAGES or _PAGE_NUMBER.fullmatch(line.text)
    )
    enough = max(_FEWEST_PAGES, _SHARE_OF_PAGES * len(pages))
    heights = {
        height
        for height, count in heads.items()
        if count >= _FEWEST_PAGES and count >= _SHARE_OF_HEIGHT * at_height[height]
    }

    def is_head(line: _Line) -> bool:
        return line.size < large and (
            round(line.bottom) in heights
            or seen[_key(line)] >= enough
            or _PAGE_NUMBER.fullmatch(line.text) is not None
        )

    kept: list[list[_Line]] = []
    for page in pages:
        # From the page's edges inwards, up to the first line of text.
        above = len([*takewhile(is_head, page[:_EDGE_LINES])])
        below = len([*takewhile(is_head, page[: -_EDGE_LINES - 1 : -1])])
        kept.append(page[above : max(above, len(page) - below)])
    return kept, sum(map(len, pages)) - sum(map(len, kept))


def _key(line: _Line) -> str:
    return _NUMBER.sub("0", line.text.casefold()[:_LONGEST_EDGE])


# --- notes at the foot of pages
# -------------------------------------------------------------

_NOTE_SIZE = 0.93  # of the text's
_NOTE = re.compile(r"\W{0,2}(?:\d{1,4}|[*†‡§‖¶]{1,4}|[a-z]\))")


def _split_notes(
    pages: Sequence[list[_Line]], body_size: float
) -> tuple[list[list[_Line]], list[list[_Line]]]:
    """Split the notes, in smaller type beneath the text, from each page.

    They begin with a number or mark, or in the middle of the last page's sentence.
    """
    bodies: list[list[_Line]] = []
    notes: list[list[_Line]] = []
    runs_on = False
    for page in pages:
        start = len(page)
        while start and page[start - 1].size <= _NOTE_SIZE * body_size:
            start -= 1
        while not runs_on and start < len(page) and not _NOTE.match(page[start].text):
            start += 1
        bodies.append(page[:start])
        notes.append(page[start:])
        runs_on = start < len(page) and not page[-1].text.endswith(_ENDS_SENTENCE)
    return bodies, notes


# --- paragraphs
# -----------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+(?:[-’'][^\W_]+)*")
_HYPHENS = (
    "-\u2010\u00ad\x02\ufffe"  # the last two by pdfium, for those that divide words
)
_ENDS_SENTENCE = tuple(".!?…:—”’\"'»)")
_SHORT_LINE, _FULL_LINE = 0.8, 0.95
_INDENT = 0.5  # of the type's size
_GAP = 1.35  # of the usual distance of lines
_OTHER_SIZE, _INITIAL_SIZE = 1.15, 1.8


def _paragraphs(pages: Sequence[Sequence[_Line]], body_size: float) -> list[_Paragraph]:
    gaps = [
        round(above.bottom - below.bottom)
        for page in pages
        for above, below in pairwise(page)
    ]
    leading = Counter(gaps).most_common(1)[0][0] if gaps else body_size
    wide = sorted(line.right - line.left for page in pages for line in page)
    width = wide[len(wide) * 9 // 10] if wide else 0
    paragraphs: list[_Paragraph] = []
    before: _Line | None = None
    margin_before = 0.0
    for number, page in enumerate(pages):
        margin = _margin(page)
        for at, line in enumerate(page):
            indent = line.left - margin
            opens = (
                before is None
                or not 1 / _OTHER_SIZE < line.size / before.size < _OTHER_SIZE
                or (at and not 0 <= before.bottom - line.bottom <= _GAP * leading)
                or (
                    indent > _INDENT * line.size
                    and (
                        before.right - margin_before < _FULL_LINE * width
                        or before.text.endswith(_ENDS_SENTENCE)
                    )
                )
                or (
                    before.right - margin_before < _SHORT_LINE * width
                    and (
                        before.text.endswith(_ENDS_SENTENCE)
                        or not line.text[:1].islower()
                    )
                )
            )
            if opens:
                paragraphs.append(_Paragraph(number, line.bottom))
            paragraphs[-1].lines.append(line)
            before, margin_before = line, margin
    return paragraphs


def _margin(page: Sequence[_Line]) -> float:
    """Return the left edge that several lines of the page share."""
    lefts = Counter(round(line.left) for line in page)
    often = [left for left, count in lefts.items() if count > 1]
    return float(min(often or lefts, default=0))


def _vocabulary(pages: Sequence[Sequence[_Line]]) -> Counter[str]:
    """Count the words that no line divides."""
    vocabulary: Counter[str] = Counter()
    divided = False
    for line in chain.from_iterable(pages):
        words = _WORD.findall(line.text.lower())[divided:]
        divided = _divided_word(line.text) is not None
        vocabulary.update(words[:-1] if divided else words)
    return vocabulary


def _join_initials(
    page: Sequence[_Line], body_size: float, vocabulary: Counter[str]
) -> list[_Line]:
    """Join each large initial with the line that it begins."""
    lines: list[_Line] = []
    for line in page:
        initial = lines[-1] if lines else line
        if (
            len(initial.text) > 1
            or not line.size < _INITIAL_SIZE * body_size < initial.size
        ):
            lines.append(line)
            continue
        letter, rest = initial.text, line.text.split(" ", 1)[0].lower()
        is_word = vocabulary[letter.lower()] and (
            vocabulary[rest] > vocabulary[f"{letter.lower()}{rest}"]
        )
        text = f"{letter} {line.text}" if is_word else f"{letter}{line.text}"
        lines[-1] = line._replace(left=initial.left, text=text)
    return lines


def _divided_word(text: str) -> str | None:
    """Return the word before a hyphen at the line's end."""
    if text[-1:] not in _HYPHENS or not text[-2:-1].isalnum():
        return None
    *_, word = _WORD.finditer(text.rsplit(None, 1)[-1])
    return word[0].lower()


def _join_lines(lines: Sequence[_Line], vocabulary: Counter[str]) -> tuple[str, int]:
    """Join the lines of a paragraph, and count the hyphens removed."""
    pieces: list[str] = []
    hyphens = 0
    for text, below in pairwise((*(line.text for line in lines), "")):
        left, right = _divided_word(text), _WORD.match(below)
        if left is None or right is None:
            pieces.append(f"{text} ")
        elif _keeps_hyphen(left, right[0].lower(), vocabulary):
            pieces.append(f"{text[:-1]}-")
        else:
            pieces.append(text[:-1])
            hyphens += 1
    return " ".join(legible(without_controls("".join(pieces))).split()), hyphens


def _keeps_hyphen(left: str, right: str, vocabulary: Counter[str]) -> bool:
    """Whether the hyphen is the word's own, by how the book spells it and its parts elsewhere."""
    joined, apart = vocabulary[f"{left}{right}"], vocabulary[f"{left}-{right}"]
    if joined or apart:
        return apart > joined
    return not left.isalpha() or (vocabulary[left] > 0 and vocabulary[right] > 0)


# --- documents
# ------------------------------------------------------------------------------

_DEEPEST = 6
_LEVEL_OF_LARGE = 2
_HEADING_WORDS = 15
_MOST_ON_PAGE = 500


def _documents(
    paragraphs: Sequence[_Paragraph],
    notes: Sequence[str],
    outline: Sequence[tuple[int, str, int | None, float | None]],
    body_size: float,
) -> tuple[list[Leaf], list[Entry]]:
    """Divide the book at the outline's first level, and return the entries of all levels."""
    blocks = [
        TextBlock(
            paragraph.text, level or _LEVEL_OF_LARGE * _is_large(paragraph, body_size)
        )
        for paragraph, level in zip(
            paragraphs,
            heading_levels([paragraph.text for paragraph in paragraphs]),
            strict=True,
        )
    ]
    listed = sorted(
        (index, depth, " ".join(legible(without_controls(title)).split()))
        for depth, title, page, top in outline
        if (index := _entry_paragraph(paragraphs, title, page, top)) is not None
    )
    cuts = sorted(
        {0, len(paragraphs), *(index for index, depth, _ in listed if not depth)}
    )
    leaves: list[Leaf] = []
    entries: list[Entry] = []
    for first, end in pairwise(cuts):
        own = [
            (index, depth, title)
            for index, depth, title in listed
            if first <= index < end
        ]
        name = f"page {paragraphs[first].page + 1}"
        if leaves and leaves[-1].name.startswith(name):
            name += f", paragraph {first + 1}"
        entries += (
            Entry(
                name,
                str(index) if index > first else "",
                title,
                min(depth + 1, _DEEPEST),
            )
            for index, depth, title in own
            if title
        )
        pages = range(
            paragraphs[first].page if first else 0,
            paragraphs[end].page if end < len(paragraphs) else len(notes),
        )
        markup = Markup(
            tuple(blocks[first:end]),
            places={str(index): index - first for index, *_ in own},
            note_texts=tuple(notes[page] for page in pages if notes[page]),
        )
        leaves.append(Leaf(name, markup))
    return leaves, entries


def _is_large(paragraph: _Paragraph, body_size: float) -> bool:
    """Whether a short paragraph in larger type is a heading."""
    return (
        paragraph.lines[0].size > _OTHER_SIZE * body_size
        and len(paragraph.text.split()) <= _HEADING_WORDS
    )


def _entry_paragraph(
    paragraphs: Sequence[_Paragraph], title: str, page: int | None, top: float | None
) -> int | None:
    """Return the paragraph that an entry leads to: its title on that page, or the next one."""
    if page is None:
        return None
    first = bisect_left(paragraphs, page, key=lambda paragraph: paragraph.page)
    letters = letters_and_digits(title)
    following = None
    for index in range(first, min(first + _MOST_ON_PAGE, len(paragraphs))):
        paragraph = paragraphs[index]
        if (
            paragraph.page == page
            and letters
            and letters_and_digits(paragraph.text) == letters
        ):
            return index
        if following is None and (
            top is None or paragraph.page > page or paragraph.top <= top
        ):
            following = index
        if paragraph.page > page:
            break
    return following
