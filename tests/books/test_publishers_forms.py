"""EPUBs in the forms in which publishers make them: chapters, titles and matter as readers see."""

import html

import pytest
from epub_texts import NOTICE, contents, ncx, prose
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.books.boilerplate import (
    _HINT_PATTERNS,
    _SURE,
    _SURE_WORDS,
    find_notices,
    matter_kind_of_title,
)
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.errors import BookError
from pytest_memleak.scoring.words import words


def titles(manuscript):
    return [one.title for one in manuscript.chapters]


def texts(manuscript):
    return [paragraph for one in manuscript.chapters for paragraph in one.paragraphs]


def rules(manuscript):
    return {
        one.name.removeprefix("OEBPS/"): one.rule
        for one in manuscript.parts
        if not one.kept
    }


CONTENTS = [
    *(
        ("Cover", "cover.xhtml"),
        ("Title Page", "title.xhtml"),
        ("Copyright", "copy.xhtml"),
    ),
    *(
        ("1. The Storm", "c1.xhtml"),
        ("2. The Calm", "c2.xhtml"),
        ("Chapter 3", "c3.xhtml"),
    ),
    *(("Acknowledgments", "ack.xhtml"), ("About the Author", "about.xhtml")),
    ("Reading Group Guide", "guide.xhtml"),
    ("An Excerpt from The Other Shore", "next.xhtml"),
]


@pytest.fixture
def trade(new_epub):
    """An EPUB 2 whose headings are paragraphs with classes."""

    def make(contents=CONTENTS, **more):
        documents = {
            "cover.xhtml": "<div><img src='c.jpg' alt='Cover'/></div>",
            "also.xhtml": "<p class='h'>ALSO BY JANE DOE</p><p>The First Book</p><p>The Next</p>",
            "title.xhtml": "<p>A BOOK</p><p>Jane Doe</p><p>Harbor Books</p>",
            "copy.xhtml": NOTICE,
            "ded.xhtml": "<p>For my mother</p>",
            "c1.xhtml": f"<p class='cn'>1</p><p class='ct'>The Storm</p>{prose('first', 6)}",
            "c2.xhtml": f"<p class='cn'>2</p><p class='ct'>THE CALM</p>{prose('second', 6)}",
            "c3.xhtml": f"<p class='cn'>3</p>{prose('third', 6)}",
            "ack.xhtml": f"<p class='h'>ACKNOWLEDGMENTS</p>{prose('helper', 3)}",
            "about.xhtml": "<p class='h'>About the Author</p><p>Jane Doe lives by the sea.</p>",
            "guide.xhtml": f"<p>A Reader’s Guide</p>{prose('question', 3)}",
            "next.xhtml": "<p>Read on for an excerpt from her next novel</p>",
            "next1.xhtml": f"<p>1</p>{prose('other', 8)}",
            **more,
        }
        named = {name: body for name, body in documents.items() if body}
        guide = '<guide><reference type="text" href="c1.xhtml"/></guide>'
        return new_epub(named, ncx=ncx(*contents), after_spine=guide).write()

    return make


def test_a_trade_epub_2_is_read_without_its_matter(trade):
    manuscript = read_epub(trade())
    assert titles(manuscript) == ["1. The Storm", "2. The Calm", "Chapter 3"]
    assert all(
        text.startswith("The ") and "sea road" in text for text in texts(manuscript)
    )
    left_out = rules(manuscript)
    matter = "cover also title copy ded ack about guide next next1"
    assert set(left_out) == {f"{name}.xhtml" for name in matter.split()}
    assert left_out["also.xhtml"] == "its first line marks it as 'also by'"
    assert (
        left_out["guide.xhtml"]
        == "the table of contents lists it as 'reading group guide'"
    )
    assert "before the first chapter" in left_out["ded.xhtml"]


def test_parts_of_a_trade_epub_count_every_word_and_quote_none(trade):
    manuscript = read_epub(trade())
    assert [one.name for one in manuscript.parts][:2] == [
        "OEBPS/cover.xhtml",
        "OEBPS/also.xhtml",
    ]
    kept = [one for one in manuscript.parts if one.kept and one.words]
    assert [one.label for one in kept] == titles(manuscript)
    counts = [len(words(text, "unicode")) for text in texts(manuscript)]
    assert sum(one.words for one in kept) == sum(counts)
    assert all(one.words == 0 and one.rule for one in manuscript.parts if not one.kept)
    copyright_page = manuscript.parts[3]
    assert copyright_page.matter == len(
        words(html.unescape(NOTICE.replace("p>", "")), "unicode")
    )
    assert "sea road" not in repr(manuscript)


def test_excerpts_of_a_trade_epub_stay_within_chapters(trade):
    manuscript = read_epub(trade())
    excerpts = cut(manuscript)
    assert [one.chapter for one in excerpts] == titles(manuscript)
    for name, one in zip(("first", "second", "third"), excerpts, strict=True):
        assert one.text.count(f"The {name} ") * 13 == len(words(one.text))


