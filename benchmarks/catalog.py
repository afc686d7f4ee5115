"""Measure how fast a catalog passes generations, into benchmarks/results/scale.md.

    python benchmarks/catalog.py                 # as the page shows it, a minute or two
    python benchmarks/catalog.py --scale 0.1     # a tenth of the generations, nothing
    written

The generations are another author's prose ("none"). Books are synthetic, of 100,000
words each in the style of the King James text, every other one with accents, so that
folding changes it; twenty are made, and come again in larger libraries: what is told of
them is the same, and what they cost.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import corpus
from pages import write_measured

from pytest_memleak.books.catalog_file import CatalogFile, write_catalog
from pytest_memleak.library.book_files import BookFiles
from pytest_memleak.records import Book, Scoring
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter
from pytest_memleak.scoring.word_hashes import BookKeys

BOOKS = (1, 20, 200, 2_000)
GENERATIONS = (2_500, 25_000)
AIMS = {2_500: 15, 25_000: 12}
LEAST, MEGABYTES = 12, 500
_MADE = 20


def tables(scale: float = 1.0, most: int = max(BOOKS)) -> str:
    """Both tables: looking for prepared books, and what preparing them takes."""
    with tempfile.TemporaryDirectory() as folder:
        books = [corpus.in_style(number) for number in range(_MADE)]
        paths = [
            _written(book, Path(folder), n % 2 > 0) for n, book in enumerate(books)
        ]
        start = time.process_time()
        keys = []
        for path, (_, read) in zip(
            paths, BookFiles(paths, Scoring()).books(), strict=True
        ):
            if isinstance(read, Exception):
                raise read
            keys.append((path, "", read))
        parsed = (time.process_time() - start) / _MADE
        file = Path(folder) / "library.keys"
        start = time.process_time()
        prepared = write_catalog(file, keys, mode="paper")
        written = time.process_time() - start
        del books, keys
        rows = [row for count in GENERATIONS for row in _rows(file, count, scale, most)]
        words, size = sum(one.words for one in prepared), file.stat().st_size
    head = (
        "| generations | words of them | books | M library words/s | aim | survivors | "
        "tables, MB "
        f"| peak, MB (aim {MEGABYTES}) |"
    )
    return f"""\
{head}
| --: | --: | --: | --: | --: | --: | --: | --: |
{chr(10).join(rows)}

Reading, cutting and numbering a plain text of {corpus.BOOK_WORDS:,} words takes \
{parsed:.2f} s, writing its numbers {written / _MADE * 1e3:.0f} ms; a prepared word \
takes {size / words:.1f} bytes."""


def _rows(file: Path, count: int, scale: float, most: int) -> list[str]:
    drawn = [one.text for one in corpus.generations("none", round(count * scale))]
    said = sum(len(text.split()) for text in drawn)
    list(
        GenerationPrefilter(drawn[:100], k=5).matching_books(
            _books(file, 1), least_verbatim_words=LEAST
        )
    )
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS:")
    start = time.process_time()
    sieve = GenerationPrefilter(drawn, k=5)
    print(f"table made in {time.process_time() - start:.1f} s", file=sys.stderr)
    rows = []
    for number in BOOKS:
        if number > most:
            break
        words = sum(book.words for _, book in _books(file, number))
        start = time.process_time()
        found = list(
            sieve.matching_books(_books(file, number), least_verbatim_words=LEAST)
        )
        took = time.process_time() - start
        peak = (_kilobytes("VmHWM:") - before) / 1e3
        rows.append(
            f"| {len(drawn):,} | {said:,} | {number:,} | {words / took / 1e6:.1f} | "
            f"{AIMS[count]} | {len(found):,} | {sieve.nbytes / 1e6:.0f} | {peak:.0f} |"
        )
        print(rows[-1], file=sys.stderr)
    return rows


def _books(path: Path, number: int) -> Iterator[tuple[str, BookKeys]]:
    file = CatalogFile(path)
    return file.keys(
        (f"book {n}", book) for n, book in enumerate(islice(cycle(file.books), number))
    )


def _written(book: Book, folder: Path, accented: bool) -> Path:
    text = "\n\n".join(one.text for one in book.excerpts)
    path = folder / f"{book.id}.txt"
    path.write_text(
        corpus.with_accents(text, random.Random(3)) if accented else text, "utf-8"
    )
    return path


def _kilobytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a catalog.")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE", help="of generations"
    )
    parser.add_argument(
        "--books", type=int, default=max(BOOKS), metavar="N", help="at most"
    )
    arguments = parser.parse_args()
    made = tables(arguments.scale, arguments.books)
    print(made)
    if arguments.scale == 1 and arguments.books == max(BOOKS):
        write_measured("scale.md", made, name="catalog")


if __name__ == "__main__":
    main()
