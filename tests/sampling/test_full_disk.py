"""A disk that another program fills while calls are in flight: their responses are kept."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_memleak.ledger.disk_reserve import DiskReserve
from pytest_memleak.ledger.ledger import Ledger

SCRIPT = Path(__file__).with_name("full_disk.py")


@pytest.fixture
def small_disk(tmp_path):
    """Runs a command in which a folder is a disk of 80 MB of its own."""
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=80m tmpfs {tmp_path}"
    try:
        subprocess.run([*inside, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets no user mount a file system of his own")

    def run(*command):
        shown = " ".join(map(str, command))
        done = subprocess.run(
            [*inside, f"{mount} && exec {shown}"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return json.loads(done.stdout)

    return run


@pytest.mark.full
def test_a_disk_that_fills_up_loses_no_response_in_flight(small_disk, tmp_path):
    outcome = small_disk(sys.executable, SCRIPT, tmp_path)
    assert outcome["received"] >= 8
    assert outcome["calls"] == [["answered", None]] * outcome["received"]
    assert "The disk is full: less than 32 MiB are free" in outcome["message"]
    assert "not stored" not in outcome["message"]


def test_reserved_room_is_freed_once(tmp_path):
    room = DiskReserve(tmp_path)
    assert not room.release()
    room.reserve()
    room.reserve()
    assert list(tmp_path.iterdir()) == []
    assert room.release()
    assert not room.release()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_threads_that_need_room_at_once_reserve_it_once(tmp_path):
    at_once = threading.Barrier(8)

    def require_room():
        at_once.wait()
        ledger.require_disk_room()

    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        threads = [threading.Thread(target=require_room) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(_nameless_files(tmp_path)) == 1
    assert not _nameless_files(tmp_path)


def _nameless_files(folder):
    nameless = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(link.readlink())
            if target.startswith(f"{folder}/") and target.endswith(" (deleted)"):
                nameless.append(target)
    return nameless
