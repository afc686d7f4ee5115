"""Measure the scoring core and write docs/performance.md.

    python benchmarks/report.py                    # as the page shows it, some minutes
    python benchmarks/report.py --scale 0.02       # a quick look, nothing written

Needs the packages of the extra `dev`. Everything runs in one process, one part after the other.
"""

from __future__ import annotations

import argparse
import platform
import sys

import corpus
import measure
from pages import write_measured
from start_up import BOOKS, MODELS, StartUp, start_up

# Of the floor, the least share that scoring must reach, by leak rate; and the other aims.
TIMES_FLOOR = {"none": 2.25, "fifth": 2.25, "fifth in style": 2.25, "heavy": 4.0}
MICROSECONDS, BYTES, MEGABYTES, MARKS = 2.5, 220, 150, 1.3


def main() -> None:
    arguments = _arguments()
    count = round(corpus.BOOK_WORDS / corpus.EXCERPT_WORDS * corpus.ROUNDS * arguments.scale)
    rates = []
    for leak_rate in corpus.LEAK_RATES:
        print(f"scoring {count:,} generations, leak rate {leak_rate} ...", file=sys.stderr)
        rates.append(measure.rate(leak_rate, count=count, repeats=arguments.repeats))
    table = _table(
        rates,
        measure.index_cost(repeats=5),
        memory=max(measure.peak_memory(one, count=count) for one in ("none", "heavy")),
        oracle=measure.oracle_rate(),
        spread=measure.two_processes("none", count=count),
        start=start_up(),
    )
    print(table)
    if arguments.scale == 1:
        write_measured("performance.md", table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the scoring core.")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="SHARE",
        help="share of the 25,000 generations (default: 1, which alone writes the page)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="of which the least time counts"
    )
    return parser.parse_args()


def _table(
    rates: list[measure.Rate],
    index: measure.IndexCost,
    *,
    memory: float,
    oracle: float,
    spread: measure.Spread,
    start: StartUp,
) -> str:
    speeds = "\n".join(
        f"| {one.leak_rate} | {one.floor:.2f} | {one.scoring:.2f} | {one.times_floor:.2f} | "
        f"{TIMES_FLOOR[one.leak_rate]:.2f} | {one.marks_cost:.2f} | {one.bmc:.4f} |"
        for one in rates
    )
    marks = max(one.marks_cost for one in rates)
    words = [one.words for one in rates]
    return f"""\
{min(words):,} to {max(words):,} words of generations at a leak rate, a book of \
{corpus.BOOK_WORDS:,} words. CPython {platform.python_version()}, {platform.machine()}, one core.

| leak rate | floor, M words/s | scoring, M words/s | times the floor | aim | with marks | BMC@5 |
| --- | --: | --: | --: | --: | --: | --: |
{speeds}

| what | measured | aim |
| --- | --: | --: |
| index, built | {index.microseconds:.2f} µs a book word | {MICROSECONDS} |
| index, memory | {index.bytes:.0f} bytes a book word | {BYTES} |
| scoring a pair, memory beside its texts | {memory:.0f} MB | {MEGABYTES} |
| text with marks, at worst | {marks:.2f} times as long as ASCII | {MARKS} |
| `--memleak-jobs 2`, by the clock | {spread.sooner:.2f} times as fast as one | 1.8 |
| `--memleak-jobs 2`, processor time of all | {spread.processor:.2f} times that of one | |
| the installed plugin, unused | {start.plugin:.0f} ms | 20 |
| `memleak --help` | {start.command:.0f} ms | 200 |
| collecting {BOOKS} books and {MODELS} models | {start.collect:.0f} ms | 1,000 |
| the slow oracle, a book of {measure.ORACLE_WORDS:,} words | {oracle:,.0f} words/s | |"""


if __name__ == "__main__":
    main()
