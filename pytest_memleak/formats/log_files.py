"""Files of logs and training sets, read block by block.

A file's suffix tells how it is cut into rows: lines, lists in JSON, inspect_ai's zips,
tables. `rows_as_records` tells what a row is. Rows of JSON may stay bytes in their
block, so that another process parses them.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

from pytest_memleak.errors import RecordsError, file_errors, install_command
from pytest_memleak.formats.log_messages import value_at
from pytest_memleak.formats.paper_format import (
    MAX_JSON_BYTES,
    not_a_list_error,
    parse_json,
    read_whole,
)
from pytest_memleak.formats.rows_as_records import is_row, keys_of, record_of
from pytest_memleak.formats.vllm_log import responses_in

MAX_ROW_BYTES = 16 << 20
"""The most bytes of a row that is scanned, which takes up to sixty times as much."""

_MOST_BYTES_OF_BLOCK = 1 << 20
MOST_ROWS_OF_BLOCK = 1 << 10
_BLANK_LINES = 1 << 20  # in a row; a small compressed file may have billions
_PIECE = 1 << 20
_PACKED_PIECE = 1 << 13  # bytes, which may unpack to thousands as many
_ZSTD = 93  # the compression of zips that Python reads from 3.14 on
_LISTS_WITHOUT_ROWS = {"log_updates", "reductions", "prompts"}
# A zip of a compression that Python doesn't know, or of a password, is a RuntimeError.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)


class Reading(NamedTuple):
    """How files are read.

    text:       the path of each row's text, if not by its format
    most_bytes: of a row; a longer one is an error
    """

    text: str | None = None
    most_bytes: int = MAX_JSON_BYTES


_Reader = Callable[[IO[bytes], Path, Reading], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Rows of a file.

    first: the number of the first row, from 1
    bytes: how many of the file were read for them
    """

    path: Path
    first: int
    rows: list[Any] = field(repr=False)
    bytes: int

    def places(self) -> Iterator[tuple[int, Any, str]]:
        """Yield each row with its number and its place; leave out blank lines.

        Raises RecordsError for a row that can't be parsed.
        """
        for number, row, where in self.parsed():
            if isinstance(row, RecordsError):
                raise row
            yield number, row, where

    def lines(self) -> Iterator[tuple[int, Any]]:
        """Yield each row with its number, unparsed if it is bytes; not blank lines."""
        for number, row in enumerate(self.rows, self.first):
            if isinstance(row, bytes):
                row = _without_bom_and_blanks(row)  # noqa: PLW2901 - without what surrounds it
                if not row:
                    continue
            yield number, row

    def place_of(self, number: int) -> str:
        """Return where a row is."""
        return f"{self.path}, {kind_of_rows(self.path.name)} {number}"

    def row(self, number: int) -> Any:
        """Return a row by its number, parsed."""
        row = self.rows[number - self.first]
        return (
            parsed_line(_without_bom_and_blanks(row), "")
            if isinstance(row, bytes)
            else row
        )

    def parsed(self) -> Iterator[tuple[int, Any, str]]:
        """Yield what `places` does, and a RecordsError for a row that isn't parsed."""
        for number, row in self.lines():
            where = self.place_of(number)
            if isinstance(row, bytes):
                yield number, parsed_line(row, where), where
            else:
                yield number, row, where


def _without_bom_and_blanks(line: bytes) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8).strip()


def kind_of_rows(name: str) -> str:
    """Return what the rows of a file are called: lines, if they are numbered so."""
    is_of_lines = any(suffix in name.lower() for suffix in (".jsonl", ".log"))
    return "line" if is_of_lines else "row"


def parsed_line(text: bytes, where: str) -> Any:
    """Return a line's value, or the RecordsError of one that can't be parsed."""
    try:
        return parse_json(text, where, encoding="utf-8")
    except RecordsError as error:
        return error


