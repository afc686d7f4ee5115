"""Tasks in several processes of this machine, each tried again once if a process dies.

Each process takes the next task when it is free, so that tasks should name what is to
be read rather than hold it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int], object]
Work = Callable[[Task, Progress], Result]
"""What a process does with a task; it reports how many bytes it has read."""

_TRIES = 2


@dataclass(slots=True)
class _TriedTask(Generic[Task]):
    """A task, and how often it was begun."""

    task: Task
    tries: int = 0


@dataclass(slots=True)
class _Worker(Generic[Task]):
    """A process and what it works on; None while it waits."""

    process: BaseProcess
    connection: Connection
    tried: _TriedTask[Task] | None = None

    def send(self, tried: _TriedTask[Task]) -> None:
        tried.tries += 1
        self.tried = tried
        with contextlib.suppress(OSError):  # a dead process; its end is seen next
            self.connection.send(tried.task)

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


def run_tasks(
    make: Callable[[], Work[Task, Result]],
    tasks: Iterable[Task],
    *,
    jobs: int,
    progress: Progress,
) -> Iterator[tuple[Task, Result | None]]:
    """Yield each task with its result, in the order in which they end.

    The result is None if two processes died over the task.

    make:     returns the work of a process, in that process
    progress: is called with the bytes that were read since the last call
    """
    waiting = deque(map(_TriedTask, tasks))
    workers: list[_Worker[Task]] = []
    try:
        while waiting or any(worker.tried for worker in workers):
            _send_waiting_tasks(waiting, workers, make, jobs)
            busy = {worker.connection: worker for worker in workers if worker.tried}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index] # has others for sockets
                tried = worker.tried
                if tried is None:
                    continue
                try:
                    message, is_result = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.end()
                    if tried.tries < _TRIES:
                        waiting.appendleft(tried)
                    else:
                        yield tried.task, None
                    continue
                if is_result:
                    worker.tried = None
                    yield tried.task, message
                else:
                    progress(message)
    finally:
        for worker in workers:
            worker.end()


def _send_waiting_tasks(
    waiting: deque[_TriedTask[Task]],
    workers: list[_Worker[Task]],
    make: Callable[[], Work[Task, Result]],
    jobs: int,
) -> None:
    """Give tasks to idle processes; start further ones as long as tasks wait."""
    idle = [worker for worker in workers if worker.tried is None]
    while waiting:
        if idle:
            worker = idle.pop()
        elif len(workers) < jobs:
            worker = _start_worker(make)
            workers.append(worker)
        else:
            return
        worker.send(waiting.popleft())


def _start_worker(make: Callable[[], Work[Task, Result]]) -> _Worker[Task]:
    # A fork would copy locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(connection: Connection, make: Callable[[], Work[Task, Result]]) -> None:
    """Work on tasks until the other process closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    # A process without memory ends, too: the parent tries its task again.
    with contextlib.suppress(EOFError, OSError, MemoryError):
        work = make()
        while True:
            task = connection.recv()
            result = work(task, lambda count: connection.send((count, False)))
            connection.send((result, True))
