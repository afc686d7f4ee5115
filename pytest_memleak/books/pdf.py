"""PDF files, read through pypdfium2; paragraphs are reconstructed from the lines of pages.

A PDF contains positioned characters, neither paragraphs nor words. Running heads, page numbers and
hyphens at line ends are removed; the manuscript's warnings state how many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from pytest_memleak.books.archive import read_bytes
from pytest_memleak.books.parser_subprocess import ParserFailure, parse_in_subprocess
from pytest_memleak.books.parser_worker import MAX_PAGES
from pytest_memleak.books.plain_text import lines_manuscript
from pytest_memleak.books.size_caps import Budget
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Manuscript

# A line at a page's edge that recurs on so many pages, except for its numbers, isn't text.
_EDGE_LINES = 2
_FEWEST_PAGES = 3
_SHARE_OF_PAGES = 0.2

_NUMBER = re.compile(r"\d+|\b[ivxlc]{1,8}\b")
_PAGE_NUMBER = re.compile(r"\W{0,5}(?:\d{1,5}|[ivxlc]{1,8})\W{0,5}", re.IGNORECASE)
_HYPHENS = "-\u00ad\u2010\u0002\ufffe"
_MARKED_HYPHEN = re.compile("[\u0002\ufffe](?=\\w)")
_ENDS_SENTENCE = tuple(".!?…:”’\"'»)")
_SHORT_LINE = 0.8
_LONGEST_EDGE = 120


def read_pdf(path: Path) -> Manuscript:
    """Read a PDF file with pypdfium2.

    Raises BookError, naming the file and the reason, for an invalid or locked PDF, more than 3,000
    pages, more text than the budget, too much time or memory, or no words, as in scanned pages.
    """
    place = str(path)
    pages = _pages(read_bytes(path), place)
    body, heads = _remove_heads(pages)
    text, hyphens = _join_lines(body)
    note = (
        "read from a PDF, whose paragraphs are guessed from its lines:"
        f" removed {heads:,} running heads and page numbers and {hyphens:,} hyphens at line ends"
    )
    if not text.strip():
        raise BookError(
            "contains no words",
            location=place,
            hint="its pages are images: run OCR first (ocrmypdf), or use another edition",
        )
    return lines_manuscript(text, name=path.name, warnings=(note,), place=place)


def _pages(data: bytes, place: str) -> list[list[str]]:
    if find_spec("pypdfium2") is None:
        raise BookError(
            "needs the package 'pypdfium2', which is not installed",
            location=place,
            hint="install it with: pip install 'pytest-memleak[formats]'",
        )
    try:
        texts = parse_in_subprocess("pdf", data, budget=Budget(place), of="characters of text")
    except ParserFailure as failure:
        raise _parser_error(failure, place) from None
    return [[line.rstrip() for line in text.replace("\r", "").split("\n")] for text in texts]


def _parser_error(failure: ParserFailure, place: str) -> BookError:
    if failure.why == "pages":
        return BookError(
            f"has {failure.number:,} pages; the maximum is {MAX_PAGES:,}",
            location=place,
            hint="split a collection into its books",
        )
    locked = failure.why == "locked"
    return BookError(
        "is locked with a password" if locked else "is not a readable PDF",
        location=place,
        hint="unlock it first" if locked else "get the file again",
    )


def _remove_heads(pages: Sequence[list[str]]) -> tuple[list[list[str]], int]:
    """Remove running heads and page numbers from the pages, and count them."""
    filled = [[line for line in page if line.strip()] for page in pages]
    seen = Counter(key for page in filled for key in {_key(page[at]) for at in _edges(len(page))})
    enough = max(_FEWEST_PAGES, _SHARE_OF_PAGES * len(pages))
    removed = 0
    kept = []
    for page in filled:
        gone: set[int] = set()
        for edge in (range(len(page)), range(len(page) - 1, -1, -1)):
            # From the page's edge inwards, up to the first line of text.
            for at in edge[:_EDGE_LINES]:
                if seen[_key(page[at])] < enough and not _PAGE_NUMBER.fullmatch(page[at].strip()):
                    break
                gone.add(at)
        removed += len(gone)
        kept.append([line for at, line in enumerate(page) if at not in gone])
    return kept, removed


def _edges(count: int) -> set[int]:
    return {*range(min(_EDGE_LINES, count)), *range(max(count - _EDGE_LINES, 0), count)}


def _key(line: str) -> str:
    return _NUMBER.sub("0", line.strip().casefold()[:_LONGEST_EDGE])


def _join_lines(pages: Sequence[list[str]]) -> tuple[str, int]:
    """Join lines to paragraphs separated by blank lines, and count the removed hyphens."""
    lines = [line.strip() for page in pages for line in page]
    if not lines:
        return "", 0
    wide = median(map(len, lines)) * _SHORT_LINE
    pieces: list[str] = []
    hyphens = 0
    for whole, following in zip(lines, [*lines[1:], ""], strict=True):
        # pdfium itself marks most hyphens at line ends and joins the lines.
        line, marked = _MARKED_HYPHEN.subn("", whole)
        hyphens += marked
        if line[-1:] in _HYPHENS and line[-2:-1].isalpha() and following[:1].islower():
            pieces.append(line[:-1])
            hyphens += 1
        elif len(line) < wide and (line.endswith(_ENDS_SENTENCE) or not following[:1].islower()):
            pieces.append(f"{line}\n\n")
        else:
            pieces.append(f"{line}\n")
    return "".join(pieces), hyphens
