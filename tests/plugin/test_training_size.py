"""A training-size curve: one suite, models tuned on shares of a book, one table."""

import csv

import pytest
from suite_files import write_book

from pytest_memleak.cli.main import main

SUITE = """
suite = { samples = 3 }
limits = { longest_span = 20 }
book = [
    { id = "tested", source = "tested.json" },
    { id = "trained", source = "trained.json", role = "train" },
]
[[model]]
id = "tuned-{share}"
provider = "ngram"
options = { order = 9, pretraining = ["trained"] }
expected = "leak"
[model.finetune]
books = ["trained"]
share = [0.25, 0.5, 1.0]
"""


@pytest.fixture
def curve(pytester, capsys):
    """Run the suite; the table of its evidence."""
    from invented_prose import ASKED, prose

    for name in ("tested", "trained"):
        texts = {f"p_id{n}": prose(f"{name} {n}", 60) for n in range(8)}
        about = {key: " ".join(text.split()[::4]) for key, text in texts.items()}
        write_book(
            f"{name}.json", texts, lambda key, about=about: f"{ASKED} {about[key]}."
        )
    pytester.path.joinpath("curve.memleak.toml").write_text(SUITE, "utf-8")
    pytester.runpytest("--memleak-evidence=evidence.json")

    def table(*arguments):
        capsys.readouterr()
        assert main(["table", "evidence.json", "--format", "csv", *arguments]) == 0
        return list(csv.DictReader(capsys.readouterr().out.splitlines()))

    return table


@pytest.mark.full
def test_a_table_has_a_column_for_each_share(curve):
    rows = curve("--measure", "bmc", "--columns", "finetune_share")
    assert [list(row) for row in rows] == [["book", "0.25", "0.5", "1.0"]]
    shares = {row["model"]: row["finetune_share"] for row in curve()}
    assert shares == {f"tuned-{share}": share for share in ("0.25", "0.5", "1.0")}
