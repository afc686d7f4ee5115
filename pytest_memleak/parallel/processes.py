"""Counting in several processes of this machine.

Each process has a counter of its own and takes the next block of what is counted when
it is free. The counts are added up at the end.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_memleak.errors import Inconclusive, MemleakError
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.text_batches import in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.protected_passages import Protected
    from pytest_memleak.scoring.text_batches import Batch

    Block = list[Generation]

_BLOCK = 1_000_000  # characters: about five hundred generations of 400 words


def blocks(generations: Iterable[Generation | Batch]) -> Iterator[Block]:
    """Yield the generations, in order, in blocks of about a million characters."""
    block: Block = []
    length = 0
    for batch in in_batches(generations):
        block += batch.generations
        length += sum(len(generation.text) for generation in batch.generations)
        if length >= _BLOCK:
            yield block
            block, length = [], 0
    if block:
        yield block


class Counter(Protocol):
    """What counts blocks in a process; it and its counts are sent between these."""

    counted: Any

    def add(self, block: Any, /) -> object:
        """Count a block. Raises MemleakError for one that can't be counted."""


class Processes:
    """A pool of processes that count; they start when first needed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: list[tuple[BaseProcess, Connection]] = []

    def tally_generations(
        self,
        book: Book,
        scoring: Scoring,
        generations: Iterable[Generation | Batch],
        *,
        protected: Protected | None = None,
    ) -> Tally:
        """Count the generations in all processes together.

        Raises what `generation_tally.tally_generations` raises, and Inconclusive if a
        process ends early.
        """
        tally = Tally(book, scoring, protected=protected)
        make = partial(Tally, book, scoring, protected=protected)
        for counted in self.count(make, blocks(generations), place=f"book {book.id!r}"):
            tally.add_counted(counted)
        return tally

    def count(
        self,
        make: Callable[[], Counter],
        blocks: Iterable[Any],
        *,
        place: str,
    ) -> list[Any]:
        """Count the blocks in all processes, and return what each counted.

        make: returns the counter of a process. Raises MemleakError where a counter
        does, and Inconclusive, naming `place`, if a process ends early.
        """
        self._start()
        waiting: queue.Queue[Any] = queue.Queue(maxsize=self._jobs)
        try:
            with ThreadPoolExecutor(self._jobs) as threads:
                futures = [
                    threads.submit(_feed, connection, make, waiting)
                    for _, connection in self._running
                ]
                try:
                    for block in blocks:
                        _put(waiting, block, futures, unless=any)
                        if any(future.done() for future in futures):
                            break
                finally:
                    for _ in futures:
                        _put(waiting, None, futures, unless=all)
            results = [future.result() for future in futures]
        except (OSError, EOFError):
            self.close()
            raise Inconclusive(
                "a scoring process ended early",
                location=place,
                hint="it may have run out of memory: "
                "use fewer processes (--jobs, --memleak-jobs)",
            ) from None
        for result in results:
            if isinstance(result, MemleakError):
                raise result
        return results

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._running:
            connection.close()
            process.terminate()
            process.join()
        self._running = []

    def _start(self) -> None:
        # A fork would copy locks that other threads hold.
        context = multiprocessing.get_context("spawn")
        while len(self._running) < self._jobs:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(theirs,),
                daemon=True,
            )
            process.start()
            theirs.close()
            self._running.append((process, ours))


def _put(
    waiting: queue.Queue[Any],
    block: Any,
    futures: list[Future[Any]],
    *,
    unless: Callable[[Iterable[bool]], bool],
) -> None:
    """Queue a block for the next free process, unless any (or all) futures are done."""
    while not unless(future.done() for future in futures):
        try:
            waiting.put(block, timeout=0.2)
        except queue.Full:
            continue
        return


def _feed(
    connection: Connection,
    make: Callable[[], Counter],
    waiting: queue.Queue[Any],
) -> Any:
    """Send blocks to a process as it takes them; return what it counted or raised."""
    connection.send(make)
    while (block := waiting.get()) is not None and not connection.poll():
        connection.send(block)
    connection.send(None)
    return connection.recv()


def _serve(connection: Connection) -> None:
    """Serve one process: take makers of counters, and blocks for each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    while True:
        try:
            _count_blocks(connection, connection.recv()())
        except (EOFError, OSError):
            return


def _count_blocks(connection: Connection, counter: Counter) -> None:
    """Count blocks until the last, and send the counts, or at once the first error."""
    failed = False
    while (block := connection.recv()) is not None:
        try:
            if not failed:
                counter.add(block)
        except MemleakError as raised:
            failed = True
            connection.send(raised)
    if not failed:
        connection.send(counter.counted)
