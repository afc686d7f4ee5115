"""memleak power: samples against detection, limits and cost, before anything is drawn."""

import json
from pathlib import Path

import pytest

from pytest_memleak.cli.main import main

STORIES = Path(__file__).parents[2] / "fixtures" / "books"
BOOK = f"""
[[book]]
id = "ID"
source = "{STORIES}/ID.epub"
summaries = "{STORIES}/ID.summaries.json"
"""
LAMPLIGHTER = BOOK.replace("ID", "the-lamplighter")
CONTROL = BOOK.replace("ID", "the-seed-vault") + 'role = "negative-control"\n'
SUITE = f"""
[suite]
samples = 20
detection_limit = 0.1

[limits]
bmc = 0.15
bmc_excess = 0.05
{LAMPLIGHTER}
[[model]]
id = "babbler"
provider = "ngram"
price = {{ input = 2.0, output = 8.0 }}
[model.options]
order = 2
pretraining = ["the-lamplighter"]
"""


@pytest.fixture
def power(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*options, suite=SUITE):
        Path("x.memleak.toml").write_text(suite, encoding="utf-8")
        status = main(["power", "x.memleak.toml", *options])
        return status, capsys.readouterr().out

    return run


def test_samples_detection_and_cost(power, tmp_path):
    status, out = power()
    assert status == 0
    rows = {int(line.split()[0]): line.split() for line in out.splitlines()[2:9]}
    assert list(rows) == [10, 20, 30, 33, 66, 100, 299]
    assert [rows[n][1] for n in (10, 66, 100, 299)] == ["25.9%", "4.5%", "3.0%", "1.0%"]
    assert " ".join(rows[20][5:]) == "asked for"
    assert " ".join(rows[33][5:]) == "for detection_limit 0.1, 10% withheld"
    assert rows[20][3] == f"{31 * 20 + 5:,}"  # five canaries
    costs = [float(rows[n][4].replace(",", "")) for n in (10, 100)]
    assert costs[1] == pytest.approx(10 * costs[0], rel=0.2)
    assert {one.name for one in tmp_path.iterdir()} == {"x.memleak.toml"}  # no ledger was made


@pytest.mark.full
def test_what_limits_can_hold(power):
    _, out = power()
    assert "bmc limit 0.15 can pass: with no recall, its upper bound is 0.0062\n" in out
    assert "bmc_excess: with 0 null books there is no interval and no p; give the suite two" in out
    _, out = power(suite=SUITE.replace("bmc = 0.15", "bmc = 0.001") + CONTROL)
    assert "bmc limit 0.001 can't pass for the-lamplighter, which is too short: with" in out
    assert "is 0.0062; raise the limit there\n" in out
    assert out.count("can't pass") == 1  # not of a control, which gates nothing
    assert "with 1 null book there is no" in out
    assert max(map(len, out.splitlines())) <= 80
    # Controls and null books are paid for.
    _, alone = power("--json")
    _, both = power("--json", suite=SUITE + CONTROL)
    draws = [json.loads(one)["rows"][0]["generations"] for one in (alone, both)]
    assert draws == [310 + 5, 2 * (310 + 5)]


def test_what_cannot_be_planned_is_told_and_probabilities_have_no_samples(power):
    gone = SUITE.replace(f"{STORIES}/the-lamplighter.epub", "gone.epub").replace(
        'id = "the-lamplighter"', 'id = "the-lamplighter"\nbring_your_own = true'
    )
    status, out = power(suite=gone)
    assert status == 1
    assert "Can't estimate: babbler/the-lamplighter: " in out
    suite = SUITE.replace("detection_limit = 0.1", 'probe = "probability"').replace(
        "bmc = 0.15\nbmc_excess = 0.05", "extractable = 0.1"
    )
    status, out = power(suite=suite)
    assert status == 0
    assert "nothing is sampled" in out
    assert power(suite="[suite]\nsampels = 3\n")[0] == 2
