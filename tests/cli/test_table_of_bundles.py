"""`memleak table` of random sets of bundles: no cell averages different experiments."""

import csv
import dataclasses
import io
import itertools
import random
from collections import Counter
from statistics import fmean

import pytest
from pair_results import NOTHING, estimated, named

from pytest_memleak.cli.main import main
from pytest_memleak.records.pair_result import RunReport, SuiteFacts
from pytest_memleak.results.evidence_file import seal_bundle, write_evidence_file
from pytest_memleak.results.result_codec import encode_pair
from pytest_memleak.results.run_evidence import run_evidence

BOOKS = {"road": "Ann", "sea": "Ann", "hill": "Ben"}
TOLERANCE = 1e-12


def make_pairs(dice):
    """Random pairs of a few bundles, suites, models, and books; no two have one BMC."""
    names = itertools.product(
        ("may", "june", "july"), ("none", "cross"), ("m1", "m2", "m3"), BOOKS
    )
    chosen = dice.sample([*names], k=dice.randint(1, 9))
    # Of sums of powers of two, each tells of what it is the sum.
    return {
        place: {"bundle": bundle, "suite": suite, "model": model, "book": book,
                "author": BOOKS[book], "base_model": f"b{model[1:] > '1'}",
                "bmc": 2.0 ** -(place + 1)}
        for place, (bundle, suite, model, book) in enumerate(chosen)
    }  # fmt: skip


def encoded(pair):
    result = named(NOTHING, model=pair["model"], book=pair["book"])
    return encode_pair(
        dataclasses.replace(
            result,
            pair=f"{pair['model']}/{pair['book']}",
            suite=SuiteFacts(pair["suite"], f"/suites/{pair['suite']}", "0" * 64),
            book=dataclasses.replace(result.book, author=pair["author"]),
            model=dataclasses.replace(result.model, base_model=pair["base_model"]),
            measures={"bmc": estimated(pair["bmc"])},
        )
    )


def write_bundles(folder, pairs):
    paths = []
    for bundle in sorted({pair["bundle"] for pair in pairs}):
        content = run_evidence(RunReport("1.0", ()))
        del content["sha256"]
        content["pairs"] = [encoded(pair) for pair in pairs if pair["bundle"] == bundle]
        path = folder / f"{bundle}.json"
        write_evidence_file(seal_bundle(content), path)
        paths.append(str(path))
    return paths


def experiments(pairs):
    """Every set that a cell may average: pairs of one suite, or of one bundle's suite."""
    for facts in (("suite",), ("bundle", "suite")):
        for key in {tuple(pair[fact] for fact in facts) for pair in pairs}:
            some = [
                pair for pair in pairs if tuple(pair[fact] for fact in facts) == key
            ]
            if max(Counter(pair["book"] for pair in some).values()) == 1:
                yield some


@pytest.mark.parametrize(
    ("by", "across"), [*itertools.product(("book", "author"), ("model", "base_model"))]
)
def test_no_cell_of_thirty_random_sets_of_bundles_mixes(tmp_path, capsys, by, across):
    tables = 0
    for seed in range(30):
        pairs = [*make_pairs(random.Random(seed)).values()]
        folder = tmp_path / str(seed)
        folder.mkdir()
        bundles = write_bundles(folder, pairs)
        arguments = ("--measure", "bmc", "--by", by, "--columns", across)
        status = main(["table", *bundles, *arguments, "--format", "csv"])
        shown = capsys.readouterr()
        if status:
            assert "would average several pairs of one book" in shown.err
            assert across == "base_model"
            continue
        tables += 1
        cells = 0
        for row in csv.DictReader(io.StringIO(shown.out)):
            for column, value in row.items():
                if column == by or not value:
                    continue
                cells += 1
                alike = [
                    pair
                    for pair in pairs
                    if pair[by] == row[by] and column.startswith(pair[across])
                ]
                assert any(
                    abs(fmean(pair["bmc"] for pair in some) - float(value)) < TOLERANCE
                    for some in experiments(alike)
                ), (seed, column, row)
        assert cells
    assert tables >= 10
