"""Numbers of chapters in their titles, and the gaps between them."""

import pytest

from pytest_memleak.books.chapter_numbers import (
    chapter_number,
    misplaced_numbers,
    missing_numbers,
    unnumbered_places,
)


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("Chapter 7", 7),
        ("CHAPTER XX—THE TRAP", 20),
        ("Chapitre 3", 3),
        ("Chapter the First", 1),
        ("Chapter Twenty-One: The Sea", 21),
        ("Part Two: The Sea-Cook: Chapter 7", 7),
        ("2. II", 2),
        ("IV.", 4),
        ("12 The Sea", 12),
        ("Seven", 7),
        ("I Enlist the Sailor", None),
        ("1984", None),
        ("Prologue", None),
        ("Mixing", None),
        (None, None),
    ],
)
def test_the_number_of_a_title_is_its_chapter_s(title, number):
    assert chapter_number(title) == number


def chapters(*numbers):
    return [f"Chapter {number}" for number in numbers]


@pytest.mark.parametrize(
    ("titles", "missing"),
    [
        (chapters(*range(1, 9)), ""),
        (chapters(2, 3, 4), "1"),
        (chapters(1, 2, 3, 7, 8, 10), "4-6, 9"),
        (chapters(1, 2, 3, 1, 2, 3), ""),
        (chapters(1, 2, 3, 2, 3, 4), "1"),
        (chapters(1, 2, 2, 3), ""),
        (chapters(*range(10, 20), 3, *range(20, 30)), "1-9"),
        (["Prologue", *chapters(1, 3, 4), "Epilogue"], "2"),
        (["Prologue", "Sea", "Land", *chapters(1, 3)], ""),
        (chapters(1, 3), ""),
        (chapters(*range(2, 90, 2)), "1, 3, 5, 7, 9, …"),
        ([], ""),
    ],
)
def test_gaps_count_where_most_chapters_have_a_number(titles, missing):
    assert missing_numbers(titles) == missing


@pytest.mark.parametrize(
    ("numbers", "missing", "misplaced"),
    [
        ([1, 2, 3, 4, 5, 9, 6, 7, 8, 9], "", "9 after 5"),
        ([1, 2, 6, 4, 5, 3, 7], "", "6 after 2, 3 after 5"),
        ([1, 3, 2, 4], "", "3 after 1"),
        ([6, 2, 3, 4, 5, 1, 7], "", "6 first, 1 after 5"),
        ([1, 2, 7, 4, 5, 6, 3], "", "7 after 2, 3 after 6"),
        ([1, 2, 3, 2, 4, 6], "5", "2 after 3"),
        ([1, 2, 3, 1, 2, 3], "", ""),
        ([1, 2, 3, 1], "", ""),
        ([1, 2, 2, 3], "", ""),
        ([1, 2, 5, 6], "3-4", ""),
        ([1, 2, 9, 3, 7, 8, 10], "4-6", "9 after 2"),
        ([1, 9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9, 7], "", ""),
    ],
)
def test_a_number_that_stands_elsewhere_is_misplaced_and_not_missing(
    numbers, missing, misplaced
):
    assert missing_numbers(chapters(*numbers)) == missing
    assert misplaced_numbers(chapters(*numbers)) == misplaced


def test_titles_without_a_number_are_odd_where_most_have_one():
    assert unnumbered_places(["Preface", *chapters(1, 2, 3), None]) == [0, 4]
    assert unnumbered_places(["Preface", "Sea", "Land", *chapters(1, 2, 3)]) == []
