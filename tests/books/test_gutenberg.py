from __future__ import annotations

import pytest

from pytest_memleak.books.boilerplate import header_field, without_license

START = "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***"


@pytest.mark.parametrize(
    "start",
    [
        START,
        "*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***",
        "***START OF THE PROJECT GUTENBERG EBOOK A BOOK***",
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK WITH\nA LONG TITLE ***",
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        END,
        "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***",
        "End of the Project Gutenberg EBook of A Book, by An Author",
        "End of Project Gutenberg's A Book, by An Author",
        "START: FULL LICENSE",
    ],
)
def test_what_stands_around_the_text_goes(start, end):
    paragraphs = ["licence", start, "one", "two", end, "licence", "licence"]
    assert without_license(paragraphs) == ["", "", "one", "two", "", "", ""]


def test_text_beside_the_markers_stays():
    assert without_license([f"licence\n{START}\none", f"two\n{END}\nlicence"]) == ["one", "two"]


def test_the_transcribers_credits_go_with_it():
    found = without_license([START, "Produced by Some Body", "E-text prepared by Her", "one"])
    assert found == ["", "", "", "one"]
    assert without_license([START, "one", "Produced by fire"]) == ["", "one", "Produced by fire"]


def test_without_a_start_only_a_late_end_counts():
    assert without_license(["one", "two", "three", END]) == ["one", "two", "three", ""]
    assert without_license([END, "one", "two", "three"]) == [END, "one", "two", "three"]


def test_other_books_are_left_alone():
    paragraphs = ["He read it on Project Gutenberg.", "*** START ***", "End of Part One"]
    assert without_license(paragraphs) == paragraphs


def test_header_fields():
    paragraphs = ["Title: A Book\n       of Two Lines\n\nAuthor: An Author", START, "Title: no"]
    assert header_field(paragraphs, "Title") == "A Book of Two Lines"
    assert header_field(paragraphs, "Author") == "An Author"
    assert header_field(["Title: no header"], "Title") is None
