"""A book on one screen of 20 lines, no wider than the terminal."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pytest_memleak.books.book_outline import BookOutline, OutlinedChapter
from pytest_memleak.interfaces.protocols import Cut
from pytest_memleak.reports.book_screen import screen_lines, shown_cuts

SENTENCE = "The keeper went down to the sea in the morning and came back by night."


def chapter(title, words=1_000):
    return OutlinedChapter(title, words, SENTENCE, SENTENCE, (f"{title}.xhtml",))


def cut(name, words, rule="its title marks it as 'preface'"):
    return Cut(f"{name}.xhtml", name, rule, words, f"{name} {SENTENCE}")


ONE = (chapter("One"),)
# Lines before the first chapter: title, sizes, both ends, heads of columns.
HEAD = 5


def outline(chapters=ONE, cuts=(), alarms=(), title="T", notes=0):
    left_out = sum(one.words for one in cuts)
    return BookOutline(
        title, "A", tuple(chapters), tuple(cuts), left_out, notes, tuple(alarms)
    )


def test_a_small_book_is_shown_whole():
    chapters = [chapter("One", 1_500), chapter("Two", 2_500)]
    assert screen_lines(outline(chapters, notes=12)) == [
        "T by A",
        "4,000 words in 2 chapters; left out: 0 words (0%) and 12 of notes",
        "begins “The keeper went down to the sea in the morning and came back by night.…”",
        "ends   “…The keeper went down to the sea in the morning and came back by night.”",
        "    chapter                   words  begins … ends",
        "  1 One                       1,500  The keeper went down… …came back by night.",
        "  2 Two                       2,500  The keeper went down… …came back by night.",
    ]


def test_cuts_are_listed_largest_first_with_their_rule_and_first_words():
    cuts = [cut("Preface", 300), cut("Chapter 1", 5_000), cut("Colophon", 20)]
    assert screen_lines(outline(cuts=cuts))[HEAD + 1 :] == [
        "    left out                  words  why / begins",
        "  a Chapter 1                 5,000  its title marks it as 'preface'",
        "                                     “Chapter 1 The keeper went down to the…”",
        "  b Preface                     300  its title marks it as 'preface'",
        "                                     “Preface The keeper went down to the sea…”",
        "smaller: 20 words (Colophon)",
    ]


def test_cuts_without_lines_are_counted():
    cuts = [cut(f"Part {number}", 1_000 - number) for number in range(40)]
    book = outline([chapter(f"C{number}") for number in range(9)], cuts)
    lines = screen_lines(book)
    listed = len(shown_cuts(book))
    rest = sum(one.words for one in cuts[listed:])
    assert 4 <= listed < 40
    assert f"    {40 - listed} more over 200 words   {rest:,}" in lines


def test_a_chapter_that_has_alarm_stays_of_many():
    chapters = [chapter(f"C{number}") for number in range(100)]
    chapters[30] = replace(chapter("Half"), has_alarm=True)
    rows = [line[:20].rstrip() for line in screen_lines(outline(chapters))[HEAD:]]
    assert " 31 Half" in rows


def test_both_ends_the_longest_and_the_shortest_chapter_stay_of_many():
    chapters = [chapter(f"C{number}") for number in range(100)]
    chapters[30] = chapter("Short", 7)
    chapters[60] = chapter("Long", 9_000)
    rows = [line[:20].rstrip() for line in screen_lines(outline(chapters))[HEAD:]]
    assert rows == [
        "  1 C0",
        "  2 C1",
        "    … 28 more",
        " 31 Short",
        "    … 29 more",
        " 61 Long",
        "    … 37 more",
        " 99 C98",
        "100 C99",
    ]


def test_chapters_without_a_number_stay_of_many_largest_first():
    chapters = [chapter(f"C{number}") for number in range(100)]
    sizes = {1: 2_000, 2: 60, 40: 3_000, 70: 55, 80: 51}
    for place, words in sizes.items():
        unnumbered = chapter(f"Unnumbered {place}", words)
        chapters[place] = replace(unnumbered, lacks_number=True)
    lines = screen_lines(outline(chapters, [cut("Preface", 300)] * 3))
    assert [line[:20].rstrip() for line in lines[HEAD:-7]] == [
        "  1 C0",
        "  2 Unnumbered 1",
        "  3 Unnumbered 2",
        "    … 37 more",
        " 41 Unnumbered 40",
        "    … 58 more",
        "100 C99",
    ]
    assert len(lines) == 19


def test_the_last_alarms_stay_of_many():
    alarms = [f"warning {number}" for number in range(9)]
    assert screen_lines(outline(alarms=alarms))[-4:] == [
        "! 6 more warnings",
        "! warning 6",
        "! warning 7",
        "! warning 8",
    ]


def test_unknown_titles_and_control_characters_are_shown_harmless():
    book = outline([chapter("A\x1b[31mB\nC")], title="")
    lines = screen_lines(book)
    assert lines[0] == "(unknown) by A"
    assert not any(not line.isprintable() for line in lines)


TEXTS = st.text(st.sampled_from("aé 山\n\x1b漁ß"), max_size=90)
SIZES = st.integers(0, 9_999_999)
CHAPTERS = st.lists(
    st.builds(OutlinedChapter, st.none() | TEXTS, SIZES, TEXTS, TEXTS),
    min_size=1,
    max_size=30,
)
CUTS = st.lists(st.builds(Cut, TEXTS, st.none() | TEXTS, TEXTS, SIZES, TEXTS))


@pytest.mark.parametrize("columns", [80, 120])
@given(CHAPTERS, CUTS, st.lists(TEXTS, max_size=9), TEXTS)
def test_no_book_takes_more_than_the_screen(columns, chapters, cuts, alarms, title):
    lines = screen_lines(outline(chapters, cuts, alarms, title), columns)
    assert len(lines) < 20
    assert max(map(cell_len, lines)) <= columns


def test_a_narrow_terminal_shows_how_much_was_left_out():
    lines = screen_lines(outline(cuts=[cut("preface", 500)]), 40)
    text = " ".join(line.strip() for line in lines)
    assert "left out: 500 words (33%)" in text


def test_a_narrow_terminal_has_all_columns():
    chapters = [chapter("A Chapter of a Very Long Name", 1_500), chapter("Two", 2_500)]
    lines = screen_lines(outline(chapters, cuts=[cut("preface", 300)]), 60)
    assert max(map(cell_len, lines)) <= 60
    assert lines[HEAD : HEAD + 2] == [
        "  1 A Chapter of a…    1,500  The keeper… …by night.",
        "  2 Two                2,500  The keeper… …by night.",
    ]
