"""Measure the scoring core and write benchmarks/results/scoring.md.

    python benchmarks/report.py                    # as the page shows it, some minutes
    python benchmarks/report.py --scale 0.1        # of 2,500 generations; nothing
    written

Needs the packages of the extra `dev`. Everything runs in one process, one part after
the other.
"""

from __future__ import annotations

import argparse
import platform
import sys

import corpus
import measure
from pages import write_measured
from start_up import BOOKS, MODELS, StartUp, start_up

# The most that scoring may take, in times the floor, and what other text may add to
# that.
AIMS = {"none": 1.25, "fifth": 2.0, "fifth in style": 1.65, "heavy": 3.9}
MARKDOWN, ACCENTS, FIXED, EIGHTY_SECONDS, EIGHTY_MEGABYTES, EIGHTY = (
    0.4,
    0.5,
    60,
    5,
    600,
    1.5,
)
MEGABYTES = 150
SCALE = 1.0


def main() -> None:
    arguments = _arguments()
    count = round(
        corpus.BOOK_WORDS / corpus.EXCERPT_WORDS * corpus.ROUNDS * arguments.scale
    )
    few = max(count // 5, 1)
    rates, pairs = [], []
    for leak_rate in corpus.LEAK_RATES:
        print(
            f"scoring {count:,} generations, leak rate {leak_rate} ...", file=sys.stderr
        )
        rates.append(measure.rate(leak_rate, count=count, repeats=arguments.repeats))
        pairs.append(measure.pair_cost(leak_rate, count=few, repeats=arguments.repeats))
    table = "\n\n".join(
        (
            _rates(rates),
            _pairs(pairs),
            _others(
                measure.index_cost(count=few, repeats=arguments.repeats),
                memory=max(
                    measure.peak_memory(one, count=count) for one in ("none", "heavy")
                ),
                oracle=measure.oracle_rate(),
                spread=measure.two_processes("none", count=count),
                start=start_up(),
            ),
        )
    )
    print(table)
    if arguments.scale == SCALE:
        write_measured("scoring.md", table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the scoring core.")
    parser.add_argument(
        "--scale",
        type=float,
        default=SCALE,
        metavar="SHARE",
        help="share of the 25,000 generations "
        f"(default: {SCALE}, which alone writes the page)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="N",
        help="turns, of which the median counts",
    )
    return parser.parse_args()


def _rates(rates: list[measure.Rate]) -> str:
    words = [one.words for one in rates]
    rows = "\n".join(
        f"| {one.leak_rate} | {one.words / one.floor / 1e6:.2f} | "
        f"{one.words / one.scoring / 1e6:.2f} | {one.times_floor(one.scoring):.2f} | "
        f"{AIMS[one.leak_rate]:.2f} | {one.times_floor(one.without_passages):.2f} | "
        f"+{one.times_floor(one.markdown - one.scoring):.2f} | "
        f"+{one.times_floor(one.accents - one.scoring):.2f} | "
        f"+{one.times_floor(one.marks - one.scoring):.2f} | {one.bmc:.4f} | "
        f"{one.longest} / {one.nv_longest} |"
        for one in rates
    )
    return f"""\
{min(words):,} to {max(words):,} words of generations at a leak rate, a book of \
{corpus.BOOK_WORDS:,} words. CPython {platform.python_version()}, \
{platform.machine()}, one core.
Scoring is whole: index, four measures, both passages, sampling error, sources. The \
last columns
before BMC are what markdown (aim +{MARKDOWN}), accented letters (+{ACCENTS}) and \
marks add.

| leak rate | floor, M words/s | scoring, M words/s | times the floor | aim \
| without passages | markdown | accents | marks | BMC@5 \
| longest passage, exact / near |
| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
{rows}"""


def _pairs(pairs: list[measure.PairCost]) -> str:
    rows = "\n".join(
        f"| {one.leak_rate} | {one.fixed:.0f} | {FIXED} | {one.a_word:.0f} |"
        for one in pairs
    )
    return f"""\
What a pair costs with the shared index there, whatever its generations and by word of \
them:

| leak rate | fixed, ms | aim | ns a word |
| --- | --: | --: | --: |
{rows}"""


def _others(
    index: measure.IndexCost,
    *,
    memory: float,
    oracle: float,
    spread: float,
    start: StartUp,
) -> str:
    return f"""\
| what | measured | aim |
| --- | --: | --: |
| index of one book | {index.one:.0f} ms | |
| index of eighty books | {index.eighty_seconds:.1f} s | {EIGHTY_SECONDS} |
| its tables | {index.eighty_megabytes:.0f} MB | |
| while it is made | {index.eighty_peak:.0f} MB | {EIGHTY_MEGABYTES} |
| scoring another author's prose with eighty | {index.others:.2f} times one | {EIGHTY} |
| scoring with eighty, all in the generations' own style \
| {index.style:.2f} times one | |
| scoring a pair, memory beside its texts | {memory:.0f} MB | {MEGABYTES} |
| `--memleak-jobs 2`, processor time of all | {spread:.2f} times that of one | 1.11 |
| the installed plugin, unused | {start.plugin:.0f} ms | 20 |
| `memleak --help` | {start.command:.0f} ms | 200 |
| collecting {BOOKS} books and {MODELS} models | {start.collect:.0f} ms | 1,000 |
| the slow oracle, a book of {measure.ORACLE_WORDS:,} words \
| {oracle:,.0f} words/s | |"""


if __name__ == "__main__":
    main()
