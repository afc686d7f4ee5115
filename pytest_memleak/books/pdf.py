"""PDF books: paragraphs, chapters and notes from the positions and sizes of lines.

A PDF contains positioned characters, neither words nor paragraphs. Running heads, page
numbers and note references are removed, notes at the foot of pages are set apart, and
hyphens that divide words are resolved by the book's own spelling. The outline, if there
is one, divides the book as an EPUB's table of contents does; without one, headings do.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

from pytest_memleak.books.archive import Budget, read_bytes
from pytest_memleak.books.boilerplate import header_field
from pytest_memleak.books.compose_manuscript import compose_manuscript
from pytest_memleak.books.parser_subprocess import parse_in_subprocess
from pytest_memleak.books.plain_text import heading_levels
from pytest_memleak.books.text_blocks import Entry, Markup, SpineDocument, TextBlock
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
    path: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Manuscript:
    """Read a PDF with pypdfium2; the outline's entries or its headings are documents.

    Raises BookError, naming the file and the reason, for an invalid or locked PDF, more
    than 3,000 pages, more text than the budget, too much time or memory, or no words,
    as in scanned pages.
    """
    place = str(path)
    budget = Budget(place)
    outline, *texts = parse_in_subprocess(
        "pdf",
        read_bytes(path),
        budget=budget,
        of="characters of text",
    )
    pages = [_lines(text) for text in texts]
    if not any(pages):
        raise BookError(
            "contains no words",
            location=place,
            hint="its pages are images: run OCR first (ocrmypdf), or use a different "
            "edition",
        )
    layout = _layout(pages)
    characters = sum(len(paragraph.text) for paragraph in layout.paragraphs)
    budget.spend(characters, "characters of text")
    budget.spend(len(layout.paragraphs), "paragraphs")
    leaves, entries = _documents(layout, json.loads(outline))
    warning = (
        "read from a PDF, so paragraphs are guessed from the lines; removed running "
        f"heads and page numbers ({layout.heads:,}), line-end hyphens "
        f"({layout.hyphens:,}), and lines of footnotes ({layout.note_lines:,})"
    )
    front = [paragraph.text for paragraph in layout.paragraphs]
    return compose_manuscript(
        leaves,
        (),
        entries,
        title=header_field(front, "Title"),
        author=header_field(front, "Author"),
        include=include,
        exclude=exclude,
        warnings=[warning],
        place=place,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The text of all pages: paragraphs, and each page's notes.

    heads:      running heads and page numbers that were removed
    hyphens:    line-end hyphens that were removed
    note_lines: lines of the notes
    """

    body_size: float
    paragraphs: list[_Paragraph]
    notes: list[str]
    heads: int
    hyphens: int
    note_lines: int


def _layout(pages: Sequence[list[_Line]]) -> _Layout:
    body_size = _body_size(pages)
    kept, heads = _remove_heads(pages, body_size)
    bodies, notes_of_pages = _split_notes(kept, body_size)
    vocabulary = _vocabulary(bodies)
    bodies = [_join_initials(page, body_size, vocabulary) for page in bodies]
    paragraphs = _paragraphs(bodies, body_size)
    hyphens = 0
    for paragraph in paragraphs:
        paragraph.text, count = _join_lines(paragraph.lines, vocabulary)
        hyphens += count
    notes: list[str] = []
    for lines in notes_of_pages:
        note, _ = _join_lines(lines, vocabulary)
        notes.append(note)
    return _Layout(
        body_size=body_size,
        paragraphs=[paragraph for paragraph in paragraphs if paragraph.text],
        notes=notes,
        heads=heads,
        hyphens=hyphens,
        note_lines=sum(map(len, notes_of_pages)),
    )


def _body_size(pages: Iterable[Iterable[_Line]]) -> float:
    """Return the size of type that most letters have."""
    letters: Counter[float] = Counter()
    for line in chain.from_iterable(pages):
        letters[line.size] += len(line.text)
    [(size, _)] = letters.most_common(1)
    return size


def _lines(page: str) -> list[_Line]:
    return [_line(row) for row in page.split("\n") if row]


