"""A dependency's name is a door: what a job that holds keys installs, and what CI does."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_memleak.cli.cmd_init import CI, ci_job

ROOT = Path(__file__).parents[1]
LOCK = ROOT / ".ci" / "requirements.lock"


def installs_of(text):
    return [line for line in text.splitlines() if "pip install" in line]


def test_jobs_that_hold_keys_install_files_by_their_hash():
    jobs = [ci_job(name, Path("release.memleak.toml"), "openai")[1] for name in CI]
    docs = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert all(map(installs_of, jobs))
    assert len(installs_of(docs)) >= 3
    for text in (*jobs, docs):
        assert all("--require-hashes" in line for line in installs_of(text))


def test_nothing_tells_to_fetch_the_package_anew_by_its_name():
    told = re.compile(r"pip install (?:\S+ )*(?:-U|--upgrade|--force-reinstall)\b.*pytest-memleak")
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("pytest_memleak/**/*.py")]
    assert [one for one in files if told.search(one.read_text(encoding="utf-8"))] == []


def test_the_lock_has_every_requirement_by_its_hash():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    everything = re.search(r"\[(.*)\]", extras["all"][0])[1].split(",")
    asked = [*project["dependencies"], *(one for name in everything for one in extras[name])]
    asked += [one for one in extras["dev"] + extras["test"] if "pytest-memleak[" not in one]
    lock = LOCK.read_text(encoding="utf-8")
    hashed = r"^(\S+?)==(\S+)(.*(?:\n    --hash=sha256:\w{64}.*)+)"
    entries = re.findall(hashed, lock, re.MULTILINE)
    locked = {(canonicalize_name(name), release) for name, release, _ in entries}
    assert len(entries) == len(re.findall(r"^\S+==", lock, re.MULTILINE))
    for one in map(Requirement, asked):
        if one.name == "torch":  # CI takes whichever is cheapest to get
            continue
        found = [release for name, release in locked if name == canonicalize_name(one.name)]
        assert any(one.specifier.contains(release) for release in found), one
    assert not re.search(r"^pytest-memleak", lock, re.MULTILINE)
