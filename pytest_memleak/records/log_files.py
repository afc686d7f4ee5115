"""Files of logs and training sets, read block by block: lines, JSON, inspect_ai's zips, tables.

A file's suffix tells how it is cut into rows, and `log_formats` what a row is. Lines of JSON stay
bytes in their block, so that another process can parse them.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pytest_memleak.errors import RecordsError, install_command
from pytest_memleak.records.log_formats import Record, record_at, record_of
from pytest_memleak.records.paper_format import (
    MAX_JSON_BYTES,
    json_value,
    load_records,
    no_list,
    read_whole,
    too_big,
)

_BLOCK = 1 << 20  # bytes
_ROWS = 1 << 10
_ZSTD = 93  # the compression of zips that Python reads from 3.14 on
# Where a JSON file has its rows: inspect_ai's, and promptfoo's of two versions.
_LISTS = (("samples",), ("results", "results"), ("results",))


@dataclass(frozen=True, slots=True)
class RowReader:
    """How rows become records: by their format or, with `texts`, by JSON pointers in each row."""

    texts: str | None = None
    prompt: str | None = None

    def record(self, row: object, where: str) -> Record:
        """Return the row as a record (`log_formats`). Raises RecordsError, naming `where`."""
        if isinstance(row, bytes):
            row = json_value(row.removeprefix(codecs.BOM_UTF8), where, encoding="utf-8")
        if self.texts is not None:
            return record_at(row, self.texts, self.prompt, where)
        record = record_of(row)
        if record is None:
            raise RecordsError(
                "this row has no known format, so its texts wouldn't be read",
                location=where,
                hint="name the place of the text in each row, as in --text /answer/text",
            )
        return record


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows of a file; first: the number of the first, from 1; bytes: how far the file is read."""

    path: Path
    first: int
    rows: list[Any] = field(repr=False)
    bytes: int = 0

    def places(self) -> Iterator[tuple[int, Any, str]]:
        """Yield each row with its number and its place; blank lines are none."""
        for number, row in enumerate(self.rows, self.first):
            if not isinstance(row, bytes) or row.strip():
                kind = "line" if isinstance(row, bytes) else "row"
                yield number, row, f"{self.path}, {kind} {number}"


def read_blocks(path: Path) -> Iterator[RowBlock]:
    """Yield the rows of a file in blocks.

    Raises RecordsError for an unknown suffix, and for a file that is missing, empty, damaged, or
    unreadable without a package.
    """
    read, suffix = reader_of(path)
    rows = 0
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            for block in read(file, path, suffix):
                yield RowBlock(path, rows + 1, block, raw.tell())
                rows += len(block)
    except (OSError, EOFError, zipfile.BadZipFile, csv.Error, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise RecordsError(f"can't be read: {cause}", location=str(path)) from None
    if not rows:
        raise RecordsError("the file has no rows", location=str(path))


def load_rows(path: Path) -> list[object]:
    """Return a file's rows; one of another format than the paper's gives a row per generation."""
    if path.suffix.lower() == ".jsonl":
        rows = load_records(path)
    else:
        rows = [row for block in read_blocks(path) for row in block.rows]
    records: list[object] = []
    for row in rows:
        record = record_of(row)
        if record is None or record == row:
            records.append(row)
        else:
            answers = record.pop("generations")
            records += ({**record, **answer} for answer in answers)
    return records


def reader_of(path: Path) -> tuple[Callable[..., Iterator[list[Any]]], str]:
    """Return the reader of a file and its suffix. Raises RecordsError for an unknown one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = ([name for name in suffixes if name not in _PACKED] or [""])[-1]
    if suffix not in _READERS:
        raise RecordsError(
            f"no reader for {suffix or path.name!r} files",
            location=str(path),
            hint=f"use {', '.join(_READERS)}, each perhaps with .gz or .zst",
        )
    return _READERS[suffix], suffix


# --- compression ---------------------------------------------------------------------------


@contextlib.contextmanager
def _unpacked(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    unpack = _PACKED.get(path.suffix.lower())
    if unpack is None:
        yield raw
        return
    with unpack(raw) as file:
        yield file


def _unzip(raw: IO[bytes]) -> IO[bytes]:
    return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value] # it reads as one


def _unpack_zstd(raw: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise _missing("zstandard", "formats") from None
    stream: Any = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    return io.BufferedReader(stream)


_PACKED: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {".gz": _unzip, ".zst": _unpack_zstd}


# --- containers ----------------------------------------------------------------------------


def _lines(file: IO[bytes], path: Path, _suffix: str) -> Iterator[list[bytes]]:
    """Yield lines of about a million bytes together."""
    lines: list[bytes] = []
    size = 0
    for line in iter(lambda: file.readline(MAX_JSON_BYTES + 1), b""):
        if len(line) > MAX_JSON_BYTES:
            raise too_big("the line", str(path))
        lines.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _json_rows(file: IO[bytes], path: Path, _suffix: str) -> Iterator[list[Any]]:
    value = json_value(read_whole(file, path), str(path))
    lists = [value, *(_inside(value, keys) for keys in _LISTS), [value] * bool(record_of(value))]
    rows = next((rows for rows in lists if isinstance(rows, list)), None)
    if not rows:
        raise no_list(value, str(path))
    yield from _some(rows)


def _inside(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _samples(file: IO[bytes], path: Path, _suffix: str) -> Iterator[list[Any]]:
    """Yield the samples of inspect_ai's zip, one by one."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.startswith("samples/"):
                yield [json_value(_member(archive, member), f"{path}, {member.filename}")]


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type != _ZSTD:
        return archive.read(member)
    member.compress_type, member.file_size = zipfile.ZIP_STORED, member.compress_size
    member.CRC = None  # type: ignore[assignment] # that of the unpacked bytes
    return _unpack_zstd(io.BytesIO(archive.read(member))).read()


def _cells(file: IO[bytes], _path: Path, suffix: str) -> Iterator[list[Any]]:
    """Yield rows of a CSV by their heads."""
    csv.field_size_limit(sys.maxsize)
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        yield from _some(csv.DictReader(text, delimiter="\t" if suffix == ".tsv" else ","))


def _parquet(file: IO[bytes], path: Path, _suffix: str) -> Iterator[list[Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise _missing("pyarrow", "tables") from None
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_ROWS):
            yield batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise RecordsError(f"not Parquet: {error}", location=str(path)) from None


def _missing(package: str, extra: str) -> RecordsError:
    return RecordsError(
        f"needs the package {package!r}, which isn't installed",
        hint=f"install it with: {install_command(extra)}",
    )


def _some(rows: Iterable[Any]) -> Iterator[list[Any]]:
    block = []
    for row in rows:
        block.append(row)
        if len(block) == _ROWS:
            yield block
            block = []
    if block:
        yield block


_READERS: dict[str, Callable[..., Iterator[list[Any]]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json_rows,
    ".eval": _samples,
    ".csv": _cells,
    ".tsv": _cells,
    ".parquet": _parquet,
}