def _line(row: str) -> _Line:
    size, left, right, bottom, text = row.split(" ", 4)
    return _Line(
        size=float(size),
        left=float(left),
        right=float(right),
        bottom=float(bottom),
        text=text,
    )


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
    pages: Sequence[list[_Line]],
    body_size: float,
) -> tuple[list[list[_Line]], int]:
    """Remove running heads and page numbers from the pages, and count them."""
    large = _OTHER_SIZE * body_size  # as of chapters' numbers
    every_edge: list[_Line] = []
    pages_with: Counter[str] = Counter()
    for page in pages:
        edge_lines = {*page[:_EDGE_LINES], *page[-_EDGE_LINES:]}
        every_edge += edge_lines
        pages_with.update({_key(line) for line in edge_lines})
    heights = _heights_of_heads(every_edge, pages_with)
    enough = max(_FEWEST_PAGES, _SHARE_OF_PAGES * len(pages))

    def is_head(line: _Line) -> bool:
        if line.size >= large:
            return False
        if round(line.bottom) in heights or pages_with[_key(line)] >= enough:
            return True
        return _PAGE_NUMBER.fullmatch(line.text) is not None

    kept: list[list[_Line]] = []
    removed = 0
    for page in pages:
        # From the page's edges inwards, up to the first line of text.
        first_lines = page[:_EDGE_LINES]
        last_lines = page[-_EDGE_LINES:]
        above = len([*takewhile(is_head, first_lines)])
        below = len([*takewhile(is_head, reversed(last_lines))])
        end = max(above, len(page) - below)
        kept.append(page[above:end])
        removed += len(page) - len(kept[-1])
    return kept, removed


def _heights_of_heads(edges: Iterable[_Line], pages_with: Counter[str]) -> set[int]:
    """Return the heights at which most lines of pages' edges are running heads."""
    lines: Counter[int] = Counter()
    heads: Counter[int] = Counter()
    for line in edges:
        height = round(line.bottom)
        lines[height] += 1
        is_repeated = pages_with[_key(line)] >= _FEWEST_PAGES
        if is_repeated or _PAGE_NUMBER.fullmatch(line.text):
            heads[height] += 1
    heights: set[int] = set()
    for height, count in heads.items():
        if count >= max(_FEWEST_PAGES, _SHARE_OF_HEIGHT * lines[height]):
            heights.add(height)
    return heights


def _key(line: _Line) -> str:
    return _NUMBER.sub("0", line.text.casefold()[:_LONGEST_EDGE])


# --- notes at the foot of pages
# -------------------------------------------------------------

_NOTE_SIZE = 0.93  # of the text's
_NOTE = re.compile(r"\W{0,2}(?:\d{1,4}|[*†‡§‖¶]{1,4}|[a-z]\))")


def _split_notes(
    pages: Sequence[list[_Line]],
    body_size: float,
) -> tuple[list[list[_Line]], list[list[_Line]]]:
    """Split the notes, in smaller type beneath the text, from each page.

    They begin with a number or mark, or in the middle of the last page's sentence.
    """
    bodies: list[list[_Line]] = []
    notes: list[list[_Line]] = []
    runs_on = False
    largest_note = _NOTE_SIZE * body_size
    for page in pages:
        start = len(page)
        while start and page[start - 1].size <= largest_note:
            start -= 1
        if not runs_on:
            while start < len(page) and not _NOTE.match(page[start].text):
                start += 1
        bodies.append(page[:start])
        notes_of_page = page[start:]
        notes.append(notes_of_page)
        runs_on = False
        if notes_of_page:
            last = notes_of_page[-1]
            runs_on = not last.text.endswith(_ENDS_SENTENCE)
    return bodies, notes


# --- paragraphs
# -----------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+(?:[-’'][^\W_]+)*")
# The last two are pdfium's, for those that divide words.
_HYPHENS = "-\u2010\u00ad\x02\ufffe"
_ENDS_SENTENCE = tuple(".!?…:—”’\"'»)")
_SHORT_LINE, _FULL_LINE = 0.8, 0.95
_INDENT = 0.5  # of the type's size
_GAP = 1.35  # of the usual distance of lines
_OTHER_SIZE, _INITIAL_SIZE = 1.15, 1.8


def _paragraphs(pages: Sequence[Sequence[_Line]], body_size: float) -> list[_Paragraph]:
    leading = _leading(pages, body_size)
    width = _text_width(pages)
    paragraphs: list[_Paragraph] = []
    before: _Line | None = None
    margin_before = 0.0
    for number, page in enumerate(pages):
        margin = _margin(page)
        for at, line in enumerate(page):
            opens = before is None or _is_other_type_size(line, before)
            if before and not opens:
                gap = before.bottom - line.bottom
                is_apart = at > 0 and not 0 <= gap <= _GAP * leading
                is_indented = line.left - margin > _INDENT * line.size
                width_before = before.right - margin_before
                opens = is_apart or _begins_paragraph(
                    line,
                    before,
                    is_indented,
                    width_before,
                    width,
                )
            if opens:
                paragraphs.append(_Paragraph(number, line.bottom))
            paragraphs[-1].lines.append(line)
            before = line
            margin_before = margin
    return paragraphs


