"""The ordinary charts: classes of lengths, and bare SVG that says what it shows."""

import itertools
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.reports.html.charts import (
    LengthClass,
    coverage_chart,
    length_chart,
    length_classes,
)

NAMED = {"name": "here", "title": "A <title>", "text": "5 & 9"}


@given(st.dictionaries(st.integers(5, 3000), st.integers(1, 50)))
def test_length_classes_hold_a_length_once(lengths):
    classes = length_classes(sorted(lengths.items()), k=5)
    assert sum(count for _, _, count in classes) == sum(lengths.values())
    assert all(
        high + 1 == low for (_, high, _), (low, _, _) in itertools.pairwise(classes)
    )
    for low, high, count in classes:
        assert count == sum(n for size, n in lengths.items() if low <= size <= high)


def test_classes_of_lengths_double():
    assert length_classes([(5, 2), (9, 1), (10, 4), (44, 1)], k=5) == [
        (5, 9, 3),
        (10, 19, 4),
        (20, 39, 0),
        (40, 79, 1),
    ]


def bare(markup):
    root = ElementTree.fromstring(markup)
    elements = list(root.iter())
    tags = {*("svg", "g", "path", "rect", "circle"), *("text", "title", "desc")}
    assert {element.tag for element in elements} <= tags
    for element in elements:
        assert not {"style", "onclick", "href"} & set(element.attrib)
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "here-title here-text"
    named = {
        element.get("id"): element.text for element in elements if element.get("id")
    }
    assert named == {"here-title": "A <title>", "here-text": "5 & 9"}
    return root


def test_bars_are_as_high_as_their_counts():
    rows = [(5, 9, 1000), (10, 19, 0), (20, 39, 10), (40, 79, 1)]
    root = bare(length_chart([LengthClass(*row) for row in rows], **NAMED))
    heights = [
        float(rect.get("height"))
        for rect in root.iter("rect")
        if rect.get("class") == "bar"
    ]
    assert len(heights) == 3
    # On a logarithmic scale two decades are twice one; 1 itself can be seen.
    assert heights[0] - heights[1] == pytest.approx(
        2 * (heights[1] - heights[2]), rel=0.01
    )
    assert heights[2] > 5
    texts = {text.text for text in root.iter("text")}
    assert {"1,000", "10", "5–9", "40–79", "words in a row", "spans"} <= texts


def points(root, series):
    [path] = [path for path in root.iter("path") if path.get("class") == series]
    numbers = [
        float(part) for part in path.get("d").replace("M", "").replace("L", "").split()
    ]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_the_coverage_chart_places_curve_guess_interval_and_limit():
    root = bare(
        coverage_chart([0.1, 0.2, 0.3], [0.35, 0.4, 0.45], (0.2, 0.4), 0.25, **NAMED)
    )
    curve, guess = points(root, "measured"), points(root, "guess")
    assert len(curve) == 3
    assert len(guess) == 4
    assert guess[0] == curve[-1]
    (x, low), (also_x, high) = points(root, "interval")
    assert x == also_x == curve[-1][0]
    assert high < curve[-1][1] < low  # y grows downwards
    (_, limit), _ = points(root, "limit")
    assert curve[-1][1] < limit < curve[1][1]
    assert limit == pytest.approx((curve[-1][1] + curve[1][1]) / 2, abs=0.01)


@pytest.mark.parametrize("curve", [[0.0], [1.0], [0.0] * 9])
def test_a_coverage_chart_of_one_sample_or_no_recall_is_drawn(curve):
    bare(coverage_chart(curve, curve, (0.0, 1.0), None, **NAMED))
