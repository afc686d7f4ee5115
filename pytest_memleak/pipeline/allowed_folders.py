"""What a stranger's suite leads to is opened only in the folders that were allowed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records import Suite


def refuse_outside(path: Path, folders: Sequence[Path]) -> Path:
    """The path, with its links followed; EvidenceError for one outside of all folders, or no file.

    A path to nothing is let through: whoever opens it says so.
    """
    # Not `resolve`, which raises RuntimeError for a circle of links before Python 3.13.
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in folders):
        allowed = ", ".join(str(one) for one in folders)
        raise EvidenceError(
            f"outside of the folders that may be read ({allowed})",
            location=str(path),
            hint="allow its folder, if you trust it: --folder DIR",
        )
    if real.exists() and not real.is_file() and not real.is_dir():
        raise EvidenceError("neither a file nor a folder", location=str(path))
    return real


def refuse_paths_outside(suite: Suite, folders: Sequence[Path]) -> None:
    """Raise EvidenceError where anything that a suite names is there, and may not be opened."""
    for path in _paths(suite):
        refuse_outside(path, folders)


def _paths(suite: Suite) -> Iterator[Path]:
    for book in suite.books:
        yield book.source
        if book.summaries is not None:
            yield book.summaries
    yield from suite.catalog
    root = suite.path.parent
    ids = [book.id for book in suite.books]
    for model in suite.models:
        for named in (
            model.base_model,
            model.endpoint,
            model.baseline_model,
            *model.options.values(),
        ):
            if not isinstance(named, str) or "\0" in named:
                continue
            for path in {Path(named.replace("{book}", one)) for one in ids}:
                at = root / path.expanduser() if str(path).startswith("~") else root / path
                if _is_there(at):
                    yield at


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a path
        return False
