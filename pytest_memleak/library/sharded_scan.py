"""A scan of many files: shard by shard, in several processes, perhaps continued.

One process reads a shard and scans it. A row or file that can't be read is named in
the result, and the scan goes on.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_shards import (
    Shard,
    count_lines_of_shard,
    read_shard,
    shards_of,
)
from pytest_memleak.library.log_scan import LogScan, ScanResult
from pytest_memleak.parallel.task_workers import run_tasks

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.library.scan_state import ScanState

Engine = Callable[
    [list[Shard], "ShardScan", Callable[[int], object]],
    Iterable[tuple[Shard, ScanResult | None]],
]
"""Scans shards, reports the bytes read, and gives each with its result.

The result is None where processes ended early.
"""

_SMALL = 8 << 20  # bytes, which one process reads before others have started


@dataclasses.dataclass(slots=True)
class ScanPlan:
    """What a scan reads.

    shards: in order, those of a file together
    unread: names the files that can't be opened
    """

    shards: list[Shard] = dataclasses.field(default_factory=list)
    unread: ScanResult = dataclasses.field(default_factory=ScanResult)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> ScanPlan:
        """Plan a scan of files."""
        plan = cls()
        for path in paths:
            try:
                plan.shards += shards_of(path)
            except RecordsError as error:
                plan.unread.add_unread_file(path, error)
        return plan

    @property
    def size(self) -> int:
        """How many bytes are read."""
        return sum(shard.size for shard in self.shards)


@dataclasses.dataclass(frozen=True, slots=True)
class ShardScan:
    """The work of a process: it scans shards.

    make: returns the scan of a shard
    text: where each row's text is, if not by its format
    """

    make: Callable[[], LogScan]
    text: str | None

    def __call__(self, shard: Shard, progress: Callable[[int], object]) -> ScanResult:
        """Scan a shard; report the bytes that were read since the last report."""
        scan = self.make()
        left = shard.size
        try:
            for block in read_shard(shard, text=self.text):
                scan.add(block)
                count = min(block.bytes, left)
                left -= count
                progress(count)
        except RecordsError as error:
            scan.counted.add_unread_file(shard.path, error)
        progress(left)
        return scan.counted

    def itself(self) -> ShardScan:
        """Return this, in another process."""
        return self


def scan_shards(
    plan: ScanPlan,
    work: ShardScan,
    *,
    engine: Engine,
    state: ScanState | None,
    progress: Callable[[int], object],
) -> ScanResult:
    """Scan what wasn't scanned before, and return the result of all shards.

    engine:   `processes` of this machine, or those of others
    progress: is called with the bytes that were read since the last call

    Raises OSError where the state can't be written.
    """
    results = _kept_results(plan, state)
    progress(sum(shard.size for shard in results))
    waiting = [shard for shard in plan.shards if shard not in results]
    for shard, scanned in engine(waiting, work, progress):
        result = _result_of_dead_processes(shard) if scanned is None else scanned
        results[shard] = result
        if state and _was_read_to_end(result):
            state.keep(shard, result)
    total = ScanResult()
    total.add(plan.unread)
    lines: dict[Path, int] = defaultdict(int)
    for shard in plan.shards:
        result = results[shard]
        total.add(result.with_rows_moved(lines[shard.path]))
        lines[shard.path] += _lines_before_next_shard(shard, result)
    total.passages.sort(key=itemgetter("file", "row", "text"))
    return total


def _kept_results(
    plan: ScanPlan,
    state: ScanState | None,
) -> dict[Shard, ScanResult]:
    results: dict[Shard, ScanResult] = {}
    if state is None:
        return results
    for shard in plan.shards:
        result = state.result_of(shard)
        if result is not None:
            results[shard] = result
    return results


def processes(jobs: int) -> Engine:
    """Return so many processes of this machine; one is this itself."""

    def scan(
        shards: list[Shard],
        work: ShardScan,
        progress: Callable[[int], object],
    ) -> Iterator[tuple[Shard, ScanResult | None]]:
        if jobs == 1 or sum(shard.size for shard in shards) < _SMALL:
            for shard in shards:
                yield shard, work(shard, progress)
            return
        yield from run_tasks(work.itself, shards, jobs=jobs, progress=progress)

    return scan


def _result_of_dead_processes(shard: Shard) -> ScanResult:
    result = ScanResult()
    error = RecordsError(
        "several processes ended early while reading it",
        hint="they may have run out of memory: use fewer processes (--jobs)",
    )
    result.add_unread_file(shard.path, error)
    return result


def _was_read_to_end(result: ScanResult) -> bool:
    """Return whether a shard was read to its end."""
    return all(place["row"] is not None for place in result.unread)


def _lines_before_next_shard(shard: Shard, result: ScanResult) -> int:
    """Return how many lines come before the next shard of the file."""
    if shard.is_whole or _was_read_to_end(result):
        return result.lines
    try:
        return count_lines_of_shard(shard)
    except RecordsError:
        return result.lines  # The file is unread, which the result names.
