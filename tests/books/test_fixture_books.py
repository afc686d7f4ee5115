"""Whole books: two stories built from their sources; novels, where MEMLEAK_BOOKS names a folder."""

import os
import zipfile
from pathlib import Path

import pytest
from books.build import build

from pytest_memleak.books.book_outline import outline_of
from pytest_memleak.books.build_book import make_book
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.scoring.words import words

FOLDER = Path(__file__).parents[2] / "fixtures" / "books"
BOOKS = {
    "the-lamplighter": ("The Lamplighter of Saltmarsh Row", 7),
    "the-seed-vault": ("Night Shift at the Seed Vault", 8),
}
NOVELS = sorted(Path(os.environ.get("MEMLEAK_BOOKS") or FOLDER).glob("*.epub"))


@pytest.mark.parametrize("book_id", BOOKS)
def test_the_epub_is_what_its_sources_give_and_is_read_as_it_should_be(book_id):
    path = FOLDER / f"{book_id}.epub"
    assert path.read_bytes() == build(book_id)
    assert path.read_bytes()[30:58] == b"mimetypeapplication/epub+zip"
    with zipfile.ZipFile(path) as epub:
        assert {info.date_time for info in epub.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    title, chapters = BOOKS[book_id]
    manuscript = read_epub(path)
    assert (manuscript.title, manuscript.author) == (
        title,
        "The pytest-memleak authors",
    )
    assert len(manuscript.chapters) == chapters
    text = "\n".join(
        one for chapter in manuscript.chapters for one in chapter.paragraphs
    )
    assert len(words(text)) >= 8_000
    assert "Colophon" not in text
    assert title not in text


@pytest.mark.parametrize("path", NOVELS, ids=lambda path: path.stem)
def test_novels_are_read_whole_and_excerpts_hold_every_word_once(path):
    manuscript = read_epub(path)
    assert manuscript.title
    assert manuscript.author
    assert manuscript.warnings == ()
    assert len(manuscript.chapters) > 1
    assert all(chapter.title for chapter in manuscript.chapters)
    for mode in ("paper", "unicode"):
        excerpts = cut(manuscript, mode=mode)
        counted = [words(excerpt.text, mode) for excerpt in excerpts]
        paragraphs = [
            text for chapter in manuscript.chapters for text in chapter.paragraphs
        ]
        book = [word for text in paragraphs for word in words(text, mode)]
        assert [word for one in counted for word in one] == book
        assert [one.id for one in excerpts] == [
            f"p_id{n}" for n in range(1, len(excerpts) + 1)
        ]
        assert all(300 <= len(one) <= 500 for one in counted)


@pytest.mark.parametrize("path", NOVELS, ids=lambda path: path.stem)
def test_nothing_looks_wrong_in_a_novel(path):
    manuscript = read_epub(path)
    book = make_book(path.stem, manuscript, mode="paper")
    assert outline_of(manuscript, book, mode="paper").alarms == ()
