"""The ledger's generations per second, bytes per generation, seconds to resume.

    python benchmarks/ledger_throughput.py                        # 25,000 generations
    into SQLite python benchmarks/ledger_throughput.py --per-call 1 --writers 4 --ledger
    postgresql+psycopg://... python benchmarks/ledger_throughput.py --resume 1000000
    # a synthetic ledger, then a rerun

The endpoint is in the same process and answers at once, so that the run loop and the
ledger are timed: reservation, intent, answer. Its texts are as English as a trigram
chain writes it; zlib alone stores them in 1,030 to 1,200 bytes. Writers are processes
that share the pair; the processor time is that of all of them.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from corpus import answers

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import CallResult, store_call_results
from pytest_memleak.ledger.call_reservations import (
    CallTerms,
    call_row,
    insert_calls,
    prompt_row_ids,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.prompts import Ask, PairPrompts, asks_by_round, build_prompts
from pytest_memleak.records import Book, Excerpt, Sampling
from pytest_memleak.sampling.loop import sample_missing

EXCERPTS = 250
TEXTS = 1_000  # different ones
CALLS_AT_ONCE = 500  # of the synthetic ledger
ENDPOINT = "benchmark"


@dataclass(frozen=True)
class Sampler:
    """The terms of a provider."""

    name: str = "benchmark"
    concurrency: int = 8
    completions_per_call: int = 10
    batch: bool = False


class Writer:
    """An endpoint that answers at once, with another text each time."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._numbers = itertools.count()

    def sample(
        self, _instruction: str, *, n: int, **_settings: Any
    ) -> list[Completion]:
        return [
            Completion(
                self._texts[next(self._numbers) % TEXTS],
                prompt_tokens=60,
                completion_tokens=600,
            )
            for _ in range(n)
        ]


def texts_of(words: int) -> list[str]:
    """Return different texts of so many words, by a trigram chain over Shakespeare."""
    return [" ".join(answer.text.split()[:words]) for answer in answers(TEXTS)]


def prompts_of(samples: int, words: int) -> PairPrompts:
    excerpts = tuple(
        Excerpt(f"p_id{number}", "word " * words, f"Write excerpt {number} of a book.")
        for number in range(1, EXCERPTS + 1)
    )
    book = Book("book", "A Book", "An Author", excerpts, "0" * 64)
    sampling = Sampling(samples=samples)
    return build_prompts(
        "model/book", book, sampling, words=lambda text: len(text.split())
    )


def sample_all(
    url: str, prompts: PairPrompts, sampler: Sampler, texts: list[str]
) -> None:
    """Sample what the ledger lacks."""
    with Ledger(url, run="benchmark") as ledger:
        counts = sample_missing(
            ledger,
            Writer(texts),
            endpoint_id=ENDPOINT,
            prompts=prompts,
            terms=CallTerms(sampler, price=(2.0, 8.0)),
        )
    if counts.got != prompts.requested:
        raise SystemExit(f"{counts.got} of {prompts.requested} generations are stored")


def fill(url: str, prompts: PairPrompts, sampler: Sampler, texts: list[str]) -> None:
    """Write the whole pair without a run loop, calls reserved and answered in parts."""
    writer = Writer(texts)
    with Ledger(url, run="benchmark") as ledger:
        numbers = prompt_row_ids(ledger, ENDPOINT, prompts.specs)
        missing = {prompt: range(prompts.samples) for prompt in prompts.specs}
        wanted = asks_by_round(missing, sampler.completions_per_call)
        lease = ledger.lease
        while some := list(itertools.islice(wanted, CALLS_AT_ONCE)):
            ledger.write(
                lambda c, some=some: write_answers(c, some, numbers, lease, writer)
            )


def write_answers(
    connection: sa.Connection, some: list[Ask], numbers: Any, lease: int, writer: Writer
) -> None:
    rows = [
        call_row(
            ask,
            numbers[ask.prompt.key],
            kind="sample",
            provider="benchmark",
            request_id=f"{numbers[ask.prompt.key]:016x}{ask.ordinals[0]:016x}",
            lease=lease,
            estimate=4_692_000,
            run="benchmark",
        )
        for ask in some
    ]
    calls = insert_calls(connection, rows, [ask.ordinals for ask in some])
    brought = [
        CallResult(
            call,
            writer.sample("", n=len(call.ordinals)),
            60,
            600 * len(call.ordinals),
            4_920_000,
        )
        for call in calls
    ]
    store_call_results(connection, brought)


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Print how long the context took, and how many generations that is a second."""
    began, processor = time.perf_counter(), processor_time()
    yield
    seconds, processor = time.perf_counter() - began, processor_time() - processor
    rate = f"{count / seconds:9,.0f} a second" if count else ""
    print(
        f"{what:9}{rate:>20}{seconds:8.1f} s{processor:8.1f} s of processor time",
        flush=True,
    )


def processor_time() -> float:
    """Return the processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def size(url: str) -> int:
    """Return the bytes that the ledger takes."""
    if url.startswith("sqlite"):
        return Path(url.removeprefix("sqlite:///")).stat().st_size
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        tables = sa.text(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = current_schema()::regnamespace"
        )
        total = int(connection.execute(tables).scalar_one())
    engine.dispose()
    return total


def main() -> None:
    given = arguments()
    samples = max(1, (given.resume or given.generations) // EXCERPTS)
    prompts = prompts_of(samples, given.words)
    sampler = Sampler(
        concurrency=given.concurrency, completions_per_call=given.per_call
    )
    texts = texts_of(given.words)
    print(
        f"{prompts.requested:,} generations of {given.words} words, "
        f"{given.per_call} per call, "
        f"{given.writers} writers of {given.concurrency} threads"
    )
    with tempfile.TemporaryDirectory() as folder:
        url = given.ledger or f"sqlite:///{folder}/ledger.db"
        if given.resume:
            with timed("written", prompts.requested):
                fill(url, prompts, sampler, texts)
            with timed("resumed", 0):
                sample_all(url, prompts, sampler, texts)
        else:
            fork = multiprocessing.get_context("fork")
            others = [
                fork.Process(target=sample_all, args=(url, prompts, sampler, texts))
                for _ in range(given.writers - 1)
            ]
            Ledger(url).close()
            with timed("sampled", prompts.requested):
                for process in others:
                    process.start()
                sample_all(url, prompts, sampler, texts)
                for process in others:
                    process.join()
            with timed("read", prompts.requested), Ledger(url) as ledger:
                sum(1 for _ in generations(ledger, ENDPOINT, prompts))
        print(f"size     {size(url) / prompts.requested:9,.0f} bytes a generation")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--generations", type=int, default=25_000, metavar="N")
    parser.add_argument(
        "--words", type=int, default=400, metavar="N", help="of a generation"
    )
    parser.add_argument("--per-call", type=int, default=10, metavar="N")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N")
    parser.add_argument("--writers", type=int, default=1, metavar="N", help="processes")
    parser.add_argument(
        "--resume", type=int, metavar="N", help="resume with N generations stored"
    )
    parser.add_argument(
        "--ledger", metavar="URL", help="default: SQLite in a temporary folder"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
