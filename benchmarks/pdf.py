"""Measure the word errors of PDFs as books are typeset, and write benchmarks/results/pdf.md.

    pip install typst
    python benchmarks/pdf.py                             # the books in fixtures/
    python benchmarks/pdf.py novels/*.epub

Each book is typeset in several ways by Typst, with footnotes of another book's words, running heads
and hyphens, and read again. An error is a word that is missing, added or changed in the text.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typst
from pages import write_measured

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.books.formats import read_manuscript
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.scoring.words import words

_SPECIAL = re.compile(r"([\\#*_`$<>@=\-+/\[\]~'\"])")
_NOTES_EVERY = 15  # paragraphs
_FONT = "Libertinus Serif"  # Typst brings it
_SETTINGS = """
#set page(width: {0}, height: 198mm, margin: 16mm, numbering: "1", header: context {{
  let before = query(selector(heading).before(here()))
  let opens = query(heading).any(each => each.location().page() == here().page())
  if not opens and before.len() > 0 {{
    if calc.odd(here().page()) [#h(1fr) _#before.last().body _] else [_The Book's Own Title_]
  }}
}})
#set text(font: "{1}", size: 10pt, lang: "en", hyphenate: true)
#set par(justify: true, first-line-indent: {2}, leading: 0.62em, spacing: {3})
#set heading(bookmarked: {4})
#show heading: each => {{
  pagebreak(weak: true)
  align(center, block(above: 30mm, below: 12mm, each.body))
}}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a book is typeset. notes: at the foot of the page, or at the end of the book."""

    name: str
    notes: str = "foot"
    outlined: bool = True
    indented: bool = True
    symbols: bool = False
    narrow: bool = False


LAYOUTS = (
    Layout("novel: indents, running heads, footnotes, hyphens"),
    Layout("the same without an outline", outlined=False),
    Layout("footnotes with symbols", symbols=True),
    Layout("narrow columns, many hyphens", narrow=True),
    Layout("paragraphs apart, no indents", indented=False),
    Layout("notes at the book's end", notes="end"),
)


def typeset(manuscript: Manuscript, layout: Layout, notes: Sequence[str]) -> bytes:
    """The book as a PDF, with a note in every fifteenth paragraph."""
    draw = random.Random(7)
    width = "84mm" if layout.narrow else "129mm"
    spacing = ("1.2em", "0.62em") if layout.indented else ("0em", "1.1em")
    bookmarked = str(layout.outlined).lower()
    symbols = '#set footnote(numbering: "*")' if layout.symbols else ""
    pieces = [_SETTINGS.format(width, _FONT, *spacing, bookmarked), symbols]
    ended: list[str] = []
    count = 0
    for number, chapter in enumerate(manuscript.chapters, start=1):
        pieces.append(f"= {_escaped(chapter.title or str(number))}")
        for paragraph in chapter.paragraphs:
            tokens = [_escaped(line) for line in paragraph.split("\n")]
            text = " \\\n".join(tokens)
            count += 1
            if count % _NOTES_EVERY == 0 and "\n" not in paragraph:
                note = notes[count % len(notes)]
                parts = text.split(" ")
                at = draw.randrange(1, len(parts) + 1)
                if layout.notes == "foot":
                    mark = f"#footnote[{_escaped(note)}]"
                else:
                    ended.append(_escaped(note))
                    mark = f"#super[{len(ended)}]"
                text = " ".join((*parts[: at - 1], f"{parts[at - 1]}{mark}", *parts[at:]))
            pieces.append(f"\n{text}\n")
    if ended:
        pieces.append("= Notes")
        pieces += (f"\n{number}. {note}\n" for number, note in enumerate(ended, start=1))
    return typst.compile("\n".join(pieces).encode())


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def word_errors(true: Sequence[str], read: Sequence[str]) -> list[tuple[str, str]]:
    """The differing stretches of two texts, aligned at runs of four equal words."""
    errors = []
    i = j = 0
    while i < len(true) or j < len(read):
        if true[i : i + 1] == read[j : j + 1]:
            i, j = i + 1, j + 1
            continue
        skipped = next(
            (
                (left, total - left)
                for total in range(1, 4_000)
                for left in range(total + 1)
                if true[i + left : i + left + 4] == read[j + total - left : j + total - left + 4]
            ),
            (len(true) - i, len(read) - j),
        )
        errors.append((" ".join(true[i : i + skipped[0]]), " ".join(read[j : j + skipped[1]])))
        i, j = i + skipped[0], j + skipped[1]
    return errors


def counted(errors: Sequence[tuple[str, str]]) -> int:
    """How many words these stretches have, on their longer sides."""
    return sum(max(len(true.split()), len(read.split())) for true, read in errors)


def words_of(manuscript: Manuscript) -> list[str]:
    """The words of a book's text."""
    return [
        word
        for chapter in manuscript.chapters
        for paragraph in chapter.paragraphs
        for word in words(paragraph)
    ]


def notes_from(book: Path) -> list[str]:
    """Notes of two to six sentences of a book."""
    text = " ".join(p for each in read_epub(book).chapters for p in each.paragraphs)
    sentences = text.split(". ")
    draw = random.Random(3)
    return [
        ". ".join(sentences[at : at + draw.randrange(1, 4)]) + "."
        for at in range(0, len(sentences) - 4, 4)
    ]


def main() -> None:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description="Measure the word errors of PDFs.")
    parser.add_argument("books", nargs="*", type=Path, metavar="EPUB")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the PDFs")
    parser.add_argument("--layout", type=int, default=None, metavar="N", help="only this layout")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="so many errors of each")
    arguments = parser.parse_args()
    fixtures = sorted((root / "fixtures/books").glob("*.epub"))
    books = arguments.books or fixtures
    notes = notes_from(fixtures[0])
    rows = []
    for layout in LAYOUTS if arguments.layout is None else LAYOUTS[arguments.layout :][:1]:
        total = wrong = alike = excerpts = 0
        seconds = 0.0
        for book in books:
            manuscript = read_epub(book)
            with tempfile.TemporaryDirectory() as folder:
                path = (arguments.keep or Path(folder)) / f"{book.stem}.pdf"
                path.write_bytes(typeset(manuscript, layout, notes))
                start = time.monotonic()
                read = read_manuscript(path)
                seconds += time.monotonic() - start
            true = words_of(manuscript)
            errors = word_errors(true, words_of(read))
            for error in errors[: arguments.show]:
                print(f"{book.stem}: {error[0][:300]!r} -> {error[1][:300]!r}", file=sys.stderr)
            own = {words_text(each.text) for each in cut(read)}
            expected = [words_text(each.text) for each in cut(manuscript)]
            total, wrong = total + len(true), wrong + counted(errors)
            alike += sum(text in own for text in expected)
            excerpts += len(expected)
            print(f"{book.stem}: {counted(errors)} of {len(true):,}", file=sys.stderr)
        rows.append(
            f"| {layout.name} | {total:,} | {1e5 * wrong / total:.0f} | {alike:,} of {excerpts:,} "
            f"| {1e5 * seconds / total:.1f} s |"
        )
        print(rows[-1], file=sys.stderr)
    head = "| PDF | words | errors in 100,000 | excerpts as the EPUB's | reading 100,000 words |"
    table = "\n".join([head, "| --- | --: | --: | --: | --: |", *rows])
    print(table)
    if arguments.layout is None:
        write_measured("pdf.md", table)


def words_text(text: str) -> str:
    """The text's words alone."""
    return " ".join(words(text))


if __name__ == "__main__":
    main()
