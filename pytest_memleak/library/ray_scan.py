"""A scan on a Ray cluster, whose nodes read the same files from shared storage."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak import __version__
from pytest_memleak.errors import Inconclusive, RecordsError
from pytest_memleak.library.log_scan import ScanResult
from pytest_memleak.parallel.ray_tasks import run_tasks_on_ray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_memleak.formats.log_shards import Shard
    from pytest_memleak.library.sharded_scan import ShardScan


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedShard:
    """A shard, with what the file's storage said of the file where the scan began.

    shard:    its path is absolute
    size:     of the whole file, in bytes
    modified: in nanoseconds
    """

    shard: Shard
    size: int
    modified: int

    @classmethod
    def of(cls, shard: Shard) -> PlannedShard:
        """Return the shard as nodes need it. Raises OSError."""
        path = shard.path.absolute()
        status = path.stat()
        absolute = dataclasses.replace(shard, path=path)
        return cls(absolute, status.st_size, status.st_mtime_ns)


@dataclasses.dataclass(frozen=True, slots=True)
class NodeScan:
    """The work of a node: it scans shards of files that it shares with the others.

    version: of the package where the scan began
    """

    work: ShardScan
    version: str

    def __call__(self, planned: PlannedShard) -> ScanResult:
        """Scan a shard; name its file as unread if this node has another one.

        Raises Inconclusive if the node has another version of this package.
        """
        if self.version != __version__:
            raise Inconclusive(
                f"a node of the Ray cluster has pytest-memleak {__version__}, not "
                f"{self.version}",
                hint="install the same version on every node",
            )
        path = planned.shard.path
        try:
            status = path.stat()
            is_same = (status.st_size, status.st_mtime_ns) == (
                planned.size,
                planned.modified,
            )
        except OSError:
            is_same = False
        if is_same:
            return self.work(planned.shard, _no_progress)
        result = ScanResult()
        error = RecordsError(
            "a node of the Ray cluster has no such file, or another one",
            hint="keep the files on storage that all nodes share, and don't change "
            "them during a scan",
        )
        result.add_unread_file(path, error)
        return result


def scan_on_ray(
    shards: list[Shard],
    work: ShardScan,
    progress: Callable[[int], object],
    *,
    address: str,
) -> Iterator[tuple[Shard, ScanResult | None]]:
    """Yield each shard with its result, None if too many of its processes ended.

    Raises SettingsError, Inconclusive (`run_tasks_on_ray`).
    """
    by_plan = {PlannedShard.of(shard): shard for shard in shards}
    results = run_tasks_on_ray(NodeScan(work, __version__), by_plan, address=address)
    for planned, result in results:
        shard = by_plan[planned]
        progress(shard.size)
        yield (
            shard,
            None if result is None else _with_given_file_name(result, shard.path),
        )


def _with_given_file_name(result: ScanResult, path: Path) -> ScanResult:
    """Return a result whose file has the name that the scan was given."""
    name = {"file": str(path)}
    return dataclasses.replace(
        result,
        passages=[passage | name for passage in result.passages],
        unread=[place | name for place in result.unread],
    )


def _no_progress(_count: int) -> None:
    """Report nothing: nodes report finished shards."""
