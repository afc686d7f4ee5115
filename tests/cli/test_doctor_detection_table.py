"""What `memleak doctor` shows of a suite's samples: what they detect, at what cost."""

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
PRICE = "price = { input = 2.0, output = 8.0 }\n"
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
{PRICE}[model.options]
order = 2
pretraining = ["the-lamplighter"]
"""


@pytest.fixture
def doctor(here, capsys):
    def run(*options, suite=SUITE):
        Path("x.memleak.toml").write_text(suite, encoding="utf-8")
        status = main(["doctor", "x.memleak.toml", *options])
        return status, capsys.readouterr().out

    return run


def rows_by_samples(out):
    """The cells of the table's rows, by the number of samples."""
    table = out.partition("by the number of samples:\n")[2].splitlines()
    rows = [line.split() for line in table[2:9]]
    return {int(row[0]): row for row in rows}


def test_a_suite_has_a_row_for_usual_samples_and_for_its_own(doctor, here):
    status, out = doctor()
    assert status == 1  # 20 samples are too few for the suite's detection limit
    rows = rows_by_samples(out)
    assert list(rows) == [10, 20, 30, 33, 66, 100, 299]
    assert [rows[n][1] for n in (10, 66, 100, 299)] == ["25.9%", "4.5%", "3.0%", "1.0%"]
    assert " ".join(rows[20][5:]) == "(this suite's samples)"
    assert " ".join(rows[33][5:]) == "(detection_limit 0.1 at 10% withheld)"
    no_ledger_was_made = {path.name for path in here.iterdir()} == {"x.memleak.toml"}
    assert no_ledger_was_made


def test_generations_count_canaries_and_the_cost_grows_with_the_samples(doctor):
    rows = rows_by_samples(doctor()[1])
    canaries = 5
    assert rows[20][3] == f"{31 * 20 + canaries:,}"
    costs = [float(rows[n][4].replace(",", "")) for n in (10, 100)]
    assert costs[1] == pytest.approx(10 * costs[0], rel=0.2)


def test_a_model_without_a_price_gets_a_note_and_lines_fit_80_columns(doctor):
    unpriced = SUITE.replace(PRICE, "")
    _, out = doctor(suite=unpriced.replace("_limit = 0.1", "_limit = 0.05"))
    table = out.partition("by the number of samples:\n")[2].partition("\nNext: ")[0]
    assert "US$: set [model.price] for every model\n" in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_missing_book_is_named_beside_the_table(doctor):
    gone = SUITE.replace(f"{STORIES}/the-lamplighter.epub", "gone.epub")
    own = 'id = "the-lamplighter"\nbring_your_own = true'
    status, out = doctor(suite=gone.replace('id = "the-lamplighter"', own))
    assert status == 1
    assert "Can't estimate: babbler/the-lamplighter: " in out


def test_an_invalid_suite_has_no_table(doctor):
    status, out = doctor(suite="[suite]\nsampels = 3\n")
    assert status == 1
    assert "invalid suite" in out
    assert "by the number of samples" not in out


@pytest.mark.full
def test_a_limit_that_can_pass_and_missing_null_books_are_named(doctor):
    _, out = doctor()
    assert (
        "bmc limit 0.15 can pass: with no recall, the upper bound of bmc is 0.0062\n"
        in out
    )
    assert (
        "bmc_excess: no interval and no p-value from 0 null books; add negative "
        "controls" in out
    )


@pytest.mark.full
def test_a_limit_that_cannot_pass_is_named_for_its_book_but_for_no_control(doctor):
    _, out = doctor(suite=SUITE.replace("bmc = 0.15", "bmc = 0.001") + CONTROL)
    said = " ".join(out.split())
    assert (
        "bmc limit 0.001 can't pass for the-lamplighter, which is too short: with"
        in said
    )
    assert "is 0.0062; test more of the book, or raise the limit" in said
    assert said.count("bmc limit 0.001 can't pass") == 1
    assert "from 1 null book; add negative controls" in said


@pytest.mark.full
def test_json_has_checks_and_rows_that_count_controls_and_null_books(doctor):
    alone = json.loads(doctor("--json")[1])
    both = json.loads(doctor("--json", suite=SUITE + CONTROL)[1])
    assert "model babbler" in [check["subject"] for check in alone["checks"]]
    tables = [content["detection"]["x.memleak.toml"] for content in (alone, both)]
    counts = [table["rows"][0]["generations"] for table in tables]
    assert counts == [310 + 5, 2 * (310 + 5)]
