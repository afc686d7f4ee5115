import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from epub_texts import page

from pytest_memleak.books.archive import MAX_DOCUMENT_BYTES, open_archive
from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

TEXT = "<p>" + "the text itself " * 20 + "</p>"
PAGE = "OEBPS/one.xhtml"


def test_the_documents_of_the_spine_in_its_order(new_epub, text_of):
    documents = {
        "1.xhtml": "<h1>First</h1><p>a</p><p>b</p>",
        "2.xhtml": "<h1>Second</h1><p>c</p>",
    }
    manuscript = read_epub(new_epub(documents).write())
    assert (manuscript.title, manuscript.author) == ("A Book", "An Author")
    chapters = [(one.title, one.paragraphs) for one in manuscript.chapters]
    assert chapters == [("First", ("a", "b")), ("Second", ("c",))]
    assert manuscript.warnings == ()
    assert "First" not in repr(manuscript)
    assert text_of(documents, spine=["2.xhtml", "1.xhtml"]) == ["c", "a", "b"]
    # Neither those that aren't linear nor the navigation; and each once.
    spine = ["nav", "1.xhtml", '<itemref idref="2.xhtml" linear="no"/>', "1.xhtml"]
    path = new_epub(
        documents, spine=spine, nav="<h1>Contents</h1><p>contents</p>"
    ).write()
    assert text_of(path) == ["a", "b"]
    assert (
        "documents listed twice in the spine were read only once"
        in read_epub(path).warnings[0]
    )


REFINE = '<meta refines="#{}" property="{}">{}</meta>'
OPF = 'xmlns:opf="http://www.idpf.org/2007/opf"'


@pytest.mark.parametrize(("metadata", "title", "author"), [
    ("", None, None),
    ("<dc:title> A\n Book </dc:title>", "A Book", None),
    ("<dc:creator>One</dc:creator><dc:creator>Two</dc:creator><dc:title>A</dc:title>",
     "A", "One and Two"),
    ((f'<dc:title id="s">Sub</dc:title>{REFINE.format("s", "title-type", "subtitle")}'
      f'<dc:title id="m">Main</dc:title>{REFINE.format("m", "title-type", "main")}'),
     "Main", None),
    ((f'<dc:creator id="t">Translator</dc:creator>{REFINE.format("t", "role", "trl")}'
      f'<dc:creator id="a">Author</dc:creator>{REFINE.format("a", "role", "aut")}'),
     None, "Author"),
    ((f'<dc:creator {OPF} opf:role="ill">I</dc:creator>'
      f'<dc:creator {OPF} opf:role="aut">A</dc:creator>'),
     None, "A"),
    ("<dc-metadata><dc:Title>Old</dc:Title><dc:Creator>Older</dc:Creator></dc-metadata>",
     "Old", "Older"),
])  # fmt: skip
def test_title_and_authors_come_from_the_metadata(new_epub, metadata, title, author):
    manuscript = read_epub(new_epub(metadata=metadata).write())
    assert (manuscript.title, manuscript.author) == (title, author)


def test_matter_and_licences_are_left_out_across_documents(text_of, new_epub):
    front, back = (
        page(f"<p>{kind}</p>").replace("<body", f'<body epub:type="{kind}matter"')
        for kind in ("front", "back")
    )
    documents = {
        "zero.xhtml": front,
        "one.xhtml": '<section epub:type="dedication"><p>to you</p></section>',
        "two.xhtml": "<p>text</p>",
        "three.xhtml": back,
    }
    assert text_of(documents) == ["text"]
    documents = {
        "a.xhtml": "<h1>The Project Gutenberg eBook</h1><p>use it anywhere</p>",
        "b.xhtml": "<p>*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
        "<p>Produced by Some Body</p><h2>I</h2><p>The text.</p>",
        "c.xhtml": "<p>Its end.</p><p>*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
        "<p>Updated editions</p>",
        "d.xhtml": "<h2>Section 1</h2><p>General terms</p>",
    }
    assert text_of(documents) == ["The text.", "Its end."]
    assert [one.title for one in read_epub(new_epub(documents).write()).chapters] == [
        "I"
    ]


def landmarks(*marks):
    links = "".join(
        f'<li><a epub:type="{kind}" href="{href}">x</a></li>' for kind, href in marks
    )
    return f'<nav epub:type="landmarks"><ol>{links}</ol></nav>'


ASIDE = {"a.xhtml": "<p>x</p>", "b.xhtml": TEXT}
FOUR = {
    "a.xhtml": "<p>front</p>",
    "b.xhtml": TEXT,
    "c.xhtml": TEXT,
    "d.xhtml": "<p>z</p>",
}
PROLOGUE = ASIDE | {"a.xhtml": '<section epub:type="prologue"><p>once</p></section>'}


@pytest.mark.parametrize(("documents", "marks", "kept"), [
    (FOUR, [("bodymatter", "b.xhtml#start"), ("backmatter", "d.xhtml")], ["text", "text"]),
    *((ASIDE, [(kind, "a.xhtml")], ["text"]) for kind in ("cover", "titlepage", "toc")),
    *((ASIDE, [(kind, "a.xhtml")], ["text"]) for kind in ("copyright-page", "endnotes", "preface")),
    # A place says nothing about its document; what a document says of itself comes
    # first.
    (ASIDE, [("toc", "a.xhtml#toc")], ["x", "text"]),
    (PROLOGUE, [("bodymatter", "b.xhtml"), ("cover", "a.xhtml")], ["once", "text"]),
])  # fmt: skip
def test_landmarks_say_what_is_text(text_of, documents, marks, kept):
    found = text_of(documents, nav=landmarks(*marks))
    assert ["text" if "text" in one else one for one in found] == kept


