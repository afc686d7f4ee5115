"""The plan of the house: what import-linter does not hold."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest_memleak

PACKAGE = Path(pytest_memleak.__file__).parent
FILES = [one for one in PACKAGE.rglob("*.py") if one.name != "__init__.py"]


def test_files_have_names_that_tell_them_apart():
    twice = [name for name, count in Counter(one.name for one in FILES).items() if count > 1]
    assert not twice
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "core"}
    assert not {one.stem for one in FILES} & vague
    # Few names stand at the top, and the story is told on a page.
    assert len(pytest_memleak.__all__) <= 12
    assert {one.name for one in PACKAGE.glob("*.py")} == {"__init__.py", "builtin.py", "errors.py"}
    assert len((PACKAGE / "pipeline" / "evaluate_pair.py").read_text().splitlines()) <= 140


def test_each_mutant_changes_a_line_that_is_there_once():
    root = PACKAGE.parent
    mutants = json.loads((root / "tests" / "mutants.json").read_text(encoding="utf-8"))
    assert len(mutants) >= 40
    for mutant in mutants:
        text = (root / mutant["file"]).read_text(encoding="utf-8")
        assert text.count(mutant["line"]) == 1, mutant
        assert mutant["tests"], mutant


def test_whoever_changes_it_is_told_where_things_are():
    root = PACKAGE.parent
    told = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"\]\(([^)#:]+)\)|`((?:pytest_memleak|tests|docs)/[^` ]*)`", told)
    named = {one for pair in paths for one in pair if one and "NAME" not in one}
    assert named
    assert not {one for one in named if not (root / one).exists()}
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    table = told.partition("| layer | packages |")[2].partition("\n\n")[0].splitlines()[2:]
    floors = [re.findall(r"`(\w+)(?:\.py)?`", line) for line in table]
    assert floors == [re.findall(r"\w+", layer) for layer in layers]
