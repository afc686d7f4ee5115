"""Progress on a real terminal: seen while a pair is at work, gone afterwards, never in the way."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from marks import full
from openai_server import OpenAIServer
from screen import run_in_terminal

ROOT = Path(__file__).parents[2]

PHASES = ("reading", "tuning", "waiting for a batch", "sampling", "scoring", "comparing")
STRAY = re.compile(rf"^({'|'.join(PHASES)}) \S+ .*\d:\d\d")

SLOW = """
import random
import time
import pytest

WORDS = "a boat with a lamp crossed at night while nobody on the shore was awake".split()

class Endpoint:
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        time.sleep(0.1)
        dice = random.Random(seed)
        return [" ".join(dice.sample(WORDS, 14)) for _ in range(n)]

@pytest.fixture(scope="session")
def memleak_endpoint(memleak_pair):
    return Endpoint()
"""

# What may go wrong with a terminal, done to the display inside of the run.
BROKEN = {
    "a line that cannot be made": "live._clock = broken",
    "a line that cannot be written": "live._write = closed",
    "a terminal that is not there": "live.Display._terminal = broken",
    "a terminal without a size": "live.Display._size = broken",
    "a thread that does not start": "live.threading.Thread.start = start",
    "telling": "live.Display.update = broken",
}
BREAKING = """
import errno
import threading
from pytest_memleak.plugin import progress as live

def broken(*args):
    raise RuntimeError("broken")

def closed(terminal, text):
    raise BrokenPipeError(errno.EPIPE, "broken")

original = threading.Thread.start

def start(thread):
    if "Display" in str(thread._target):
        raise RuntimeError("can't start new thread")
    original(thread)

"""


@pytest.fixture
def slow(pytester, suite):
    """A suite whose pairs take half a second and more each."""
    pytester.makeconftest(SLOW)
    return suite()


def run(pytester, *arguments, **terminal):
    return run_in_terminal(["-p", "no:cacheprovider", *arguments], folder=pytester.path, **terminal)


def is_clean(seen):
    return not any(STRAY.match(line) or line.strip() in {"]", "["} for line in seen.lines)


# --- the quickstart ------------------------------------------------------------------------


@pytest.fixture
def quickstart(pytester):
    """The arguments of the README's command, in a folder that holds what it needs."""
    for folder in ("suites/quickstart", "fixtures/books"):
        shutil.copytree(ROOT / folder, pytester.path / folder)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return shlex.split(re.search(r"\.venv/bin/pytest (.*quickstart.*)", readme)[1])


@pytest.mark.full
@pytest.mark.parametrize(("columns", "at_bottom"), [(80, False), (80, True), (120, True)])
def test_the_quickstart(pytester, quickstart, columns, at_bottom):
    seen = run(pytester, *quickstart, columns=columns, at_bottom=at_bottom)
    assert seen.code == 0, "\n".join(seen.lines)
    line = seen.line("suites/quickstart/quickstart.memleak.toml ")
    assert line.split() == ["suites/quickstart/quickstart.memleak.toml", "..xx", "[100%]"]
    assert len(line) == columns - 1
    # At 80 columns what was expected stands below the verdict, what would have been seen below
    # what was drawn, and the terminal breaks no line.
    between = "" if columns == 80 else r" +25\.9%"
    verdicts = re.findall(rf"310/310{between} +(\w+)", "\n".join(seen.lines))
    assert verdicts == ["PASS", "PASS", "FAIL", "FAIL"]
    below = sum(line.startswith("the-") and line.endswith(" (expected)") for line in seen.lines)
    assert below == (2 if columns == 80 else 0)
    assert is_clean(seen)
    assert "INCONCLUSIVE" not in "\n".join(seen.lines)
    assert any(" 2 passed, 2 xfailed in " in line for line in seen.lines)


# --- while it runs -------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("at_bottom", [False, True])
def test_it_stands_below_pytests_line(pytester, slow, at_bottom):
    seen = run(pytester, at_bottom=at_bottom)
    told = seen.progress("sampling")
    assert {above for _, above in told} == {"test.memleak.toml", "test.memleak.toml ."}
    assert all(re.fullmatch(r"sampling \w+/ferry  \d/[26]  0:0\d.*", line) for line, _ in told)
    assert len({line.split()[2] for line, _ in told}) > 2
    assert seen.code == 0
    assert seen.line("test.memleak.toml ").split() == ["test.memleak.toml", "..", "[100%]"]
    assert is_clean(seen)


