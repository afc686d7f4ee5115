"""Runs that are killed at random moments and taken up again: nothing is lost or paid for twice.

MEMLEAK_KILL_SEED repeats the moments of an earlier run.
"""

import os
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from accounts import contents, settled
from faults import slow
from nursery import Nursery
from scenarios import KINDS, Scenario

from pytest_memleak.errors import LedgerError

SEED = int(os.environ.get("MEMLEAK_KILL_SEED", "0")) or random.SystemRandom().randrange(10**6)
SAMPLES = 24
CONCURRENCY = 4
RECOVERABLE = {"openai-store", "openai-batch", "vertex-batch", "tinker"}
# Kills come within so many seconds of a run's first call.
SPANS = (0.1, 0.4, 0.8, 1.2)
AT_ONCE = 5  # kills of one and the same suite

# Short waits, in the run and in its xdist workers alike.
CONFTEST = """
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

Resources.retry = Retry(
    deadline=300.0, first=0.01, recovery=2.0, deploying=2.0, poll=0.02, poll_most=0.1
)
"""


@dataclass
class Killer:
    """Kills runs of one suite, as often as it is told, and sees that nothing gets lost.

    workers: of xdist, with a pair each; they share fine-tune and draws.
    """

    nursery: Nursery
    at: Scenario
    folder: Path
    url: str
    workers: int = 0
    hits: int = field(default=0)

    def kill(self, moments, times):
        """Kill runs so many times, or until one has come to its end before."""
        for _ in range(times):
            there = self._there()
            run = self._run()
            before = self.at.calls()
            while self.at.calls() == before and not run.ended():
                time.sleep(0.002)
            time.sleep(moments.uniform(0, moments.choice(SPANS)))
            if not run.kill():
                return
            self.hits += 1
            assert there <= self._there()

    def finish(self):
        """Let a run come to its end, and look what there is then."""
        there = self._there()
        code, output = self._run().finish()
        drawn = re.compile(rf" {4 * SAMPLES}/{4 * SAMPLES} +(\S+ +)?FAIL")
        assert len(drawn.findall(output)) == max(self.workers, 1), output
        assert code == pytest.ExitCode.TESTS_FAILED
        assert there <= self._there()
        # Only what was in flight may be lost, and only where answers cannot be found again.
        account = settled(self.at, self.url, samples=SAMPLES)
        unrecorded = len({row["call"] for row in account.unrecorded})
        in_flight = CONCURRENCY * max(self.workers, 1)
        most = 0 if self.at.kind in RECOVERABLE else self.hits * in_flight
        assert unrecorded <= account.lost <= most

    def _run(self):
        environment = self.at.environment
        return self.nursery.run(self.folder, self.url, environment, workers=self.workers)

    def _there(self):
        try:
            ledger = contents(self.url)
            return {tuple(row) for row in (*ledger.generations, *ledger.call_texts)}
        except LedgerError:
            return set()  # not even begun


@pytest.fixture
def killer(scenario, nursery, tmp_path_factory):
    print(f"MEMLEAK_KILL_SEED={SEED}")

    def make(kind, *, url=None, workers=0):
        folder, suite = tmp_path_factory.mktemp("run"), scenario(kind)
        suite.plan(slow(suite.places.sample, seconds=0.12), slow("*", seconds=0.03))
        (folder / "conftest.py").write_text(CONFTEST, "utf-8")
        models = ["tuned", *(f"again-{n}" for n in range(1, workers))]
        suite.write_suite(folder, samples=SAMPLES, models=models, concurrency=CONCURRENCY)
        url = url or f"sqlite:///{folder}/.memleak/ledger.db"
        return Killer(nursery, suite, folder, url, workers)

    return make


# About four of each provider.
EVERY_DAY = {"openai": 2, "openai-store": 1, "openai-batch": 1, "vertex": 2, "vertex-batch": 2}
EVERY_DAY["tinker"] = 4


@pytest.mark.parametrize("kind", EVERY_DAY)
def test_a_run_that_is_killed_is_taken_up(killer, kind):
    doomed = killer(kind)
    doomed.kill(random.Random(f"{SEED} {kind}"), EVERY_DAY[kind])
    doomed.finish()


@pytest.mark.parametrize("kind", ["openai", "vertex-batch"])
def test_so_it_is_with_a_ledger_in_postgresql(killer, postgres, kind):
    doomed = killer(kind, url=postgres.new_database())
    doomed.kill(random.Random(f"{SEED} {kind} postgresql"), 2)
    doomed.finish()


@pytest.mark.full
def test_so_it_is_with_processes_that_share_the_work(killer):
    doomed = killer("openai", workers=4)
    doomed.kill(random.Random(f"{SEED} processes"), 1)
    doomed.finish()


@pytest.mark.full
@pytest.mark.parametrize("how", ["alone", "postgresql", "processes"])
@pytest.mark.parametrize("kind", KINDS)
def test_fifty_kills(killer, request, kind, how):
    """Suites, each killed a few times and then run to its end, until there were fifty kills."""
    moments, hits = random.Random(f"{SEED} {kind} {how}"), 0
    while hits < 50:
        away = how == "postgresql"
        url = request.getfixturevalue("postgres").new_database() if away else None
        doomed = killer(kind, url=url, workers=4 if how == "processes" else 0)
        doomed.kill(moments, min(AT_ONCE, 50 - hits))
        doomed.finish()
        hits += doomed.hits
