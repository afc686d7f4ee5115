"""`memleak doctor`: what is there, what needs a fix, and no key in sight."""

import re
import socket
from pathlib import Path

import pytest
import yaml

KEY = "sk-test-0123456789abcdefghij"


@pytest.fixture
def suite(tmp_path, lamplighter):
    def write(*lines):
        text = f"""
[limits]
longest_passage = 38
[[book]]
id = "it"
source = "{lamplighter}"
[[model]]
id = "candidate"
provider = "openai"
base_model = "x"
"""
        (tmp_path / "it.memleak.toml").write_text("\n".join([*lines[:1], text, *lines[1:]]))
        return "it.memleak.toml"

    return write


def rows(done):
    return {
        line.split(maxsplit=1)[1].split("   ")[0].strip(): line.split()[0]
        for line in done.stdout.splitlines()
        if line.startswith(("ok ", "fix "))
    }


def test_without_a_suite_it_says_what_could_be_used(memleak, last_line):
    done = memleak("doctor", OPENAI_API_KEY=KEY)
    assert done.returncode == 0
    assert "ledger" in rows(done)
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
def test_a_suite_that_can_be_run(memleak, last_line, suite):
    done = memleak("doctor", suite('[suite]\nprobe = "continuation"'), OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == "pytest -m copyright it.memleak.toml --memleak-dry-run"
    assert KEY not in done.stdout + done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    ("samples", "fix"), [(65, "set samples = 66, or a higher detection_limit"), (66, "")]
)
def test_what_could_earn_no_pass_is_to_be_mended(memleak, suite, samples, fix):
    text = f'[suite]\nprobe = "continuation"\nsamples = {samples}\ndetection_limit = 0.05'
    done = memleak("doctor", suite(text), OPENAI_API_KEY=KEY)
    assert done.returncode == bool(fix), done.stdout
    assert fix in done.stdout


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


def test_a_suite_that_cannot_be_read_and_a_ledger_that_is_none(memleak, tmp_path):
    (tmp_path / "ledger.db").write_text("no ledger")
    done = memleak("doctor", "gone.memleak.toml", "--ledger", "sqlite:///ledger.db")
    assert done.returncode == 1
    assert "gone.memleak.toml" in done.stdout
    assert "No such file" in done.stdout
    assert sum(line.startswith("fix") for line in done.stdout.splitlines()) == 2


# --- the file alone ------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
HOOK = ROOT / ".pre-commit-hooks.yaml"


def test_the_hook_holds_a_suite_against_the_schema(memleak, tmp_path):
    (hook,) = yaml.safe_load(HOOK.read_text(encoding="utf-8"))
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
