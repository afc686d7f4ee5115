"""A dry run of a suite whose files and networks are out of reach."""

import shutil
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[2] / "suites" / "whack_a_mole"
DESIGNS = sorted(path.name for path in SUITES.glob("*.memleak.toml"))


def _fail(*_, **__):
    pytest.fail("a dry run loads a tokenizer")


@pytest.fixture
def designs(pytester, monkeypatch):
    root, folder = SUITES.parents[1], pytester.path / "suites/whack_a_mole"
    shutil.copytree(SUITES, folder)
    shutil.copytree(root / "fixtures/books", pytester.path / "fixtures/books")
    for name in ("OPENAI_API_KEY", "TINKER_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(name, "test-key-0123456789")
    provider = "pytest_memleak.providers.tinker.tinker_provider"
    monkeypatch.setattr(f"{provider}.load_format", _fail)
    monkeypatch.setattr(f"{provider}.validate_installed", lambda *_, **__: None)
    return folder


@pytest.mark.parametrize("design", DESIGNS)
def test_a_design_plans_in_few_lines_without_books(designs, pytester, design):
    done = pytester.runpytest_inprocess("--memleak-dry-run", str(designs / design))
    obstacles = [line for line in done.outlines if line.startswith("Can't estimate")]
    assert 0 < len(obstacles) <= 40
    assert len({line.partition(": ")[2] for line in obstacles}) == len(obstacles)