def size_of(path: Path) -> int:
    """Count a file's bytes. Raises RecordsError for one that can't be opened."""
    reader_of(path)
    with reading_errors(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError("not a regular file")  # a pipe could wait for ever
        with path.open("rb") as file:
            return file.seek(0, io.SEEK_END)


def read_blocks(
    path: Path,
    reading: Reading = Reading(),  # noqa: B008 - nothing changes it
) -> Iterator[RowBlock]:
    """Yield the rows of a file in blocks.

    Raises RecordsError for an unknown suffix, and for a file that is missing, empty,
    damaged, or unreadable without a package.
    """
    read = reader_of(path)
    is_empty = True
    for block in blocks_of(path, lambda file: read(file, path, reading)):
        is_empty = False
        yield block
    if is_empty:
        raise RecordsError(
            "there are no rows",
            location=str(path),
            hint="name another file",
        )


def blocks_of(
    path: Path,
    read: Callable[[IO[bytes]], Iterable[Any]],
) -> Iterator[RowBlock]:
    """Yield the rows that `read` yields of a file, in blocks; it may have none.

    Rows are numbered from 1. Raises RecordsError for a damaged file.
    """
    unpack = _UNPACKED.get(path.suffix.lower())
    rows = 0
    read_before = 0
    with reading_errors(path), path.open("rb") as raw:
        file = unpack(raw) if unpack else raw
        for block in _blocks(read(file)):
            position = raw.tell()
            yield RowBlock(path, rows + 1, block, position - read_before)
            rows += len(block)
            read_before = raw.tell()


@contextlib.contextmanager
def reading_errors(path: Path) -> Iterator[None]:
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


def load_rows_as_records(path: Path) -> list[object]:
    """Return a file's rows in the paper's form, or in none.

    One of another known format gives a row per generation.
    """
    records: list[object] = []
    for block in read_blocks(path):
        for _, row, where in block.places():
            records += _records_of(row, where)
    return records


def _records_of(row: object, where: str) -> list[object]:
    record = record_of(row, where)
    if record is None or record is row:
        return [row]
    answers = record.pop("generations")
    # Text of a request that failed is no generation: that one is missing.
    return [record | answer for answer in answers if not answer.get("failed")]


def reader_of(path: Path) -> _Reader:
    """Return the reader of a file. Raises RecordsError for an unknown suffix."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    of_content = [suffix for suffix in suffixes if suffix not in _UNPACKED]
    suffix = of_content[-1] if of_content else path.name
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
        if isinstance(row, bytes):
            size += len(row)
        if size >= _MOST_BYTES_OF_BLOCK or len(block) >= MOST_ROWS_OF_BLOCK:
            yield block
            block = []
            size = 0
    if block:
        yield block


def _json_rows(
    file: IO[bytes],
    path: Path,
    reading: Reading,
) -> list[Any]:
    data = read_whole(file, path)
    value = parse_json(data, str(path))
    if record_of(value, str(path)):
        return [value]
    rows = value
    if isinstance(value, dict):
        rows = _rows_in_lists(value, reading.text)
    if not isinstance(rows, list):
        raise not_a_list_error(value, str(path))
    if value and not rows:
        raise not_a_list_error(value, str(path))
    return rows


def _rows_in_lists(value: dict[str, Any], text: str | None) -> list[Any]:
    """Return the rows in an object's lists; if some have the text, those alone."""
    of_promptfoo = value_at(value, ("results", "results"))
    parts = {**value, "": of_promptfoo}
    lists: list[list[Any]] = []
    for key, part in parts.items():
        if key not in _LISTS_WITHOUT_ROWS and isinstance(part, list):
            lists.append(part)
    if text is None:
        rows = chain.from_iterable(lists)
        return [row for row in rows if is_row(row)]
    keys = keys_of(text)
    with_text = [rows for rows in lists if _any_row_has(rows, keys)]
    return list(chain.from_iterable(with_text or lists))


def _any_row_has(rows: list[Any], keys: list[str]) -> bool:
    return any(value_at(row, keys) is not None for row in rows)


def _samples(
    file: IO[bytes],
    _path: Path,
    reading: Reading,
) -> Iterator[bytes | RecordsError]:
    """Yield the samples of inspect_ai's zip, and the error of each too long one."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.filename.startswith("samples/"):
                continue
            most_bytes = reading.most_bytes
            if member.file_size > most_bytes:
                yield _too_long_row_error(most_bytes)
            elif member.compress_type != _ZSTD:
                yield archive.read(member)
            else:
                _read_as_stored(member)
                packed = io.BytesIO(archive.read(member))
                sample = _unpacked_zstd(packed).read(most_bytes + 1)
                is_whole = len(sample) <= most_bytes
                yield sample if is_whole else _too_long_row_error(most_bytes)


def _read_as_stored(member: zipfile.ZipInfo) -> None:
    """Have a member read as it is, without the check of its unpacked bytes."""
    member.compress_type = zipfile.ZIP_STORED
    member.file_size = member.compress_size
    member.CRC = None  # type: ignore[assignment] # zipfile then skips the check


def _cells(
    file: IO[bytes],
    path: Path,
    reading: Reading,
) -> Iterator[dict[str, str] | RecordsError]:
    """Yield rows of a CSV by their heads, and the error of each with too many cells."""
    csv.field_size_limit(reading.most_bytes)
    lines = codecs.iterdecode(file, "utf-8-sig")
    rows = csv.reader(lines)
    heads = next(rows, [])
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        error = _unread_cell_error(heads, len(row), where)
        if error:
            yield error
        elif row:
            yield dict(zip(heads, row, strict=False))


def _unread_cell_error(
    heads: list[str],
    cells: int,
    where: str,
) -> RecordsError | None:
    """Return the error of a row of which a cell would go unread."""
    distinct = len(set(heads))
    if cells > len(heads) or distinct < len(heads):
        return RecordsError(
            f"{cells} cells, but {distinct} distinct column names",
            location=where,
            hint="put cells with commas into double quotes; rename one of two equal "
            "columns",
        )
    return None


def _parquet(
    file: IO[bytes],
    path: Path,
    _reading: Reading,
) -> Iterator[Any]:
    return rows_of_parquet(file, path)


def rows_of_parquet(
    file: IO[bytes],
    path: Path,
    groups: Sequence[int] | None = None,
) -> Iterator[Any]:
    """Yield the rows in some row groups of a Parquet file, by default in all."""
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        heads = table.schema_arrow.names
        if error := _unread_cell_error(heads, len(heads), str(path)):
            raise error
        some_bytes = "binary" in str(table.schema_arrow)
        for batch in table.iter_batches(MOST_ROWS_OF_BLOCK, row_groups=groups):
            rows = batch.to_pylist()
            yield from map(_decoded, rows) if some_bytes else rows
    except pyarrow.ArrowException as error:
        raise ValueError(error) from None


def _decoded(value: Any) -> Any:
    """Return a value with text where it has the bytes of text, as some writers do."""
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        undecoded = text.count("\ufffd")
        is_image = undecoded >= len(text) / 8
        return value if is_image else text
    if isinstance(value, dict):
        return {key: _decoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_decoded(part) for part in value]
    return value


class _UnpackedZstd(io.RawIOBase):
    """The bytes of zstd frames; an error where one ends early or is damaged."""

    def __init__(self, packed: IO[bytes]) -> None:
        import zstandard

        self._packed = packed
        self._zstandard = zstandard
        self._frame: Any = None
        self._rest = b""
        self._unpacked = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            packed = self._rest or self._packed.read(_PACKED_PIECE)
            if not packed:
                break
            self._unpack(packed)
        if not self._unpacked and self._frame:
            raise EOFError("the zstd stream ends early")
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        frame = self._frame
        if not frame:
            decompressor = self._zstandard.ZstdDecompressor()
            frame = decompressor.decompressobj()
        try:
            self._unpacked = frame.decompress(packed)
        except self._zstandard.ZstdError as error:
            raise OSError(f"damaged zstd: {error}") from None
        if frame.eof:
            self._frame = None
            self._rest = frame.unused_data
        else:
            self._frame = frame
            self._rest = b""


def _unpacked_gzip(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


def _unpacked_zstd(raw: IO[bytes]) -> io.BufferedReader:
    return io.BufferedReader(_UnpackedZstd(raw))


def _lines(
    file: IO[bytes],
    path: Path,
    reading: Reading,
) -> Iterator[bytes | RecordsError]:
    for line, _ in lines_in_file(file, path, reading.most_bytes):
        yield line


def _lines_of_vllm(
    file: IO[bytes],
    path: Path,
    reading: Reading,
) -> Iterator[Any]:
    return responses_in(lines_in_file(file, path, reading.most_bytes), path)


def lines_in_file(
    file: IO[bytes],
    path: Path,
    most_bytes: int,
) -> Iterator[tuple[bytes | RecordsError, int]]:
    """Yield each line, or the error of one that is too long, and its bytes.

    Raises RecordsError for too many blank lines.
    """
    blank = 0
    while line := file.readline(most_bytes + 1):
        if len(line) > most_bytes:
            yield _too_long_row_error(most_bytes), len(line) + skip_line(file, line)
            continue
        yield line, len(line)
        blank = blank + 1 if line.isspace() else 0
        if blank > _BLANK_LINES:
            raise RecordsError(
                f"it has over {_BLANK_LINES:,} blank lines in a row",
                location=str(path),
                hint="remove them",
            )


def skip_line(file: IO[bytes], line: bytes = b"") -> int:
    """Read on to the end of a line, of any length; return how many bytes."""
    skipped = 0
    while not line.endswith(b"\n"):
        line = file.readline(_PIECE)
        if not line:
            break
        skipped += len(line)
    return skipped


def _too_long_row_error(most_bytes: int) -> RecordsError:
    return RecordsError(
        f"the row exceeds the maximum of {most_bytes:,} bytes",
        hint="split its text into several rows",
    )


_EXTRAS = {"zstandard": "formats", "pyarrow": "tables"}
_UNPACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": _unpacked_gzip,
    ".zst": _unpacked_zstd,
}
_READERS: dict[str, _Reader] = {
    ".jsonl": _lines,
    ".log": _lines_of_vllm,
    ".json": _json_rows,
    ".eval": _samples,
    ".csv": _cells,
    ".parquet": _parquet,
}
