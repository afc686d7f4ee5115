from itertools import product

import pytest

from pytest_memleak.books.boilerplate import header_field, without_license
from pytest_memleak.books.plain_text import read_text
from pytest_memleak.books.text_decoding import decode, read_source
from pytest_memleak.errors import BookError


@pytest.fixture
def read(tmp_path):
    def read_this(text, encoding="utf-8"):
        path = tmp_path / "book.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_text(path)

    return read_this


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
        # What an override shows in reverse reads forward; it ends with its line.
        (
            "\u202e.nwod tnew eH\u202c So\n\n\u202eeH\n\nwe",
            ["He went down. So", "He", "we"],
        ),
        ("ab \u202dcd\u202c\n\n\u202eשלום\u202c", ["ab cd", "שלום"]),
        ("\u202dםולש\u202c", ["שלום"]),
        ("one\fpage two\n\nthree", ["one", "page two", "three"]),
        # Lines that are paragraphs, though blank lines group them.
        (
            "Title\n\n" + ("word " * 60 + "\n") * 20,
            ["Title", *[("word " * 60).strip()] * 20],
        ),
    ],
    ids=range(12),
)
def test_lines_of_a_text_become_paragraphs(read, text, expected):
    assert [
        one for chapter in read(text).chapters for one in chapter.paragraphs
    ] == expected


HEADINGS = [
    *(
        "CHAPTER IV",
        "CHAPTER IV.",
        "Chapter 1: The Storm",
        "Chapter Twenty-One",
        "BOOK TWO",
    ),
    *("CHAPTER I. JONATHAN HARKER'S JOURNAL", "CHAPTER I THE STORM", "Part the First"),
    *("LETTER 4", "Chapter I\nThe Beginning", "PROLOGUE", "Epilogue"),
]
NO_HEADINGS = [
    *(
        "Part one of the plan was simple.",
        "Letter I wrote to her was lost",
        "I",
        "Book him!",
    ),
    *("Section 8 housing is a programme", "Chapter and verse", "Prologue to the thing"),
    *("Chapter 1: " + "a line that goes on and on " * 5, "Chapter 1\nis\na\nparagraph"),
]
CHAPTERS = "CHAPTER I\n\none\n\nCHAPTER II\n\ntwo"


@pytest.mark.parametrize(("text", "chapters"), [
    *((f"{one}\n\nIt.\n\nMore.", {one.replace("\n", ": "): 2}) for one in HEADINGS),
    *((f"{one}\n\nMore.", {None: 2}) for one in NO_HEADINGS),
    # Roman numerals alone are headings when they count.
    ("I\n\none\n\nII.\n\ntwo\n\nI\n\nthree\n\nV\n\nfour", {"I": 1, "II.": 5}),
    # A table of contents opens no chapters, and parts name theirs.
    (f"CHAPTER I\n\nCHAPTER II\n\n{CHAPTERS}", {"CHAPTER I": 1, "CHAPTER II": 1}),
    (f"BOOK ONE\n\n{CHAPTERS}", {"BOOK ONE: CHAPTER I": 1, "BOOK ONE: CHAPTER II": 1}),
])  # fmt: skip
def test_lines_that_are_clearly_headings_open_chapters(read, text, chapters):
    assert {one.title: len(one.paragraphs) for one in read(text).chapters} == chapters


def test_a_text_of_project_gutenberg_is_read_without_its_license(read):
    manuscript = read(
        "The Project Gutenberg eBook of A Book\n\nTitle: A Book\n\nAuthor: An "
        "Author\n\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n\nProduced by Some "
        "Body\n\n"
        "CHAPTER I\n\nThe text.\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n\nThe “licence”.",
        "cp1252",
    )
    assert (manuscript.title, manuscript.author) == ("A Book", "An Author")
    assert manuscript.warnings == ("not UTF-8; read as windows-1252",)
    assert [one.paragraphs for one in manuscript.chapters] == [("The text.",)]
    paragraphs = [
        "Title: A Book\n       of Two Lines\n\nAuthor: An Author",
        START,
        "Title: no",
    ]
    assert header_field(paragraphs, "Title") == "A Book of Two Lines"
    assert header_field(paragraphs, "Author") == "An Author"
    assert header_field(["Title: no header"], "Title") is None


