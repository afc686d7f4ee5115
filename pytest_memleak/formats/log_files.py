"""Files of logs and training sets, read block by block: lines, JSON, inspect_ai's zips, tables.

A file's suffix tells how it is cut into rows, and `log_formats` what a row is. Rows of
JSON may stay bytes in their block, so that another process parses them.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pytest_memleak.errors import RecordsError, file_errors, install_command
from pytest_memleak.formats.log_formats import is_row, keys_of, record_of
from pytest_memleak.formats.log_messages import value_at
from pytest_memleak.formats.paper_format import (
    json_value,
    lines_of,
    no_list,
    read_whole,
)

_Reader = Callable[[IO[bytes], Path, str | None], Iterable[Any]]
_BLOCK, _ROWS = 1 << 20, 1 << 10  # the most bytes and rows together
_PACKED_PIECE = 1 << 13  # bytes, which may unpack to thousands as many
_ZSTD = 93  # the compression of zips that Python reads from 3.14 on
# A zip of a compression that Python doesn't know, or of a password, is a RuntimeError.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError),
    *(csv.Error, zipfile.BadZipFile, zlib.error),
)
_NO_ROWS = {"log_updates", "reductions", "prompts"}  # lists beside rows


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


def size_of(path: Path) -> int:
    """Return the bytes of a file of rows. Raises RecordsError for one that can't be opened."""
    reader_of(path)
    with _errors(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("not a regular file")  # a pipe could wait for ever
        with path.open("rb") as file:
            return file.seek(0, io.SEEK_END)


def read_blocks(path: Path, *, text: str | None = None) -> Iterator[RowBlock]:
    """Yield the rows of a file in blocks; text: where each row's text is, if not by its format.

    Raises RecordsError for an unknown suffix, and for a file that is missing, empty,
    damaged, or unreadable without a package.
    """
    read, unpack = reader_of(path), _PACKED.get(path.suffix.lower())
    rows = read_before = 0
    with _errors(path), path.open("rb") as raw:
        for block in _blocks(read(unpack(raw) if unpack else raw, path, text)):
            yield RowBlock(path, rows + 1, block, raw.tell() - read_before)
            rows, read_before = rows + len(block), raw.tell()
    if not rows:
        raise RecordsError(
            "there are no rows", location=str(path), hint="name another file"
        )


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Raise RecordsError for a file that can't be read."""
    try:
        hint = "check its permissions; copy a damaged file again"
        with (
            file_errors(RecordsError, path, hint=hint, causes=_UNREADABLE),
            file_errors(RecordsError, path, causes=(FileNotFoundError,)),
        ):
            yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise RecordsError(
            f"the package {package!r}, which reads this file, isn't installed",
            location=str(path),
            hint=f"install it with: {install_command(_EXTRAS[package])}",
        ) from None


def load_rows(path: Path) -> list[object]:
    """Return a file's rows; one of another format than the paper's gives a row per generation."""
    records: list[object] = []
    for block in read_blocks(path):
        for _, row, where in block.places():
            record = record_of(row, where)
            if record is None or record is row:
                records.append(row)
            else:
                answers = record.pop("generations")
                # Text of a request that failed is no generation: that one is missing.
                records += (
                    record | answer for answer in answers if not answer.get("failed")
                )
    return records


def reader_of(path: Path) -> _Reader:
    """Return the reader of a file. Raises RecordsError for an unknown suffix."""
    suffixes = [
        suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED
    ]
    suffix = suffixes[-1] if suffixes else path.name
    if suffix not in _READERS:
        raise RecordsError(
            f"no reader for {suffix!r} files",
            location=str(path),
            hint=f"use {', '.join(_READERS)}, optionally compressed (.gz, .zst)",
        )
    return _READERS[suffix]


def _blocks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    block: list[Any] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row) if isinstance(row, bytes) else 0
        if size >= _BLOCK or len(block) >= _ROWS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _json_rows(file: IO[bytes], path: Path, text: str | None) -> list[Any]:
    value = json_value(read_whole(file, path), str(path))
    rows = [value] if record_of(value, str(path)) else value
    if isinstance(rows, dict):
        lists = {**rows, "": value_at(rows, ("results", "results"))}  # promptfoo's
        every = [
            it
            for key, it in lists.items()
            if key not in _NO_ROWS and isinstance(it, list)
        ]
        keys = keys_of(text or "")
        named = [
            it for it in every if any(value_at(row, keys) is not None for row in it)
        ]
        rows = [
            row
            for it in named or every
            for row in it
            if text is not None or is_row(row)
        ]
    if not isinstance(rows, list) or (value and not rows):
        raise no_list(value, str(path))
    return rows


