"""Heat strips, arcs and the colored text, against what they are drawn from."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.records.plot_records import Link
from pytest_memleak.reports.html.coverage_strips import (
    Run,
    draw_arcs,
    draw_strip,
    escaped_run_text,
    heat_level,
    heat_runs,
)
from pytest_memleak.scoring.words import words

RECTANGLE = re.compile(r"M([\d.]+) 100v-(\d+)h([\d.]+)v(\d+)z")


def columns(strip):
    """(left, right, level, height) of every rectangle, from the left."""
    results = []
    for level, path in strip.paths:
        assert RECTANGLE.sub("", path) == ""
        for left, up, width, down in RECTANGLE.findall(path):
            assert up == down
            results.append((float(left), float(left) + float(width), level, int(up)))
    return sorted(results)


LEVELS = (
    *((0, 0), (0.01, 1), (0.1, 1), (0.11, 2), (0.25, 2)),
    *((0.5, 3), (0.75, 4), (0.76, 5), (1, 5)),
)


@pytest.mark.parametrize(("share", "level"), LEVELS)
def test_a_share_of_rounds_has_one_of_five_levels(share, level):
    assert heat_level(share) == level


def test_a_column_may_hold_one_word():
    strip = draw_strip(np.array([0, 10, 10, 1, 0], dtype=np.intc), 10, columns=5)
    assert columns(strip) == [(200, 600, 5, 100), (600, 800, 1, 100)]
    assert strip.ground == 1000


def test_a_column_s_height_is_the_share_and_its_color_the_mean_of_covered_words():
    times = np.array([4, 0, 0, 0, 10, 10, 0, 0], dtype=np.intc)
    assert columns(draw_strip(times, 10, columns=2)) == [
        (0, 500, 3, 25),
        (500, 1000, 5, 50),
    ]


def test_a_part_is_drawn_to_the_scale_of_the_whole():
    strip = draw_strip(np.ones(10, dtype=np.intc), 1, columns=10, of=40)
    assert strip.ground == 250
    assert columns(strip) == [(0, 250, 5, 100)]


@given(st.lists(st.integers(0, 5), max_size=200), st.integers(1, 50))
def test_a_strip_shows_covered_words_and_no_column_without_one(times, most):
    strip = columns(draw_strip(np.array(times, dtype=np.intc), 5, columns=most))
    count = min(most, len(times))
    assert len(strip) <= count
    width = 1000 / max(len(times), 1)
    for place, time in enumerate(times):
        middle = (place + 0.5) * width
        if time:
            assert any(
                left - 0.1 <= middle <= right + 0.1 for left, right, _, _ in strip
            )
    for left, right, _, _ in strip:
        first, last = int(left / width + 0.2), int(right / width + 0.8)
        assert any(times[max(first - 1, 0) : last + 1])


@pytest.mark.parametrize(("over", "weight"), [(20, 1), (12, 1), (9, 2), (6, 2), (4, 3)])
def test_an_arc_joins_the_middles_as_strong_as_the_suite_s_threshold_says(over, weight):
    [arc] = draw_arcs([Link(80, 104, 0, (2,))], [0, 100, 200], 300, over=over)
    assert arc.path.startswith("M833.33 150C833.33 ")
    assert arc.path.endswith(" 306.67 150")
    assert arc.weight == weight


TEXT = "He said: “don't stop—it's 1984,”\n\nand café owners left."


def test_words_take_the_level_of_their_rounds():
    counted = words(TEXT)  # he said don t stop it s 1984 and café owners left
    times = [0, 0, 10, 10, 10, 1, 1, 0, 0, 0, 0, 10]
    assert len(counted) == len(times)
    assert heat_runs(TEXT, times, 10, "paper") == [
        Run("He said: “", 0),
        Run("don't stop", 5),
        Run("—", 0),
        Run("it's", 1),
        Run(" 1984,”", 0),
        Run(None),
        Run("and café owners ", 0),
        Run("left", 5),
        Run(".", 0),
    ]


@pytest.mark.parametrize("mode", ["paper", "unicode"])
@given(
    text=st.text(alphabet="ab é-—'_™½\u00ad\u200b漢字กขЖ\n.  \x00", max_size=60),
    data=st.data(),
)
def test_heat_runs_keep_all_letters_and_color_all_covered_words(mode, text, data):
    counted = words(text, mode)
    times = data.draw(
        st.lists(st.integers(0, 1), min_size=len(counted), max_size=len(counted))
    )
    runs = heat_runs(text, times, 1, mode)
    shown = "".join(run.text or "" for run in runs)
    assert "".join(shown.split()) == "".join(text.split())
    marked = sum(len(words(run.text, mode)) for run in runs if run.text and run.level)
    assert marked >= sum(times)
    assert (marked > 0) is any(times)


def test_a_run_keeps_its_outer_spaces_and_nothing_that_acts():
    assert escaped_run_text(" a <b>\x1b[31m \u202eb ") == " a &lt;b&gt; [31m b "
    assert escaped_run_text("\ud800") == ""
