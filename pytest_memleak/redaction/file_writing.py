"""Files that are complete or unchanged, and files that only their owner can read.

    write_whole(path, text)      # a killed run leaves the earlier file unchanged
    private_folder(path)         # creates it with its parents: 0700, with a .gitignore
    private_file(path)           # creates it empty if it is missing: 0600
    write_private(path, text)    # writes a whole file in a private folder: 0600

Private folders and files may contain a book. Existing ones keep their mode, except a
folder `.memleak` and its files. Raises OSError.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

_OWN_FOLDER = ".memleak"
_OTHERS = 0o077  # permissions of group and others
_IGNORE_ALL = "# Created by pytest-memleak: these files may contain whole books.\n*\n"


def write_whole(
    path: Path,
    text: str,
    *,
    errors: str = "strict",
) -> None:
    """Write a file to an existing folder."""
    with whole_file(path, errors=errors) as file:
        file.write(text)


@contextmanager
def whole_file(
    path: Path,
    *,
    encoding: str = "utf-8",
    errors: str = "strict",
) -> Iterator[TextIO]:
    """Open a temporary file beside `path`, which replaces that at the end.

    Errors name `path`. Follows links. Writes to a device or a pipe directly, because
    replacing it would break it for every program on the machine.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():
        path.stat()  # Raises OSError for a circle of links.
    in_place = path.exists() and not path.is_file()
    beside = path if in_place else path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open(
            "w",
            encoding=encoding,
            errors=errors,
            newline="\n",
        ) as file:
            yield file
        beside.replace(path)
    except OSError as error:
        if error.filename in (None, str(beside)):
            error.filename = str(path)
        raise
    finally:
        if not in_place:
            beside.unlink(missing_ok=True)


def private_folder(path: Path) -> None:
    """Create a folder and its parents if they are missing."""
    folders = (path, *path.parents)
    missing = [folder for folder in folders if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    own = [folder for folder in folders if folder.name == _OWN_FOLDER]
    if own:
        _make_private(own[0])
        _ignore_all(own[0])
    elif missing:
        _ignore_all(missing[-1])


def _ignore_all(folder: Path) -> None:
    """Add a .gitignore of all files, if there is none."""
    ignored = folder / ".gitignore"
    with suppress(OSError), ignored.open("x", encoding="utf-8") as file:
        file.write(_IGNORE_ALL)


def private_file(path: Path) -> None:
    """Create an empty file if it is missing."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return
    if path.parent.name == _OWN_FOLDER:
        _make_private(path)


def write_private(path: Path, text: str) -> None:
    """Write a file that other threads and processes see complete or not at all."""
    private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:24]}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_private(path: Path) -> None:
    """Remove the permissions of group and others, if the process may."""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        with suppress(OSError):
            path.chmod(mode & ~_OTHERS & 0o7777)
