"""Files of a suite's books, collections, catalog and common texts."""

from __future__ import annotations

import difflib
import os
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.errors import MissingFile, SuiteError, file_errors
from pytest_memleak.records import BookSource, CollectionSource
from pytest_memleak.suite.written_suite import safe_key, shown, suite_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_memleak.suite.schema import (
        BookTable,
        CollectionTable,
        SuiteFile,
        SuiteTable,
    )

_FROM_HERE = "patterns are relative to the suite file's folder, such as books/**/*.epub"
_OF_WORKS = "name one file of many works, or a pattern of files such as songs/**"


Record = TypeVar("Record")


def record_of(
    kind: Callable[..., Record],
    /,
    *tables: object,
    **fields: object,
) -> Record:
    """Make a record of the tables' keys of the same names; the last value wins."""
    keys: dict[str, object] = {}
    for table in tables:
        for name in signature(kind).parameters:
            value = getattr(table, name, None)
            if value is not None:
                keys[name] = value
    return kind(**(keys | fields))


def book_source(
    table: BookTable,
    suite: SuiteTable,
    path: Path,
) -> BookSource:
    """Return the book of a `[[book]]` table. Raises SuiteError for a missing file."""
    key = f"book {table.id!r}"
    return record_of(
        BookSource,
        suite,
        table,
        source=_existing_path(
            table.source,
            f"{key}.source",
            path,
            table.bring_your_own,
        ),
        summaries=_summaries_path(table, key, path),
        prompts=_prompts_path(table, key, path),
        include=tuple(table.include),
        exclude=tuple(table.exclude),
    )


def collection_source(
    table: CollectionTable,
    suite: SuiteTable,
    path: Path,
) -> BookSource:
    """Return the collection of a `[[collection]]`. Raises SuiteError without files."""
    key, source = f"collection {table.id!r}", path.parent / table.source
    files = matching_visible_files(
        path.parent,
        table.source,
        f"{key}.source",
        place=str(path),
    )
    if not files and not table.bring_your_own:
        raise suite_error(
            path,
            f"{key}.source: no file matches {shown(table.source)}",
            _OF_WORKS,
        )
    return record_of(
        BookSource,
        suite,
        table,
        source=source,
        summaries=_summaries_path(table, key, path),
        collection=CollectionSource(tuple(files), files == [source], table.unit),
    )


def catalog_files(suite_file: SuiteFile, path: Path) -> tuple[Path, ...]:
    """Return the files of the catalog, each once.

    Raises SuiteError for a pattern without a match, and for a named file that is empty,
    as a full disk leaves a prepared catalog.
    """
    catalog_files: dict[Path, None] = {}
    for number, table in enumerate(suite_file.catalog, start=1):
        key = f"catalog[{number}].source"
        files = _named_files(table.source, key, path)
        if files == [path.parent / table.source] and not files[0].stat().st_size:
            hint = "build it again: memleak catalog build DIR -o FILE"
            raise suite_error(path, f"{key}: {shown(table.source)} is empty", hint)
        catalog_files |= dict.fromkeys(files)
    return tuple(catalog_files)


def common_sources(suite_file: SuiteFile, path: Path) -> Iterator[BookSource]:
    """Yield the texts of `[[common]]`, with their paths from the suite's folder as ids.

    Raises SuiteError for a pattern without a match.
    """
    for number, table in enumerate(suite_file.common, start=1):
        for file in _named_files(table.source, f"common[{number}].source", path):
            name = Path(os.path.relpath(file, path.parent)).as_posix()
            if "/" not in name:
                name = f"./{name}"  # a book's id has no slash
            yield BookSource(name, file, role="common")


def _named_files(
    source: str,
    key: str,
    path: Path,
) -> list[Path]:
    files = matching_files(path.parent, source, key, place=str(path), hint=_FROM_HERE)
    if not files:
        raise suite_error(path, f"{key}: no file matches {shown(source)}", _FROM_HERE)
    return files


def matching_visible_files(
    folder: Path,
    source: str,
    key: str,
    *,
    place: str,
) -> list[Path]:
    """Return what `matching_files` does, hidden files only if the pattern has some."""
    files = matching_files(folder, source, key, place=place, hint=_OF_WORKS)
    if files == [folder / source] or _is_hidden(source):
        return files
    return [file for file in files if not _is_hidden(os.path.relpath(file, folder))]


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in Path(path).parts)


def matching_files(
    folder: Path,
    source: str,
    key: str,
    *,
    place: str,
    hint: str,
) -> list[Path]:
    """Return the file of that name, and those that match it as a pattern.

    `**` matches all files below. Raises SuiteError for an invalid pattern, for a
    folder, and for a link that leads nowhere.
    """
    path = folder / source
    failure = f"{key}: {shown(source)} isn't a valid file pattern"
    with file_errors(SuiteError, place, failure, hint=hint, causes=(Exception,)):
        is_named = path.is_file()
        if is_named and set("*?[").isdisjoint(source):
            return [path]
        is_folder = path.is_dir()
        pattern = f"{source}/*" if path.name == "**" else source
        matches = [] if is_folder else [*folder.glob(pattern)]
        links = [match.name for match in matches if not match.exists()]
        files = {match for match in matches if match.is_file()}
        if is_named:
            files.add(path)
    if is_folder:
        raise SuiteError(
            f"{key}: {shown(source)} is a folder",
            location=place,
            hint=hint,
        )
    if links:
        hint = "restore the file that it names, or remove the link"
        raise SuiteError(
            f"{key}: {shown(links[0])} leads nowhere",
            location=place,
            hint=hint,
        )
    return sorted(files)


def _prompts_path(table: BookTable, key: str, path: Path) -> Path | None:
    if not table.prompts:
        return None
    name = f"{key}.prompts"
    return _existing_path(table.prompts, name, path, table.bring_your_own)


def _summaries_path(
    table: BookTable | CollectionTable,
    key: str,
    path: Path,
) -> Path | None:
    if not table.summaries:
        return None
    return _existing_path(
        table.summaries,
        f"{key}.summaries",
        path,
        table.bring_your_own,
    )


def _existing_path(
    source: str,
    key: str,
    path: Path,
    may_be_missing: bool,
) -> Path:
    file = path.parent / source
    # The name may be too long, or a folder deny access.
    with file_errors(SuiteError, path, f"{key}: {shown(source)} can't be accessed"):
        is_there = file.exists()
    if not is_there and not may_be_missing:
        near = _similar_file(file)
        asked = f"did you mean {safe_key(near)}? " if near else ""
        raise MissingFile(
            f"{key}: no such file: {shown(source)}",
            location=str(path),
            hint=f"{asked}looked for {safe_key(str(file))}; paths are relative to the "
            "suite file's folder",
        )
    return file


def _similar_file(missing: Path) -> str:
    """Return the name of a file beside the missing one; "" without a similar one."""
    try:
        names = [path.name for path in missing.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(missing.name, names, n=1)
    return near[0] if near else ""
