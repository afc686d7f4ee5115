"""The two stories in fixtures/books: built from their sources, and read as they should be."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest

from pytest_memleak.books import cut, read_epub
from pytest_memleak.scoring.words import words

FOLDER = Path(__file__).parents[2] / "fixtures" / "books"
BOOKS = {
    "the-lamplighter": ("The Lamplighter of Saltmarsh Row", 7),
    "the-seed-vault": ("Night Shift at the Seed Vault", 8),
}


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("memleak_fixture_books", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks its module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module.build


@pytest.mark.parametrize("book_id", BOOKS)
def test_the_epub_is_what_its_sources_give(build, book_id):
    assert (FOLDER / f"{book_id}.epub").read_bytes() == build(book_id)


@pytest.mark.parametrize("book_id", BOOKS)
def test_the_epub_can_be_told_by_its_first_bytes(book_id):
    path = FOLDER / f"{book_id}.epub"
    assert path.read_bytes()[30:58] == b"mimetypeapplication/epub+zip"
    with zipfile.ZipFile(path) as epub:
        assert {info.date_time for info in epub.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("book_id", BOOKS)
def test_reading_it(book_id):
    title, chapters = BOOKS[book_id]
    manuscript = read_epub(FOLDER / f"{book_id}.epub")
    assert manuscript.title == title
    assert manuscript.author == "The pytest-memleak authors"
    assert manuscript.warnings == ()
    assert len(manuscript.chapters) == chapters
    text = "\n".join(one for chapter in manuscript.chapters for one in chapter.paragraphs)
    assert len(words(text)) >= 8_000
    assert "Colophon" not in text
    assert title not in text


def test_the_drop_cap_is_joined_and_footnotes_are_gone():
    lamplighter = read_epub(FOLDER / "the-lamplighter.epub").chapters
    assert lamplighter[0].paragraphs[0].startswith("The town of Marram Staithe stood")
    third = "\n".join(lamplighter[2].paragraphs)
    assert "by three gills, and went on again" in third
    assert "quarter of a pint" not in third
    assert lamplighter[5].title == "The Coming of the Prudence"


@pytest.mark.parametrize("book_id", BOOKS)
def test_cutting_it(book_id):
    excerpts = cut(read_epub(FOLDER / f"{book_id}.epub"))
    assert all(300 <= len(words(excerpt.text)) <= 500 for excerpt in excerpts)
