"""Measure word errors of formats but EPUB, into benchmarks/results/book_formats.md.

    pip install typst
    python benchmarks/book_formats.py                    # the books in fixtures/
    python benchmarks/book_formats.py novels/*.epub

Each book is typeset as a PDF in several ways by Typst, with footnotes of another book's
words, running heads and hyphens, and converted to the other formats by pandoc, and read
again. An error is a word that is missing, added or changed in the text.
"""

from __future__ import annotations

import argparse
import html
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pypandoc
import typst
from pages import write_measured

from pytest_memleak.books.book_file_types import read_manuscript
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
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
    if calc.odd(here().page()) [#h(1fr) _#before.last().body _]
    else [_The Book's Own Title_]
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
    """How a book is typeset. notes: at the foot of the page, or the end of the book."""

    name: str
    notes: str = "foot"
    outlined: bool = True
    indented: bool = True
    symbols: bool = False
    narrow: bool = False


LAYOUTS = (
    Layout("PDF of a novel: indents, running heads, footnotes, hyphens"),
    Layout("PDF without an outline", outlined=False),
    Layout("PDF, footnotes with symbols", symbols=True),
    Layout("PDF, narrow columns, many hyphens", narrow=True),
    Layout("PDF, paragraphs apart, no indents", indented=False),
    Layout("PDF, notes at the book's end", notes="end"),
)
FORMATS = (".docx", ".odt", ".rtf", ".tex", ".fb2", ".md", ".html")


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
                text = " ".join(
                    (*parts[: at - 1], f"{parts[at - 1]}{mark}", *parts[at:])
                )
            pieces.append(f"\n{text}\n")
    if ended:
        pieces.append("= Notes")
        pieces += (
            f"\n{number}. {note}\n" for number, note in enumerate(ended, start=1)
        )
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
                if true[i + left : i + left + 4]
                == read[j + total - left : j + total - left + 4]
            ),
            (len(true) - i, len(read) - j),
        )
        errors.append(
            (" ".join(true[i : i + skipped[0]]), " ".join(read[j : j + skipped[1]]))
        )
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


def page(manuscript: Manuscript) -> bytes:
    """The book as HTML, from which pandoc writes the other formats."""
    pieces = []
    for number, chapter in enumerate(manuscript.chapters, start=1):
        pieces.append(f"<h1>{html.escape(chapter.title or str(number))}</h1>")
        pieces += (
            f"<p>{html.escape(paragraph).replace(chr(10), '<br/>')}</p>"
            for paragraph in chapter.paragraphs
        )
    return "\n".join(pieces).encode()


def converted(manuscript: Manuscript, path: Path) -> None:
    """Write the book in the format of the path's suffix."""
    command = [
        pypandoc.get_pandoc_path(),
        "--from=html",
        "--standalone",
        "--output",
        str(path),
    ]
    subprocess.run(command, input=page(manuscript), check=True, capture_output=True)


@dataclass(slots=True)
class Row:
    """What was read of all books in one way."""

    name: str
    words: int = 0
    errors: int = 0
    excerpts: int = 0
    alike: int = 0
    seconds: float = 0.0

    def add(self, manuscript: Manuscript, path: Path, show: int) -> None:
        """Read the file, and compare it with the manuscript."""
        start = time.monotonic()
        read = read_manuscript(path)
        self.seconds += time.monotonic() - start
        true = words_of(manuscript)
        errors = word_errors(true, words_of(read))
        for error in errors[:show]:
            print(
                f"{path.name}: {error[0][:300]!r} -> {error[1][:300]!r}",
                file=sys.stderr,
            )
        own = {words_text(each.text) for each in cut(read)}
        expected = [words_text(each.text) for each in cut(manuscript)]
        self.words += len(true)
        self.errors += counted(errors)
        self.excerpts += len(expected)
        self.alike += sum(text in own for text in expected)

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.words:,} | {1e5 * self.errors / self.words:.0f} "
            f"| {self.alike:,} of {self.excerpts:,} | "
            f"{1e5 * self.seconds / self.words:.1f} s |"
        )


def main() -> None:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(
        description="Measure the word errors of book formats."
    )
    parser.add_argument("books", nargs="*", type=Path, metavar="EPUB")
    parser.add_argument(
        "--only", default="", metavar="NAME", help="ways whose names contain it"
    )
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="so many errors of each"
    )
    arguments = parser.parse_args()
    fixtures = sorted((root / "fixtures/books").glob("*.epub"))
    books = arguments.books or fixtures
    notes = notes_from(fixtures[0])
    rows = []
    ways = {layout.name: layout for layout in LAYOUTS} | dict.fromkeys(FORMATS)
    for name, layout in ways.items():
        if arguments.only not in name:
            continue
        row = Row(name)
        for book in books:
            manuscript = read_epub(book)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"{book.stem}{'.pdf' if layout else name}")
                if layout:
                    path.write_bytes(typeset(manuscript, layout, notes))
                else:
                    converted(manuscript, path)
                row.add(manuscript, path, arguments.show)
        rows.append(str(row))
        print(row, file=sys.stderr)
    head = (
        "| book | words | errors in 100,000 | excerpts as the EPUB's "
        "| reading 100,000 words |"
    )
    table = "\n".join([head, "| --- | --: | --: | --: | --: |", *rows])
    print(table)
    if not arguments.only:
        write_measured("book_formats.md", table)


def words_text(text: str) -> str:
    """The text's words alone."""
    return " ".join(words(text))


if __name__ == "__main__":
    main()
