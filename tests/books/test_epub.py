from __future__ import annotations

import pytest

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

# --- a good book ---------------------------------------------------------------------------


def test_title_author_chapters_and_paragraphs(new_epub):
    path = new_epub(
        {"one.xhtml": "<h1>First</h1><p>a</p><p>b</p>", "two.xhtml": "<h1>Second</h1><p>c</p>"}
    ).write()
    manuscript = read_epub(path)
    assert (manuscript.title, manuscript.author) == ("A Book", "An Author")
    assert [(one.title, one.paragraphs) for one in manuscript.chapters] == [
        ("First", ("a", "b")),
        ("Second", ("c",)),
    ]
    assert manuscript.warnings == ()


def test_repr_hides_the_text(new_epub):
    assert "words" not in repr(read_epub(new_epub().write()))


def test_the_spine_orders_the_book_not_the_manifest(new_epub, text_of):
    made = new_epub({"a.xhtml": "<p>second</p>", "b.xhtml": "<p>first</p>"})
    made.spine = ['<itemref idref="b.xhtml"/>', '<itemref idref="a.xhtml"/>']
    assert text_of(made.write()) == ["first", "second"]


def test_documents_that_are_not_linear_are_left_out(new_epub, text_of):
    made = new_epub({"a.xhtml": "<p>text</p>", "b.xhtml": "<p>aside</p>"})
    made.spine = ['<itemref idref="a.xhtml"/>', '<itemref idref="b.xhtml" linear="no"/>']
    assert text_of(made.write()) == ["text"]


def test_the_navigation_document_is_left_out_of_the_text(new_epub, new_page, text_of):
    made = new_epub()
    made.files["OEBPS/nav.xhtml"] = new_page("<h1>Contents</h1><p>contents</p>")
    made.manifest = (
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    )
    made.spine = ['<itemref idref="nav"/>', '<itemref idref="one.xhtml"/>']
    assert text_of(made.write()) == ["Some words."]


def test_a_document_twice_in_the_spine_is_read_once(new_epub):
    made = new_epub()
    made.spine = ['<itemref idref="one.xhtml"/>', '<itemref idref="one.xhtml"/>']
    manuscript = read_epub(made.write())
    assert [one.paragraphs for one in manuscript.chapters] == [("Some words.",)]
    assert "documents once that the spine names twice" in manuscript.warnings[0]


REFINE = '<meta refines="#{}" property="{}">{}</meta>'
OPF = 'xmlns:opf="http://www.idpf.org/2007/opf"'


@pytest.mark.parametrize(
    ("metadata", "title", "author"),
    [
        ("", None, None),
        ("<dc:title> A\n Book </dc:title>", "A Book", None),
        (
            "<dc:creator>One</dc:creator><dc:creator>Two</dc:creator><dc:title>A</dc:title>",
            "A",
            "One and Two",
        ),
        (
            (f'<dc:title id="s">Sub</dc:title>{REFINE.format("s", "title-type", "subtitle")}'
            f'<dc:title id="m">Main</dc:title>{REFINE.format("m", "title-type", "main")}'),
            "Main",
            None,
        ),
        (
            (f'<dc:creator id="t">Translator</dc:creator>{REFINE.format("t", "role", "trl")}'
            f'<dc:creator id="a">Author</dc:creator>{REFINE.format("a", "role", "aut")}'),
            None,
            "Author",
        ),
        (
            (f'<dc:creator {OPF} opf:role="ill">I</dc:creator>'
            f'<dc:creator {OPF} opf:role="aut">A</dc:creator>'),
            None,
            "A",
        ),
        ("<dc-metadata><dc:Title>Old</dc:Title><dc:Creator>Older</dc:Creator></dc-metadata>",
         "Old", "Older"),
    ],
)  # fmt: skip
def test_metadata(new_epub, metadata, title, author):
    manuscript = read_epub(new_epub(metadata=metadata).write())
    assert (manuscript.title, manuscript.author) == (title, author)


# --- front and back matter -----------------------------------------------------------------


def test_documents_that_declare_themselves_front_or_back_matter_are_left_out(
    new_epub, new_page, text_of
):
    made = new_epub({"two.xhtml": "<p>text</p>"})
    made.documents = {
        "zero.xhtml": new_page("<p>front</p>", body_attributes=' epub:type="frontmatter"'),
        "one.xhtml": new_page('<section epub:type="dedication"><p>to you</p></section>'),
        **made.documents,
        "three.xhtml": new_page("<p>back</p>", body_attributes=' epub:type="backmatter"'),
    }
    assert text_of(made.write()) == ["text"]


