import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pytest_memleak.books.archive import MAX_DOCUMENT_BYTES, open_archive
from pytest_memleak.errors import BookError

PAGE = "OEBPS/one.xhtml"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.epub"


@pytest.fixture
def refuse(path):
    """Reads all of its members, within 10 MiB where `in_little` is asked for."""

    def read_all():
        with open_archive(path) as archive:
            return [archive.read(name) for name in archive.names]

    def check(match, *, in_little=False):
        if in_little:
            tracemalloc.start()
        try:
            with pytest.raises(BookError, match=match) as caught:
                read_all()
            assert not in_little or tracemalloc.get_traced_memory()[1] < 10 << 20
        finally:
            tracemalloc.stop()
        assert caught.value.location == str(path)

    return check


def test_reads_members_under_the_names_that_documents_use(path):
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


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Path.mkdir, "is a directory"),
        (lambda path: None, "cannot be read: No such file"),
        (os.mkfifo, "a device or a pipe"),
        (Path.touch, "is empty"),
        (lambda path: path.write_bytes(b"PDF-1.4 and so on"), "is not a zip file"),
        (lambda path: path.write_bytes(b"\0" * 1000), "is not a zip file"),
    ],
)
def test_what_is_no_zip_is_refused(path, refuse, make, match):
    make(path)
    refuse(match)


def test_damaged_zips_are_refused(new_epub, path, refuse):
    new_epub({"one.xhtml": "<p>word</p>" * 1000}).write()
    path.write_bytes(path.read_bytes()[:-200])
    refuse("damaged or cut short")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        made.writestr("one.xhtml", b"some words to damage")
    path.write_bytes(path.read_bytes().replace(b"words", b"wards"))
    refuse("'one.xhtml' is damaged: Bad CRC-32")


@pytest.mark.parametrize(
    "name", ["../evil.xhtml", "a/../../evil.xhtml", "/etc/evil", "..\\evil", "C:\\evil"]
)
def test_a_path_that_leads_out_is_refused(path, refuse, name):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, b"x")
    refuse("leads out of it")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("flags", 1, f"'{PAGE}' is locked with a password"),
        ("method", 97, "compressed by method 97"),
        ("size", MAX_DOCUMENT_BYTES + 1, f"'{PAGE}' has 67,108,865 bytes decompressed"),
    ],
)
def test_what_a_member_declares_is_refused_unread(
    new_epub, refuse, patch_member, field, value, match
):
    patch_member(new_epub().write(), PAGE, field, value)
    refuse(match)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_epub_does_not_have_is_refused(new_epub, refuse, method):
    new_epub(compression=method).write()
    refuse(f"compressed by method {method}")


def test_over_512_mib_in_all_are_refused_by_their_declared_sizes(new_epub, refuse, patch_member):
    names = [f"{number}.xhtml" for number in range(9)]
    path = new_epub(dict.fromkeys(names, "<p>word</p>")).write()
    for name in names:
        patch_member(path, f"OEBPS/{name}", "size", MAX_DOCUMENT_BYTES)
    refuse(r"the zip has 603,9\d\d,\d\d\d bytes decompressed")


def test_a_zip_bomb_is_never_inflated(path, refuse, patch_member):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("bomb.xhtml", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(1 << 20))
    refuse("has 68,157,440 bytes decompressed", in_little=True)
    patch_member(path, "bomb.xhtml", "size", 1000)
    refuse("'bomb.xhtml' is damaged", in_little=True)


def test_a_table_of_contents_too_long_to_hold_is_refused_unread(path, refuse):
    size = 17 << 20
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, 0, 0)
    with path.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(size)
        stream.seek(size)
        stream.write(end)
    refuse("directory has 17,825,792 bytes")
