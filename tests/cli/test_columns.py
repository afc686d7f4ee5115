"""Tables at every width: no line is too long, and no cell, head or digit is lost."""

import pytest

from pytest_memleak.cli.columns import WHOLE, table_text

HEADS = ("model", "book", "nv_longest_passage", "bmc", "verdict")
ROWS = [
    ("babbler", "The Lamplighter of Saltmarsh Row", "1,234", "0.019 (0.015–0.025)", "PASS"),
    ("reciter-of-everything", "夜の種", "12,345", "1.000 (0.915–1.000)", "FAIL"),
    ("none", "", "-", "-", "NOT RUN"),
]
NUMBERS = ("nv_longest_passage", "bmc")


@pytest.mark.parametrize("width", [20, 30, 40, 52, 60, 79, 80, 100, 120, WHOLE])
def test_nothing_is_cut(width):
    text = table_text(HEADS, ROWS, right=NUMBERS, width=width)
    assert max(map(len, text.splitlines())) <= width
    letters = sorted("".join(text.split()))
    once = "".join((*HEADS, *map("".join, ROWS))).replace(" ", "")
    # One below the other, every row has its heads.
    several = "".join("".join(HEADS) + "".join(row) for row in ROWS[:2])
    several += "".join(head + cell for head, cell in zip(HEADS, ROWS[2], strict=True) if cell)
    assert letters in (sorted(once), sorted(several.replace(" ", "")))


def test_a_pipe_gets_a_row_a_line():
    lines = table_text(HEADS, ROWS, right=NUMBERS).splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert lines[0].split() == list(HEADS)
    assert lines[1].startswith("babbler")


def test_numbers_keep_together_and_heads_break_after_an_underscore():
    wide = table_text(HEADS[2:], [row[2:] for row in ROWS], right=NUMBERS, width=40)
    assert "12,345" in wide
    assert "passage" in wide.split()
    assert "0.915–1.000" in wide


def test_text_of_others_moves_no_cursor():
    assert not {"\x1b", "\u202e"} & set(table_text(("a",), [("\x1b[31m\u202e[red]b",)]))
    assert "[red]b" in table_text(("a",), [("[red]b",)])
