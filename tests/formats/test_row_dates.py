"""The date of a row is found where its writer puts it."""

import datetime

import pytest

from pytest_memleak.formats.row_dates import date_of

SECONDS = 1_772_600_767  # 2026-03-04 05:06:07 UTC


@pytest.mark.parametrize(
    "row",
    [
        {"timestamp": "2026-03-04T05:06:07.890Z"},
        {"created_at": "2026-03-04 05:06:07"},
        {"date": "2026-03-04"},
        {"created": SECONDS},
        {"created_at": float(SECONDS)},
        {"createdAt": SECONDS * 1_000},
        {"start_time": SECONDS * 1_000_000_000},
        {"time": datetime.datetime(2026, 3, 4, 5, tzinfo=datetime.UTC)},
        {"id": 1, "response": {"body": {"created": SECONDS}}},
        {"date": "yesterday", "metadata": {"timestamp": "2026-03-04"}},
    ],
    ids=str,
)
def test_a_date_is_found(row):
    assert date_of(row) == "2026-03-04"


@pytest.mark.parametrize(
    "value",
    ["2026-13-04", "2026-03-041", "soon", True, 7, 10**30, -1, None, [], float("nan"), float("inf")],
)  # fmt: skip
def test_what_is_no_date_is_none(value):
    assert date_of({"timestamp": value}) is None


@pytest.mark.parametrize("row", [None, [], "2026-03-04", {}, {"response": []}])
def test_a_row_without_a_date_has_none(row):
    assert date_of(row) is None
