"""How fast generations go into the ledger, and how much memory a pair takes from draw to verdict.

    python benchmarks/ledger_throughput.py                       # 25,000 of them, into SQLite
    python benchmarks/ledger_throughput.py --per-call 1 --ledger postgresql+psycopg://...

The endpoint is in this process and answers at once with as many words as an excerpt has, so
what is timed is the run loop and the ledger: claim, intent, answer, one row a completion.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_reservations import Terms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import PairPrompts, questionnaire
from pytest_memleak.records import Book, Excerpt, Sampling, Scoring
from pytest_memleak.sampling.loop import draw

EXCERPTS = 250
LEXICON = 8_000
MEBIBYTE = 1024  # of ru_maxrss, which counts kibibytes


@dataclass(frozen=True)
class Sampler:
    """The terms of a provider."""

    name: str = "benchmark"
    concurrency: int = 8
    completions_per_call: int = 10
    batch: bool = False


class Talker:
    """Answers at once, each time another stretch of the same words."""

    def __init__(self, words: int) -> None:
        dice = random.Random(1)
        self._text = [f"w{dice.randrange(LEXICON)}" for _ in range(100 * words)]
        self._words = words
        self._numbers = itertools.count()

    def sample(self, _instruction: str, *, n: int, **_settings: Any) -> list[Completion]:
        return [self._completion(next(self._numbers)) for _ in range(n)]

    def _completion(self, number: int) -> Completion:
        start = number * 7 % (len(self._text) - self._words)
        text = " ".join(self._text[start : start + self._words])
        return Completion(text, prompt_tokens=60, completion_tokens=600)


def a_book(words: int) -> Book:
    dice = random.Random(2)
    excerpts = tuple(
        Excerpt(
            f"p_id{number}",
            " ".join(f"w{dice.randrange(LEXICON)}" for _ in range(words)),
            f"Write excerpt {number} of a book that nobody has written.",
        )
        for number in range(1, EXCERPTS + 1)
    )
    return Book("book", "A Book", "An Author", excerpts, "0" * 64)


class Peak:
    """The most memory that the process has had, sampled while the context lasts."""

    def __enter__(self) -> Self:
        self._before = rss()
        self._most = self._before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._most = max(self._most, rss())

    def __str__(self) -> str:
        return f"{self._most:,.0f} MiB at most ({self._before:,.0f} MiB before)"


def rss() -> float:
    """The memory of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024 / MEBIBYTE


def drawn(ledger: Ledger, asked: PairPrompts, sampler: Sampler, words: int) -> float:
    """Draw it all; the seconds that it took."""
    began = time.perf_counter()
    tally = draw(
        ledger,
        Talker(words),
        endpoint_id="benchmark",
        questionnaire=asked,
        terms=Terms(sampler, price=(2.0, 8.0)),
    )
    seconds = time.perf_counter() - began
    if tally.got != asked.asked:
        raise SystemExit(f"{tally.got} of {asked.asked} generations are there")
    return seconds


def main() -> None:
    given = arguments()
    book = a_book(given.words)
    samples = max(1, given.generations // EXCERPTS)
    asked = questionnaire(
        "model/book", book, Sampling(samples=samples), words=lambda text: len(text.split())
    )
    sampler = Sampler(concurrency=given.concurrency, completions_per_call=given.per_call)
    print(
        f"{asked.asked:,} generations of {given.words} words, {given.per_call} a call, "
        f"{given.concurrency} calls at once"
    )
    with tempfile.TemporaryDirectory() as folder:
        url = given.ledger or f"sqlite:///{folder}/ledger.db"
        with Ledger(url) as ledger:
            with Peak() as peak:
                seconds = drawn(ledger, asked, sampler, given.words)
            print(f"drawn:  {asked.asked / seconds:8,.0f} a second, {seconds:6.1f} s, {peak}")
            with Peak() as peak:
                began = time.perf_counter()
                read = sum(1 for _ in generations(ledger, "benchmark", asked))
                seconds = time.perf_counter() - began
            print(f"read:   {read / seconds:8,.0f} a second, {seconds:6.1f} s, {peak}")
            with Peak() as peak:
                began = time.perf_counter()
                measured(book, ledger, asked)
                seconds = time.perf_counter() - began
            print(f"scored: {read / seconds:8,.0f} a second, {seconds:6.1f} s, {peak}")


def measured(book: Book, ledger: Ledger, asked: PairPrompts) -> None:
    from pytest_memleak.scoring.analysis import analyze

    analyze(book, generations(ledger, "benchmark", asked), Scoring())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generations a second into the ledger.")
    parser.add_argument("--generations", type=int, default=25_000, metavar="N")
    parser.add_argument("--word-mode", type=int, default=400, metavar="N", help="of an answer")
    parser.add_argument("--per-call", type=int, default=10, metavar="N")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N")
    parser.add_argument("--ledger", metavar="URL", help="default: SQLite in a temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
