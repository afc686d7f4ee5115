"""Measure how fast a library of prepared keys streams past a run's generations.

    python benchmarks/catalogue.py                 # some minutes
    python benchmarks/catalogue.py --scale 0.1     # a tenth of the generations

The generations are another author's prose ("none"). Books are synthetic, of 100,000 words each in
the style of the King James text; twenty are made, and come again in larger libraries:
what is told of them is the same, and so is what they cost.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import corpus

from pytest_memleak.scoring.library import GenerationSieve, book_keys

BOOKS = (1, 20, 200, 2_000)
GENERATIONS = (2_500, 25_000)
_MADE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a catalogue of prepared keys.")
    parser.add_argument("--scale", type=float, default=1.0, metavar="SHARE", help="of generations")
    parser.add_argument("--books", type=int, default=max(BOOKS), metavar="N", help="at most")
    arguments = parser.parse_args()
    print("| generations | books | M library words/s | survivors | tables, MB | peak, MB |")
    print("| --: | --: | --: | --: | --: | --: |")
    start = time.process_time()
    books = [corpus.in_style(number) for number in range(_MADE)]
    made = time.process_time() - start
    start = time.process_time()
    keys = [(book.id, book_keys(book, k=5)) for book in books]
    prepared = time.process_time() - start
    print(f"made in {made:.1f} s, prepared in {prepared:.1f} s", file=sys.stderr)
    del books
    for count in GENERATIONS:
        drawn = [one.text for one in corpus.generations("none", round(count * arguments.scale))]
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = _kilobytes("VmRSS:")
        sieve = GenerationSieve(drawn, k=5)
        for number in BOOKS:
            if number > arguments.books:
                break
            start = time.process_time()
            found = list(sieve.survivors(islice(cycle(keys), number), least=20))
            took = time.process_time() - start
            words = sum(its.words for _, its in islice(cycle(keys), number))
            peak = (_kilobytes("VmHWM:") - before) / 1e3
            print(
                f"| {len(drawn):,} | {number:,} | {words / took / 1e6:.1f} | {len(found):,} | "
                f"{sieve.nbytes / 1e6:.0f} | {peak:.0f} |",
                flush=True,
            )


def _kilobytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0])


if __name__ == "__main__":
    main()
