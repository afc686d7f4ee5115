import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pytest_memleak.books.archive import MAX_DOCUMENT_BYTES, open_archive
from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

TEXT = "<p>" + "the text itself " * 20 + "</p>"

# --- a good book ---------------------------------------------------------------------------


def test_title_author_chapters_and_paragraphs(new_epub):
    documents = {
        "one.xhtml": "<h1>First</h1><p>a</p><p>b</p>",
        "2.xhtml": "<h1>Second</h1><p>c</p>",
    }
    manuscript = read_epub(new_epub(documents).write())
    assert (manuscript.title, manuscript.author) == ("A Book", "An Author")
    chapters = [(one.title, one.paragraphs) for one in manuscript.chapters]
    assert chapters == [("First", ("a", "b")), ("Second", ("c",))]
    assert manuscript.warnings == ()
    assert "First" not in repr(manuscript)


def test_the_spine_orders_the_book_not_the_manifest(text_of):
    documents = {"a.xhtml": "<p>second</p>", "b.xhtml": "<p>first</p>"}
    assert text_of(documents, spine=["b.xhtml", "a.xhtml"]) == ["first", "second"]


def test_documents_that_are_not_linear_and_the_navigation_are_left_out(text_of):
    spine = ["nav", "a.xhtml", '<itemref idref="b.xhtml" linear="no"/>']
    nav = "<h1>Contents</h1><p>contents</p>"
    documents = {"a.xhtml": "<p>text</p>", "b.xhtml": "<p>aside</p>"}
    assert text_of(documents, spine=spine, nav=nav) == ["text"]


def test_a_document_twice_in_the_spine_is_read_once(new_epub):
    manuscript = read_epub(new_epub(spine=["one.xhtml", "one.xhtml"]).write())
    assert [one.paragraphs for one in manuscript.chapters] == [("Some words.",)]
    assert "documents once that the spine names twice" in manuscript.warnings[0]


REFINE = '<meta refines="#{}" property="{}">{}</meta>'
OPF = 'xmlns:opf="http://www.idpf.org/2007/opf"'


@pytest.mark.parametrize(
    ("metadata", "title", "author"),
    [
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
    ],
)  # fmt: skip
def test_metadata(new_epub, metadata, title, author):
    manuscript = read_epub(new_epub(metadata=metadata).write())
    assert (manuscript.title, manuscript.author) == (title, author)


def test_documents_that_declare_themselves_front_or_back_matter_are_left_out(new_page, text_of):
    documents = {
        "zero.xhtml": new_page("<p>front</p>", body_attributes=' epub:type="frontmatter"'),
        "one.xhtml": '<section epub:type="dedication"><p>to you</p></section>',
        "two.xhtml": "<p>text</p>",
        "three.xhtml": new_page("<p>back</p>", body_attributes=' epub:type="backmatter"'),
    }
    assert text_of(documents) == ["text"]


def landmarks(*marks):
    links = "".join(f'<li><a epub:type="{kind}" href="{href}">x</a></li>' for kind, href in marks)
    return f'<nav epub:type="landmarks"><ol>{links}</ol></nav>'


def test_landmarks_say_where_the_text_begins_and_ends(text_of):
    documents = {"a.xhtml": "<p>front</p>", "b.xhtml": TEXT, "c.xhtml": TEXT, "d.xhtml": "<p>z</p>"}
    nav = landmarks(("bodymatter", "b.xhtml#start"), ("backmatter", "d.xhtml"))
    found = text_of(documents, nav=nav)
    assert len(found) == 2
    assert all("text" in one for one in found)


@pytest.mark.parametrize(
    ("kind", "href", "kept"),
    [
        *((kind, "a.xhtml", 1) for kind in ("cover", "titlepage", "copyright-page", "toc")),
        *((kind, "a.xhtml", 1) for kind in ("endnotes", "preface")),
        ("toc", "a.xhtml#toc", 2),  # a place says nothing about its document
    ],
)
def test_landmarks_say_what_a_document_is(text_of, kind, href, kept):
    found = text_of({"a.xhtml": "<p>x</p>", "b.xhtml": TEXT}, nav=landmarks((kind, href)))
    assert len(found) == kept
    assert "text" in found[-1]


