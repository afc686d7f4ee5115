"""Progress on a real terminal: seen while a pair is at work, gone afterwards, never in the way."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from screen import run_in_terminal

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]

PHASES = (
    "reading",
    "tuning",
    "waiting for a batch",
    "sampling",
    "scoring",
    "comparing",
)
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
    "a line that cannot be made": "live._hours_minutes_seconds = broken",
    "a line that cannot be written": "live._write = closed",
    "a terminal that is not there": "live.Display._descriptor_and_width = broken",
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
ONE_LINE = ["test.memleak.toml", "..", "[100%]"]


@pytest.fixture
def slow(pytester, suite):
    """A suite whose pairs take half a second and more each."""
    pytester.makeconftest(SLOW)
    return suite()


@pytest.fixture
def run(pytester):
    """Runs pytest in a terminal, which it leaves clean, with this exit status."""

    def go(*options, code=0, **terminal):
        options = ["-p", "no:cacheprovider", *options]
        seen = run_in_terminal(options, folder=pytester.path, **terminal)
        assert seen.code == code, "\n".join(seen.lines)
        assert not any(
            STRAY.match(line) or line.strip() in {"]", "["} for line in seen.lines
        )
        return seen

    return go


@pytest.fixture
def quickstart(pytester):
    """The arguments of the README's command, in a folder that holds what it needs."""
    for folder in ("suites/quickstart", "fixtures/books"):
        shutil.copytree(ROOT / folder, pytester.path / folder)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return shlex.split(re.search(r"\.venv/bin/pytest (.*quickstart.*)", readme)[1])


@pytest.mark.parametrize(
    ("columns", "at_bottom"), [(80, False), (80, True), (120, True)]
)
def test_the_quickstart_leaves_a_clean_screen(run, quickstart, columns, at_bottom):
    seen = run(*quickstart, columns=columns, at_bottom=at_bottom)
    line = seen.line("suites/quickstart/quickstart.memleak.toml ")
    assert line.split() == ["suites/quickstart/quickstart.memleak.toml", ".x", "[100%]"]
    assert len(line) == columns - 1
    # At 80 columns what was expected stands below the verdict, what would have been
    # seen below what was drawn, and the terminal breaks no line.
    between = "" if columns == 80 else r" +25\.9%"
    text = "\n".join(seen.lines)
    assert re.findall(rf"310/310{between} +(\w+)", text) == ["PASS", "FAIL"]
    below = sum(
        line.startswith("the-") and line.endswith(" (expected)") for line in seen.lines
    )
    assert below == (1 if columns == 80 else 0)
    assert "INCONCLUSIVE" not in text
    assert " 1 passed, 1 xfailed in " in text


@pytest.mark.parametrize("options", [[], ["--color=no"]])
@pytest.mark.parametrize("at_bottom", [False, True])
def test_progress_stands_below_pytests_line(run, slow, at_bottom, options):
    seen = run(*options, at_bottom=at_bottom)
    shown = seen.progress("sampling")
    assert {above for _, above in shown} == {"test.memleak.toml", "test.memleak.toml ."}
    assert all(
        re.fullmatch(r"sampling \w+/ferry  \d/[26]  0:0\d.*", line) for line, _ in shown
    )
    assert len({line.split()[2] for line, _ in shown}) > 2
    assert seen.line("test.memleak.toml ").split() == ONE_LINE


def test_progress_tells_of_fine_tunes_and_batches(run, pytester, online, server):
    server._polls = 3
    online(("[model.options]", "[model.options]\nbatch = true"))
    pytester.makeconftest(
        "from pytest_memleak.pipeline.resources import Resources\n"
        "from pytest_memleak.sampling.retry import Retry\n"
        "Resources.retry = Retry(poll=0.2, poll_most=0.2)\n"
    )
    seen = run("-m", "copyright", code=1)  # it recites
    assert seen.line("tuned/  ").split()[-1] == "FAIL"
    for phase, job in (("tuning", "ftjob-"), ("waiting for a batch", "batch_")):
        assert any(
            line.startswith(f"{phase} {job}") for line, _ in seen.progress(phase)
        )
    above = {above for phase in PHASES for _, above in seen.progress(phase)}
    assert above == {"online.memleak.toml"}


@pytest.mark.parametrize("columns", [40, 49, 50, 51, 80])
def test_verbose_lines_continue_after_progress(run, slow, columns):
    """Names of 49 characters and a blank, in narrower terminals and in one that they just fill."""

    def but_for_its_time(seen):
        return [line for line in seen.lines if " 2 passed in " not in line]

    plain = run("-v", columns=columns, environment={"TERM": "dumb"})
    seen = run("-v", columns=columns)
    assert bool(seen.progress("sampling")) == (columns != 50)
    assert but_for_its_time(seen) == but_for_its_time(plain)


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ([], {"TERM": "dumb"}),
        (["-q"], {}),
        (["-s"], {}),
        (["--capture=tee-sys"], {}),
        (["-n", "1"], {}),
        (["-o", "log_cli=true"], {}),
    ],
    ids=str,
)
def test_progress_stays_off_where_lines_cannot_be_erased(
    run, slow, options, environment
):
    seen = run(*options, environment=environment)
    assert not any(seen.progress(phase) for phase in PHASES)
    if options != ["-q"]:  # which shows nothing of what passes
        assert seen.line("clean/ferry ").split()[-1] == "PASS"


@pytest.mark.parametrize("what", BROKEN)
def test_a_failing_display_changes_no_verdict(run, pytester, slow, what):
    pytester.makeconftest(SLOW + BREAKING + BROKEN[what])
    seen = run("-W", "error")
    assert seen.line("test.memleak.toml ").split() == ONE_LINE
    assert seen.line("leaky/ferry").split()[-1] == "PASS"
    assert not seen.progress("sampling")


@pytest.mark.skipif(
    shutil.which("script") is None, reason="no script (util-linux) here"
)
def test_a_terminal_without_a_size_shows_progress(pytester, slow):
    done = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m pytest -p no:cacheprovider", "log"],
        cwd=pytester.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "sampling clean/ferry" in done.stdout
