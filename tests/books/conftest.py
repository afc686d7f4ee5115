"""Fixtures of EPUBs, good ones and bad ones."""

import struct
from pathlib import Path

import pytest
from epub_maker import EpubMaker
from epub_texts import page

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError


@pytest.fixture
def new_epub(tmp_path):
    """Make an EpubMaker from documents by name: text of a body, or bytes as they are."""

    def make(documents=None, **settings):
        given = {"one.xhtml": "<p>Some words.</p>"} if documents is None else documents
        pages = {
            name: body
            if isinstance(body, bytes) or body.startswith("<?xml")
            else page(body)
            for name, body in given.items()
        }
        return EpubMaker(tmp_path, documents=pages, **settings)

    return make


@pytest.fixture
def patch_member():
    """Overwrite a field in a member's entry of the zip's table of contents."""
    fields = {"flags": (8, "<H"), "method": (10, "<H"), "size": (24, "<L")}

    def patch(path, member, name, value):
        data = bytearray(path.read_bytes())
        offset, form = fields[name]
        struct.pack_into(form, data, data.rindex(member.encode()) - 46 + offset, value)
        path.write_bytes(data)

    return patch


@pytest.fixture
def text_of(new_epub):
    """The paragraphs of an EPUB at a path, or of one made of these documents and settings."""

    def read(made=None, **settings):
        path = made if isinstance(made, Path) else new_epub(made, **settings).write()
        chapters = read_epub(path).chapters
        return [paragraph for chapter in chapters for paragraph in chapter.paragraphs]

    return read


@pytest.fixture
def refused(new_epub):
    def check(match, made=None, hint="", **settings):
        path = made if isinstance(made, Path) else new_epub(made, **settings).write()
        with pytest.raises(BookError, match=match) as caught:
            read_epub(path)
        assert caught.value.location == str(path)
        assert hint in (caught.value.hint or "")
        return str(caught.value)

    return check
