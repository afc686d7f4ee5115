"""Commands in the docs and in README run in a folder that has what they need.

What cannot be run here has its reason.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_memleak.results.evidence_file import read_evidence

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
LONGEST = 300  # seconds

# What cannot be run here, and why.
A_SERVER = (
    "needs a model's server at port 8000; tests/cli/test_cmd_try.py has one of its own"
)
AN_INDEX = "installs from a package index; .ci/run runs it"
AN_AUTHORITY = (
    "needs a time-stamping authority; tests/plugin/test_signed_evidence.py has one"
)
A_NOVEL = "needs a novel that is not in the project; tests/test_docs.py runs it where there is one"
CANNOT = {
    "llama-server": "needs weights and llama.cpp; tests/foreign serves some",
    "vllm serve": "needs weights and vLLM",
    "inspect eval": "needs a key; tests/library/test_inspect_task.py has a mock model",
    **dict.fromkeys(
        ("memleak guard", "memleak try", "memleak verify base.json"), A_SERVER
    ),
    "memleak complaint": "needs a model; tests/cli/test_cmd_complaint.py has a server",
    "memleak doctor base-my-book.memleak.toml": A_SERVER,
    "pytest -m copyright base-my-book.memleak.toml": A_SERVER,
    "memleak doctor gatsby.memleak.toml": A_NOVEL,
    "pytest -m copyright gatsby.memleak.toml": A_NOVEL,
    **dict.fromkeys(("python3 -m venv", ".venv/bin/pytest", "source .venv"), AN_INDEX),
    **dict.fromkeys(("pip install", "pip wheel", "uv pip compile"), AN_INDEX),
    "memleak table evidence.json --measure bmc --by author": (
        "needs a study's evidence; tests/cli/test_cmd_table.py has one"
    ),
    "docker": "needs Docker; tests/test_dockerfile.py runs the commands of the image",
    "curl": AN_AUTHORITY,
    "openssl ts": AN_AUTHORITY,
    "memleak verify evidence.json --public-key release.pub --timestamp": AN_AUTHORITY,
}
# What is not there before a command: what it makes, or would run beside what is meant.
NOT_THERE = {"memleak init": "release.memleak.toml", "pytest -m copyright --": "suites"}
NIGHT = ("p_id1", "It was a dark night.")
ANSWERS = {
    "road.json": [NIGHT],
    "sea.json": [NIGHT],
    "gpt.json": [
        ("p_id1", "a b c d e f"),
        ("p_id1", "c d e f g"),
        ("p_id2", "i j k l m"),
    ],
    "gemini.json": [
        ("p_id1", "d e f g h"),
        ("p_id2", "k l m n o p"),
        ("p_id2", "i j k l m"),
    ],
}


def commands():
    """Every command, without its comment, by where it stands."""
    results = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = re.findall(r"^\$ (.*)$", "\n".join(fenced), re.MULTILINE)
        lines += re.findall(
            r"^    ((?:python3?|pip|pytest|memleak) .*)$", text, re.MULTILINE
        )
        for line in lines:
            results.setdefault(re.sub(r"\s+# .*$", "", line), page.name)
    return results


COMMANDS = commands()
REASONS = {
    command: [reason for start, reason in CANNOT.items() if command.startswith(start)]
    for command in COMMANDS
}
RUN = [command for command, reasons in REASONS.items() if not reasons]


def test_reasons_not_to_run_are_of_commands_in_the_docs():
    unused = []
    for start in CANNOT:
        if not any(command.startswith(start) for command in COMMANDS):
            unused.append(start)
    assert unused == []
    assert len(RUN) > len(COMMANDS) / 2


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A folder with everything that the docs' commands name."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("suites/quickstart", "fixtures/books"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("src")
        )
    epub = folder / "fixtures" / "books" / "the-lamplighter.epub"
    (folder / "books").mkdir()
    for name in ("my_book.epub", "books/my_book.epub", "road.epub", "sea.epub"):
        shutil.copy(epub, folder / name)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    titled = re.compile(
        r'^```json title="(\w+\.json)"\n(.*?)^```$', re.MULTILINE | re.DOTALL
    )
    for name, text in titled.findall(page):
        (folder / name).write_text(text, encoding="utf-8")
    for name, answers in ANSWERS.items():
        records = [{"excerpt_id": one, "generated_text": text} for one, text in answers]
        (folder / name).write_text(json.dumps(records), encoding="utf-8")
    (folder / "logs").mkdir()
    logged = {"prompt": "Go on.", "completion": NIGHT[1]}
    (folder / "logs" / "monday.jsonl").write_text(f"{json.dumps(logged)}\n")
    other = [{"excerpt_id": "p_id1", "excerpt_text": "q r f g h i j s t u"}]
    (folder / "other_book.json").write_text(json.dumps(other), encoding="utf-8")
    suite = (folder / "suites" / "quickstart" / "quickstart.memleak.toml").read_text(
        "utf-8"
    )
    release = suite.replace("../../", "").replace(
        "[model.options]", "[model.price]\ninput = 0\noutput = 0\n[model.options]"
    )
    (folder / "release.memleak.toml").write_text(release, encoding="utf-8")
    for line in (
        "openssl genpkey -algorithm ed25519 -out release.key",
        "openssl pkey -in release.key -pubout -out release.pub",
        f"{sys.executable} -m pytest -q -m copyright release.memleak.toml "
        "--memleak-evidence evidence.json --memleak-signing-key release.key",
    ):
        in_shell(line, folder)
    shutil.copy(folder / "evidence.json", folder / "before.json")
    again = f"{sys.executable} -m pytest -q -m copyright release.memleak.toml"
    in_shell(f"{again} --memleak-evidence after.json --memleak-release 2", folder)
    return folder


@pytest.fixture
def place(ready, tmp_path, command):
    folder = Path(shutil.copytree(ready, tmp_path / "place", symlinks=True))
    for start, name in NOT_THERE.items():
        if command.startswith(start):
            (folder / name).rename(tmp_path / name)
    return folder


def whole(command, folder):
    """The command with the name of an endpoint that the page cuts short."""
    if short := re.search(r"(\w+:[0-9a-f]+)\.\.\.", command):
        bundle = read_evidence(folder / "evidence.json").bundle
        names = {pair["model"]["endpoint"] for pair in bundle["pairs"]}
        (name,) = [name for name in names if name.startswith(short[1])]
        return command.replace(short[0], name)
    return command


def in_shell(command, folder):
    here = str(Path(sys.executable).parent)
    path = f"{here}{os.pathsep}{os.environ['PATH']}"
    ours = {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    settings = {"capture_output": True, "encoding": "utf-8", "timeout": LONGEST}
    shell, environment = ["bash", "-c", command], {**os.environ, **ours}
    run = subprocess.run(shell, cwd=folder, env=environment, check=False, **settings)
    assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"


@pytest.mark.full
@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command, place):
    in_shell(whole(command, place), place)
