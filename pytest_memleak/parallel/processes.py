"""Scoring in several processes of this machine.

Every process indexes the book for itself and counts whatever blocks it is free to take; what
they have counted is added up at the end.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import Inconclusive, MemleakError
from pytest_memleak.parallel.generation_blocks import blocks, generations_of
from pytest_memleak.scoring.generation_tally import Tally, TallyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from pytest_memleak.parallel.generation_blocks import Block
    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.protected_passages import Protected

    _Work = tuple[Book, Scoring, Protected | None]


class Processes:
    """So many processes that count generations; started when first needed."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: list[tuple[BaseProcess, Connection]] = []

    def tallied(
        self,
        book: Book,
        scoring: Scoring,
        generations: Iterable[Generation],
        *,
        protected: Protected | None = None,
    ) -> Tally:
        """The generations, counted by all processes together.

        Raises what `pytest_memleak.scoring.generation_tally.tallied` raises, and Inconclusive
        where a process ends before its work is done.
        """
        tally = Tally(book, scoring, protected=protected)
        self._start()
        waiting: queue.Queue[Block | None] = queue.Queue(maxsize=self._jobs)
        try:
            with ThreadPoolExecutor(self._jobs) as threads:
                counting = [
                    threads.submit(_feed, connection, (book, scoring, protected), waiting)
                    for _, connection in self._running
                ]
                try:
                    for block in blocks(generations):
                        _put(waiting, block, counting, unless=any)
                finally:
                    for _ in counting:
                        _put(waiting, None, counting, unless=all)
            answers = [one.result() for one in counting]
        except (OSError, EOFError):
            self.close()
            raise Inconclusive(
                "a process that counts matches has ended before its work was done",
                location=f"book {book.id!r}",
                hint="it may have run out of memory: try fewer with --memleak-jobs",
            ) from None
        for answer in answers:
            if isinstance(answer, MemleakError):
                raise answer
            tally.add_counted(answer)
        return tally

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._running:
            connection.close()
            process.terminate()
            process.join()
        self._running = []

    def _start(self) -> None:
        # A fork would copy locks that other threads hold; a fresh interpreter has none.
        context = multiprocessing.get_context("spawn")
        while len(self._running) < self._jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=_count, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._running.append((process, ours))


def _put(
    waiting: queue.Queue[Block | None],
    block: Block | None,
    counting: list[Future[Any]],
    *,
    unless: Callable[[Iterable[bool]], bool],
) -> None:
    """Put a block where whoever is free takes it; not where any (or all) have stopped counting."""
    while not unless(one.done() for one in counting):
        try:
            waiting.put(block, timeout=0.2)
        except queue.Full:
            continue
        return


def _feed(
    connection: Connection, work: _Work, waiting: queue.Queue[Block | None]
) -> TallyResult | MemleakError:
    """Send blocks to one process, each when it has taken the one before; what it counted."""
    connection.send(work)
    while (block := waiting.get()) is not None:
        connection.send(block)
    connection.send(None)
    answer: TallyResult | MemleakError = connection.recv()
    return answer


def _count(connection: Connection) -> None:
    """The work of a process: books, and blocks of generations for each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    while True:
        try:
            connection.send(_answer(connection, connection.recv()))
        except (EOFError, OSError):
            return


def _answer(connection: Connection, work: _Work) -> TallyResult | MemleakError:
    book, scoring, protected = work
    tally = Tally(book, scoring, protected=protected)
    error: MemleakError | None = None
    while (block := connection.recv()) is not None:
        try:
            if error is None:
                tally.add(generations_of(block))
        except MemleakError as wrong:
            error = wrong
    return error or tally.counted
