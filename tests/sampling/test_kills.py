"""Runs that are killed at random moments and taken up again: nothing is lost or paid twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from bookkeeper import CONCURRENCY, TRAINING, Books, asked, sent
from marks import full

from pytest_memleak.ledger import tables as schema
from pytest_memleak.ledger.jobs import finetuned
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations, tally
from pytest_memleak.ledger.verify_chain import check_ledger

SCRIPT = Path(__file__).with_name("bookkeeper.py")
SEED = int(os.environ.get("MEMLEAK_KILL_SEED", "0")) or random.SystemRandom().randrange(10**6)


class Run:
    """A run in a process of its own."""

    def __init__(self, folder: Path, url: str, kind: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", SCRIPT, folder, url, kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if ready != "ready\n":
            raise AssertionError(self._process.communicate(timeout=10)[1])

    def kill(self) -> bool:
        """Whether there was something left to kill."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=30)
        return self._process.returncode == -signal.SIGKILL

    def finish(self) -> None:
        out, err = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, err
        assert out == f"{asked().asked}\n"
        assert err == ""


def killed_and_finished(
    folder: Path, url: str, kind: str, *, kills: int, processes: int = 1
) -> int:
    """Kill runs until `kills` were killed at work, then let them finish; the kills that hit."""
    moments = random.Random(SEED)
    hits = 0
    for _ in range(kills):
        runs = [Run(folder, url, kind) for _ in range(processes)]
        time.sleep(moments.uniform(0.0, 0.5))
        hits += sum(run.kill() for run in runs)
    runs = [Run(folder, url, kind) for _ in range(processes)]
    for run in runs:
        run.finish()
    return hits


def rows(ledger: Ledger, statement: sa.Select) -> list:
    return ledger.read(lambda connection: connection.execute(statement).all())


def compare(folder: Path, url: str) -> tuple[int, int, int]:
    """Hold books against ledger; lost calls, answers of theirs, and answers recovered."""
    books = Books(folder)
    questions = asked()
    with Ledger(url, create=False) as ledger:
        assert len(books.read("jobs")) == 1
        endpoint_id = finetuned(ledger, "bookkeeper", TRAINING.digest)
        assert endpoint_id == f"tuned-by-{books.read('jobs')[0]['id']}"

        drawn = list(generations(ledger, endpoint_id, questions))
        assert [(one.excerpt_id, one.ordinal) for one in drawn] == [
            (question.excerpt_id, ordinal)
            for question in questions.questions
            for ordinal in range(questions.samples)
        ]
        kept = Counter(row.text for row in rows(ledger, sa.select(schema.generations)))
        answers = Counter(text for texts in sent(books) for text in texts)
        assert set(kept.values()) == {1}
        assert kept <= answers
        unrecorded = [texts for texts in sent(books) if not kept.keys() & set(texts)]
        # An answer is recorded whole or not at all.
        assert sum(map(len, unrecorded)) == (answers - kept).total()

        counts = tally(ledger, endpoint_id, questions)
        assert counts.got == counts.asked
        assert len(sent(books)) - len(unrecorded) == counts.calls - counts.lost
        assert not rows(ledger, sa.select(schema.claims))
        assert check_ledger(ledger).wrong == []
        states = {row.state for row in rows(ledger, sa.select(schema.calls))}
        assert states <= {"answered", "lost", "failed"}
        return counts.lost, len(unrecorded), counts.recovered


@pytest.mark.parametrize("kind", ["plain", full("kept"), full("batch")])
def test_a_killed_run_is_taken_up(url, kind, tmp_path):
    folder = tmp_path / "books"
    hits = killed_and_finished(folder, url, kind, kills=4)
    lost, unrecorded, _ = compare(folder, url)
    if kind == "plain":
        assert unrecorded <= lost <= hits * CONCURRENCY
    else:
        assert (lost, unrecorded) == (0, 0)


@pytest.mark.parametrize("kind", [full("kept"), "batch"])
def test_four_processes_share_the_work(url, kind, tmp_path):
    folder = tmp_path / "books"
    killed_and_finished(folder, url, kind, kills=0, processes=4)
    assert compare(folder, url) == (0, 0, 0)
    assert sum(map(len, sent(Books(folder)))) == asked().asked


@pytest.mark.full
@pytest.mark.parametrize("kind", ["plain", "batch"])
def test_four_processes_that_are_killed(url, kind, tmp_path):
    folder = tmp_path / "books"
    hits = killed_and_finished(folder, url, kind, kills=1, processes=4)
    lost, unrecorded, _ = compare(folder, url)
    if kind == "plain":
        assert unrecorded <= lost <= hits * CONCURRENCY
    else:
        assert (lost, unrecorded) == (0, 0)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["plain", "kept", "batch"])
def test_fifty_kills(url, kind, tmp_path):
    folder = tmp_path / "books"
    hits = killed_and_finished(folder, url, kind, kills=50)
    lost, unrecorded, _ = compare(folder, url)
    if kind == "plain":
        assert unrecorded <= lost <= hits * CONCURRENCY
    else:
        assert (lost, unrecorded) == (0, 0)
