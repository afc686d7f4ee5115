"""Folded words of a book lie where the measured words around them do."""

from scored_books import book_of

from pytest_memleak.scoring.multi_book_index import SharedIndex

PLAIN = [f"w{n}" for n in range(300)]


def places(*texts):
    return SharedIndex([book_of(*texts)], k=5).measured_places()


def test_places_are_equal_where_folding_changes_nothing():
    assert places(" ".join(PLAIN)).measured_interval(0, 10, 30) == (10, 30)


def test_places_are_shifted_behind_words_that_folding_joins():
    joined = [*PLAIN[:100], "be-\nside", "over-\ncome", *PLAIN[100:]]
    measured = places(" ".join(joined))
    # Two of the folded words were four.
    assert measured.measured_interval(0, 10, 30) == (10, 30)
    assert measured.measured_interval(0, 150, 170) == (152, 172)
    start, end = measured.measured_interval(0, 90, 140)
    assert (start, end) == (90, 142)


def test_places_are_shifted_in_each_excerpt():
    first = " ".join([*PLAIN[:100], "be-\nside", *PLAIN[100:150]])
    measured = places(first, " ".join(PLAIN[150:]))
    assert measured.measured_interval(0, 200, 220) == (201, 221)
