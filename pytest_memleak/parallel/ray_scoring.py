"""Scoring on a Ray cluster, in tasks over blocks of generations.

Each node receives the book once, and its worker processes keep the index. A task that is lost
with its node is retried; each block is counted once.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import Inconclusive, MemleakError, SettingsError, install_command
from pytest_memleak.parallel.actors import Actors
from pytest_memleak.parallel.processes import blocks
from pytest_memleak.scoring.catalog_scan import scan
from pytest_memleak.scoring.generation_tally import Tally, TallyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.parallel.processes import Block
    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, Shard, ShardScan
    from pytest_memleak.scoring.protected_passages import Protected
    from pytest_memleak.scoring.text_batches import Batch

_AHEAD = 2  # blocks in flight per core; more would only wait in memory
_RETRIES = 5  # of a task whose node is lost
_CONNECT_TIMEOUT = 10  # seconds
_TALLIES_KEPT = 2
_tallies: OrderedDict[str, Tally] = OrderedDict()


class OnRay:
    """A Ray cluster that counts generations; joined, or started on this machine, when needed.

    address: of a running cluster; "auto" for this machine's; None starts one here.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._started = False
        self._ray: Any = None
        self._actors: dict[str, Actors] = {}

    def tally_generations(
        self,
        book: Book,
        scoring: Scoring,
        generations: Iterable[Generation | Batch],
        *,
        protected: Protected | None = None,
    ) -> Tally:
        """Count the generations on the cluster.

        Raises what `generation_tally.tally_generations` raises, SettingsError without Ray, and
        Inconclusive if the cluster is unreachable or a task fails after all retries.
        """
        tally = Tally(book, scoring, protected=protected)
        ray = self._connected_ray()

        def arguments() -> Iterator[tuple[Any, ...]]:
            book_ref, index_ref = ray.put(book), ray.put(protected)
            for block in blocks(generations):
                yield book_ref, index_ref.hex(), scoring, index_ref, block

        for counted in _run_tasks(ray, _count, arguments(), f"book {book.id!r}"):
            tally.add_counted(counted)
        return tally

    def actors(self, make: Callable[[], Endpoint], *, endpoint_id: str) -> Actors:
        """Return a local model that runs in actors of the cluster."""
        if endpoint_id not in self._actors:
            self._actors[endpoint_id] = Actors(self._connected_ray, make, endpoint_id=endpoint_id)
        return self._actors[endpoint_id]

    def scan_shards(
        self, shards: Iterable[Shard], table: GenerationPrefilter, *, least: int
    ) -> Iterator[ShardScan]:
        """Scan the shards as `pytest_memleak.scoring.catalog_scan.scan_shards` does, in no order.

        One shard per core. Each node reads and parses its shards, so it needs their files.
        Raises as `tally_generations` does.
        """
        ray = self._connected_ray()

        def arguments() -> Iterator[tuple[Any, ...]]:
            table_ref = ray.put(table)
            for shard in shards:
                yield shard, table_ref, least

        yield from _run_tasks(ray, _scan, arguments(), "the catalog")

    def close(self) -> None:
        """Leave the cluster if this object joined it."""
        while self._actors:
            self._actors.popitem()[1].close()
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _connected_ray(self) -> Any:
        if self._ray is None:
            try:
                import ray
            except ImportError:
                raise SettingsError(
                    "--memleak-executor ray needs the package 'ray', which isn't installed",
                    hint=f"install it with: {install_command('ray')}",
                ) from None
            self._ray = ray
        if not self._ray.is_initialized():
            self._join()
        return self._ray

    def _join(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
        try:
            _check_reachable(self._address)
            self._ray.init(address=self._address or "local", log_to_driver=False, logging_level=40)
        except Exception as error:  # noqa: BLE001 - Ray raises a bare Exception for a slow start
            raise Inconclusive(
                f"the Ray cluster is unreachable ({type(error).__name__})",
                location=f"--memleak-ray-address {self._address or 'local'}",
                hint="check the address; `ray status` shows whether a cluster runs there",
            ) from None
        self._started = True


def _check_reachable(address: str | None) -> None:
    """Raise OSError if HOST:PORT is unreachable; Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT).close()


def _cores(ray: Any) -> int:
    """Return how many cores the cluster has now."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _run_tasks(
    ray: Any,
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    place: str,
) -> Iterator[Any]:
    """Yield the result of each task, in no order. Raises the error that a task returned."""
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(function)
    pending: list[Any] = []
    try:
        for task_arguments in arguments:
            pending.append(task.remote(*task_arguments))
            if len(pending) >= _AHEAD * _cores(ray):
                yield _first(ray, pending)
        while pending:
            yield _first(ray, pending)
    except ray.exceptions.RayError as error:
        raise Inconclusive(
            f"the Ray cluster lost a scoring task ({type(error).__name__})",
            location=place,
            hint="rerun: stored generations are reused",
        ) from None
    finally:
        for ref in pending:
            with contextlib.suppress(Exception):
                ray.cancel(ref)


def _first(ray: Any, pending: list[Any]) -> Any:
    """Return the first result that is ready."""
    (ready,), pending[:] = ray.wait(pending, num_returns=1)
    result = ray.get(ready)
    if isinstance(result, MemleakError):
        raise result
    return result


def _count(
    book: Book, index: str, scoring: Scoring, protected: Protected | None, block: Block
) -> TallyResult | MemleakError:
    """Count one block, as a task; the process keeps the books' index for the next.

    index: the cluster's key of `protected`, which tells it from other books of the same ids
    """
    try:
        tally = _cached_tally(book, index, scoring, protected)
        tally.counted = TallyResult()
        tally.add(block)
    except MemleakError as error:
        return error
    return tally.counted


def _scan(shard: Shard, table: GenerationPrefilter, least: int) -> ShardScan | MemleakError:
    """Read one shard and match it with the generations, as a task."""
    try:
        return scan(shard, table, least=least)
    except MemleakError as error:
        return error


def _cached_tally(book: Book, index: str, scoring: Scoring, protected: Protected | None) -> Tally:
    if index not in _tallies:
        _tallies[index] = Tally(book, scoring, protected=protected)
    _tallies.move_to_end(index)
    while len(_tallies) > _TALLIES_KEPT:
        _tallies.popitem(last=False)
    return _tallies[index]