START = "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***"
STARTS = (
    START,
    "*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***",
    "***START OF THE PROJECT GUTENBERG EBOOK A BOOK***",
    "*** START OF THE PROJECT GUTENBERG EBOOK A BOOK WITH\nA LONG TITLE ***",
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
)
ENDS = (
    END,
    "*** END OF THIS PROJECT GUTENBERG EBOOK A BOOK ***",
    "End of the Project Gutenberg EBook of A Book, by An Author",
    "End of Project Gutenberg's A Book, by An Author",
    "START: FULL LICENSE",
)
CREDITS = ["Produced by Some Body", "E-text prepared by Her"]
LONG = "It was a long road. " * 45
OTHERS = ["He read it on Project Gutenberg.", "*** START ***", "End of Part One"]


@pytest.mark.parametrize(("paragraphs", "kept"), [
    *(
        (["licence", start, "one", "two", end, "licence"], ["", "", "one", "two", "", ""])
        for start, end in product(STARTS, ENDS)
    ),
    # Text beside the markers stays; the transcriber's credits go.
    ([f"licence\n{START}\none", f"two\n{END}\nlicence"], ["one", "two"]),
    ([START, *CREDITS, "one"], ["", "", "", "one"]),
    ([START, "one", "Produced by fire"], ["", "one", "Produced by fire"]),
    # Each of several books stays.
    ([START, "one", END, "licence", START, "two", END], ["", "one", "", "", "", "two", ""]),
    # Without a start, only a late end counts.
    (["one", "two", "three", END], ["one", "two", "three", ""]),
    ([END, "one", "two", "three"], [END, "one", "two", "three"]),
    (OTHERS, OTHERS),
    # So does much text behind a license, which ends where it is named last.
    ([START, "one", END, "of Project Gutenberg", LONG, LONG], ["", "one", "", "", LONG, LONG]),
    ([START, "one", END, "of Project Gutenberg", LONG], ["", "one", "", "", ""]),
])  # fmt: skip
def test_text_around_the_markers_goes(paragraphs, kept):
    assert without_license(paragraphs) == kept


@pytest.mark.parametrize(("data", "match", "hint"), [
    (b"", "is empty", ""),
    (b"\n\n * * * \n", "contains no words", ""),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20, "isn't text", ""),
    (bytes(range(1, 9)) * 100, "isn't text", ""),
    (b"\xef\xbb\xbf\n<!DOCTYPE html><p>words</p>", "is HTML, not plain text", ".html"),
    (b"<HTML><body>words</body></HTML>", "is HTML, not plain text", ".html"),
    (b"<!-- made by hand -->\n<html>words</html>", "is HTML, not plain text", ".html"),
])  # fmt: skip
def test_files_that_are_no_text_are_rejected(read, tmp_path, data, match, hint):
    with pytest.raises(BookError, match=match) as caught:
        read(data)
    assert caught.value.location == str(tmp_path / "book.txt")
    assert hint in (caught.value.hint or "")


def test_a_file_over_64_mib_is_refused_unread(tmp_path):
    path = tmp_path / "book.txt"
    with path.open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(BookError, match="has 67,108,865 bytes"):
        read_text(path)


TEXT = "<p>café “and” Ωμέγα – Кот 漢字</p>"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_encodings_need_no_declaration(encoding):
    assert decode(TEXT.encode(encoding)) == (TEXT, None)
    if "16" in encoding:  # but may have one
        document = f'<?xml version="1.0" encoding="UTF-16"?>{TEXT}'
        assert read_source(document.encode(encoding)).text == TEXT


NOTE = ("not UTF-8; read as windows-1252",)
XML = '<?xml version="1.0" encoding="{}"?>'
META = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2">'


