"""Measure a whole `pytest -m copyright` of recorded answers, and near-verbatim recall.

python benchmarks/whole_run.py     # writes its table into benchmarks/results/scoring.md
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import corpus
import floor
import measure
from pages import write_measured

ROUNDS, FEW = 100, 12
AIM = 3.5  # times the floor
NEAR = 250
_REQUEST = "Write this part of the book, in its own style. It tells of "
_SUITE = """
[suite]
samples = {rounds}

[limits]
longest_passage = {limit}

[[book]]
id = "kjv"
source = "kjv.json"

[[model]]
id = "recorded"
provider = "recorded"
[model.options]
path = "answers.json"
"""


@dataclass(frozen=True)
class WholeRun:
    """Processor seconds: of pytest with nothing to do, and with a suite's one pair.

    floor: of looking up each word of all samples once, as `report.py` measures it
    few, whole: a PASS with few samples and with all; failed: the latter as a FAIL
    """

    floor: float
    nothing: float
    few: float
    whole: float
    failed: float


def whole_run() -> WholeRun:
    """Run pytest in processes of their own, each three times; the median counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        excerpts = [
            {
                "excerpt_id": one.id,
                "excerpt_text": one.text,
                "instruction": _REQUEST
                + " ".join(sorted(set(one.text.split()), key=len)[-30:]),
            }
            for one in corpus.book().excerpts
        ]
        (folder / "kjv.json").write_text(json.dumps(excerpts), encoding="utf-8")
        (folder / "test_nothing.py").write_text(
            "def test_nothing(): pass\n", encoding="utf-8"
        )
        nothing = _median(folder, 0, "test_nothing.py")
        _write_answers(folder, FEW)
        few = _suite(folder, FEW, limit=38)
        _write_answers(folder, ROUNDS)
        whole = _suite(folder, ROUNDS, limit=38)
        failed = _suite(folder, ROUNDS, limit=2)
        return WholeRun(_floor(), nothing, few, whole, failed)


def _floor() -> float:
    known = floor.vocabulary(excerpt.text for excerpt in corpus.book().excerpts)
    texts = [
        one.text
        for one in corpus.answers(ROUNDS * corpus.BOOK_WORDS // corpus.EXCERPT_WORDS)
    ]
    (seconds,) = measure.in_turns(
        3, lambda: [floor.look_up(text, known) for text in texts]
    )
    return seconds


def _write_answers(folder: Path, rounds: int) -> None:
    answers: dict[str, list[dict[str, str]]] = {}
    for one in corpus.answers(rounds * corpus.BOOK_WORDS // corpus.EXCERPT_WORDS):
        answers.setdefault(one.excerpt_id, []).append({"generated_text": one.text})
    records = [{"excerpt_id": its, "generations": of} for its, of in answers.items()]
    (folder / "answers.json").write_text(json.dumps(records), encoding="utf-8")


def _suite(folder: Path, rounds: int, *, limit: int) -> float:
    """A run with that limit on passages, the longest of which has 6 or 7 words."""
    suite = _SUITE.format(rounds=rounds, limit=limit)
    (folder / "it.memleak.toml").write_text(suite, encoding="utf-8")
    return _median(folder, int(limit < 6), "-m", "copyright", "it.memleak.toml")


def _median(folder: Path, status: int, *arguments: str) -> float:
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # what is installed has been compiled
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "pytest_memleak.plugin.hooks",
        "-q",
    ]
    times = []
    for _ in range(3):
        before = _children()
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *arguments],
            cwd=folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        times.append(_children() - before)
        if done.returncode != status:
            raise RuntimeError(done.stdout[-2000:])
    return median(times)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    near = measure.near_verbatim("fifth", count=NEAR)
    run = whole_run()
    others = max(os.getloadavg()[2] - 1, 0)
    table = f"""\
Medians of three runs. CPython {platform.python_version()}, {platform.machine()}, \
{os.cpu_count()} cores, with {others:.0f} other programs at work on them in the mean.

| processor time | measured | times the floor | aim |
| --- | --: | --: | --: |
| the floor of {ROUNDS} samples of 250 excerpts: each word looked up \
| {run.floor:.2f} s | 1 | |
| `pytest` with one empty test | {run.nothing:.1f} s | | |
| `pytest -m copyright`, a PASS of 250 excerpts, {FEW} recorded samples \
| {run.few:.1f} s | | |
| the same with {ROUNDS} samples | {run.whole:.1f} s | {run.whole / run.floor:.1f} \
| {AIM} |
| the same as a FAIL, whose report is held against all answers | {run.failed:.1f} s | \
{run.failed / run.floor:.1f} | |
| scoring {NEAR} generations with `nv_recall`, a fifth recited \
| {near:.1f} times without | | |"""
    print(table)
    write_measured("scoring.md", table, name="whole runs")


if __name__ == "__main__":
    main()
