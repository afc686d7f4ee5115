"""Runs of one suite in processes of their own, which are killed and taken up again.

MEMLEAK_KILL_SEED repeats the moments of an earlier run.
"""

import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from nursery import Nursery
from scenarios import Scenario

SEED = int(os.environ.get("MEMLEAK_KILL_SEED", "0")) or random.SystemRandom().randrange(
    10**6
)
# Short waits, in the run and in its xdist workers alike.
CONFTEST = """
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.sampling.retry import Retry

Resources.retry = Retry(
    deadline=300.0, first=0.01, recovery=2.0, deploying={deploying}, poll=0.02, poll_most=0.1
)
"""


def moments_of(*names):
    """A generator of random moments, which SEED repeats."""
    print(f"MEMLEAK_KILL_SEED={SEED}")
    return random.Random(" ".join(map(str, (SEED, *names))))


@dataclass(frozen=True)
class KilledRuns:
    """models: a pair each, which share fine-tune, deployment, and samples.

    workers: of xdist; without them, runs that come to their end are a process for each
    pair
    """

    nursery: Nursery
    scenario: Scenario
    folder: Path
    url: str
    models: list[str]
    workers: int

    @property
    def processes(self):
        return len(self.models)

    def start(self, only=""):
        settings = {"workers": self.workers, "only": only}
        return self.nursery.run(
            self.folder, self.url, self.scenario.environment, **settings
        )

    def kill(self, endpoint=None, *, after):
        """Kill a run so long after its first call (of that endpoint); whether it was at work."""
        run = self.start()
        before, until = self.scenario.calls(endpoint), time.monotonic() + 300
        while self.scenario.calls(endpoint) == before and not run.ended():
            assert time.monotonic() < until
            time.sleep(0.002)
        time.sleep(after)
        return run.kill()

    def finish(self, requested):
        """Let a run come to its end: each pair has all generations, and fails."""
        runs = [self.start(only) for only in ([""] if self.workers else self.models)]
        codes, outputs = zip(*(run.finish() for run in runs), strict=True)
        assert {*codes} == {pytest.ExitCode.TESTS_FAILED}, outputs
        received = re.findall(
            rf" {requested}/{requested} +(?:\S+ +)?FAIL", " ".join(outputs)
        )
        assert len(received) == self.processes, outputs
