"""Measure how scoring grows with books and samples, into benchmarks/results/scale.md.

python benchmarks/scale.py               # as the page shows it, some minutes
python benchmarks/scale.py --scale 0.1   # a quick look, nothing written
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import corpus
from pages import write_measured

from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.analysis import analyze

BOOKS, SAMPLES = (1, 5, 10, 20, 40), (25, 50, 100, 200)
_SMALL_BOOK, _SMALL_ROUNDS = 16_000, 25


class Cost(NamedTuple):
    """Processor time and clock in seconds, and the process's peak in MB."""

    words: int
    processor: float
    clock: float
    megabytes: float


def cost(work: Callable[[], int]) -> Cost:
    """Of `work`, which returns how many words of generations it scored."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    processor, clock = time.process_time(), time.perf_counter()
    words = work()
    spent = time.process_time() - processor, time.perf_counter() - clock
    return Cost(words, *spent, _kilobytes("VmHWM:") / 1e3)


def books(count: int, rounds: int) -> int:
    """Score so many different books, one pair after the other."""
    for number in range(count):
        book = _small_book(number)
        analyze(book, _recited(book, rounds), Scoring())
    return count * rounds * _SMALL_BOOK


def samples(rounds: int) -> int:
    """Score so many rounds of a book of 100,000 words, of which a fifth is recited."""
    count = rounds * corpus.BOOK_WORDS // corpus.EXCERPT_WORDS
    analyze(corpus.book(), corpus.generations("fifth", count), Scoring())
    return count * corpus.GENERATION_WORDS


def _small_book(number: int) -> Book:
    words = corpus.king_james()[number * _SMALL_BOOK : (number + 1) * _SMALL_BOOK]
    texts = (" ".join(words[at : at + 400]) for at in range(0, _SMALL_BOOK, 400))
    excerpts = tuple(Excerpt(f"p_id{n}", text) for n, text in enumerate(texts, start=1))
    return Book(f"book-{number}", "A part of it", "various", excerpts, digest="")


def _recited(book: Book, rounds: int) -> Iterator[Generation]:
    """Another author's prose with a fifth of each excerpt, elsewhere each round."""
    prose = corpus.shakespeare()
    for ordinal in range(rounds):
        for number, excerpt in enumerate(book.excerpts):
            at, own = (
                (ordinal * 7_919 + number * 320) % (len(prose) - 320),
                excerpt.text.split(),
            )
            first = ordinal * 40 % 320
            said = [*prose[at : at + 320], *own[first : first + 80]]
            yield Generation(excerpt.id, ordinal, " ".join(said))


def _kilobytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how scoring grows.")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE", help="of the rounds"
    )
    scale = parser.parse_args().scale
    rounds = max(1, round(_SMALL_ROUNDS * scale))
    books(1, 1)
    samples(1)
    rows = [
        _row(f"books: {count}", cost(lambda count=count: books(count, rounds)))
        for count in BOOKS
    ]
    for count in SAMPLES:
        few = max(1, round(count * scale))
        rows.append(_row(f"samples: {count}", cost(lambda few=few: samples(few))))
    head = (
        "| what | M words scored | processor, s | by the clock, s | M words/s "
        "| memory, MB |"
    )
    table = "\n".join([head, "| --- | --: | --: | --: | --: | --: |", *rows])
    print(table)
    if scale == 1:
        write_measured("scale.md", table)


def _row(name: str, took: Cost) -> str:
    print(name, took, file=sys.stderr)
    return (
        f"| {name} | {took.words / 1e6:.1f} | {took.processor:.1f} | {took.clock:.1f} "
        "| "
        f"{took.words / took.processor / 1e6:.2f} | {took.megabytes:.0f} |"
    )


if __name__ == "__main__":
    main()
