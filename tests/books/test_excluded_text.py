"""Text that isn't measured: passages of it are looked for, and no title alone excludes prose."""

from html import escape

import pytest
from epub_texts import contents, prose

from pytest_memleak.books.boilerplate import find_notices
from pytest_memleak.books.book_file_types import read_manuscript
from pytest_memleak.books.build_book import make_book
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.works import make_collection, read_works
from pytest_memleak.records import CollectionSource


def listed(*documents):
    """A table of contents: each document's title is its name."""
    return contents(*((name[:-6], name) for name in documents))


CHAPTERS = {
    f"{name}.xhtml": prose(name) for name in ("Storm", "Calm", "Harbor", "Lamp")
}
SMALL = "<p>The gull took the bread from the sill before anybody woke that morning.</p>"
GULL = "The gull took the bread"


@pytest.fixture
def searched(new_epub):
    """Text by its document's title that a book leaves out, but in which passages are looked for."""

    def read(documents, **settings):
        manuscript = read_epub(new_epub(documents, **settings).write())
        assert not any(
            GULL in text for one in manuscript.chapters for text in one.paragraphs
        )
        return {one.title: "\n".join(one.paragraphs) for one in manuscript.excluded}

    return read


LANDMARK = '<nav epub:type="landmarks"><ol><li><a epub:type="{}" href="x.xhtml">x</a></li></ol></nav>'
NOT_LINEAR = [*CHAPTERS, '<itemref idref="x.xhtml" linear="no"/>']
HIDING = {"files": {"OEBPS/style.css": "div.hide { display: none }"}}
REFERENCE = "<a id='r' href='#n'><sup>1</sup></a>"
NOTE = f"<aside epub:type='footnote'>{SMALL}</aside>"


@pytest.mark.parametrize(
    ("document", "settings"),
    [
        *(
            (f"<h1>{title}</h1>{SMALL}", {})
            for title in ("Notes", "Acknowledgments", "Epigraph")
        ),
        (f"<h1>An Excerpt from The Sea</h1>{SMALL}", {}),
        (f"<section epub:type='foreword'>{SMALL}</section>", {}),
        (f"<p>Text.</p><section epub:type='dedication'>{SMALL}</section>", {}),
        (SMALL, {"nav": LANDMARK.format("preface")}),
        (SMALL, {"spine": NOT_LINEAR}),
        (f"<p>Text.</p>{NOTE}", {}),
        (
            "<section "
            f"epub:type='endnotes'><ol><li>{SMALL}</li></ol></section><p>Text.</p>",
            {},
        ),
        (f"<p>Text.</p><div hidden='hidden'>{SMALL}</div>", {}),
        (f"<p>Text.</p><div class='a hide'>{SMALL}</div>", HIDING),
        (f"<p>Text.</p><svg><g><text x='1'>{SMALL[3:-4]}</text></g></svg>", {}),
        (f"<p>Text.</p><svg><foreignObject>{SMALL}</foreignObject></svg>", {}),
        (f"<p>Text.</p><iframe srcdoc='{escape(SMALL)}'></iframe>", {}),
        *(
            (f"<p>Text.</p><{tag}>{SMALL}</{tag}>", {})
            for tag in ("nav", "object", "template")
        ),
        (f"<epub:switch><epub:case>{SMALL}</epub:case></epub:switch><p>Text.</p>", {}),
        (f"{prose('Storm')}{NOTE}", {}),
        (f"<p>Text.{REFERENCE}</p><p id='n'><a href='#r'>1</a> {SMALL[3:-4]}</p>", {}),
        (f"{prose('tail')}<h2>About the Author</h2>{SMALL}", {}),
    ],
    ids=range(22),
)
def test_a_passage_of_every_excluded_part_is_looked_for(searched, document, settings):
    texts = searched(CHAPTERS | {"x.xhtml": document}, **settings)
    assert [GULL in text for text in texts.values()] == [True]
    assert next(iter(texts)).startswith("excluded: ")


NOTICE = "<p>Copyright © 2019 by Jane Doe. ISBN 978-1-2345-6789-0.</p>"


