"""Scoring on a Ray cluster, in tasks over blocks of generations.

The book travels once to each node, and its index stays with the processes that count there.
A task that is lost with its node is done again; of each block one result is taken.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import Inconclusive, MemleakError, SettingsError
from pytest_memleak.parallel.actors import Actors
from pytest_memleak.parallel.generation_blocks import blocks, generations_of
from pytest_memleak.scoring.catalog_scan import scan
from pytest_memleak.scoring.generation_tally import Tally, TallyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.parallel.generation_blocks import Block
    from pytest_memleak.records import Book, Generation, Scoring
    from pytest_memleak.scoring.catalog_scan import GenerationSieve, Scanned, Shard
    from pytest_memleak.scoring.protected_passages import Protected

# So many blocks for each core are under way; more would only wait, in memory.
_AHEAD = 2

# How often a task is done again whose node is lost.
_RETRIES = 5

# Seconds to wait for a cluster to answer.
_PATIENCE = 10

_BOOKS_KEPT = 2
_tallies: OrderedDict[str, Tally] = OrderedDict()


class OnRay:
    """A Ray cluster that counts generations; joined, or started on this machine, when needed.

    address: of a running cluster, "auto" for the one of this machine; None starts one here.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._started = False
        self._ray: Any = None
        self._actors: dict[str, Actors] = {}

    def tallied(
        self,
        book: Book,
        scoring: Scoring,
        generations: Iterable[Generation],
        *,
        protected: Protected | None = None,
    ) -> Tally:
        """The generations, counted by the cluster.

        Raises what `pytest_memleak.scoring.generation_tally.tallied` raises, SettingsError without
        Ray, and Inconclusive where the cluster cannot be reached or loses a task for good.
        """
        tally = Tally(book, scoring, protected=protected)
        ray = self._joined()
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_count)
        under_way: list[Any] = []
        try:
            kept, index = ray.put(book), ray.put(protected)
            for block in blocks(generations):
                under_way.append(task.remote(kept, index.hex(), scoring, index, block))
                if len(under_way) >= _AHEAD * _cores(ray):
                    _add_one(ray, tally, under_way)
            while under_way:
                _add_one(ray, tally, under_way)
        except ray.exceptions.RayError as error:
            raise _lost(error, f"book {book.id!r}") from None
        finally:
            _cancel(ray, under_way)
        return tally

    def actors(self, make: Callable[[], Endpoint], *, endpoint_id: str) -> Actors:
        """A local model in actors of the cluster; see `pytest_memleak.parallel.actors`."""
        if endpoint_id not in self._actors:
            self._actors[endpoint_id] = Actors(self._joined, make, endpoint_id=endpoint_id)
        return self._actors[endpoint_id]

    def scanned(
        self, shards: Iterable[Shard], table: GenerationSieve, *, least: int
    ) -> Iterator[Scanned]:
        """As `pytest_memleak.scoring.catalog_scan.scanned`, in no order, a shard a core.

        A shard is read and parsed where it is scanned: its files must be there, too.
        Raises SettingsError without Ray, and Inconclusive where the cluster cannot be reached or
        loses a task for good.
        """
        ray = self._joined()
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_scan)
        under_way: list[Any] = []
        try:
            kept = ray.put(table)
            for shard in shards:
                under_way.append(task.remote(shard, kept, least))
                if len(under_way) >= _AHEAD * _cores(ray):
                    yield _first(ray, under_way)
            while under_way:
                yield _first(ray, under_way)
        except ray.exceptions.RayError as error:
            raise _lost(error, "the catalog") from None
        finally:
            _cancel(ray, under_way)

    def close(self) -> None:
        """Leave the cluster, if it was joined here."""
        while self._actors:
            self._actors.popitem()[1].close()
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _joined(self) -> Any:
        if self._ray is None:
            try:
                import ray
            except ImportError:
                raise SettingsError(
                    "--memleak-executor ray needs the package 'ray', which is not installed",
                    hint="install it with: pip install 'pytest-memleak[ray]'",
                ) from None
            self._ray = ray
        if not self._ray.is_initialized():
            self._join()
        return self._ray

    def _join(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry from a gate
        try:
            _knock(self._address)
            self._ray.init(address=self._address or "local", log_to_driver=False, logging_level=40)
        except Exception as error:  # noqa: BLE001 - a node that is slow to start is a bare one
            raise Inconclusive(
                f"the Ray cluster cannot be reached ({type(error).__name__})",
                location=f"--memleak-ray-address {self._address or 'local'}",
                hint="check the address; `ray status` says whether a cluster runs there",
            ) from None
        self._started = True


def _lost(error: Exception, place: str) -> Inconclusive:
    return Inconclusive(
        f"the Ray cluster has lost a part of the scoring ({type(error).__name__})",
        location=place,
        hint="run again: what was drawn is in the ledger",
    )


def _knock(address: str | None) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _cores(ray: Any) -> int:
    """How many cores the cluster has now: nodes come and go."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _first(ray: Any, under_way: list[Any]) -> Any:
    """The result that is there first. Raises the error that a task gives back."""
    (ready,), under_way[:] = ray.wait(under_way, num_returns=1)
    answer = ray.get(ready)
    if isinstance(answer, MemleakError):
        raise answer
    return answer


def _cancel(ray: Any, under_way: list[Any]) -> None:
    for one in under_way:
        with contextlib.suppress(Exception):
            ray.cancel(one)


def _add_one(ray: Any, tally: Tally, under_way: list[Any]) -> None:
    """Add up one block's result, whichever is there first."""
    tally.add_counted(_first(ray, under_way))


def _count(
    book: Book, index: str, scoring: Scoring, protected: Protected | None, block: Block
) -> TallyResult | MemleakError:
    """A task: what there is in one block. The books' index stays for the next.

    index: the cluster's name of `protected`, which no other books of the same ids have
    """
    try:
        tally = _tally_of(book, index, scoring, protected)
        tally.counted = TallyResult()
        tally.add(generations_of(block))
    except MemleakError as error:
        return error
    return tally.counted


def _scan(shard: Shard, table: GenerationSieve, least: int) -> Scanned | MemleakError:
    """A task: one shard, read here and held against the generations."""
    try:
        return scan(shard, table, least=least)
    except MemleakError as error:
        return error


def _tally_of(book: Book, index: str, scoring: Scoring, protected: Protected | None) -> Tally:
    if index not in _tallies:
        _tallies[index] = Tally(book, scoring, protected=protected)
    _tallies.move_to_end(index)
    while len(_tallies) > _BOOKS_KEPT:
        _tallies.popitem(last=False)
    return _tallies[index]
