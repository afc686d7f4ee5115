"""Whether a port of this machine was opened by a process of this user.

Any user of a machine can listen at a free port, so a key that is sent to one may reach
a neighbor.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING = "0A"
_LEAST_COLUMNS = 8


def is_own_port(port: int, tables: Iterable[Path] = _TABLES) -> bool:
    """Tell whether processes of this user, and no others', listen at a port.

    tables: the kernel's tables of TCP sockets; a system without them can't tell
    """
    users = set()
    for table in tables:
        try:
            _, *lines = table.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue
        users |= set(_users_listening(lines, port))
    return bool(users) and users == {os.getuid()}


def _users_listening(lines: Iterable[str], port: int) -> Iterable[int]:
    """Yield the users whose sockets listen at a port."""
    for line in lines:
        columns = line.split()
        if len(columns) < _LEAST_COLUMNS or columns[3] != _LISTENING:
            continue
        _, _, number = columns[1].rpartition(":")
        if int(number, 16) == port:
            yield int(columns[7])
