"""Where a ledger lies that is given by a path, told without SQLAlchemy and its long import."""

from __future__ import annotations

import os
from pathlib import Path

_FILE = (".db", ".sqlite", ".sqlite3")


def is_path(url: str) -> bool:
    """Whether a ledger's URL is the path of a file."""
    return "://" not in url and url.endswith(_FILE)


def real_path(path: str) -> Path:
    """The file itself, whatever links lead there."""
    return Path(os.path.realpath(Path(path).expanduser()))