def test_samples_that_the_contents_do_not_list_and_chapters_that_look_like_one(
    trade, new_epub
):
    listed = [
        (title, "about.xhtml" if path in {"guide.xhtml", "next.xhtml"} else path)
        for title, path in CONTENTS
    ]
    left_out = rules(read_epub(trade(listed, **{"guide.xhtml": None})))
    assert left_out["next.xhtml"] == "its first line marks it as 'excerpt'"
    assert left_out["next1.xhtml"] == "it follows other matter, like a preview"
    assert "ack.xhtml" in left_out
    documents = {}
    for n in range(1, 5):
        documents |= {
            f"c{n}.xhtml": prose(f"a{n}", 6),
            f"c{n}b.xhtml": prose(f"b{n}", 6),
        }
    documents["c4b.xhtml"] = f"<p>Extract from the log</p>{documents['c4b.xhtml']}"
    table = ncx(*((f"Part {n}", f"c{n}.xhtml") for n in range(1, 5)))
    made = new_epub(documents | {"c4c.xhtml": prose("c4", 6)}, ncx=table)
    assert rules(read_epub(made.write())) == {}


def test_contents_name_files_without_headings(new_epub):
    documents = {"part-1.xhtml": "<section epub:type='part'><h2>I</h2></section>"}
    names = ("Telemachus", "Nestor", "Proteus")
    for name in names:
        documents[f"{name}.xhtml"] = (
            f"<section epub:type='chapter'>{prose(name, 6)}</section>"
        )
    table = contents(
        ("I", "part-1.xhtml", *((name, f"{name}.xhtml") for name in names))
    )
    manuscript = read_epub(new_epub(documents, nav=table).write())
    assert titles(manuscript) == ["I: Telemachus", "Nestor", "Proteus"]
    assert all("sea road" in text for text in texts(manuscript))


def test_contents_replace_wrong_headings(new_epub):
    documents = {
        f"{n}.xhtml": f"<h1>{wrong}</h1>{prose(f'hare{n}', 5)}"
        f"<h3>DRINK ME</h3>{prose(f'cat{n}', 2)}"
        for n, wrong in enumerate(("ALICE", "CHAPTER I.", "CHAPTER I.", "x"), start=1)
    }
    right = [
        "I. Down the Rabbit-Hole",
        "II. The Pool of Tears",
        "III. A Race",
        "IV. The Rabbit",
    ]
    table = ncx(*((title, f"{n}.xhtml") for n, title in enumerate(right, start=1)))
    manuscript = read_epub(new_epub(documents, ncx=table).write())
    assert titles(manuscript) == right
    assert not any("DRINK" in text for text in texts(manuscript))


def test_a_book_by_sphinx_is_read_without_its_index(new_epub):
    link = '<a class="headerlink" href="#x" title="Link to this heading">¶</a>'
    documents = {
        "index.xhtml": f"<section id='w'><h1>Welcome{link}</h1>{prose('reader', 5)}"
        "<div class='toctree-wrapper'><ul><li><a "
        "href='usage.xhtml'>Usage</a></li></ul></div>"
        "</section>",
        "usage.xhtml": f"<section id='usage'><h1>Usage{link}</h1>{prose('user', 6)}"
        f"<section id='install'><h2>Install{link}</h2>{prose('installer', 6)}</section></section>",
        "api.xhtml": f"<section id='api'><h1>API{link}</h1>{prose('caller', 6)}</section>",
        "genindex.xhtml": "<h1 id='index'>Index</h1><p>a</p><p>b</p>",
    }
    table = contents(
        ("Welcome", "index.xhtml"),
        ("Usage", "usage.xhtml", ("Install", "usage.xhtml#install")),
        ("API", "api.xhtml"),
        ("Index", "genindex.xhtml"),
    )
    guide = '<guide><reference type="toc" href="index.xhtml"/></guide>'
    manuscript = read_epub(new_epub(documents, nav=table, after_spine=guide).write())
    assert titles(manuscript) == ["Welcome", "Usage", "Usage: Install", "API"]
    assert rules(manuscript) == {
        "genindex.xhtml": "the table of contents lists it as 'notes'"
    }


@pytest.mark.parametrize(
    "text",
    [
        "“All rights reserved for the captain,” she said, and the crew laughed at the "
        "joke of it.",
        "He published the map in 1871, and the edition sold out.",
        "He had the copyright of nothing in this world but his own name.",
        "They walked down the avenue to the square, and along the road.",
    ],
)
def test_prose_that_mentions_copyright_is_no_notice(text):
    assert find_notices(["The sea.", text, "The sea."]) == [False] * 3