@pytest.mark.parametrize(
    ("documents", "settings"),
    [
        ({"x.xhtml": f"<h1>Copyright</h1>{NOTICE}"}, {}),
        ({"x.xhtml": f"<section epub:type='colophon'>{SMALL}</section>"}, {}),
        ({"x.xhtml": SMALL}, {"nav": LANDMARK.format("copyright-page")}),
        ({"x.xhtml": f"<h1>Notes</h1><p><a href='a'>{SMALL[3:-4]}</a></p>"}, {}),
        ({"x.xhtml": f"<p>Text.</p><nav><a href='a'>{SMALL[3:-4]}</a></nav>"}, {}),
        (
            {"x.xhtml": f"<p>Text.</p><nav epub:type='toc'><p>{SMALL[3:-4]}</p></nav>"},
            {},
        ),
        (
            {"x.xhtml": f"<p>Text.</p><object><script>{SMALL[3:-4]}</script></object>"},
            {},
        ),
        ({"x.xhtml": f"<p>Text.</p><svg><title>{SMALL[3:-4]}</title></svg>"}, {}),
        ({"x.xhtml": f"<p>Text <ruby>of<rt>{SMALL[3:-4]}</rt></ruby>.</p>"}, {}),
        (
            {"x.xhtml": "<p>*** END OF THE PROJECT GUTENBERG EBOOK A ***</p>" + SMALL},
            {},
        ),
    ],
    ids=range(10),
)
def test_text_by_others_is_not_searched(searched, documents, settings):
    assert searched(CHAPTERS | documents, **settings) == {}


def test_prose_beside_contents_dedications_and_years_is_looked_for(new_epub):
    front = {
        "w.xhtml": f"<h1>An Extract from the Log</h1>{SMALL}",
        "x.xhtml": "<h1>Dedication</h1><p>For her.</p>",
    }
    nav = listed(*CHAPTERS).replace("<nav", f"{SMALL}{prose('key')}<nav", 1)
    notice = f"<p>He read on: Copyright 1964. {SMALL[3:-4]} {prose('year', 1)[3:]}"
    documents = front | CHAPTERS | {"Lamp.xhtml": prose("lamp") + notice}
    spine = ['<itemref idref="nav"/>', *documents]
    manuscript = read_epub(new_epub(documents, nav=nav, spine=spine).write())
    assert [GULL in " ".join(part.paragraphs) for part in manuscript.excluded].count(
        True
    ) == 2
    assert GULL in manuscript.chapters[-1].paragraphs[-1]
    assert find_notices([f"He read copyright 1964 {'and on ' * 50}"]) == [False]


def test_previews_and_documents_that_the_user_excludes_are_not_searched(new_epub):
    after = {"y.xhtml": "<h1>About the Author</h1><p>She lives by the sea.</p>"}
    after["z.xhtml"] = f"<h1>An Excerpt from The Sea</h1>{prose('other')}"
    manuscript = read_epub(new_epub(CHAPTERS | after).write(), exclude=["Lamp.xhtml"])
    assert [one.title for one in manuscript.excluded] == ["excluded: About the Author"]
    assert manuscript.warnings == ()
    by_title = {part.label: part.by_title for part in manuscript.parts if not part.kept}
    assert by_title == {
        None: False,
        "About the Author": True,
        "An Excerpt from The Sea": False,
    }


TITLES = """Cover; Front Cover; Title; Title Page; Half Title; Frontispiece; Copyright; Imprint;
Colophon; Legal Notice; Contents; Table of Contents; List of Maps; Inhalt; Sommaire; Dedication;
Widmung; Epigraph; Also by; Books by the Sea; Also Available; By the Same Author; Praise; Acclaim;
Reviews; About the Author; About the Book; A Note on the Type; Acknowledgments; Acknowledgements;
Danksagung; Remerciements; Reading Group Guide; Discussion Questions; A Reader's Guide; Excerpt;
Extract from the Log; Sneak Peek; Read on for the Storm; Coming Soon; Leseprobe; Notes; Endnotes;
Bibliography; Index; Glossary; Credits; Permissions; Errata; What's Next; Keep Reading;
Further Reading; Discussion Guide; Anmerkungen; Zeittafel; Guide de lecture; Sigue leyendo;
Über die Autorin; Fragen für Lesekreise; Weiterlesen; Dédicace; À propos de l’autrice;
Continuez votre lecture; Dedicatoria; Agradecimientos; Sobre la autora; Guía de lectura"""


@pytest.mark.parametrize("title", [title.strip() for title in TITLES.split(";")])
def test_a_chapter_of_prose_stays_whatever_its_title(new_epub, title):
    for is_listed in (True, False):
        first, last = (
            f"{'' if is_listed else f'<h1>{title}</h1>'}{prose(x)}" for x in "ab"
        )
        documents = {f"{title}.xhtml": first} | CHAPTERS | {f"{title}/2.xhtml": last}
        links = (
            listed(*documents).replace("/2<", "<") if is_listed else listed(*CHAPTERS)
        )
        manuscript = read_epub(new_epub(documents, nav=links).write())
        assert [part.words for part in manuscript.parts] == [60 * 13] * 6
        assert all(
            f"{title}" in one and "exclude it" in one for one in manuscript.warnings
        )
        assert len(manuscript.warnings) == 2


