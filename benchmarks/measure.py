"""Times and memory in one process and side by side, so that their ratios mean a thing.

Processor time is measured, and works take turns: other work on the machine makes every
figure worse, but the ratios within a turn little.
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
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import corpus
import floor

from pytest_memleak.parallel.processes import Processes
from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.generation_tally import tally_generations
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

ORACLE_WORDS = 10_000
_EXCERPTS = corpus.BOOK_WORDS // corpus.EXCERPT_WORDS
_ORACLE = Path(__file__).parents[1] / "tests" / "scoring" / "oracle.py"


@dataclass(frozen=True)
class Rate:
    """One leak rate: processor seconds for `words` words, and what was measured.

    floor, scoring, markdown, accents, marks: of the floor, and of scoring whole (both
    passages included) the text as it is, with markdown, accented letters, and marks
    passages: share of `scoring` that would not be there without passages
    """

    leak_rate: str
    words: int
    floor: float
    scoring: float
    markdown: float
    accents: float
    marks: float
    without_passages: float
    bmc: float
    longest: int
    nv_longest: int

    def times_floor(self, seconds: float) -> float:
        return seconds / self.floor


@dataclass(frozen=True)
class IndexCost:
    """Of one book, in ms; of eighty: seconds and MB.

    others, style: times as long to score as with one book, where the generations are
    another author's, and where they are in the style of all eighty
    """

    one: float
    eighty_seconds: float
    eighty_megabytes: float
    eighty_peak: float
    others: float
    style: float


@dataclass(frozen=True)
class PairCost:
    """Milliseconds a pair, whatever its generations, and nanoseconds a word of them."""

    leak_rate: str
    fixed: float
    a_word: float


def in_turns(repeats: int, *works: Callable[[], object]) -> list[float]:
    """The processor time of each work, in seconds.

    Of the first the median; of each other the median of its ratios to the first's in
    the same turn, times that.
    """
    turns = []
    for _ in range(repeats):
        times = []
        for work in works:
            gc.collect()
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        turns.append(times)
    first = median(turn[0] for turn in turns)
    return [
        first * median(turn[number] / turn[0] for turn in turns)
        for number in range(len(works))
    ]


def rate(leak_rate: str, *, count: int, repeats: int) -> Rate:
    """Score `count` generations whole: index, measures, passages, rounds, sources."""
    book, scoring = corpus.book(), Scoring()
    drawn = list(corpus.generations(leak_rate, count))
    known = floor.vocabulary(excerpt.text for excerpt in book.excerpts)
    words = sum(len(floor.look_up(one.text, known)) for one in drawn)

    def changed(change: Callable[[str, random.Random], str]) -> list[Generation]:
        draw = random.Random(5)
        return [replace(one, text=change(one.text, draw)) for one in drawn]

    def look_up_all() -> None:
        for one in drawn:
            floor.look_up(one.text, known)

    sets = [
        drawn,
        *map(changed, (corpus.with_markdown, corpus.with_accents, corpus.with_marks)),
    ]
    at_floor, without, *scored = in_turns(
        repeats,
        look_up_all,
        lambda: analyze(
            book, drawn, scoring, count=partial(tally_generations, passages=False)
        ),
        *(partial(analyze, book, its, scoring) for its in sets),
    )
    seen = analyze(book, drawn, scoring)
    if seen is None or seen.passages is None:
        raise RuntimeError("nothing was measured")
    return Rate(
        leak_rate,
        words,
        at_floor,
        *scored,
        without_passages=without,
        bmc=seen.measurement.bmc,
        longest=seen.passages.longest_passage.words,
        nv_longest=seen.passages.nv_longest_passage.words,
    )


def pair_cost(leak_rate: str, *, count: int, repeats: int) -> PairCost:
    """From two numbers of generations, with an index that is there."""
    book, scoring = corpus.book(), Scoring()
    protected = Protected(SharedIndex([book], k=5), book.id, (book.id,))
    drawn = list(corpus.generations(leak_rate, count))
    few = drawn[: max(count // 10, 1)]
    small, large = in_turns(
        repeats,
        lambda: analyze(book, few, scoring, protected=protected),
        lambda: analyze(book, drawn, scoring, protected=protected),
    )
    a_text = (large - small) / max(len(drawn) - len(few), 1)
    return PairCost(
        leak_rate,
        (small - a_text * len(few)) * 1e3,
        a_text / corpus.GENERATION_WORDS * 1e9,
    )


def near_verbatim(leak_rate: str, *, count: int) -> float:
    """How many times as long scoring takes where a limit is on near-verbatim recall."""
    book, scoring = corpus.book(), Scoring()
    drawn = list(corpus.generations(leak_rate, count))
    alone, with_it = in_turns(
        1,
        lambda: analyze(book, drawn, scoring),
        lambda: analyze(book, drawn, scoring, near=True),
    )
    return with_it / alone


def two_processes(leak_rate: str, *, count: int) -> float:
    """Processor time of two processes that score, as a share of one's.

    They are running already. Twice as fast by the clock they could be where it is 1, on
    cores of their own.
    """
    book, scoring = corpus.book(), Scoring()
    drawn = list(corpus.generations(leak_rate, count))
    with contextlib.closing(Processes(2)) as two:
        two.tally_generations(book, scoring, [])
        ids = [os.getpid(), *(process.pid for process, _ in two._running)]  # noqa: SLF001
        took = []
        for count_with in (tally_generations, two.tally_generations):
            before = _processor_time(ids)
            analyze(book, drawn, scoring, count=count_with)
            took.append(_processor_time(ids) - before)
    alone, together = took
    return together / alone


def _processor_time(ids: list[int]) -> float:
    """Seconds of processor time that the processes have used."""
    fields = (
        Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in ids
    )
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def index_cost(*, count: int, repeats: int) -> IndexCost:
    """What an index of one book and of eighty costs."""
    book = corpus.book()
    (one,) = in_turns(5, lambda: SharedIndex([book], k=5))
    others = [corpus.in_style(number) for number in range(79)]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = _peak(), time.process_time()
    eighty = SharedIndex([book, *others], k=5)
    seconds, peak = time.process_time() - start, (_peak() - before) / 1e6
    del others
    alone = SharedIndex([book], k=5)

    def score(index: SharedIndex, drawn: list[Generation]) -> Callable[[], object]:
        protected = Protected(index, book.id, tuple(index.numbers))
        return lambda: tally_generations(book, Scoring(), drawn, protected=protected)

    def times_one(leak_rate: str) -> float:
        drawn = list(corpus.generations(leak_rate, count))
        with_one, with_all = in_turns(
            repeats, score(alone, drawn), score(eighty, drawn)
        )
        return with_all / with_one

    return IndexCost(
        one * 1e3,
        seconds,
        eighty.nbytes / 1e6,
        peak,
        times_one("none"),
        times_one("fifth in style"),
    )


def oracle_rate(*, count: int = 2) -> float:
    """Words per second of the slow oracle, on the book's first words."""
    spec = importlib.util.spec_from_file_location("oracle", _ORACLE)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_ORACLE)
    oracle: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    excerpts = [
        (one.id, one.text, one.instruction)
        for one in corpus.book(ORACLE_WORDS).excerpts
    ]
    drawn = {one.excerpt_id: [one.text] for one in corpus.generations("fifth", count)}
    words = sum(len(oracle.words(text)) for texts in drawn.values() for text in texts)
    (seconds,) = in_turns(1, lambda: oracle.measure(excerpts, drawn))
    return words / seconds


def peak_memory(leak_rate: str, *, count: int) -> float:
    """Megabytes that scoring one pair, its texts in a file, adds to a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for excerpt in corpus.book().excerpts:
                file.write(
                    json.dumps((excerpt.id, excerpt.text, excerpt.instruction)) + "\n"
                )
            for one in corpus.generations(leak_rate, count):
                file.write(json.dumps((one.excerpt_id, one.ordinal, one.text)) + "\n")
        done = subprocess.run(
            [sys.executable, __file__, str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    return float(done.stdout)


def _score_file(path: Path) -> float:
    with path.open(encoding="utf-8") as file:
        lines = (json.loads(line) for line in file)
        excerpts = tuple(Excerpt(*line) for line in islice(lines, _EXCERPTS))
        book = Book("kjv", "The King James Version", "various", excerpts, digest="")
        before = _peak()
        analyze(book, (Generation(*line) for line in lines), Scoring())
    return (_peak() - before) / 1e6


def _peak() -> int:
    # Not ru_maxrss, in which a child process begins with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    print(_score_file(Path(sys.argv[1])))
