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


@pytest.fixture
def holder(url):
    """Starts a process that holds a lease; stops it at the end."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-c", HOLDER, url, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(ledger, lease):
    ledger.expire_leases()
    over = sa.select(leases.c.ended.is_not(None)).where(leases.c.id == lease)
    return ledger.read(lambda c: c.scalar(over))


def wait_until_ended(ledger, lease):
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


def test_a_stopped_process_is_alive_and_a_killed_one_is_dead_at_once(ledger, holder):
    process, lease = holder()
    process.send_signal(signal.SIGSTOP)
    assert not ended(ledger, lease)
    process.kill()
    process.wait(10)
    assert wait_until_ended(ledger, lease)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_keep_it_alive(ledger, holder):
    process, lease = holder("fork")
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.wait(10)
        assert wait_until_ended(ledger, lease)
    finally:
        os.kill(child, signal.SIGKILL)


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