def test_the_guide_of_epub_2_and_landmarks_that_are_not_believed(text_of, new_epub):
    documents = {
        "cover.xhtml": "<p>cover</p>",
        "pro.xhtml": "<p>prologue</p>",
        "b.xhtml": TEXT,
    }
    references = '<reference type="cover" href="cover.xhtml"/><reference type="text" href="b.xhtml"/>'
    assert (
        text_of(documents, after_spine=f"<guide>{references}</guide>")[0] == "prologue"
    )
    documents = {"a.xhtml": TEXT, "b.xhtml": "<p>end</p>"}
    manuscript = read_epub(
        new_epub(documents, nav=landmarks(("bodymatter", "b.xhtml"))).write()
    )
    assert sum(len(one.paragraphs) for one in manuscript.chapters) == 2
    assert "ignored the" in manuscript.warnings[0]


@pytest.mark.parametrize(("body", "hint"), [
    ("", ""),
    ("<p>* * *</p>", ""),
    ("<img src='a.png' alt='Page 1'/>", ""),
    ("<div hidden=''>secret</div>", ""),
    ('<div epub:type="frontmatter"><p>all of it</p></div>', "front matter"),
])  # fmt: skip
def test_a_book_without_words_is_rejected(refused, body, hint):
    assert "secret" not in refused("contains no words", {"a.xhtml": body}, hint=hint)


def test_members_that_cannot_be_read_matter_where_they_are_documents(
    new_epub, text_of, refused, patch_member
):
    video = '<item id="film" href="film.mp4" media-type="video/mp4"/>'
    path = new_epub(files={"OEBPS/film.mp4": b"film"}, manifest=video).write()
    patch_member(path, "OEBPS/film.mp4", "size", 100 << 20)
    assert text_of(path) == ["Some words."]
    patch_member(path, "OEBPS/one.xhtml", "flags", 1)
    refused("is password-protected", path)


def test_lines_of_verse_never_run_on(text_of):
    body = "<p>a<span class='v'>two</span><span class='v'>three</span></p>"
    sheet = "/* . { */ .v, i.x { display: block }"
    assert text_of({"one.xhtml": body}, files={"OEBPS/s.css": sheet}) == [
        "a",
        "two",
        "three",
    ]


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


def write(path, name, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr(name, b"some words" * 100)


def damage(path, change):
    write(path, "one.xhtml")
    path.write_bytes(change(path.read_bytes()))


def test_members_are_found_under_the_names_that_documents_use(path):
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


@pytest.mark.parametrize(("make", "match"), [
    (Path.mkdir, "is a folder"),
    (lambda path: None, "can't be read: No such file"),
    (os.mkfifo, "a device or a pipe"),
    (Path.touch, "is empty"),
    (lambda path: path.write_bytes(b"\0" * 1000), "isn't a zip file, so it can't be an EPUB"),
    (lambda path: damage(path, lambda data: data[:-200]), "damaged or truncated"),
    (lambda path: damage(path, lambda data: data.replace(b"wor", b"war")), "Bad CRC-32"),
    *(
        (lambda path, name=name: write(path, name), "points outside the zip")
        for name in ("../evil.xhtml", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil")
    ),
    *(
        (lambda path, method=method: write(path, "a", method), f"method {method}")
        for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
])  # fmt: skip
def test_a_file_that_is_no_safe_zip_is_rejected(path, refuse, make, match):
    make(path)
    refuse(match)


@pytest.mark.parametrize(("field", "value", "match"), [
    ("flags", 1, f"'{PAGE}' is password-protected"),
    ("method", 97, "uses compression method 97"),
    ("size", MAX_DOCUMENT_BYTES + 1, f"'{PAGE}' has 67,108,865 bytes decompressed"),
])  # fmt: skip
def test_a_member_is_rejected_unread_by_its_header(
    new_epub, refuse, patch_member, field, value, match
):
    patch_member(new_epub().write(), PAGE, field, value)
    refuse(match)


def test_zips_too_large_are_refused_unread(new_epub, refuse, patch_member, path):
    names = [f"{number}.xhtml" for number in range(9)]
    path = new_epub(dict.fromkeys(names, "<p>word</p>")).write()
    for name in names:
        patch_member(path, f"OEBPS/{name}", "size", MAX_DOCUMENT_BYTES)
    refuse(r"the zip has 603,9\d\d,\d\d\d bytes decompressed")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("bomb.xhtml", "w") as member,
    ):
        for _ in range(65):
            member.write(bytes(1 << 20))
    refuse("has 68,157,440 bytes decompressed", in_little=True)
    patch_member(path, "bomb.xhtml", "size", 1000)
    refuse("'bomb.xhtml' is damaged", in_little=True)
    size = 17 << 20
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, 0, 0)
    with path.open("wb") as stream:
        stream.write(b"PK\x03\x04")
        stream.truncate(size)
        stream.seek(size)
        stream.write(end)
    refuse("directory has 17,825,792 bytes")
