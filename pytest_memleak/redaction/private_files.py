"""Folders and files that may hold a book, for their owner alone and out of version control.

    private_folder(path)     # made with its parents: 0700, with a .gitignore of its own
    private_file(path)       # made empty where it is not there: 0600

What was there before is left as it is, but for a folder `.memleak` and the files in it: those
are ours.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_OURS = ".memleak"
_OTHERS = 0o077  # what group and all others may do
_IGNORE_ALL = "# Made by pytest-memleak: what is in here may hold whole books.\n*\n"


def private_folder(path: Path) -> None:
    """Make a folder, and the folders it is in, where they are not there. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    ours = next((folder for folder in (path, *path.parents) if folder.name == _OURS), None)
    if ours is not None:
        _close(ours)
    outermost = ours or (missing[-1] if missing else None)
    if outermost is not None:
        with suppress(OSError), (outermost / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(_IGNORE_ALL)


def private_file(path: Path) -> None:
    """Make a file, empty, where it is not there. Raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return
    if path.parent.name == _OURS:
        _close(path)


def _close(path: Path) -> None:
    """Take from others what they may do, where it is for us to take."""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        with suppress(OSError):
            path.chmod(mode & ~_OTHERS & 0o7777)
