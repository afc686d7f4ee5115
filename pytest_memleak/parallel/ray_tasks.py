"""Tasks on the nodes of a Ray cluster, tried again where a process or a node ends."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_memleak.errors import Inconclusive, SettingsError, install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Task = TypeVar("Task")
Result = TypeVar("Result")

AUTO = "auto"
"""The address of the cluster that runs on this machine; one is started if none does."""

_CLIENT = "ray://"
_RETRIES = 3
_SECONDS_TO_CONNECT = 10
_WAITING_PER_CORE = 2
_LONGEST_CAUSE = 200  # characters


def run_tasks_on_ray(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    address: str,
) -> Iterator[tuple[Task, Result | None]]:
    """Yield each task with its result, in the order in which they end.

    The result is None if the processes or nodes of a task ended four times.

    work: is sent to the nodes once

    Raises SettingsError without Ray or a cluster at the address, Inconclusive if a
    node's package is another one.
    """
    ray = _connected(address)
    unread = io.StringIO()
    try:
        # Ray tells of each process that ended on the driver's standard output.
        with contextlib.redirect_stdout(unread):
            yield from _results(ray, work, iter(tasks), address=address)
    finally:
        ray.shutdown()


def _results(
    ray: Any,
    work: Callable[[Task], Result],
    waiting: Iterator[Task],
    *,
    address: str,
) -> Iterator[tuple[Task, Result | None]]:
    """Yield each task with its result, in the order in which they end."""
    shared_work = ray.put(work)
    run = ray.remote(_run).options(num_cpus=1, max_retries=_RETRIES)
    running: dict[Any, Task] = {}
    while True:
        for task in _next_few(ray, running, waiting):
            running[run.remote(shared_work, task)] = task
        if not running:
            return
        (ended,), _ = ray.wait(list(running), num_returns=1)
        yield running.pop(ended), _result_of(ray, ended, address)


def _next_few(
    ray: Any,
    running: dict[Any, Task],
    waiting: Iterator[Task],
) -> Iterator[Task]:
    """Yield so many tasks that each core has one, and one to go on with."""
    cores = int(ray.cluster_resources().get("CPU", 1))
    for _ in range(len(running), max(cores, 1) * _WAITING_PER_CORE):
        with contextlib.suppress(StopIteration):
            yield next(waiting)


def _run(work: Callable[[Task], Result], task: Task) -> Result:
    """Do a task on a node."""
    return work(task)


def _connected(address: str) -> Any:
    """Return Ray, connected to a cluster. Raises SettingsError."""
    # Ray reports its use to its makers unless it is told not to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SettingsError(
            "--ray needs the package 'ray', which isn't installed",
            hint=f"install it with: {install_command('ray')}",
        ) from None
    try:
        if address != AUTO:
            _validate_reachable(address)
        ray.init(
            address=None if address == AUTO else address,
            include_dashboard=False if address == AUTO else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # noqa: BLE001 - Ray raises that class itself, too
        instead = "leave out --ray"
        if address != AUTO:
            instead = "start one here with --ray auto"
        message = str(error).strip() or type(error).__name__
        cause = message.splitlines()[0][:_LONGEST_CAUSE]
        raise SettingsError(
            f"no Ray cluster can be reached: {cause}",
            location=address,
            hint=f"name the address of its head, such as 10.0.0.1:6379, or {instead}",
        ) from None
    return ray


def _validate_reachable(address: str) -> None:
    """Raise OSError or ValueError if nothing listens there: Ray tries for minutes."""
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    socket.create_connection((host, int(port)), _SECONDS_TO_CONNECT).close()


def _result_of(ray: Any, ended: Any, address: str) -> Any:
    """Return the result of a task that has ended; None if its processes ended early."""
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Inconclusive):
            raise cause from None
        raise Inconclusive(
            f"a node of the Ray cluster can't do its part: {type(cause).__name__}",
            location=address,
            hint="install this version of pytest-memleak and its extras on every node",
        ) from None
    except ray.exceptions.RayError:
        return None