@pytest.mark.parametrize(("first", "pattern"), [(_SURE_WORDS, _SURE), *_HINT_PATTERNS])
@settings(max_examples=examples(100, fast=10))
@given(data=st.data())
def test_every_match_of_a_notice_pattern_has_one_of_its_keys(first, pattern, data):
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(max_codepoint=0xFF)))
    assert any(word in text.casefold() for word in first)


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("ALSO BY JANE DOE", "also by"), ("Copyright Page", "copyright"),
        ("About the Authors", "about the author"),
        ("Acknowledgements", "acknowledgements"), ("A Reading Group Guide", "reading group guide"),
        ("A Reader’s Guide", "reading group guide"), ("READERS' GUIDE", "reading group guide"),
        ("An Exclusive Excerpt from The Sea", "excerpt"), ("By the Same Author", "also by"),
        ("Epigraph", "epigraph"), ("Danksagung", "acknowledgements"), ("Sommaire", "contents"),
        ("A Conversation with the Devil", None), ("Extracts", None), ("About a Boy", None),
        ("An excerpt from The Sea", "excerpt"), ("Table of Contents", "contents"),
        ("The Contents of the Chest", None), ("An Index of Sorrows", None), ("Chapter 1", None),
    ],
)  # fmt: skip
def test_titles_of_matter_have_a_kind(title, kind):
    assert matter_kind_of_title(title) == kind


def test_titles_of_matter_in_the_midst_of_a_book_are_chapters(new_epub):
    chapters = ["One", "Acknowledgements", "Contents", "Four"]
    documents = {
        f"{n}.xhtml": f"<h2>{t}</h2>{prose(str(n), 6)}" for n, t in enumerate(chapters)
    }
    assert titles(read_epub(new_epub(documents).write())) == chapters


def test_contents_that_call_most_of_a_book_matter_are_ignored(new_epub):
    made = new_epub(
        {"a.xhtml": f"<h2>Index</h2>{prose('first', 6)}", "b.xhtml": "<p>end</p>"}
    )
    manuscript = read_epub(made.write())
    assert len(texts(manuscript)) > 1
    assert "ignored the" in manuscript.warnings[0]


def test_notices_at_the_back_of_a_chapter_go(new_epub):
    documents = {
        "1.xhtml": f"<h2>One</h2>{prose('first', 6)}",
        "2.xhtml": f"<h2>Two</h2>{prose('second', 6)}{NOTICE}",
        "3.xhtml": f"<h2>Impressum</h2>{NOTICE}",
    }
    manuscript = read_epub(new_epub(documents).write())
    assert titles(manuscript) == ["One", "Two"]
    assert all("sea road" in text for text in texts(manuscript))
    second = manuscript.parts[1]
    assert second.kept
    assert (
        second.matter
        == sum(len(words(text, "unicode")) for text in NOTICE.split("<p>")) - 7
    )


def test_a_footnote_within_a_paragraph_counts_as_notes(new_epub):
    made = new_epub(
        {"1.xhtml": "<p>Text<aside epub:type='footnote'><p>of a note</p></aside></p>"}
    )
    (part,) = read_epub(made.write()).parts
    assert (part.words, part.notes, part.matter) == (1, 3, 0)


@pytest.mark.parametrize(
    ("title", "end", "stays"),
    [
        ("Preface", "<p>A. M.</p>", True),
        ("Preface", "<p>Ann Marlowe, London, 1831</p>", True),
        ("Author’s Preface", "<p>London</p>", True),
        ("Preface", "<p>The Editor</p>", False),
        ("Preface", "", False),
    ],
)
def test_prefaces_by_the_author_stay(text_of, title, end, stays):
    preface = f"<section epub:type='preface'><h2>{title}</h2><p>I wrote this.</p>{end}</section>"
    documents = {"p.xhtml": preface, "1.xhtml": f"<h2>One</h2>{prose('first', 6)}"}
    metadata = "<dc:title>A Book</dc:title><dc:creator>Ann Marlowe</dc:creator>"
    assert ("I wrote this." in text_of(documents, metadata=metadata)) == stays


def test_declared_matter_can_be_included(new_epub):
    foreword = "<section epub:type='foreword'><p>before</p></section>"
    path = new_epub({"a.xhtml": foreword, "b.xhtml": "<p>x</p>"}).write()
    assert texts(read_epub(path, include=["a.xhtml"])) == ["before", "x"]


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_name_that_fits_no_document_is_an_error(new_epub, key):
    path = new_epub().write()
    with pytest.raises(
        BookError, match=f"{key} names 'x.xhtml', which matches no"
    ) as caught:
        read_epub(path, **{key: ["x.xhtml"]})
    assert "'OEBPS/one.xhtml'" in caught.value.hint
    with pytest.raises(BookError, match="both name"):
        read_epub(path, include=["*"], exclude=["one.xhtml"])
