from __future__ import annotations

import pytest

from pytest_memleak.books.plain_text import read_text
from pytest_memleak.errors import BookError


@pytest.fixture
def read(tmp_path):
    def read_this(text, encoding="utf-8"):
        path = tmp_path / "book.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_text(path)

    return read_this


@pytest.fixture
def paragraphs(read):
    def of(text):
        return [one for chapter in read(text).chapters for one in chapter.paragraphs]

    return of


# --- encodings -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_unicode(read, encoding):
    manuscript = read("“Été”, she said to him.", encoding)
    assert manuscript.chapters[0].paragraphs == ("“Été”, she said to him.",)
    assert manuscript.warnings == ()


def test_anything_else_is_read_as_windows_1252_with_a_warning(read):
    manuscript = read("“Été”", "cp1252")
    assert manuscript.chapters[0].paragraphs == ("“Été”",)
    assert manuscript.warnings == ("not UTF-8; read as windows-1252",)


# --- paragraphs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\n\ntwo\n \n\nthree\n", ["one", "two", "three"]),
        ("one\r\n\r\ntwo\r\rthree", ["one", "two", "three"]),
        ("one\ntwo\nthree", ["one", "two", "three"]),
        ("one is\nwrapped\n\ntwo", ["one is wrapped", "two"]),
        ("    indented and\nwrapped\n\ntwo", ["indented and wrapped", "two"]),
        ("a verse\n  of two\n  lines\n\ntwo", ["a verse\nof two\nlines", "two"]),
        ("hy\u00adphen\n\nno\u200bspace", ["hyphen", "nospace"]),
        ("one\fpage two\n\nthree", ["one", "page two", "three"]),
    ],
)
def test_paragraphs(paragraphs, text, expected):
    assert paragraphs(text) == expected


def test_lines_that_are_paragraphs_though_blank_lines_group_them(paragraphs):
    lines = ("word " * 60 + "\n") * 20
    assert len(paragraphs(f"A Title\n\n{lines}")) == 21


# --- chapters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heading",
    [
        "CHAPTER IV",
        "CHAPTER IV.",
        "Chapter 1: The Storm",
        "Chapter Twenty-One",
        "CHAPTER I. JONATHAN HARKER'S JOURNAL",
        "CHAPTER I THE STORM",
        "Part the First",
        "BOOK TWO",
        "LETTER 4",
        "Chapter I\nThe Beginning",
        "PROLOGUE",
        "Epilogue",
    ],
)
def test_headings(read, heading):
    (chapter,) = read(f"{heading}\n\nThe text of it.\n\nMore.").chapters
    assert chapter.title == heading.replace("\n", ": ")
    assert chapter.paragraphs == ("The text of it.", "More.")


@pytest.mark.parametrize(
    "text",
    [
        "Part one of the plan was simple.",
        "Letter I wrote to her was lost",
        "Section 8 housing is a programme",
        "Chapter and verse",
        "Book him!",
        "Prologue to the thing",
        "I",
        "Chapter 1: " + "a line that goes on and on " * 5,
        "Chapter 1\nis\na\nparagraph",
    ],
)
def test_what_is_not_surely_a_heading_is_text(paragraphs, text):
    assert len(paragraphs(f"{text}\n\nMore.")) == 2


def test_roman_numerals_alone_are_headings_when_they_count(read):
    chapters = read("I\n\none\n\nII.\n\ntwo\n\nI\n\nthree\n\nV\n\nfour").chapters
    assert [(one.title, one.paragraphs) for one in chapters] == [
        ("I", ("one",)),
        ("II.", ("two", "I", "three", "V", "four")),
    ]


def test_a_table_of_contents_opens_no_chapters(read):
    contents = "\n\n".join(f"CHAPTER {number}" for number in ("I", "II", "III"))
    chapters = read(f"{contents}\n\nCHAPTER I\n\none\n\nCHAPTER II\n\ntwo").chapters
    assert [one.title for one in chapters] == ["CHAPTER I", "CHAPTER II"]


def test_chapters_are_named_after_their_part(read):
    chapters = read("BOOK ONE\n\nCHAPTER I\n\none\n\nCHAPTER II\n\ntwo").chapters
    assert [one.title for one in chapters] == ["BOOK ONE: CHAPTER I", "BOOK ONE: CHAPTER II"]


def test_project_gutenberg(read):
    manuscript = read(
        "The Project Gutenberg eBook of A Book\n\nTitle: A Book\n\nAuthor: An Author\n\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n\nProduced by Some Body\n\n"
        "CHAPTER I\n\nThe text.\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n\nThe licence."
    )
    assert (manuscript.title, manuscript.author) == ("A Book", "An Author")
    assert [one.paragraphs for one in manuscript.chapters] == [("The text.",)]


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"\n\n * * * \n", "contains no words"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20, "is not text"),
        (bytes(range(1, 9)) * 100, "is not text"),
    ],
)
def test_what_is_no_text_is_refused(read, tmp_path, data, match):
    with pytest.raises(BookError, match=match) as caught:
        read(data)
    assert caught.value.location == str(tmp_path / "book.txt")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(BookError, match="is a directory"):
        read_text(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BookError, match="cannot be read: No such file"):
        read_text(tmp_path / "nowhere.txt")


def test_a_file_over_64_mib_is_refused_unread(tmp_path):
    path = tmp_path / "book.txt"
    with path.open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(BookError, match="has 67,108,865 bytes"):
        read_text(path)


@pytest.mark.parametrize(
    ("data", "match", "hint"),
    [
        (b"{\\rtf1\\ansi words}", "is RTF, not text", "convert"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><p>words</p>", "is HTML, not plain text", ".html"),
        (b"<HTML><body>words</body></HTML>", "is HTML, not plain text", ".html"),
        (b"<!-- made by hand -->\n<html>words</html>", "is HTML, not plain text", ".html"),
    ],
)
def test_what_is_another_format_says_so(read, tmp_path, data, match, hint):
    path = tmp_path / "book.txt"
    path.write_bytes(data)
    with pytest.raises(BookError, match=match) as caught:
        read_text(path)
    assert hint in caught.value.hint
