from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile

import pytest

from pytest_memleak.books.archive import MAX_DOCUMENT_BYTES, open_archive
from pytest_memleak.errors import BookError


@pytest.fixture
def refuse():
    def read_all(path):
        with open_archive(path) as archive:
            return [archive.read(name) for name in archive.names]

    def check(path, match):
        with pytest.raises(BookError, match=match) as caught:
            read_all(path)
        assert caught.value.location == str(path)

    return check


def test_reads_members_under_the_names_that_documents_use(tmp_path):
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("OEBPS\\Text\\One.xhtml", b"one")
        made.writestr("./two.xhtml", b"two")
        made.writestr("cafe\u0301.xhtml", b"three")
        made.mkdir("OEBPS")
    with open_archive(path) as archive:
        assert archive.find("OEBPS/Text/one.xhtml") == "OEBPS/Text/One.xhtml"
        assert archive.read("OEBPS/Text/One.xhtml") == b"one"
        assert archive.read("two.xhtml") == b"two"
        assert archive.read(archive.find("caf\u00e9.xhtml")) == b"three"
        assert archive.find("OEBPS") is None
        assert archive.find("three.xhtml") is None


def test_a_directory_is_refused(tmp_path, refuse):
    refuse(tmp_path, "is a directory")


def test_a_missing_file_is_refused(tmp_path, refuse):
    refuse(tmp_path / "nowhere.epub", "cannot be read: No such file")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, refuse):
    os.mkfifo(tmp_path / "pipe.epub")
    refuse(tmp_path / "pipe.epub", "a device or a pipe")


@pytest.mark.parametrize("data", [b"PDF-1.4 and so on", b"\0" * 1000])
def test_what_is_no_zip_is_refused(tmp_path, refuse, data):
    path = tmp_path / "book.epub"
    path.write_bytes(data)
    refuse(path, "is not a zip file")


def test_a_file_of_no_bytes_is_empty(tmp_path, refuse):
    path = tmp_path / "book.epub"
    path.touch()
    refuse(path, "is empty")


def test_a_truncated_zip_is_refused(new_epub, refuse):
    path = new_epub({"one.xhtml": "<p>word</p>" * 1000}).write()
    path.write_bytes(path.read_bytes()[:-200])
    refuse(path, "damaged or cut short")


@pytest.mark.parametrize(
    "name", ["../evil.xhtml", "a/../../evil.xhtml", "/etc/evil", "..\\evil", "C:\\evil"]
)
def test_a_path_that_leads_out_is_refused(tmp_path, refuse, name):
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, b"x")
    refuse(path, "leads out of it")


def test_a_password_is_refused(new_epub, refuse, patch_member):
    path = new_epub().write()
    patch_member(path, "OEBPS/one.xhtml", "flags", 1)
    refuse(path, "'OEBPS/one.xhtml' is locked with a password")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_epub_does_not_have_is_refused(new_epub, refuse, method):
    refuse(new_epub(compression=method).write(), f"compressed by method {method}")


def test_an_unknown_compression_is_refused(new_epub, refuse, patch_member):
    path = new_epub().write()
    patch_member(path, "OEBPS/one.xhtml", "method", 97)
    refuse(path, "compressed by method 97")


def test_a_document_over_64_mib_is_refused_by_its_declared_size(new_epub, refuse, patch_member):
    path = new_epub().write()
    patch_member(path, "OEBPS/one.xhtml", "size", MAX_DOCUMENT_BYTES + 1)
    refuse(path, "'OEBPS/one.xhtml' has 67,108,865 bytes decompressed")


def test_over_512_mib_in_all_are_refused_by_their_declared_sizes(new_epub, refuse, patch_member):
    names = [f"{number}.xhtml" for number in range(9)]
    path = new_epub(dict.fromkeys(names, "<p>word</p>")).write()
    for name in names:
        patch_member(path, f"OEBPS/{name}", "size", MAX_DOCUMENT_BYTES)
    refuse(path, r"the zip has 603,9\d\d,\d\d\d bytes decompressed")


def test_a_zip_bomb_that_declares_little_is_never_inflated(tmp_path, refuse, patch_member):
    path = tmp_path / "bomb.epub"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("bomb.xhtml", bytes(100 << 20))
    patch_member(path, "bomb.xhtml", "size", 1000)
    tracemalloc.start()
    try:
        refuse(path, "'bomb.xhtml' is damaged")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_real_zip_bomb_is_refused_before_it_is_inflated(tmp_path, refuse):
    path = tmp_path / "bomb.epub"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("bomb.xhtml", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        refuse(path, "has 68,157,440 bytes decompressed")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_table_of_contents_too_long_to_hold_is_refused_unread(tmp_path, refuse):
    size = 17 << 20
    path = tmp_path / "book.epub"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, 0, 0)
    with path.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(size)
        stream.seek(size)
        stream.write(end)
    refuse(path, "directory has 17,825,792 bytes")


def test_damaged_data_are_refused(tmp_path, refuse):
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        made.writestr("one.xhtml", b"some words to damage")
    path.write_bytes(path.read_bytes().replace(b"words", b"wards"))
    refuse(path, "'one.xhtml' is damaged: Bad CRC-32")
