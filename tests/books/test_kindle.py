"""Kindle books: read through the package mobi, or refused with their cause."""

import struct

import pytest
from epub_texts import p, paragraphs

from pytest_memleak.books.kindle import read_kindle
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.extensions import Extensions

pytest.importorskip("mobi", reason="the extra mobi is not installed")

CHAPTERS = {
    f"Chapter {number}": paragraphs(f"harbor{number}", 9) for number in (1, 2, 3)
}
PAGE = 4_096


def kindle_book(html, *, encryption=0):
    """A MOBI 6 without compression: a database of a header, the text, and an end."""
    text = html.encode()
    pages = [text[at : at + PAGE] for at in range(0, len(text), PAGE)]
    title = b"The Salt Road"
    sizes = (len(text), len(pages), PAGE, encryption, 0)
    header = bytearray(b"\xff" * 232)

    def put(place, form, *values):
        struct.pack_into(form, header, place - 16, *values)

    put(16, ">4s5L", b"MOBI", len(header), 2, 65_001, 1, 6)
    put(80, ">4L", len(pages) + 1, 16 + len(header), len(title), 9)
    put(96, ">8L", 0, 0, 6, len(pages) + 1, 0, 0, 0, 0)
    put(128, ">L", 0)
    put(240, ">HH", 0, 0)
    first = struct.pack(">HHLHHHH", 1, 0, *sizes) + header + title + b"\0" * 4
    records = [bytes(first), *pages, b"\xe9\x8e\r\n"]
    database = (
        b"book".ljust(60, b"\0") + b"BOOKMOBI" + struct.pack(">LLH", 0, 0, len(records))
    )
    place = len(database) + 8 * len(records) + 2
    for number, record in enumerate(records):
        database += struct.pack(">LL", place, number)
        place += len(record)
    return database + b"\0\0" + b"".join(records)


def novel():
    parts = [
        f"<h2>{title}</h2>{p(texts)}<mbp:pagebreak/>"
        for title, texts in CHAPTERS.items()
    ]
    return f"<html><head><guide></guide></head><body>{''.join(parts)}</body></html>"


@pytest.fixture
def kindle(tmp_path):
    def write(data, name="book.mobi"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("suffix", ["mobi", "azw3", "prc"])
def test_a_kindle_book_is_read_word_for_word(kindle, suffix):
    manuscript = Extensions().read_book(kindle(kindle_book(novel()), f"book.{suffix}"))
    assert manuscript.title == "The Salt Road"
    assert {
        chapter.title: list(chapter.paragraphs) for chapter in manuscript.chapters
    } == CHAPTERS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"words", "isn't a Kindle book"),
        (kindle_book(novel(), encryption=2), "is protected by DRM: Amazon's"),
        (b"\xeaDRMION\xee" + bytes(100), "is protected by DRM: Amazon's"),
        (kindle_book(novel())[:200], "mobi can't read this Kindle book"),
        (b"x".ljust(60, b"\0") + b"BOOKMOBI" + b"\xff" * 400, "Kindle book|DRM"),
    ],
    ids=["empty", "words", "encrypted", "locked KFX", "cut", "no table"],
)
def test_what_cannot_be_read_is_refused_with_its_place(kindle, data, message):
    path = kindle(data)
    with pytest.raises(BookError, match=message) as caught:
        read_kindle(path)
    assert caught.value.location == str(path)
    assert caught.value.hint or message == "is empty"


def test_documents_of_a_kindle_book_are_chosen_by_name(kindle):
    path = kindle(kindle_book(novel()))
    with pytest.raises(BookError, match="matches no document") as caught:
        read_kindle(path, exclude=["nothing*"])
    assert caught.value.location == str(path)
    assert read_kindle(path, include=["book.html"]).chapters
