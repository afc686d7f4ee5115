"""The book's own text in colour: the right words, and not a letter lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.reports.html.book_text import Run, heat_runs, safe_text
from pytest_memleak.scoring.words import words

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
@given(text=st.text(alphabet="ab é-—'_™½\u00ad\u200b漢字กขЖ\n.  \x00", max_size=60), data=st.data())
def test_every_letter_is_there_and_every_covered_word_coloured(mode, text, data):
    counted = words(text, mode)
    times = data.draw(st.lists(st.integers(0, 1), min_size=len(counted), max_size=len(counted)))
    runs = heat_runs(text, times, 1, mode)
    told = "".join(run.text or "" for run in runs)
    assert "".join(told.split()) == "".join(text.split())
    marked = sum(len(words(run.text, mode)) for run in runs if run.text and run.level)
    assert marked >= sum(times)
    assert (marked > 0) is any(times)


def test_a_run_keeps_its_outer_spaces_and_nothing_that_acts():
    assert safe_text(" a <b>\x1b[31m \u202eb ") == " a &lt;b&gt; [31m b "
    assert safe_text("\ud800") == ""
