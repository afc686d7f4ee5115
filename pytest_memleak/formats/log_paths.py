"""The files that paths, folders, and patterns name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_memleak.errors import RecordsError, file_errors
from pytest_memleak.formats.log_files import reader_of, size_of

_HIDDEN = (".", "_")


def files_at(paths: Iterable[Path]) -> list[Path]:
    """Return the files, all files in the folders, and those that match the patterns.

    Each is returned once, also if links name it. Of a folder, hidden files are left
    out, such as `.cache/x` and `_SUCCESS`, unless their suffix has a reader.

    Raises RecordsError for what names no file, and for a file whose suffix has no
    reader, unless it is in a folder: there, reading it is an error.
    """
    files: dict[str, Path] = {}
    for path in paths:
        for file in _files_named(path):
            files.setdefault(os.path.realpath(file), file)
    return list(files.values())


def _files_named(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(_files_in(path))
        if not files:
            raise _no_file_error("the folder has no files", path)
        return files
    if not os.path.lexists(path) and glob.has_magic(str(path)):
        # Path.glob takes no absolute patterns.
        matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207
        files = sorted(match for match in map(Path, matches) if not match.is_dir())
        if not files:
            raise _no_file_error("no file matches the pattern", path)
    else:
        files = [path]
    for file in files:
        reader_of(file)
        if not os.path.lexists(file):
            size_of(file)  # raises
    return files


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder. Raises RecordsError for one that can't be read.

    Links to folders are followed, each folder once.
    """
    entered: set[str] = set()
    for parent, folders, names in os.walk(
        folder, onerror=_raise_records_error, followlinks=True
    ):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        for name in names:
            file = Path(parent, name)
            inside = file.relative_to(folder)
            is_hidden = any(part.startswith(_HIDDEN) for part in inside.parts)
            if not is_hidden or _has_reader(file):
                yield file


def _raise_records_error(error: OSError) -> None:
    with file_errors(RecordsError, error.filename, hint="check its permissions"):
        raise error


def _has_reader(path: Path) -> bool:
    try:
        reader_of(path)
    except RecordsError:
        return False
    return True


def _no_file_error(message: str, path: Path) -> RecordsError:
    return RecordsError(
        message,
        location=str(path),
        hint="name files, folders, or quoted patterns such as 'logs/**/*.jsonl'",
    )