@pytest.mark.parametrize(("declaration", "encoding", "text", "notes"), [
    (XML.format("windows-1252"), "cp1252", "<p>“café”</p>", ()),
    ("<?xml version='1.0' encoding='KOI8-R'?>", "koi8-r", "<p>Кот</p>", ()),
    ('<meta charset="shift_jis">', "shift_jis", "<p>漢字</p>", ()),
    (META, "iso8859-2", "<p>Łódź</p>", ()),
    # Latin-1 is declared where windows-1252 is meant; UTF-16 and UTF-8 where they
    # aren't.
    (XML.format("iso-8859-1"), "cp1252", "<p>“café”</p>", ()),
    (XML.format("UTF-16"), "utf-8", "<p>café</p>", None),
    *((XML.format("utf-8")[:at], "cp1252", "<p>“café”</p>", NOTE) for at in (0, 99)),
])  # fmt: skip
def test_declared_encodings_are_honoured(declaration, encoding, text, notes):
    source = read_source((declaration + text).encode(encoding))
    assert source.text.endswith(text)
    assert notes in (None, source.notes)
    assert "caf" not in repr(source)


@pytest.mark.parametrize(
    "name", ["no-such-code", "rot13", "hex", "utf-7", "unicode_escape"]
)
def test_a_declared_encoding_that_is_not_of_text_is_ignored(name):
    text, note = decode(b"\\u0041 +AEE-", declared=name)
    assert text == "\\u0041 +AEE-"
    assert note == f"the declared encoding {name!r} doesn't apply; read as UTF-8"
    # One broken character doesn't make UTF-8 something else.
    broken = decode("“café” Ωμέγα ".encode() + b"\xff")
    assert broken == ("“café” Ωμέγα \ufffd", "undecodable as UTF-8: 1 character")


@pytest.mark.parametrize("doctype", [
    "<!DOCTYPE html>",
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" '
    '"http://www.w3.org/TR/xhtml11.dtd">',
    '<!doctype html [<!ENTITY a "]>"> <!-- ] > \' --> <?p ]>?>]>',
])  # fmt: skip
def test_the_document_type_goes(doctype):
    text = f"<!-- first -->\n<?xml-stylesheet href='x'?>{doctype}<p>text</p>"
    assert read_source(text.encode()).text.endswith("<p>text</p>")
    assert "DOCTYPE" not in read_source(text.encode()).text.upper()
    # One that never ends loses no text.
    assert "word" in read_source(b"<!DOCTYPE html [ <p>word</p>").text


BOMB = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
OUTSIDE = '<!ENTITY a0 "lol"><!ENTITY x SYSTEM "file:///etc/passwd">'
SHORT = """<!ENTITY oe "&#339;"><!ENTITY oe "x"><!ENTITY lt2 '&#60;b'><!ENTITY eacute 'E'>"""


@pytest.mark.parametrize(
    ("declared", "body", "text", "note"),
    [
        # Named entities become characters, but never markup; control characters go.
        ("", "&eacute;&nbsp;&mdash;&hellip; &amp;&lt;&LT;&AMP; &unknown; AT&T",
         "é\xa0—… &amp;&lt;&#60;&#38; &#38;unknown; AT&T", ""),
        ("", "one\x00 word\x0cand\x1b more", "one word and more", ""),
        # Of the document's own, short ones are characters.
        (SHORT, "c&oe;ur &lt2; &eacute;", "cœur &#60;b é", ""),
        (f'<!ENTITY a "{"x" * 11}"><!ENTITY b "{"x" * 10}">', "&a;&b;" * 9, "x" * 90,
         "omitted 9 ref"),
        (OUTSIDE + "".join(BOMB), "&a9;word&x;", "word",
         "omitted 2 references to entities that the document declares"),
    ],
    ids=range(5),
)  # fmt: skip
def test_entities_are_characters_but_never_expanded(declared, body, text, note):
    source = read_source(f"<!DOCTYPE p [{declared}]><p>{body}</p>".encode())
    assert source.text == f"<p>{text}</p>"
    assert [one[: len(note)] for one in source.notes] == ([note] if note else [])
