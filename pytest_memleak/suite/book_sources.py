"""Where a suite's books, collections and catalog come from: paths and patterns of files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import SuiteError
from pytest_memleak.records import BookSource, CollectionSource
from pytest_memleak.suite.suite_error_hints import plain, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.suite.schema import BookTable, CollectionTable, SuiteFile, SuiteTable

_FROM_HERE = "patterns start from the suite file's folder, as in books/**/*.epub"
_OF_WORKS = "name one file that holds many works, or a pattern of files, as in songs/**"


def book_source(table: BookTable, suite: SuiteTable, path: Path) -> BookSource:
    """What a `[[book]]` names. Raises SuiteError where it is not there."""
    key = f"book {table.id!r}"
    return BookSource(
        id=table.id,
        source=_existing(table.source, f"{key}.source", path, table.bring_your_own),
        title=table.title,
        author=table.author,
        role=table.role,
        summaries=_summaries(table, key, path),
        instruction_template=suite.instruction_template,
        bring_your_own=table.bring_your_own,
        include=tuple(table.include),
        exclude=tuple(table.exclude),
    )


def collection_source(table: CollectionTable, suite: SuiteTable, path: Path) -> BookSource:
    """What a `[[collection]]` names. Raises SuiteError where it is not there."""
    key = f"collection {table.id!r}"
    files, together = collection_files(path.parent, table.source, f"{key}.source", str(path))
    if not files and not table.bring_your_own:
        raise SuiteError(
            f"{key}.source: no file fits {shown(table.source)}", location=str(path), hint=_OF_WORKS
        )
    return BookSource(
        id=table.id,
        source=path.parent / table.source,
        title=table.title,
        author=table.author,
        role=table.role,
        summaries=_summaries(table, key, path),
        instruction_template=suite.instruction_template,
        bring_your_own=table.bring_your_own,
        collection=CollectionSource(files, together, table.unit),
    )


def catalog(written: SuiteFile, path: Path) -> tuple[Path, ...]:
    """The files of the catalog, each once.

    Raises SuiteError for a pattern that none fits, and for a file that is named itself and is
    empty: what a full disk leaves of a prepared catalog is not known for one any more.
    """
    catalog_files: dict[Path, None] = {}
    for number, table in enumerate(written.catalog, start=1):
        key = f"catalog[{number}].source"
        files = _fitting(path.parent, table.source, key, place=str(path), hint=_FROM_HERE)
        if not files:
            raise SuiteError(
                f"{key}: no file fits {shown(table.source)}", location=str(path), hint=_FROM_HERE
            )
        if files == [path.parent / table.source] and not files[0].stat().st_size:
            raise SuiteError(
                f"{key}: {shown(table.source)} is empty",
                location=str(path),
                hint="make it anew: memleak catalog build DIR -o FILE",
            )
        catalog_files |= dict.fromkeys(files)
    return tuple(catalog_files)


def common_sources(written: SuiteFile, path: Path) -> Iterator[BookSource]:
    """What `[[common]]` names, each by its path from the suite file's folder.

    Raises SuiteError for a pattern that no file fits.
    """
    for number, table in enumerate(written.common, start=1):
        key = f"common[{number}].source"
        files = _fitting(path.parent, table.source, key, place=str(path), hint=_FROM_HERE)
        if not files:
            raise SuiteError(
                f"{key}: no file fits {shown(table.source)}", location=str(path), hint=_FROM_HERE
            )
        for file in files:
            name = Path(os.path.relpath(file, path.parent)).as_posix()
            yield BookSource(
                id=name if "/" in name else f"./{name}",  # no book's id has a slash
                source=file,
                title=None,
                author=None,
                role="common",
                summaries=None,
                instruction_template=None,
                bring_your_own=False,
            )


def collection_files(
    folder: Path, written: str, key: str, place: str
) -> tuple[tuple[Path, ...], bool]:
    """The files of a collection, and whether it is one that was named itself.

    A pattern that ends in `**` is of all files below; those whose names begin with a dot are none
    of them. Raises SuiteError for what is no pattern, and for a folder.
    """
    try:
        if (folder / written).is_file():
            return (folder / written,), True
        is_folder = (folder / written).is_dir()
    except (OSError, ValueError):
        is_folder = False
    if is_folder:
        raise SuiteError(f"{key}: {shown(written)} is a folder", location=place, hint=_OF_WORKS)
    pattern = f"{written}/*" if written.endswith("**") else written
    files = _fitting(folder, pattern, key, place=place, hint=_OF_WORKS)
    return tuple(file for file in files if not _is_hidden(file.relative_to(folder))), False


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def _fitting(folder: Path, pattern: str, key: str, *, place: str, hint: str) -> list[Path]:
    try:
        return sorted(file for file in folder.glob(pattern) if file.is_file())
    except (ValueError, NotImplementedError, OSError) as error:
        raise SuiteError(
            f"{key}: {shown(pattern)} is no pattern of files here: {error}",
            location=place,
            hint=hint,
        ) from None


def _summaries(table: BookTable | CollectionTable, key: str, path: Path) -> Path | None:
    if not table.summaries:
        return None
    return _existing(table.summaries, f"{key}.summaries", path, table.bring_your_own)


def _existing(written: str, key: str, path: Path, may_be_missing: bool) -> Path:
    file = path.parent / written
    try:
        is_there = file.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise SuiteError(
            f"{key}: {shown(written)} cannot be looked at: {error.strerror}", location=str(path)
        ) from None
    if not is_there and not may_be_missing:
        raise SuiteError(
            f"{key}: there is no file {shown(written)}",
            location=str(path),
            hint=f"looked for {plain(str(file))}; paths start from the suite file's folder",
        )
    return file
