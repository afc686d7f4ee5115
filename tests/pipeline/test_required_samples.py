"""Which answers are a pair's null and its baseline, and which stages are drawn."""

import dataclasses
import json

import pytest

from pytest_memleak.pipeline.required_samples import Purpose, required_samples
from pytest_memleak.records import Limits, Probe
from pytest_memleak.suite.load import load_suite

SUITE = """
suite = { samples = 2 }
limits = { bmc_excess = 0.5 }
book = [{ id = "one", source = "book.json" }, { id = "two", source = "book.json" }]
model = [{ id = "m", provider = "recorded", options = { path = "x.json" } }]
"""


@pytest.fixture
def suite(tmp_path):
    record = {
        "excerpt_id": "p_id1",
        "excerpt_text": "a b c d e f",
        "instruction": "Write.",
    }
    (tmp_path / "book.json").write_text(json.dumps([record]))
    path = tmp_path / "x.memleak.toml"
    path.write_text(SUITE)
    return load_suite(path)


def nulls(suite):
    wanted = required_samples(suite.pairs[0], suite)
    return [draws.pair.book.id for draws in wanted if draws.purpose is Purpose.NULL]


def test_the_null_is_of_another_book_and_of_controls_where_there_are_any(suite):
    assert nulls(suite) == ["two"]
    one, two = suite.pairs
    controls = [
        dataclasses.replace(
            two, book=dataclasses.replace(two.book, id=name, role="negative-control")
        )
        for name in ("new", "newer")
    ]
    suite = dataclasses.replace(suite, pairs=(one, two, *controls))
    assert nulls(suite) == ["new", "newer"]
    own = [draws.pair.book.id for draws in required_samples(controls[0], suite)]
    assert own == ["new", "newer"]  # a control's own null is of the others


def test_a_pair_without_a_limit_on_chance_or_of_another_probe_has_no_null(suite):
    first, second = suite.pairs
    otherwise = dataclasses.replace(second, probe=Probe("continuation"))
    unlimited = dataclasses.replace(first, limits=Limits(longest_span=10))
    for pairs in ((first, otherwise), (unlimited, second)):
        assert nulls(dataclasses.replace(suite, pairs=pairs)) == []
