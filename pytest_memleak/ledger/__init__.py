"""The ledger: every paid call, stored before it is sent, and its result on arrival.

A ledger given by a path is recognized here, without SQLAlchemy and its slow import.
"""

from __future__ import annotations

import os
from pathlib import Path

CLOCK_SKEW = 3_600  # seconds between the clocks of machines that share a ledger
_FILE = (".db", ".sqlite", ".sqlite3")


def is_path(url: str) -> bool:
    """Tell whether a ledger's URL is the path of a file."""
    return "://" not in url and url.endswith(_FILE)


def real_path(path: str) -> Path:
    """Resolve every link in a path."""
    return Path(os.path.realpath(Path(path).expanduser()))