def test_matter_within_it_excludes_a_document_of_prose(new_epub):
    inner = {"y.xhtml": "<h1>About the Author</h1><p>She lives by the sea.</p>"}
    outer = {"z.xhtml": f"<h1>Acknowledgments</h1>{prose('helper')}"}
    manuscript = read_epub(new_epub(CHAPTERS | inner | outer).write())
    assert [part.kept for part in manuscript.parts] == [True] * 4 + [False] * 2
    assert [one.title for one in manuscript.excluded][1] == "excluded: Acknowledgments"
    manuscript = read_epub(new_epub(CHAPTERS | outer).write(), exclude=["z.xhtml"])
    assert manuscript.warnings == ()


@pytest.mark.parametrize("mark", ["<a href='c.xhtml#r{}'>[{}]</a> ", "{1}. "])
def test_notes_that_are_linked_or_numbered_are_no_prose(new_epub, mark):
    log = "See the log of the ship that took the sea road to the harbor in the year before."
    notes = "".join(f"<p>{mark.format(n, n)}{log}</p>" for n in range(60))
    manuscript = read_epub(
        new_epub(CHAPTERS | {"z.xhtml": f"<h1>Notes</h1>{notes}"}).write()
    )
    assert [part.by_title for part in manuscript.parts] == [False] * 4 + [True]
    assert log in manuscript.excluded[0].paragraphs[9]


def test_documents_in_the_contents_are_read_although_they_are_not_linear(new_epub):
    settings = {"spine": [*CHAPTERS, '<itemref idref="x.xhtml" linear="no"/>']}
    documents = CHAPTERS | {"x.xhtml": prose("letter")}
    for names, kept in ((documents, True), (CHAPTERS, False)):
        manuscript = read_epub(
            new_epub(documents, nav=listed(*names), **settings).write()
        )
        assert manuscript.parts[-1].kept is kept


LONG = (
    "It was a long road, and whoever walked on it by night had to be told of every "
    "stone. " * 3
)


@pytest.mark.parametrize(
    ("paragraphs", "notices"),
    [
        (
            [
                "ISBN 978-1",
                "He took the road to Brighton in 1910 and was not seen there again.",
            ],
            [1, 0],
        ),
        (["ISBN 978-1", "12 Sea Road, Brighton, BN 10019"], [1, 1]),
        (["ISBN 978-1", LONG, "The second edition sold out."], [1, 0, 0]),
        (["ISBN 978-1", "Harbor Books", "The second edition sold out."], [1, 0, 1]),
    ],
)
def test_a_notice_takes_no_prose_with_it(paragraphs, notices):
    assert find_notices(paragraphs) == [bool(one) for one in notices]


def test_books_and_collections_carry_excluded_text(new_epub, tmp_path):
    path = new_epub(CHAPTERS | {"x.xhtml": f"<h1>Notes</h1>{SMALL}"}).write()
    book = make_book("b", read_epub(path))
    [excluded] = book.excluded
    assert (excluded.id, excluded.chapter) == ("excluded1", "excluded: Notes")
    assert GULL in excluded.text
    assert GULL not in repr(book)
    (tmp_path / "a.txt").write_text("One of the other works, of more than five words.")
    source = CollectionSource((tmp_path / "a.txt", path), together=False)
    works = make_collection("c", read_works(source, read_manuscript), k=5)
    assert [one.text for one in works.excluded] == [excluded.text]


def test_excluded_text_of_other_scripts_is_searched_or_a_warning_names_it(new_epub):
    notes = f"<h1>Notes</h1><p>{'Бриг ушёл в море ночью. ' * 9}</p>"
    manuscript = read_epub(
        new_epub(
            CHAPTERS | {"x.xhtml": f"<h1>Glossary</h1>{SMALL}", "y.xhtml": notes}
        ).write()
    )
    book = make_book("b", manuscript)
    assert [text.chapter for text in book.excluded] == ["excluded: Glossary"]
    assert "45 words (excluded: Notes) aren't searched" in book.warnings[-1]
    assert len(make_book("b", manuscript, mode="unicode").excluded) == 2
