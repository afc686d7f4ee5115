"""A dry run of a suite whose files and networks are out of reach."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from invented_prose import ASKED, prose

from pytest_memleak.suite.load import load_suite

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


@pytest.mark.parametrize("design", [*DESIGNS, ""])
def test_designs_plan_in_few_lines_without_books(designs, pytester, design):
    done = pytester.runpytest_inprocess("--memleak-dry-run", str(designs / design))
    assert done.ret != 0
    assert len(done.outlines) <= 40
    obstacles = [line for line in done.outlines if line.startswith("Can't estimate")]
    assert len({line.partition(": ")[2] for line in obstacles}) == len(obstacles)
    assert len(obstacles) <= 10


def test_a_missing_file_is_one_line_whatever_designs_need_it(designs, pytester):
    suites = str(designs)
    done = pytester.runpytest_inprocess("--memleak-dry-run", "-v", suites)
    assert "more (-v shows each)" not in done.stdout.str()
    missing = [line for line in done.outlines if "no such file: " in line]
    files = [line.partition("no such file: ")[2] for line in missing]
    assert len(files) == len({*files}) > 10


@pytest.fixture
def with_books(designs):
    """All books of the designs, of a seeded grammar, and what else a user brings."""
    for table in ("tested", "murakami", "public_domain"):
        path = designs / "books" / f"{table}.csv"
        rows = path.read_text("utf-8").replace(".epub,", ".json,")
        path.write_text(rows, "utf-8")
        for row in rows.splitlines()[1:]:
            book, source, *_ = row.split(",")
            texts = [prose(f"{book} {number}", 100) for number in range(4)]
            records = [
                {
                    "excerpt_id": f"p_id{number}",
                    "excerpt_text": text,
                    "instruction": f"{ASKED} {' '.join(text.split()[::5])}.",
                }
                for number, text in enumerate(texts)
            ]
            (designs / "books" / source).write_text(json.dumps(records), "utf-8")
            (designs / "books" / f"{book}.summaries.json").write_text("{}", "utf-8")
    system = designs / "books" / "gpt-4o.system.json"
    system.write_text(json.dumps(["Use every sentence."]), "utf-8")
    for suite in designs.glob("*.memleak.toml"):
        text = suite.read_text("utf-8")
        region = 'location = "us-central1"'
        assert region in text
        bucket = f'{region}, bucket = "gs://bucket"'
        suite.write_text(text.replace(region, bucket), "utf-8")
    return designs


@pytest.fixture
def offline(monkeypatch):
    """Fail where anything connects."""

    def fail(*_):
        pytest.fail("a dry run connects")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_design_plans_every_pair_offline_in_few_lines(
    with_books, offline, pytester, design
):
    suite = str(with_books / design)
    done = pytester.runpytest_inprocess("--memleak-dry-run", suite)
    assert done.ret == 0
    assert len(done.outlines) <= 40
    (total,) = (line for line in done.outlines if line.startswith("Total: at most US$"))
    assert total != "Total: at most US$0.00"
    assert any("more (-v shows each)" in line for line in done.outlines)
    every = pytester.runpytest_inprocess("--memleak-dry-run", "-v", suite)
    assert total in every.outlines
    rows = [line.split()[0] for line in every.outlines if line]
    pairs = [pair.id for pair in load_suite(with_books / design).pairs]
    assert len(pairs) >= 40
    assert {*pairs} <= {*rows}
