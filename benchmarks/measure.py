"""Times and memory, all in one process and side by side, so that their ratios mean something.

Processor time is measured, and the least of some repeats is kept: other work on the machine
makes every figure worse, but the ratios little.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import random
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

from pytest_memleak.parallel.processes import Processes
from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.analysis import analyse
from pytest_memleak.scoring.index import Index
from pytest_memleak.scoring.tally import tallied

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


@dataclass(frozen=True)
class Spread:
    """Scoring in two processes, as against one; both are running already.

    sooner:    how many times as fast, by the clock
    processor: the processor time of all of them, as a share of that of one alone
    """

    sooner: float
    processor: float


def two_processes(leak_rate: str, *, count: int) -> Spread:
    """Score `count` generations in this process, and then in two others."""
    book, scoring = corpus.book(), Scoring()
    drawn = list(corpus.generations(leak_rate, count))
    with contextlib.closing(Processes(2)) as two:
        two.tallied(book, scoring, [])
        ids = [os.getpid(), *(process.pid for process, _ in two._running)]  # noqa: SLF001
        took = []
        for count_with in (tallied, two.tallied):
            clock, processor = time.perf_counter(), _processor_time(ids)
            analyse(book, drawn, scoring, count=count_with)
            took.append((time.perf_counter() - clock, _processor_time(ids) - processor))
    (alone, alone_processor), (together, together_processor) = took
    return Spread(alone / together, together_processor / alone_processor)


def _processor_time(ids: list[int]) -> float:
    """Seconds of processor time that the processes have used."""
    fields = (Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in ids)
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def index_cost(*, repeats: int) -> IndexCost:
    """What the index of the book costs."""
    book = corpus.book()
    index = _ready(book)
    (seconds,) = least(repeats, lambda: _ready(book))
    return IndexCost(seconds / index.total * 1e6, _bytes_of(index) / index.total)


def _ready(book: Book) -> Index:
    index = Index(book, k=5)
    index.anchors("")  # what it looks for is made when first needed
    return index


def _bytes_of(index: Index) -> int:
    """What the automaton, the tables of places and the codes of words take."""
    anchors = index._anchors  # noqa: SLF001 - nobody else asks
    codes = index._codes  # noqa: SLF001
    arrays = (index._numbers.base, anchors.lengths, anchors.place_count, anchors.first_place)  # noqa: SLF001
    size = int(anchors.automaton.get_stats()["total_size"]) + anchors.places.nbytes
    size += sys.getsizeof(codes) + sum(map(sys.getsizeof, [*codes, *codes.values()]))
    return size + sum(map(_size, arrays))


def _size(array: Any) -> int:
    return int(getattr(array, "nbytes", 0)) or sys.getsizeof(array)


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


def _peak() -> int:
    # Not ru_maxrss, in which a child process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    print(_score_file(Path(sys.argv[1])))