def _leading(pages: Sequence[Sequence[_Line]], body_size: float) -> float:
    """Return the usual distance of lines."""
    gaps: Counter[float] = Counter()
    for page in pages:
        for above, below in pairwise(page):
            gap = above.bottom - below.bottom
            gaps[round(gap)] += 1
    if not gaps:
        return body_size
    [(leading, _)] = gaps.most_common(1)
    return leading


def _text_width(pages: Sequence[Sequence[_Line]]) -> float:
    """Return the width that nine of ten lines don't exceed."""
    lines = chain.from_iterable(pages)
    widths = sorted(line.right - line.left for line in lines)
    if not widths:
        return 0
    nine_tenths = len(widths) * 9 // 10
    return widths[nine_tenths]


def _is_other_type_size(line: _Line, before: _Line) -> bool:
    """Whether a line's type is clearly larger or smaller than before."""
    return not 1 / _OTHER_SIZE < line.size / before.size < _OTHER_SIZE


def _begins_paragraph(
    line: _Line,
    before: _Line,
    is_indented: bool,
    width_before: float,
    width: float,
) -> bool:
    """Whether an indented line, or one behind a short line, begins a paragraph."""
    ends_sentence = before.text.endswith(_ENDS_SENTENCE)
    if is_indented and (ends_sentence or width_before < _FULL_LINE * width):
        return True
    if width_before >= _SHORT_LINE * width:
        return False
    return ends_sentence or not line.text[:1].islower()


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
    page: Sequence[_Line],
    body_size: float,
    vocabulary: Counter[str],
) -> list[_Line]:
    """Join each large initial with the line that it begins."""
    lines: list[_Line] = []
    large = _INITIAL_SIZE * body_size
    for line in page:
        initial = lines[-1] if lines else line
        is_initial = len(initial.text) <= 1 and initial.size > large
        if not is_initial or line.size >= large:
            lines.append(line)
            continue
        blank = " " if _is_word_of_its_own(initial, line, vocabulary) else ""
        text = f"{initial.text}{blank}{line.text}"
        lines[-1] = line._replace(left=initial.left, text=text)
    return lines


def _is_word_of_its_own(
    initial: _Line,
    line: _Line,
    vocabulary: Counter[str],
) -> bool:
    """Whether a large initial isn't the beginning of the line's first word."""
    letter = initial.text.lower()
    rest = line.text.split(" ", 1)[0].lower()
    is_word = vocabulary[letter] > 0
    joined = f"{letter}{rest}"
    return is_word and vocabulary[rest] > vocabulary[joined]


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
    texts = [line.text for line in lines]
    for text, below in pairwise([*texts, ""]):
        left = _divided_word(text)
        right = _WORD.match(below)
        if left is None or right is None:
            pieces.append(f"{text} ")
        elif _keeps_hyphen(left, right[0].lower(), vocabulary):
            pieces.append(f"{text[:-1]}-")
        else:
            pieces.append(text[:-1])
            hyphens += 1
    text = legible(without_controls("".join(pieces)))
    return " ".join(text.split()), hyphens


def _keeps_hyphen(
    left: str,
    right: str,
    vocabulary: Counter[str],
) -> bool:
    """Whether the hyphen is the word's own, by how the book spells it elsewhere."""
    joined = vocabulary[f"{left}{right}"]
    apart = vocabulary[f"{left}-{right}"]
    if joined or apart:
        return apart > joined
    if not left.isalpha():
        return True
    return vocabulary[left] > 0 and vocabulary[right] > 0


# --- documents
# ------------------------------------------------------------------------------

_DEEPEST = 6
_LEVEL_OF_LARGE = 2
_HEADING_WORDS = 15
_MOST_ON_PAGE = 500


class _OutlineTarget(NamedTuple):
    """An entry of the outline: the paragraph that it leads to, its depth, its title."""

    paragraph: int
    depth: int
    title: str


# Depth, title, page, height on the page.
_Bookmark = tuple[int, str, int | None, float | None]