def test_what_a_document_says_of_itself_comes_first(text_of):
    documents = {"a.xhtml": '<section epub:type="prologue"><p>once</p></section>', "b.xhtml": TEXT}
    nav = landmarks(("bodymatter", "b.xhtml"), ("cover", "a.xhtml"))
    assert text_of(documents, nav=nav)[0] == "once"


def test_landmarks_that_leave_out_most_of_the_book_are_not_believed(new_epub):
    documents = {"a.xhtml": TEXT, "b.xhtml": "<p>end</p>"}
    path = new_epub(documents, nav=landmarks(("bodymatter", "b.xhtml"))).write()
    manuscript = read_epub(path)
    assert sum(len(one.paragraphs) for one in manuscript.chapters) == 2
    assert "ignored the" in manuscript.warnings[0]


def test_the_guide_of_epub_2(text_of):
    documents = {"cover.xhtml": "<p>cover</p>", "pro.xhtml": "<p>prologue</p>", "b.xhtml": TEXT}
    references = (
        '<reference type="cover" href="cover.xhtml"/><reference type="text" href="b.xhtml"/>'
    )
    assert text_of(documents, after_spine=f"<guide>{references}</guide>")[0] == "prologue"


def test_project_gutenbergs_licence_is_stripped_across_documents(new_epub, text_of):
    documents = {
        "a.xhtml": "<h1>The Project Gutenberg eBook</h1><p>use it anywhere</p>",
        "b.xhtml": "<p>*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
        "<p>Produced by Some Body</p><h2>I</h2><p>The text.</p>",
        "c.xhtml": "<p>Its end.</p><p>*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
        "<p>Updated editions</p>",
        "d.xhtml": "<h2>Section 1</h2><p>General terms</p>",
    }
    assert text_of(documents) == ["The text.", "Its end."]
    assert [one.title for one in read_epub(new_epub(documents).write()).chapters] == ["I"]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("", ""),
        ("<p>* * *</p>", ""),
        ("<img src='a.png' alt='Page 1'/>", ""),
        ('<div epub:type="frontmatter"><p>all of it</p></div>', "front matter"),
    ],
)
def test_no_words(refused, body, hint):
    refused("contains no words", {"a.xhtml": body}, hint=hint)


def test_messages_never_quote_the_book(new_epub):
    with pytest.raises(BookError) as caught:
        read_epub(new_epub({"a.xhtml": "<div hidden=''>secret</div>"}).write())
    assert "secret" not in str(caught.value)


def test_members_that_cannot_be_read_matter_where_they_are_documents(
    new_epub, text_of, refused, patch_member
):
    video = '<item id="film" href="film.mp4" media-type="video/mp4"/>'
    path = new_epub(files={"OEBPS/film.mp4": b"film"}, manifest=video).write()
    patch_member(path, "OEBPS/film.mp4", "size", 100 << 20)
    assert text_of(path) == ["Some words."]
    patch_member(path, "OEBPS/one.xhtml", "flags", 1)
    refused("locked with a password", path)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>note<sup><a href='n.xhtml#n4'>4</a></sup> it</p>", ["note it"]),
        ("<p>word<a href='#fn4'>note 4</a> it</p>", ["word it"]),
        ("<p>page <a id='page12'>12</a>number</p>", ["page number"]),
        ("<p>a<span class='v'>two</span><span class='v'>three</span></p>", ["a", "two", "three"]),
        ("<p>one<span style='display:block'>two</span></p>", ["one", "two"]),
        ("<p>\n  <i>un</i><b>believ</b><span>\n</span>able\n</p>", ["unbeliev able"]),
        (b'<!DOCTYPE html [<!ENTITY hero "K\xc3\xa4the">]><html><body><p>&hero; went</p></body>'
         b"</html>", ["K\u00e4the went"]),
    ],
)  # fmt: skip
def test_marks_never_join_words_and_lines_of_verse_never_run_on(text_of, body, expected):
    sheet = "/* . { */ .v, i.x { display: block }"
    assert text_of({"one.xhtml": body}, files={"OEBPS/s.css": sheet}) == expected


# --- zips --------------------------------------------------------------------------------


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
