"""Which ports of this machine the user's own processes opened, by the kernel's tables."""

import os

import pytest

from pytest_memleak.providers.own_ports import is_own_port

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
)
LISTENING, CONNECTED = "0A", "01"
OWN, OTHER = os.getuid(), os.getuid() + 1


def row(address, state, user):
    return f"   0: {address} 00000000:0000 {state} 0:0 00:0 0 {user} 0 1 1 0"


# Sockets of both tables, by local address, state, and user; whether port 8000 is own.
TABLES = (
    ([("0100007F:1F40", LISTENING, OWN)], [], True),
    ([("0100007F:1F40", LISTENING, OTHER)], [], False),
    ([], [("00000000000000000000000000000000:1F40", LISTENING, OWN)], True),
    (
        [("0100007F:1F40", LISTENING, OWN)],
        [("00000000000000000000000001000000:1F40", LISTENING, OTHER)],
        False,
    ),
    ([("0100007F:1F40", CONNECTED, OWN)], [], False),
    ([("0100007F:1F41", LISTENING, OWN)], [], False),
    (
        [("0100007F:1F40", LISTENING, OWN), ("0100007F:1F41", LISTENING, OTHER)],
        [],
        True,
    ),
    ([], [], False),
)


@pytest.mark.parametrize(("v4", "v6", "own"), TABLES)
def test_a_port_is_own_if_own_processes_alone_listen(tmp_path, v4, v6, own):
    tables = [tmp_path / "tcp", tmp_path / "tcp6"]
    for table, sockets in zip(tables, (v4, v6), strict=True):
        lines = [HEAD, *(row(*socket) for socket in sockets)]
        table.write_text("\n".join(lines) + "\n", encoding="ascii")
    assert is_own_port(8000, tables) is own


def test_a_system_without_the_tables_cannot_tell(tmp_path):
    assert not is_own_port(8000, [tmp_path / "tcp"])
