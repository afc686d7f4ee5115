"""A table's cells: pairs of one suite, each book once, however the bundles are named."""

from collections import defaultdict
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.errors import SettingsError
from pytest_memleak.reports.evidence_rows import Evidence


def row(bmc, *, bundle="one", suite="a", model="m", base="b", book="x"):
    return {
        "bundle": bundle,
        "suite": suite,
        "model": model,
        "base_model": base,
        "author": "An Author",
        "book": book,
        "title": book,
        "bmc": bmc,
    }


def evidence_of(*rows):
    evidence = Evidence()
    evidence.rows += rows
    return evidence


def test_two_suites_of_one_base_model_are_two_columns():
    evidence = evidence_of(
        row(0.022, suite="none"), row(0.988, suite="cross_author", model="tuned")
    )
    assert evidence.grid("bmc", "author", "base_model") == [
        {"author": "An Author", "b (none)": 0.022, "b (cross_author)": 0.988}
    ]


def test_two_bundles_of_one_suite_are_two_columns():
    evidence = evidence_of(row(0.1, bundle="may"), row(0.3, bundle="june"))
    assert evidence.grid("bmc") == [{"book": "x", "m (may)": 0.1, "m (june)": 0.3}]


def test_different_books_of_one_suite_are_averaged():
    evidence = evidence_of(row(0.1), row(0.3, book="y"))
    (line,) = evidence.grid("bmc", "author", "base_model")
    assert line == {"author": "An Author", "b": pytest.approx(0.2)}


def test_a_column_that_is_not_divisible_is_named():
    evidence = evidence_of(row(0.1), row(0.3, model="other"))
    with pytest.raises(SettingsError, match=r"column 'b .*' would average") as error:
        evidence.grid("bmc", "author", "base_model")
    assert error.value.hint == "use --columns model"
    assert len(evidence.grid("bmc")[0]) == 3


NAMES = st.sampled_from(["one", "two", "three"])
ROWS = st.lists(
    st.tuples(NAMES, NAMES, NAMES, NAMES, NAMES, st.floats(0, 1)),
    min_size=1,
    max_size=12,
    unique_by=lambda drawn: drawn[:5],
)


@given(
    ROWS, st.sampled_from(["book", "author"]), st.sampled_from(["model", "base_model"])
)
@settings(max_examples=60, deadline=None)
def test_no_cell_mixes_experiments(drawn, by, across):
    keys = ("bundle", "suite", "model", "base", "book")
    rows = [row(bmc, **dict(zip(keys, names, strict=True))) for *names, bmc in drawn]
    evidence = evidence_of(*rows)
    try:
        grid = evidence.grid("bmc", by, across)
    except SettingsError:
        return
    cells = defaultdict(list)
    for column, pair in zip(evidence.columns_of(by, across), rows, strict=True):
        assert column.startswith(pair[across])
        cells[pair[by], column].append(pair)
    for pairs in cells.values():
        assert len({pair["suite"] for pair in pairs}) == 1
        assert len({pair["book"] for pair in pairs}) == len(pairs)
    shown = {(line[by], head): line[head] for line in grid for head in line}
    for cell, pairs in cells.items():
        assert shown[cell] == pytest.approx(mean(pair["bmc"] for pair in pairs))
