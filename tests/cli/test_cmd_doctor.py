"""`memleak doctor`: what is there, what needs a fix, and no key in sight."""

import re
import socket
from pathlib import Path

import pytest
import yaml

KEY = "sk-test-0123456789abcdefghij"


SUITE = """
[limits]
longest_passage = 38
[[book]]
id = "it"
source = "LAMPLIGHTER"
[[model]]
id = "candidate"
provider = "openai"
base_model = "x"
"""


@pytest.fixture
def suite(file, lamplighter):
    def write(begin="", end=""):
        text = SUITE.replace("LAMPLIGHTER", str(lamplighter))
        return file("it.memleak.toml", f"{begin}\n{text}\n{end}").name

    return write


def test_without_a_suite_it_says_what_could_be_used(memleak, last_line):
    done = memleak("doctor", OPENAI_API_KEY=KEY)
    assert done.returncode == 0
    assert re.search(r"^(ok|fix) +ledger  ", done.stdout, re.MULTILINE)
    assert "provider transformers" in done.stdout
    assert last_line(done).startswith("memleak demo")
    assert KEY not in done.stdout + done.stderr


def test_a_suite_that_lacks_instructions_and_a_key(memleak, last_line, suite):
    done = memleak("doctor", suite())
    assert done.returncode == 1
    assert "31 excerpts, 12,345 words, 31 without an instruction" in done.stdout
    for way in ('summaries = "FILE"', "[suite.summarizer]", 'probe = "continuation"'):
        assert way in done.stdout
    assert "OPENAI_API_KEY: export OPENAI_API_KEY=..." in done.stdout
    assert last_line(done) == "memleak doctor it.memleak.toml"


@pytest.mark.full
@pytest.mark.parametrize("samples", [65, 66])
def test_a_suite_that_can_be_run_and_one_that_could_earn_no_pass(
    memleak, last_line, suite, samples
):
    text = f'[suite]\nprobe = "continuation"\nsamples = {samples}\ndetection_limit = 0.05'
    done = memleak("doctor", suite(text), OPENAI_API_KEY=KEY)
    assert done.returncode == (samples < 66), done.stdout
    assert KEY not in done.stdout + done.stderr
    if samples < 66:
        assert "set samples = 66, or a higher detection_limit" in done.stdout
    else:
        assert last_line(done) == "pytest -m copyright it.memleak.toml --memleak-dry-run"


@pytest.mark.full
def test_a_server_that_listens_and_one_that_does_not(memleak, suite):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        probe, options = '[suite]\nprobe = "continuation"', f'[model.options]\nbase_url = "{url}"'
        there = memleak("doctor", suite(probe, options))
    assert "  reachable" in there.stdout
    assert "OPENAI_API_KEY" not in there.stdout  # a server of one's own needs none
    assert there.returncode == 0
    gone = memleak("doctor", suite(probe, options))
    assert gone.returncode == 1
    assert "unreachable" in gone.stdout
    assert "start it, or correct options.base_url" in gone.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    ("provider", "variable"), [("openai", "OPENAI_BASE_URL"), ("vertex", "GOOGLE_VERTEX_BASE_URL")]
)
def test_a_server_that_the_environment_names(memleak, suite, tmp_path, provider, variable):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://me:hunter2hunter2@127.0.0.1:{server.getsockname()[1]}/v1?key={KEY}"
        path = tmp_path / suite('[suite]\nprobe = "continuation"')
        path.write_text(path.read_text().replace('"openai"', f'"{provider}"'))
        done = memleak("doctor", path.name, **{variable: url})
    assert "  reachable" in done.stdout
    assert done.returncode == 0, done.stdout
    assert "hunter2" not in done.stdout
    assert KEY not in done.stdout


def test_a_suite_that_cannot_be_read_and_a_ledger_that_is_none(memleak, file):
    file("ledger.db", "no ledger")
    done = memleak("doctor", "gone.memleak.toml", "--ledger", "sqlite:///ledger.db")
    assert done.returncode == 1
    assert "gone.memleak.toml" in done.stdout
    assert "No such file" in done.stdout
    assert sum(line.startswith("fix") for line in done.stdout.splitlines()) == 2


ROOT = Path(__file__).parents[2]


def test_the_hook_holds_a_suite_against_the_schema(memleak, tmp_path):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    command, *arguments = hook["entry"].split()
    assert command == "memleak"
    written = (ROOT / "suites" / "quickstart" / "quickstart.memleak.toml").read_text("utf-8")
    good, bad = tmp_path / "good.memleak.toml", tmp_path / "bad.memleak.toml"
    # Neither books nor keys are where a commit is made.
    good.write_text(written.replace('"ngram"', '"openai"').replace("order = ", "n = "), "utf-8")
    bad.write_text(written.replace("samples", "sampels"), "utf-8")
    assert re.search(hook["files"], good.name)
    assert not re.search(hook["files"], "pyproject.toml")
    done = memleak(*arguments, good.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 models, 2 books" in done.stdout
    done = memleak(*arguments, good.name, bad.name)
    assert done.returncode == 1
    assert "write samples instead of sampels" in done.stdout
