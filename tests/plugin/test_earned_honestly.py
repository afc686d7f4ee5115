"""No false alarm: quickstart's models, asked, continued, exported and read again."""

import subprocess
import sys
from pathlib import Path

import pytest
from earned_suites import run_here

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "suites" / "quickstart" / "quickstart.memleak.toml"
CONTINUED = """
[[model]]
id = "continued"
provider = "ngram"
probe = "continuation"
[model.options]
order = 2
pretraining = ["the-lamplighter"]
"""


def pairs(reports):
    return {pair["pair"]: pair for pair in reports["evidence"]["pairs"]}


def memleak(folder, *arguments):
    command = [str(Path(sys.executable).parent / "memleak"), "ledger", *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def exported(folder, sampled):
    """Each instructed pair's generations in a file of its own; tables of models that read them."""
    tables = ""
    for name, pair in sampled.items():
        model, _, book = name.partition("/")
        if model == "continued":
            continue
        file = f"{model}-{book}.jsonl"
        where = ["--ledger", "sqlite:///.memleak/ledger.db", "--temperature", "1"]
        wanted = ["--endpoint", pair["model"]["endpoint"], "--book", book, "-o", file]
        memleak(folder, "export", *where, *wanted)
        if f'id = "{model}"' not in tables:
            tables += (
                f'[[model]]\nid = "{model}"\nprovider = "recorded"\n'
                f'options = {{ path = "{model}-{{book}}.jsonl" }}\n'
            )
    return tables


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Drawn, and read again: each pair's evidence."""
    folder = tmp_path_factory.mktemp("honest")
    suite = QUICKSTART.read_text("utf-8").replace("../../", f"{ROOT.as_posix()}/")
    path = folder / "it.memleak.toml"
    path.write_text(suite.replace('expected = "leak"\n', "") + CONTINUED, "utf-8")
    sampled = pairs(run_here(folder))
    again = suite.partition("[[model]]")[0] + exported(folder, sampled)
    path.write_text(again, "utf-8")
    return sampled, pairs(run_here(folder))


@pytest.mark.full
def test_honest_samples_are_complete(runs):
    book = "the-lamplighter"
    expected = {"babbler": "PASS", "continued": "INCONCLUSIVE", "reciter": "FAIL"}
    assert {name: pair["verdict"] for name, pair in runs[0].items()} == {
        f"{model}/{book}": verdict for model, verdict in expected.items()
    }
    # At temperature 0 a model of word pairs writes one loop, whatever it continues.
    issues = runs[0]["continued/the-lamplighter"]["completeness"]["issues"]
    assert issues
    assert {issue["place"] for issue in issues} == {"greedy"}


@pytest.mark.full
def test_an_export_read_again_is_worth_the_same(runs):
    sampled, read = runs
    assert read.keys() == {name for name in sampled if not name.startswith("continued")}
    for name, pair in read.items():
        assert pair["verdict"] == sampled[name]["verdict"], name
        assert pair["measures"] == sampled[name]["measures"], name
        assert pair["completeness"]["issues"] == [], name
        assert (
            pair["completeness"]["received"]
            == sampled[name]["completeness"]["received"]
        ), name
