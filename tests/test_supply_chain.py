"""A dependency's name is a door: what a job that holds keys installs, and what CI does."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_memleak.cli.cmd_init import CI, ci_job_file
from pytest_memleak.cli.suite_template import Draft

ROOT = Path(__file__).parents[1]
LOCK, GATE_LOCK = (ROOT / ".ci" / f"{name}.lock" for name in ("requirements", "gate"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# What builds the package, which CI takes from an index.
BUILD = {"hatchling", "pathspec", "tomlkit", "trove-classifiers"}
HASHED = re.compile(
    r"^(\S+?)==(\S+)(.*(?:\n    --hash=sha256:\w{64}.*)+)", re.MULTILINE
)


def installs_of(text):
    return [line for line in text.splitlines() if "pip install" in line]


def test_jobs_that_hold_keys_install_files_by_their_hash():
    draft = Draft((), "openai", "gpt-4o", 1, 1.0)
    jobs = [ci_job_file(name, Path("release.memleak.toml"), draft)[1] for name in CI]
    docs = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert all(map(installs_of, jobs))
    assert len(installs_of(docs)) >= 2
    for text in (*jobs, docs):
        assert all("--require-hashes" in line for line in installs_of(text))


def test_the_action_and_the_image_take_nothing_that_is_not_pinned():
    used = [step["uses"] for step in ACTION["runs"]["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base) for base in bases)
    scripts = [
        step["run"] for step in ACTION["runs"]["steps"] if step.get("name") == "Install"
    ]
    for text in (*scripts, DOCKERFILE):
        locked, own = installs_of(text)
        assert "--require-hashes --no-deps -r" in locked
        assert "gate.lock" in locked
        assert "--no-build-isolation --no-deps" in own


def locked_in(path):
    """Versions by name; every entry has a hash."""
    lock = path.read_text(encoding="utf-8")
    entries = HASHED.findall(lock)
    assert len(entries) == len(re.findall(r"^\S+==", lock, re.MULTILINE))
    assert not re.search(r"^pytest-memleak", lock, re.MULTILINE)
    return {(canonicalize_name(name), release) for name, release, _ in entries}


@pytest.mark.parametrize(
    ("path", "extras"),
    [
        (LOCK, ("all", "dev", "test")),
        (GATE_LOCK, ("openai", "vertex", "tinker", "together", "postgres", "sign")),
    ],
    ids=["CI", "action and image"],
)
def test_a_lock_has_every_requirement_by_its_hash(path, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    declared = project["optional-dependencies"]
    everything = re.search(r"\[(.*)\]", declared["all"][0])[1].split(",")
    names = [
        name for extra in extras for name in (everything if extra == "all" else [extra])
    ]
    required = [
        *project["dependencies"],
        *(line for name in names for line in declared[name]),
    ]
    locked = locked_in(path)
    for requirement in map(Requirement, required):
        # CI takes whichever torch is cheapest to get.
        if requirement.name in {"torch", "pytest-memleak"}:
            continue
        name = canonicalize_name(requirement.name)
        releases = [release for locked_name, release in locked if locked_name == name]
        assert any(map(requirement.specifier.contains, releases)), requirement


def test_the_gate_installs_the_releases_that_ci_tests():
    build_backend = {entry for entry in locked_in(GATE_LOCK) if entry[0] in BUILD}
    assert locked_in(GATE_LOCK) - build_backend <= locked_in(LOCK)
    assert build_backend
