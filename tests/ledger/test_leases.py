from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import leases

HOLDER = """
import os, sys, time
from pytest_memleak.ledger.ledger import Ledger
ledger = Ledger(sys.argv[1])
print(ledger.lease, flush=True)
if sys.argv[2:] == ["fork"] and os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def holder(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, *arguments], stdout=subprocess.PIPE, text=True
    )


def ended(ledger: Ledger, lease: int) -> bool:
    ledger.expire_leases()
    return ledger.read(
        lambda c: c.scalar(sa.select(leases.c.ended.is_not(None)).where(leases.c.id == lease))
    )


def wait_until_ended(ledger: Ledger, lease: int) -> bool:
    """A server notices a closed connection soon, not at once."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if ended(ledger, lease):
            return True
        time.sleep(0.01)
    return False


def test_the_living_hold_what_they_hold(ledger, url):
    assert not ended(ledger, ledger.lease)
    with Ledger(url) as other:
        assert other.lease != ledger.lease
        assert not ended(other, ledger.lease)
        assert not ended(ledger, other.lease)
        lease = other.lease
    assert ended(ledger, lease)


def test_a_killed_process_is_dead_at_once(ledger, url):
    process = holder(url)
    lease = int(process.stdout.readline())
    assert not ended(ledger, lease)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert wait_until_ended(ledger, lease)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_keep_it_alive(ledger, url):
    process = holder(url, "fork")
    lease = int(process.stdout.readline())
    child = int(process.stdout.readline())
    try:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert wait_until_ended(ledger, lease)
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_stopped_process_is_alive(ledger, url):
    process = holder(url)
    lease = int(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    try:
        assert not ended(ledger, lease)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_lost_connection_is_noticed(postgres):
    url = postgres.new_place()
    with Ledger(url) as ledger, Ledger(url) as other:
        first = ledger.lease
        ledger.keep_alive()
        assert ledger.lease == first
        with postgres.admin() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
        ledger.keep_alive()
        assert ledger.lease != first
        other.keep_alive()
        assert wait_until_ended(other, first)
        assert not ended(other, ledger.lease)
        assert not ended(ledger, other.lease)