@pytest.mark.full
def test_fine_tunes_and_batches_are_told(pytester, online, server: OpenAIServer):
    server._polls = 3
    online(("[model.options]", "[model.options]\nbatch = true"))
    pytester.makeconftest(
        "from pytest_memleak.pipeline.resources import Resources\n"
        "from pytest_memleak.sampling.retry import Retry\n"
        "Resources.retry = Retry(poll=0.2, poll_most=0.2)\n"
    )
    seen = run(pytester, "-m", "copyright")
    assert seen.code == 1  # it recites
    assert seen.line("tuned/  ").split()[-1] == "FAIL"
    for phase, job in (("tuning", "ftjob-"), ("waiting for a batch", "batch_")):
        assert any(line.startswith(f"{phase} {job}") for line, _ in seen.progress(phase))
    assert {above for phase in PHASES for _, above in seen.progress(phase)} == {
        "online.memleak.toml"
    }
    assert is_clean(seen)


@pytest.mark.full
@pytest.mark.parametrize("columns", [full(40), full(49), 50, full(51), 80])
def test_verbose_lines_are_gone_on_with(pytester, slow, columns):
    """Names of 49 characters and a blank, in narrower terminals and in one that they just fill."""
    plain = run(pytester, "-v", columns=columns, environment={"TERM": "dumb"})
    seen = run(pytester, "-v", "--memleak-ledger", "sqlite:///other.db", columns=columns)
    assert bool(seen.progress("sampling")) == (columns != 50)
    assert plain.code == seen.code == 0
    assert [line for line in seen.lines if " 2 passed in " not in line] == [
        line for line in plain.lines if " 2 passed in " not in line
    ]


@pytest.mark.full
def test_without_colour(pytester, slow):
    seen = run(pytester, "--color=no")
    assert seen.progress("sampling")
    assert seen.line("test.memleak.toml ").split() == ["test.memleak.toml", "..", "[100%]"]
    assert is_clean(seen)


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {"TERM": "dumb"}),
        (["-q"], {}),
        (["-s"], {}),
        full(["--capture=tee-sys"], {}),
        full(["-o", "log_cli=true"], {}),
        full(["-n", "1"], {}),
    ],
    ids=["dumb", "q", "s", "tee-sys", "log_cli", "xdist"],
)
def test_there_is_none(pytester, slow, arguments, environment):
    seen = run(pytester, *arguments, environment=environment)
    assert seen.code == 0
    assert not any(seen.progress(phase) for phase in PHASES)
    assert seen.line("clean/ferry ").split()[-1] == "PASS"


# --- nothing decorative decides ------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize(
    "what",
    [what if what in {"a line that cannot be made", "telling"} else full(what) for what in BROKEN],
)
def test_a_failing_display_changes_no_verdict(pytester, slow, what):
    pytester.makeconftest(SLOW + BREAKING + BROKEN[what])
    seen = run(pytester, "-W", "error")
    assert seen.code == 0, "\n".join(seen.lines)
    assert seen.line("test.memleak.toml ").split() == ["test.memleak.toml", "..", "[100%]"]
    assert seen.line("leaky/ferry").split()[-1] == "PASS"
    assert is_clean(seen)
    assert not seen.progress("sampling")


@pytest.mark.full
def test_a_terminal_that_goes_away_changes_no_verdict(pytester, slow):
    """The window is closed while a pair is sampled: the evidence is written all the same."""
    pytester.makeconftest(
        SLOW + "import os\nfrom pytest_memleak.plugin import progress as live\n"
        "def gone(terminal, text):\n    os.close(terminal)\n    os.write(terminal, b'x')\n"
        "live._write = gone\n"
    )
    seen = run(pytester, "--memleak-evidence", "e.json")
    assert seen.code == 0
    assert (pytester.path / "e.json").exists()


@pytest.mark.full
@pytest.mark.skipif(shutil.which("script") is None, reason="no script (util-linux) here")
def test_a_terminal_that_does_not_know_its_size(pytester, slow):
    command = f"{sys.executable} -m pytest -p no:cacheprovider"
    done = subprocess.run(
        ["script", "-qec", command, "log"],
        cwd=pytester.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "sampling clean/ferry" in done.stdout
