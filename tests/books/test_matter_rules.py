"""Memoirs, sentences that sound like notices, licenses of 2001, and publishers' own pages."""

import pytest
from epub_texts import p, paragraphs

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.plain_text import read_text

METADATA = (
    "<dc:title>The Salt Road</dc:title><dc:creator>Jane Marlowe</dc:creator>"
    "<dc:language>en</dc:language>"
)
NAMED = [f"{text} Marlowe came." for text in paragraphs("shore", 8)]
TOLD = [
    f"{text} I, Marlowe, saw it, and it pleased me." for text in paragraphs("shore", 8)
]
NOTICE = "This edition was first published in Great Britain in 1903, and all rights reserved."


@pytest.fixture
def read(new_epub):
    def read_documents(documents):
        return read_epub(new_epub(documents, metadata=METADATA).write())

    return read_documents


def chapters(count=6, size=20):
    return {
        f"c{number}.xhtml": f"<h2>Chapter {number}</h2>"
        + p(paragraphs(f"harbor{number}", size))
        for number in range(2, 2 + count)
    }


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        (f"<h2>An Appreciation</h2>{p(NAMED)}", False),
        (f"<h2>An Appreciation</h2>{p(TOLD)}", True),
        (f"<h2>Chapter 1</h2>{p(NAMED)}", True),
        (f"<p>I</p>{p(NAMED)}", True),
        (f"<p>XIV.</p>{p(NAMED)}", True),
    ],
)
def test_a_memoir_s_first_chapter_is_text(read, first, kept):
    manuscript = read({"first.xhtml": first} | chapters())
    assert manuscript.parts[0].kept is kept


def notice_at(position, count=60):
    texts = paragraphs("harbor", count)
    texts.insert(position, NOTICE)
    return p(texts)


@pytest.mark.parametrize(
    ("documents", "kept"),
    [
        ({"c.xhtml": notice_at(30)}, True),
        ({"c.xhtml": notice_at(10)}, False),  # of the first 1,000 words
        ({"c.xhtml": notice_at(50)}, False),
        (chapters() | {"m.xhtml": notice_at(1)} | chapters(9), False),
        (chapters() | {"m.xhtml": p([NOTICE] * 12)} | chapters(9), False),
    ],
    ids=["inside", "at the start", "at the end", "of a document", "mostly notice"],
)
def test_a_notice_counts_only_at_an_end(read, documents, kept):
    assert (NOTICE in read(documents).paragraphs()) is kept


SMALL_PRINT = """\
**The Project Gutenberg Etext of The Salt Road, by Jane Marlowe**

Please take a look at the important information in this header.

*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

CHAPTER I

The boat lay in the harbor.
"""


def test_the_small_print_of_2001_is_no_text(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(SMALL_PRINT, encoding="utf-8")
    assert read_text(path).paragraphs() == ["The boat lay in the harbor."]


HOUSE = (
    "<h2>How to Contact Us</h2><p>Write to the house.</p><h3>By mail</h3><p>A street.</p>"
    "<h2>Using Code Examples</h2><p>You may use the code.</p>"
)


def test_a_publisher_s_pages_are_no_text_wherever_they_stand(read):
    preface = f"<h1>Before You Begin</h1>{p(paragraphs('reader'))}{HOUSE}<h2>Why</h2>"
    text = p(paragraphs("reason"))
    manuscript = read({"a.xhtml": f"{preface}{text}"} | chapters())
    shown = manuscript.paragraphs()
    assert not {"Write to the house.", "A street.", "You may use the code."} & set(
        shown
    )
    assert paragraphs("reason")[0] in shown


def test_a_long_section_under_a_publisher_s_title_is_text(read):
    long = f"<h2>How to Contact Us</h2>{p(paragraphs('letter'))}"
    assert paragraphs("letter")[0] in read({"a.xhtml": long} | chapters()).paragraphs()


def preface(title, *last):
    """A document that its markup declares as front matter, no more precisely."""
    text = p([*paragraphs("quay", 4), *last])
    return f"<section epub:type='frontmatter'><h2>{title}</h2>{text}</section>"


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        (preface("Author’s Preface"), True),
        (preface("Preface by the Author"), True),
        (preface("Preface to the Second Edition", "J. M.<br/>November 1891."), True),
        (preface("Preface", "London, 1891<br/>Jane Marlowe"), True),
        (preface("Preface", "London, 1891<br/>Ann Lee"), False),
        (preface("A Note", "J. M.<br/>November 1891."), False),
    ],
)
def test_a_preface_of_the_author_is_text_in_spite_of_its_markup(read, document, kept):
    manuscript = read({"preface.xhtml": document} | chapters())
    assert manuscript.parts[0].kept is kept


@pytest.mark.parametrize(("size", "kept"), [(7, False), (9, True)])
def test_matter_is_left_out_behind_a_blurb(read, size, kept):
    """A blurb of 364 words, or a story of 468."""
    documents = {
        "blurb.xhtml": f"<h2>The Salt Road</h2>{p(paragraphs('blurb', size))}",
        "imprint.xhtml": "<h2>Colofon</h2><p>Set in Lyon by the Harbor Press.</p>",
    }
    manuscript = read(documents | chapters())
    assert [part.kept for part in manuscript.parts[:2]] == [True, kept]


@pytest.mark.parametrize(
    "title",
    [
        "References",
        "Reference List",
        "Contributors",
        "Biographies",
        "Licence",
        "Crédits",
        "List of the Plates",
    ],
)
def test_matter_is_known_by_its_title_at_the_back(read, title):
    back = {"z.xhtml": f"<h2>{title}</h2><p>Ann Lee, Salt, 1903.</p>"}
    assert not read(chapters() | back).parts[-1].kept