def _documents(
    layout: _Layout,
    outline: Sequence[_Bookmark],
) -> tuple[list[SpineDocument], list[Entry]]:
    """Divide the book at the outline's first level; return entries of all levels.

    Without an outline, headings divide it.
    """
    paragraphs = layout.paragraphs
    blocks = _blocks(paragraphs, layout.body_size)
    listed = _outline_targets(paragraphs, outline) or _heading_targets(blocks)
    cuts = {0, len(paragraphs)}
    cuts.update(entry.paragraph for entry in listed if not entry.depth)
    leaves: list[SpineDocument] = []
    entries: list[Entry] = []
    for first, end in pairwise(sorted(cuts)):
        name = f"page {paragraphs[first].page + 1}"
        if leaves and leaves[-1].name.startswith(name):
            name += f", paragraph {first + 1}"
        own = [entry for entry in listed if first <= entry.paragraph < end]
        entries += (_entry(name, first, entry) for entry in own if entry.title)
        indices = [entry.paragraph for entry in own]
        markup = Markup(
            tuple(blocks[first:end]),
            places={str(index): index - first for index in indices},
            note_texts=_notes_of(layout, first, end),
        )
        leaves.append(SpineDocument(name, markup))
    return leaves, entries


def _blocks(paragraphs: Sequence[_Paragraph], body_size: float) -> list[TextBlock]:
    """Return each paragraph as text or, by its wording or its type, as a heading."""
    levels = heading_levels([paragraph.text for paragraph in paragraphs])
    blocks: list[TextBlock] = []
    for paragraph, level in zip(paragraphs, levels, strict=True):
        if not level and _is_heading_by_type_size(paragraph, body_size):
            blocks.append(TextBlock(paragraph.text, _LEVEL_OF_LARGE))
        else:
            blocks.append(TextBlock(paragraph.text, level))
    return blocks


def _outline_targets(
    paragraphs: Sequence[_Paragraph],
    outline: Sequence[_Bookmark],
) -> list[_OutlineTarget]:
    listed: list[_OutlineTarget] = []
    for depth, title, page, top in outline:
        index = _entry_paragraph(paragraphs, title, page, top)
        if index is not None:
            text = " ".join(legible(without_controls(title)).split())
            listed.append(
                _OutlineTarget(
                    paragraph=index,
                    depth=depth,
                    title=text,
                )
            )
    return sorted(listed)


def _heading_targets(blocks: Sequence[TextBlock]) -> list[_OutlineTarget]:
    """Return an entry for each heading, and for headings in a row one."""
    listed: list[_OutlineTarget] = []
    is_behind_heading = False
    for index, block in enumerate(blocks):
        if block.level and not is_behind_heading:
            listed.append(_OutlineTarget(index, 0, block.text))
        is_behind_heading = block.level > 0
    return listed


def _entry(
    document: str,
    first: int,
    listed: _OutlineTarget,
) -> Entry:
    place = "" if listed.paragraph == first else str(listed.paragraph)
    depth = min(listed.depth + 1, _DEEPEST)
    return Entry(document, place, listed.title, depth)


def _notes_of(
    layout: _Layout,
    first: int,
    end: int,
) -> tuple[str, ...]:
    """Return the notes of the pages on which these paragraphs begin."""
    paragraphs = layout.paragraphs
    first_page = paragraphs[first].page if first else 0
    end_page = len(layout.notes)
    if end < len(paragraphs):
        end_page = paragraphs[end].page
    notes = layout.notes[first_page:end_page]
    return tuple(note for note in notes if note)


def _is_heading_by_type_size(paragraph: _Paragraph, body_size: float) -> bool:
    """Whether a short paragraph in larger type is a heading."""
    return (
        paragraph.lines[0].size > _OTHER_SIZE * body_size
        and len(paragraph.text.split()) <= _HEADING_WORDS
    )


def _entry_paragraph(
    paragraphs: Sequence[_Paragraph],
    title: str,
    page: int | None,
    top: float | None,
) -> int | None:
    """Return the paragraph that an entry leads to: its title, or the next one."""
    if page is None:
        return None
    first = bisect_left(paragraphs, page, key=lambda paragraph: paragraph.page)
    letters = letters_and_digits(title)
    following = None
    end = min(first + _MOST_ON_PAGE, len(paragraphs))
    for index in range(first, end):
        paragraph = paragraphs[index]
        is_behind = paragraph.page > page
        own_letters = letters_and_digits(paragraph.text)
        if letters and own_letters == letters and not is_behind:
            return index
        is_below = top is None or paragraph.top <= top
        if following is None and (is_behind or is_below):
            following = index
        if is_behind:
            break
    return following
