"""Shards of logs and training sets: parts of files that can be read by themselves.

Lines of JSON are cut by ranges of bytes, Parquet by row groups. Any other file, such as
a compressed one, is a shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_files import (
    MAX_ROW_BYTES,
    Reading,
    RowBlock,
    blocks_of,
    lines_in_file,
    read_blocks,
    reading_errors,
    rows_of_parquet,
    size_of,
    skip_line,
)

BYTES_OF_SHARD = 16 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a file.

    size:       its bytes in the file, for progress
    changed:    when the file or its times were last changed, in nanoseconds
    start, end: bytes of lines, or row groups of Parquet; a line belongs where it starts
    is_whole:   whether it is the whole file
    """

    path: Path
    size: int
    changed: int
    start: int = 0
    end: int = 0
    is_whole: bool = True


def shards_of(path: Path) -> list[Shard]:
    """Return the shards of a file, in order.

    Raises RecordsError for one that can't be opened, or whose package is missing.
    """
    size = size_of(path)
    status = path.stat()
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    if size > BYTES_OF_SHARD and path.suffix.lower() == ".jsonl":
        starts = range(0, size, BYTES_OF_SHARD)
        ends = [*starts[1:], size]
        return [
            Shard(path, end - start, changed, start, end, is_whole=False)
            for start, end in zip(starts, ends, strict=True)
        ]
    if size > BYTES_OF_SHARD and path.suffix.lower() == ".parquet":
        return _shards_of_row_groups(path, changed) or [Shard(path, size, changed)]
    return [Shard(path, size, changed)]


def read_shard(shard: Shard, *, text: str | None = None) -> Iterator[RowBlock]:
    """Yield the rows of a shard in blocks, numbered from 1 in the shard.

    text: the path of each row's text, if not by its format

    Raises RecordsError for a file that is missing, empty, or damaged.
    """
    path = shard.path
    if shard.is_whole:
        return read_blocks(path, Reading(text, MAX_ROW_BYTES))
    if path.suffix.lower() == ".parquet":
        groups = range(shard.start, shard.end)
        return blocks_of(path, lambda file: rows_of_parquet(file, path, groups))
    return blocks_of(path, partial(_lines_starting_in_shard, shard=shard))


def count_lines_of_shard(shard: Shard) -> int:
    """Count the lines or rows of a part of a file without parsing them.

    Raises RecordsError.
    """
    if shard.path.suffix.lower() == ".parquet":
        with reading_errors(shard.path):
            return sum(_rows_of_groups(shard))
    with reading_errors(shard.path), shard.path.open("rb") as file:
        return sum(1 for _ in _lines_starting_in_shard(file, shard=shard))


def _lines_starting_in_shard(
    file: IO[bytes],
    *,
    shard: Shard,
) -> Iterator[bytes | RecordsError]:
    """Yield the lines that start in a shard."""
    position = shard.start
    if position:
        file.seek(position - 1)
        position += skip_line(file) - 1
    if position >= shard.end:
        return
    for line, size in lines_in_file(file, shard.path, MAX_ROW_BYTES):
        yield line
        position += size
        if position >= shard.end:
            return


def _shards_of_row_groups(path: Path, changed: int) -> list[Shard]:
    """Return shards of consecutive row groups. Raises RecordsError."""
    with reading_errors(path):
        sizes = _sizes_of_row_groups(path)
    shards: list[Shard] = []
    start = 0
    size = 0
    for number, group in enumerate(sizes, start=1):
        size += group
        if size >= BYTES_OF_SHARD or number == len(sizes):
            shard = Shard(path, size, changed, start, number, is_whole=False)
            shards.append(shard)
            start = number
            size = 0
    return shards


def _sizes_of_row_groups(path: Path) -> list[int]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
            return [_packed_size(group) for group in groups]
    except pyarrow.ArrowException as error:
        raise ValueError(error) from None


def _packed_size(group: Any) -> int:
    columns = map(group.column, range(group.num_columns))
    return sum(column.total_compressed_size for column in columns)


def _rows_of_groups(shard: Shard) -> Iterator[int]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(shard.path) as file:
        for number in range(shard.start, shard.end):
            yield file.metadata.row_group(number).num_rows