@pytest.fixture
def with_landmarks(new_epub, new_page):
    def make(documents, landmarks):
        made = new_epub(documents)
        links = "".join(
            f'<li><a epub:type="{kind}" href="{href}">x</a></li>' for kind, href in landmarks
        )
        made.files["OEBPS/nav.xhtml"] = new_page(
            f'<nav epub:type="landmarks"><ol>{links}</ol></nav>'
        )
        made.manifest = (
            '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        )
        return made.write()

    return make


TEXT = "<p>" + "the text itself " * 20 + "</p>"


def test_landmarks_say_where_the_text_begins_and_ends(with_landmarks, text_of):
    documents = {"a.xhtml": "<p>front</p>", "b.xhtml": TEXT, "c.xhtml": TEXT, "d.xhtml": "<p>z</p>"}
    landmarks = [("bodymatter", "b.xhtml#start"), ("backmatter", "d.xhtml")]
    found = text_of(with_landmarks(documents, landmarks))
    assert len(found) == 2
    assert all("text" in one for one in found)


@pytest.mark.parametrize(
    "kind", ["cover", "titlepage", "copyright-page", "toc", "endnotes", "preface"]
)
def test_landmarks_say_what_a_document_is(with_landmarks, text_of, kind):
    found = text_of(with_landmarks({"a.xhtml": "<p>x</p>", "b.xhtml": TEXT}, [(kind, "a.xhtml")]))
    assert len(found) == 1
    assert "text" in found[0]


def test_a_landmark_to_a_place_says_nothing_about_its_document(with_landmarks, text_of):
    path = with_landmarks({"a.xhtml": "<p>x</p>", "b.xhtml": TEXT}, [("toc", "a.xhtml#toc")])
    assert len(text_of(path)) == 2


def test_what_a_document_says_of_itself_comes_first(with_landmarks, text_of):
    prologue = '<section epub:type="prologue"><p>once</p></section>'
    path = with_landmarks(
        {"a.xhtml": prologue, "b.xhtml": TEXT}, [("bodymatter", "b.xhtml"), ("cover", "a.xhtml")]
    )
    assert text_of(path)[0] == "once"


def test_landmarks_that_leave_out_most_of_the_book_are_not_believed(with_landmarks):
    path = with_landmarks({"a.xhtml": TEXT, "b.xhtml": "<p>end</p>"}, [("bodymatter", "b.xhtml")])
    manuscript = read_epub(path)
    assert sum(len(one.paragraphs) for one in manuscript.chapters) == 2
    assert "ignored the" in manuscript.warnings[0]


def test_the_guide_of_epub_2(new_epub, text_of):
    made = new_epub(
        {"cover.xhtml": "<p>cover</p>", "pro.xhtml": "<p>prologue</p>", "b.xhtml": TEXT}
    )
    made.after_spine = (
        '<guide><reference type="cover" href="cover.xhtml"/>'
        '<reference type="text" href="b.xhtml"/></guide>'
    )
    assert text_of(made.write())[0] == "prologue"


def test_project_gutenbergs_licence_is_stripped_across_documents(new_epub, text_of):
    path = new_epub(
        {
            "a.xhtml": "<h1>The Project Gutenberg eBook</h1><p>use it anywhere</p>",
            "b.xhtml": "<p>*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
            "<p>Produced by Some Body</p><h2>I</h2><p>The text.</p>",
            "c.xhtml": "<p>Its end.</p><p>*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***</p>"
            "<p>Updated editions</p>",
            "d.xhtml": "<h2>Section 1</h2><p>General terms</p>",
        }
    ).write()
    assert text_of(path) == ["The text.", "Its end."]
    assert [one.title for one in read_epub(path).chapters] == ["I"]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "<p>* * *</p>", "<img src='a.png' alt='Page 1'/>"])
def test_no_words(new_epub, refused, body):
    refused(new_epub({"a.xhtml": body}).write(), "contains no words")


def test_a_book_that_is_all_front_matter_has_no_words(new_epub, refused):
    path = new_epub({"a.xhtml": '<div epub:type="frontmatter"><p>all of it</p></div>'}).write()
    refused(path, "contains no words", hint="front matter")


def test_messages_never_quote_the_book(new_epub):
    with pytest.raises(BookError) as caught:
        read_epub(new_epub({"a.xhtml": "<div hidden=''>secret</div>"}).write())
    assert "secret" not in str(caught.value)


def test_a_locked_document(new_epub, refused, patch_member):
    path = new_epub().write()
    patch_member(path, "OEBPS/one.xhtml", "flags", 1)
    refused(path, "locked with a password")


def test_an_image_too_large_to_be_a_document_is_no_matter(new_epub, text_of, patch_member):
    made = new_epub(files={"OEBPS/film.mp4": b"film"})
    made.manifest = '<item id="film" href="film.mp4" media-type="video/mp4"/>'
    path = made.write()
    patch_member(path, "OEBPS/film.mp4", "size", 100 << 20)
    assert text_of(path) == ["Some words."]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>note<sup><a href='n.xhtml#n4'>4</a></sup> it</p>", ["note it"]),
        ("<p>word<a href='#fn4'>note 4</a> it</p>", ["word it"]),
        ("<p>page <a id='page12'>12</a>number</p>", ["page number"]),
        (
            "<p>one<span class='v'>two</span><span class='v'>three</span></p>",
            ["one", "two", "three"],
        ),
        ("<p>one<span style='display:block'>two</span></p>", ["one", "two"]),
    ],
)
def test_marks_never_join_words_and_lines_of_verse_never_run_on(new_epub, text_of, body, expected):
    made = new_epub({"one.xhtml": body})
    made.files["OEBPS/s.css"] = ".v { display: block }"
    assert text_of(made.write()) == expected


def test_entities_that_a_document_declares_itself(new_epub, text_of):
    document = (
        '<!DOCTYPE html [<!ENTITY hero "K\u00e4the">]><html><body><p>&hero; went</p></body></html>'
    )
    assert text_of(new_epub({"one.xhtml": document.encode()}).write()) == ["K\u00e4the went"]
