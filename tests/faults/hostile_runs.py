"""A run of its own against a server whose answers are hostile: one model for each act.

Its models differ by name alone, and so does what they are answered; HONEST, as it
should be.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

from faults import Fault, FaultKind
from own_plugin import OWN_PLUGIN

HONEST = "honest"
_LONGEST_RUN = 240  # seconds

_CONFTEST = """
import {sdk}  # which takes its time: not the first call's

from pytest_memleak.sampling.retry import Retry
from pytest_memleak.pipeline.resources import Resources

Resources.retry = Retry(tries={tries}, total={total}, first=0.01, most=0.02)
"""


def patiently(seconds):
    """So long where the machine has nothing else to do; much longer where it has."""
    busy = "PYTEST_XDIST_WORKER" in os.environ or os.getloadavg()[0] >= (
        os.cpu_count() or 1
    )
    return 10 * seconds if busy else seconds


def meet(scenario, folder, acts, *, deadline):
    """Run against each of the acts; what became of pairs and run, and the most memory it had."""
    names = [HONEST, *acts]
    _prepare(scenario, folder, names, deadline=deadline, tries=1)
    until = time.monotonic() + patiently(_LONGEST_RUN)
    memory = 0
    with _started(scenario, folder) as process:
        while process.poll() is None:
            assert time.monotonic() < until, "it did not end"
            memory = max(memory, _memory(process.pid))
            time.sleep(0.02)
    output = (folder / "output.txt").read_text("utf-8", "surrogateescape")
    shown = {"output": output, "code": process.returncode, "memory": memory}
    return SimpleNamespace(pairs=_pairs(folder, names), **shown)


@contextmanager
def under_way(scenario, folder, act):
    """A run that waits for such an answer, with more time than any test has."""
    _prepare(scenario, folder, [act], deadline=120.0, tries=6000)
    with _started(scenario, folder) as process:
        until = time.monotonic() + 60
        while scenario.server.plan.calls(_place(scenario)) == 0:
            assert process.poll() is None
            assert time.monotonic() < until, "nothing was asked"
            time.sleep(0.01)
        yield process


def _place(scenario):
    return "futures" if scenario.provider == "tinker" else scenario.places.sample


def _prepare(scenario, folder, names, *, deadline, tries):
    scenario.plan(
        *(
            Fault(
                FaultKind.HOSTILE, _place(scenario), code=name, asked=f"hostile-{name}-"
            )
            for name in names
            if name != HONEST
        )
    )
    models = [f"hostile-{name}-" for name in names]
    alone = {"samples": 1, "completions_per_call": 1, "tuned": False, "own_bases": True}
    scenario.write_suite(folder, models=models, limit=20, timeout=deadline, **alone)
    sdk = {"vertex": "google.genai"}.get(scenario.provider, scenario.provider)
    conftest = _CONFTEST.format(sdk=sdk, tries=tries, total=0.02 * tries)
    (folder / "conftest.py").write_text(conftest, "utf-8")


def _memory(process):
    """The most that a process has had; of one that has just ended nothing is known."""
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return 1024 * int((re.findall(r"VmHWM:\s*(\d+) kB", status) or ["0"])[0])


@contextmanager
def _started(scenario, folder):
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-m",
                    "copyright",
                    "--junitxml=junit.xml",
                ),
                *("-p", "no:cacheprovider"),
                *(
                    "--memleak-evidence=evidence.json",
                    "-v",
                    "-l",
                    "-rA",
                    "--log-file=log.txt",
                ),
            ],
            cwd=folder,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if "API_KEY" not in name
                },
                **OWN_PLUGIN,
                **scenario.environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Where what runs the tests ignores Ctrl-C, so would what it starts.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=30)


def _pairs(folder, names):
    evidence = json.loads((folder / "evidence.json").read_bytes())
    verdicts = {pair["model"]["id"]: pair["verdict"] for pair in evidence["pairs"]}
    cases = list(ElementTree.parse(folder / "junit.xml").getroot().iter("testcase"))
    pairs = {}
    for name in names:
        model = f"hostile-{name}-"
        case = next(case for case in cases if model in case.attrib["name"])
        parts = [part for part in case if part.tag in {"failure", "error"}]
        message = "\n".join(f"{part.attrib['message']}\n{part.text}" for part in parts)
        shown = {"message": message, "seconds": float(case.attrib["time"])}
        pairs[name] = SimpleNamespace(verdict=verdicts[model], **shown)
    return pairs