def _samples(file: IO[bytes], _path: Path, _text: str | None) -> Iterator[bytes]:
    """Yield the samples of inspect_ai's zip."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            zstd = member.compress_type == _ZSTD
            if zstd:  # read as it is, without the check of the unpacked bytes
                member.compress_type, member.file_size = (
                    zipfile.ZIP_STORED,
                    member.compress_size,
                )
                member.CRC = None  # type: ignore[assignment] # zipfile then skips the check
            if member.filename.startswith("samples/"):
                data = archive.read(member)
                yield _PACKED[".zst"](io.BytesIO(data)).read() if zstd else data


def _cells(file: IO[bytes], path: Path, _text: str | None) -> Iterator[dict[str, str]]:
    """Yield rows of a CSV by their heads."""
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(codecs.iterdecode(file, "utf-8-sig"))
    heads = next(rows, [])
    for row in rows:
        _validate_heads(heads, len(row), f"{path}, line {rows.line_num}")
        if row:
            yield dict(zip(heads, row, strict=False))


def _validate_heads(heads: list[str], cells: int, where: str) -> None:
    """Raise RecordsError for a row of which a cell would go unread."""
    if cells > len(heads) or len(set(heads)) < len(heads):
        raise RecordsError(
            f"{cells} cells, but {len(set(heads))} distinct column names",
            location=where,
            hint="put cells with commas into double quotes; rename one of two equal columns",
        )


def _parquet(file: IO[bytes], path: Path, _text: str | None) -> Iterator[Any]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        heads = table.schema_arrow.names
        _validate_heads(heads, len(heads), str(path))
        some_bytes = "binary" in str(table.schema_arrow)
        for batch in table.iter_batches(_ROWS):
            rows = batch.to_pylist()
            yield from map(_decoded, rows) if some_bytes else rows
    except pyarrow.ArrowException as error:
        raise ValueError(error) from None


def _decoded(value: Any) -> Any:
    """Return a value with text where it has the bytes of text, as some writers store it."""
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return text if text.count("\ufffd") < len(text) / 8 else value  # an image
    if isinstance(value, dict):
        return {key: _decoded(part) for key, part in value.items()}
    return [*map(_decoded, value)] if isinstance(value, list | tuple) else value


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
        while not self._unpacked and (
            packed := self._rest or self._packed.read(_PACKED_PIECE)
        ):
            frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._unpacked = frame.decompress(packed)
            except self._zstandard.ZstdError as error:
                raise OSError(f"damaged zstd: {error}") from None
            self._frame, self._rest = (
                (None, frame.unused_data) if frame.eof else (frame, b"")
            )
        if not self._unpacked and self._frame:
            raise EOFError("the zstd stream ends early")
        count = min(len(buffer), len(self._unpacked))
        buffer[:count], self._unpacked = self._unpacked[:count], self._unpacked[count:]
        return count


_EXTRAS = {"zstandard": "formats", "pyarrow": "tables"}
_PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".zst": lambda raw: io.BufferedReader(_UnpackedZstd(raw)),
}
_READERS: dict[str, _Reader] = {
    ".jsonl": lambda file, path, _: lines_of(file, path),
    ".json": _json_rows,
    ".eval": _samples,
    ".csv": _cells,
    ".parquet": _parquet,
}
