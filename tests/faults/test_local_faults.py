"""What may go wrong with weights on this machine, in whole runs: told, never a traceback."""

import re
import shutil

import pytest
from accounts import contents
from local_weights import LocalWeights

DRAWN = re.compile(r"8/8 \S+ PASS")
MUCH = 3000  # completions at once
# From the first draw on, what the process has is nearly all that it may have.
NO_MORE_MEMORY = """
import resource
from pathlib import Path

from pytest_memleak.providers.transformers.local_endpoint import LocalEndpoint

ROOM = 4 << 20
drawn = LocalEndpoint._drawn


def draw(self, *loaded, **asked):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        return drawn(self, *loaded, **asked)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


LocalEndpoint._drawn = draw
"""


@pytest.fixture
def local(weights, stories, tmp_path):
    """A suite's folder and its own copy of the weights."""
    base = tmp_path / "base"
    shutil.copytree(weights, base)
    folder = tmp_path / "run"
    folder.mkdir()
    return LocalWeights(base, folder, stories)


@pytest.fixture
def run(nursery):
    """Runs the suite as it is; the exit code and what it said, with one blank between words."""

    def go(local):
        arguments = ["-m", "copyright", "--memleak-ledger", f"sqlite:///{local.folder}/ledger.db"]
        run = nursery.run(arguments, folder=local.folder, environment=local.environment)
        code, output = run.finish()
        assert "Traceback" not in output
        return code, " ".join(output.split())

    return go


def told(outcome, said):
    """INCONCLUSIVE, and says so: a regular expression."""
    code, output = outcome
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 error in" in output
    (reason,) = set(re.findall("INCONCLUSIVE: (.*?) =+ ", output))
    assert re.search(said, reason), reason


def failed(call, cause):
    """As told of what a library raised: provider, endpoint, call and cause."""
    return rf"transformers endpoint \S+: {call} failed: {cause}"


@pytest.mark.full
def test_out_of_memory_is_told_and_smaller_draws_go_on(local, run):
    (local.folder / "conftest.py").write_text(NO_MORE_MEMORY, "utf-8")
    local.write_suite(local.folder, samples=MUCH, tuned=False, completions_per_call=MUCH)
    said = r"the device has not enough memory.*set a smaller options\.completions_per_call"
    told(run(local), failed("sample", said))
    ledger = contents(f"sqlite:///{local.folder}/ledger.db")
    drawn = [ledger.questions[row.question] for row in ledger.generations]
    assert {question.temperature for question in drawn} == {0}  # canaries, one to a call
    local.write_suite(local.folder, samples=2, tuned=False, completions_per_call=1)
    assert DRAWN.search(run(local)[1])


def test_a_state_folder_that_cannot_be_written_is_told(local, run):
    (local.folder / ".memleak").mkdir()
    (local.folder / ".memleak" / "transformers").write_text("in the way", "utf-8")
    local.write_suite(local.folder, samples=2)
    told(run(local), failed("start_finetune", ".*(File exists|Not a directory)"))


def test_learned_weights_that_have_gone_are_told_once_they_are_needed(local, run):
    local.write_suite(local.folder, samples=2)
    assert DRAWN.search(run(local)[1])
    shutil.rmtree(local.folder / ".memleak" / "transformers")
    assert DRAWN.search(run(local)[1])  # what was drawn is in the ledger
    local.write_suite(local.folder, samples=3)
    told(run(local), failed("open", "Its LoRA weights aren't in"))
