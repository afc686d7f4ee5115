"""Files of logs and training sets, read block by block: lines, JSON, inspect_ai's zips, tables.

A file's suffix tells how it is cut into rows, and `log_formats` what a row is. Rows of JSON may
stay bytes in their block, so that another process parses them.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pytest_memleak.errors import RecordsError, install_command
from pytest_memleak.records.log_formats import record_of, value_at
from pytest_memleak.records.paper_format import json_value, load_records, no_list, read_whole

_BLOCK = 1 << 20  # bytes
_PACKED_PIECE = 1 << 13  # bytes, which may unpack to thousands as many
_ROWS = 1 << 10
_ZSTD = 93  # the compression of zips that Python reads from 3.14 on
# Where a JSON file has its rows: inspect_ai's, and promptfoo's of two versions.
_LISTS = (("samples",), ("results", "results"), ("results",))


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows of a file; first: the number of the first, from 1; bytes: how many of it were read."""

    path: Path
    first: int
    rows: list[Any] = field(repr=False)
    bytes: int

    def places(self) -> Iterator[tuple[int, Any, str]]:
        """Yield each row with its number and its place. Raises RecordsError for no JSON."""
        kind = "line" if ".jsonl" in self.path.name.lower() else "row"
        for number, row in enumerate(self.rows, self.first):
            where = f"{self.path}, {kind} {number}"
            if not isinstance(row, bytes):
                yield number, row, where
            elif text := row.removeprefix(codecs.BOM_UTF8).strip():  # no blank line
                yield number, json_value(text, where, encoding="utf-8"), where


def read_blocks(path: Path) -> Iterator[RowBlock]:
    """Yield the rows of a file in blocks.

    Raises RecordsError for an unknown suffix, and for a file that is missing, empty, damaged, or
    unreadable without a package.
    """
    read, unpack = reader_of(path), _PACKED.get(path.suffix.lower())
    rows = read_before = 0
    try:
        with path.open("rb") as raw:
            for block in read(unpack(raw) if unpack else raw, path):
                yield RowBlock(path, rows + 1, block, raw.tell() - read_before)
                rows, read_before = rows + len(block), raw.tell()
    except (OSError, EOFError, zipfile.BadZipFile, csv.Error, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        place = f" after row {rows}" if rows else ""
        raise RecordsError(f"can't be read{place}: {cause}", location=str(path)) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise RecordsError(
            f"the package {package!r}, which reads this file, isn't installed",
            location=str(path),
            hint=f"install it with: {install_command(_EXTRAS[package])}",
        ) from None
    if not rows:
        raise RecordsError(
            "the file has no rows", location=str(path), hint="check that this is the right file"
        )


def load_rows(path: Path) -> list[object]:
    """Return a file's rows; one of another format than the paper's gives a row per generation."""
    if path.suffix.lower() == ".jsonl":
        rows = load_records(path)
    else:
        rows = [row for block in read_blocks(path) for _, row, _ in block.places()]
    records: list[object] = []
    for row in rows:
        record = record_of(row)
        if record is None or record is row:
            records.append(row)
        else:
            answers = record.pop("generations")
            # Text of a request that failed is no generation: that one is missing.
            records += (record | answer for answer in answers if not answer.get("failed"))
    return records


def reader_of(path: Path) -> Callable[[IO[bytes], Path], Iterator[list[Any]]]:
    """Return the reader of a file. Raises RecordsError for an unknown suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    suffix = suffixes[-1] if suffixes else path.name
    if suffix not in _READERS:
        raise RecordsError(
            f"no reader for {suffix!r} files",
            location=str(path),
            hint=f"use {', '.join(_READERS)}, perhaps with .gz or .zst",
        )
    return _READERS[suffix]


class _UnpackedZstd(io.RawIOBase):
    """The bytes of zstd frames; one that ends early or is damaged is an error at its place."""

    def __init__(self, packed: IO[bytes]) -> None:
        import zstandard

        self._packed, self._zstandard = packed, zstandard
        self._frame: Any = None
        self._rest = self._unpacked = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked and (packed := self._rest or self._packed.read(_PACKED_PIECE)):
            frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._unpacked = frame.decompress(packed)
            except self._zstandard.ZstdError as error:
                raise OSError(f"damaged zstd: {error}") from None
            self._frame, self._rest = (None, frame.unused_data) if frame.eof else (frame, b"")
        if not self._unpacked and self._frame:
            raise EOFError("the zstd stream ends early")
        count = min(len(buffer), len(self._unpacked))
        buffer[:count], self._unpacked = self._unpacked[:count], self._unpacked[count:]
        return count


def _lines(file: IO[bytes], _path: Path) -> Iterator[list[bytes]]:
    while lines := file.readlines(_BLOCK):
        yield lines


def _json_rows(file: IO[bytes], path: Path) -> Iterator[list[Any]]:
    value = json_value(read_whole(file, path), str(path))
    lists = [value, *(value_at(value, keys) for keys in _LISTS), [value] * bool(record_of(value))]
    rows = [row for rows in lists if isinstance(rows, list) for row in rows]
    if not rows:
        raise no_list(value, str(path))
    yield from _in_blocks(iter(rows))


def _samples(file: IO[bytes], _path: Path) -> Iterator[list[bytes]]:
    """Yield the samples of inspect_ai's zip."""
    with zipfile.ZipFile(file) as archive:
        block: list[bytes] = []
        for member in archive.infolist():
            if not member.filename.startswith("samples/"):
                continue
            zstd = member.compress_type == _ZSTD
            if zstd:  # read as it is, without the check of the unpacked bytes
                member.compress_type, member.file_size = zipfile.ZIP_STORED, member.compress_size
                member.CRC = None  # type: ignore[assignment] # zipfile then skips the check
            data = archive.read(member)
            block.append(_PACKED[".zst"](io.BytesIO(data)).read() if zstd else data)
            if sum(map(len, block)) >= _BLOCK:
                yield block
                block = []
        if block:
            yield block


def _cells(file: IO[bytes], path: Path) -> Iterator[list[Any]]:
    """Yield rows of a CSV by their heads."""
    csv.field_size_limit(sys.maxsize)
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        yield from _in_blocks(_cells_by_heads(csv.DictReader(text), str(path)))


def _cells_by_heads(rows: csv.DictReader[str], path: str) -> Iterator[dict[str, str]]:
    heads = rows.fieldnames or []
    if len(set(heads)) < len(heads):
        raise RecordsError(
            "two columns have the same head", location=f"{path}, line 1", hint="rename one"
        )
    for row in rows:
        if further := row.pop(None, ()):
            raise RecordsError(
                f"{len(heads) + len(further)} cells, but {len(heads)} heads",
                location=f"{path}, line {rows.line_num}",
                hint="put cells with commas into double quotes",
            )
        yield {head: cell for head, cell in row.items() if cell is not None}


def _parquet(file: IO[bytes], path: Path) -> Iterator[list[Any]]:
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_ROWS):
            yield batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise RecordsError(f"not Parquet: {error}", location=str(path)) from None


def _in_blocks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while block := list(islice(rows, _ROWS)):
        yield block


_EXTRAS = {"zstandard": "formats", "pyarrow": "tables"}
_PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".zst": lambda raw: io.BufferedReader(_UnpackedZstd(raw)),
}
_READERS: dict[str, Callable[[IO[bytes], Path], Iterator[list[Any]]]] = {
    ".jsonl": _lines,
    ".json": _json_rows,
    ".eval": _samples,
    ".csv": _cells,
    ".parquet": _parquet,
}
