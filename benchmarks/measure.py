"""Times and memory, all in one process and side by side, so that their ratios mean something.

Processor time is measured, and the least of some repeats is kept: other work on the machine
makes every figure worse, but the ratios little.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import corpus
import floor

from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.index import Index

ORACLE_WORDS = 10_000
_EXCERPTS = corpus.BOOK_WORDS // corpus.EXCERPT_WORDS
_ORACLE = Path(__file__).parents[1] / "tests" / "scoring" / "oracle.py"


@dataclass(frozen=True)
class Rate:
    """One leak rate: millions of words per second, and what was measured of the book."""

    leak_rate: str
    words: int
    floor: float
    scoring: float
    with_marks: float
    bmc: float

    @property
    def times_floor(self) -> float:
        return self.floor / self.scoring

    @property
    def marks_cost(self) -> float:
        return self.scoring / self.with_marks


@dataclass(frozen=True)
class IndexCost:
    """Of one book: microseconds and bytes a word."""

    microseconds: float
    bytes: float


def least(repeats: int, *works: Callable[[], object]) -> list[float]:
    """The least processor time of each work, in seconds; they take turns."""
    times = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            gc.collect()
            start = time.process_time()
            work()
            times[number] = min(times[number], time.process_time() - start)
    return times


def rate(leak_rate: str, *, count: int, repeats: int) -> Rate:
    """Score `count` generations whole (index, all measures, rounds, cross-excerpt)."""
    book = corpus.book()
    drawn = list(corpus.generations(leak_rate, count))
    draw = random.Random(5)
    marked = [replace(one, text=corpus.with_marks(one.text, draw)) for one in drawn]
    known = floor.vocabulary(excerpt.text for excerpt in book.excerpts)
    words = sum(len(floor.look_up(one.text, known)) for one in drawn)

    def look_up_all() -> None:
        for one in drawn:
            floor.look_up(one.text, known)

    at_floor, plain, with_marks = least(
        repeats,
        look_up_all,
        lambda: analyse(book, drawn, Scoring()),
        lambda: analyse(book, marked, Scoring()),
    )
    seen = analyse(book, drawn, Scoring())
    return Rate(
        leak_rate,
        words,
        words / at_floor / 1e6,
        words / plain / 1e6,
        words / with_marks / 1e6,
        seen.measurement.bmc if seen else 0.0,
    )


def index_cost(*, repeats: int) -> IndexCost:
    """What the index of the book costs."""
    book = corpus.book()
    words = Index(book, k=5).total
    (seconds,) = least(repeats, lambda: Index(book, k=5))
    kept = [Index(book, k=5)]  # takes what the allocator has spare
    before = _resident()
    kept += [Index(book, k=5) for _ in range(5)]
    grown = _resident() - before
    return IndexCost(seconds / words * 1e6, grown / 5 / words)


def oracle_rate(*, count: int = 2) -> float:
    """Words per second of the slow oracle, on the book's first words."""
    spec = importlib.util.spec_from_file_location("oracle", _ORACLE)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_ORACLE)
    oracle: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    excerpts = [(one.id, one.text, one.instruction) for one in corpus.book(ORACLE_WORDS).excerpts]
    drawn = {one.excerpt_id: [one.text] for one in corpus.generations("fifth", count)}
    words = sum(len(oracle.words(text)) for texts in drawn.values() for text in texts)
    (seconds,) = least(1, lambda: oracle.measure(excerpts, drawn))
    return words / seconds


def peak_memory(leak_rate: str, *, count: int) -> float:
    """Megabytes that scoring one pair adds to a fresh process, its texts read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for excerpt in corpus.book().excerpts:
                file.write(json.dumps((excerpt.id, excerpt.text, excerpt.instruction)) + "\n")
            for one in corpus.generations(leak_rate, count):
                file.write(json.dumps((one.excerpt_id, one.ordinal, one.text)) + "\n")
        done = subprocess.run(
            [sys.executable, __file__, str(path)], check=True, capture_output=True, text=True
        )
    return float(done.stdout)


def _score_file(path: Path) -> float:
    with path.open(encoding="utf-8") as file:
        lines = (json.loads(line) for line in file)
        excerpts = tuple(Excerpt(*line) for line in islice(lines, _EXCERPTS))
        book = Book("kjv", "The King James Version", "various", excerpts, digest="")
        before = _peak()
        analyse(book, (Generation(*line) for line in lines), Scoring())
    return (_peak() - before) / 1e6


def _resident() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _peak() -> int:
    # Not ru_maxrss, in which a child process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    print(_score_file(Path(sys.argv[1])))
