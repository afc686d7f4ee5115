"""EPUBs as trade publishers and converters make them, one feature each, with their true text."""

import itertools
import re

import pytest
from epub_texts import p, paragraphs

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

CHAPTERS = [paragraphs(name, 10) for name in ("harbor", "lantern", "captain")]
TRUTH = [text for chapter in CHAPTERS for text in chapter]
METADATA = (
    "<dc:title>The Salt Road</dc:title><dc:creator>Jane Marlowe</dc:creator>"
    "<dc:language>en</dc:language>"
)
ABOUT = "<h2>About the Author</h2><p>Jane Marlowe lives by the sea. This is her third novel.</p>"


PREVIEW = p(paragraphs("shore", 6))


def novel(between=p, *, heading="<h2>Chapter {}</h2>", **more):
    """A novel's three chapters, and what else is in its EPUB."""
    chapters = {
        f"c{number}": heading.format(number) + between(chapter)
        for number, chapter in enumerate(CHAPTERS, start=1)
    }
    return {f"{name}.xhtml": body for name, body in (chapters | more).items()}


def noted(heading, note):
    """The novel with a note on each paragraph, in a document of their own."""
    number = {text: at for at, text in enumerate(TRUTH)}
    link = "{0}<a id='r{1}' href='n.xhtml#n{1}'><sup>{1}</sup></a>"
    notes = "".join(
        note.format(
            f"n{at}", f"c{at // 10 + 1}.xhtml#r{at}", at, f"See the log, page {at}."
        )
        for at in number.values()
    )
    return novel(lambda texts: p(link.format(text, number[text]) for text in texts),
                 n=f"{heading}{notes}")  # fmt: skip


THANKS = p(
    f"{text} I am grateful. Thanks to {text}" for text in paragraphs("helper", 8)
)
QUESTIONS = "".join(
    f"<li>Why did the captain go to the harbor in year {n}?</li>" for n in range(99)
)
ALSO = "<p>ALSO BY JANE MARLOWE</p><p>The Other Shore</p><p>A Winter Harbor</p>"
EXCERPT = f"<h2>An Excerpt from The Other Shore</h2><h3>Chapter 1</h3>{PREVIEW}"
USUAL = {
    "headings in bold": novel(
        heading="<p class='calibre1'><b class='calibre2'>Chapter {}</b></p>"
    ),
    "headings in a bold span": novel(
        heading="<p><span><strong>CHAPTER {}</strong></span></p>"
    ),
    "end notes": noted("<h2>Notes</h2>", "<p id='{0}'><a href='{1}'>{2}</a> {3}</p>"),
    "end notes under a title of their own": noted(
        "<h2>What the Log Says</h2>", "<li id='{0}'><p>{3} <a href='{1}'>↩</a></p></li>"
    ),
    "acknowledgments": novel(ack=f"<h2>Acknowledgments</h2>{THANKS}", about=ABOUT),
    "a discussion guide": novel(g=f"<h2>Discussion Guide</h2><ol>{QUESTIONS}</ol>"),
    "a title page": {"title.xhtml": "<p>THE SALT ROAD</p><p>Harbor Books</p>"}
    | novel(),
    "a preview under its own title": {"also.xhtml": ALSO}
    | novel(about=ABOUT, next=f"<h2>The Other Shore</h2>{PREVIEW}"),
    "a preview that begins anew": novel(
        about=ABOUT,
        next="<p>The Far Shore</p><p>Jane Marlowe</p>",
        next1=f"<h2>Chapter 1</h2>{PREVIEW}",
    ),
    "a preview in the last chapter's file": novel(
        c3=f"<h2>Chapter 3</h2>{p(CHAPTERS[2])}{ABOUT}{EXCERPT}"
    ),
}


@pytest.fixture
def read(new_epub):
    def read_trade(documents, metadata=METADATA, **patterns):
        return read_epub(new_epub(documents, metadata=metadata).write(), **patterns)

    return read_trade


def texts_of(manuscript):
    return [text for chapter in manuscript.chapters for text in chapter.paragraphs]


@pytest.mark.parametrize("documents", USUAL.values(), ids=USUAL)
def test_a_usual_trade_epub_is_read_word_for_word(read, documents):
    assert texts_of(read(documents)) == TRUTH


CIPHER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")
WORD = "<span style='position:absolute;left:9px'>{}</span>".format
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><text>{}</text></svg>".format


def drawn_by_letter(text):
    """A drawing in which each letter has a place of its own."""
    return SVG(
        "".join(f"<tspan x='{x}'>{letter}</tspan>" for x, letter in enumerate(text))
    )


def drawn_by_line(text, width=40):
    """A drawing with lines of text, and hyphens that divide words at their ends."""
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    for at, (line, following) in enumerate(itertools.pairwise(lines)):
        if line[-1].isalpha() and following[0].islower():
            lines[at] += "-"
    return SVG(
        "".join(
            f"<tspan x='0' y='{at}'>{line}</tspan>" for at, line in enumerate(lines)
        )
    )


def spaced(texts):
    return p(" ".join(text) for text in texts)


@pytest.mark.parametrize(("between", "message"), [
    (lambda texts: p(re.sub(r"\W", "", text) for text in texts), "in words of over 40"),
    (lambda texts: p("".join(map(WORD, text.split())) for text in texts), "in words of over 20"),
    (spaced, "letters on average: it has spaces between letters"),
    (lambda texts: p(text.translate(CIPHER) for text in texts),
     "hardly any common words, though its language is 'en'"),
    (lambda texts: "".join(map(drawn_by_letter, texts)), "hidden or in drawings"),
    (lambda texts: f"<div hidden='hidden'>{p(texts)}</div>", "hidden or in drawings"),
], ids=(
    "glued words", "positioned words", "spaced letters", "a font's code", "drawings", "hidden",
))  # fmt: skip
def test_a_book_that_cannot_be_matched_is_rejected_with_the_place(
    read, between, message
):
    with pytest.raises(BookError, match=message) as caught:
        read(novel(between))
    assert re.search(r"'OEBPS/c\d\.xhtml'", caught.value.message)
    assert re.search("use (?:another|a different) edition", caught.value.hint)


def test_running_text_in_drawings_is_read(read):
    manuscript = read(novel(lambda texts: "".join(map(drawn_by_line, texts))))
    joined = " ".join(texts_of(manuscript))
    assert joined.replace(" ", "") == "".join(TRUTH).replace(" ", "")
    assert len(texts_of(manuscript)) == len(TRUTH)


def test_drawings_are_pages_of_a_spine(new_epub):
    pages = "".join(map(drawn_by_line, CHAPTERS[0]))
    drawing = pages.replace("</svg><svg xmlns='http://www.w3.org/2000/svg'>", "")
    item = '<item id="page" href="page.svg" media-type="image/svg+xml"/>'
    path = new_epub(
        {}, manifest=item, spine=["page"], files={"OEBPS/page.svg": drawing}
    )
    assert len(" ".join(texts_of(read_epub(path.write()))).split()) > 500


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        (p(CHAPTERS[0][:2]), None),
        (f"<div hidden=''>{p(CHAPTERS[0][:2])}</div>", "104 words are hidden or in"),
        ("".join(map(drawn_by_letter, CHAPTERS[0][:1])), "words are hidden or in"),
    ],
)
def test_words_that_are_not_read_are_counted(read, labels, warning):
    warnings = read(novel(c4=f"<h2>Chapter 4</h2><p>And so on.</p>{labels}")).warnings
    assert [warning] == [
        warning for shown in warnings if warning in shown
    ] or not warning


def test_pages_that_are_pictures_are_counted(read):
    pages = {f"p{number}.xhtml": "<img src='a.png' alt=''/>" for number in range(3)}
    [warning] = read(novel() | pages).warnings
    assert warning.startswith("3 documents of 6 are pictures without words")


def test_an_unreadable_document_is_read_if_it_is_included(read):
    assert len(read(novel(spaced), include=["c*"]).chapters) == 3


@pytest.mark.parametrize(
    "more",
    [{"copy-of-c2": f"<h2>Chapter 2</h2>{p(CHAPTERS[1])}"}, {"all": p(TRUTH)}],
    ids=("a chapter", "the whole book"),
)
def test_repeated_text_counts_once(read, more):
    manuscript = read(novel(**more))
    assert texts_of(manuscript) == TRUTH
    assert "repeats 'OEBPS/c" in manuscript.warnings[0]


@pytest.mark.parametrize(
    ("title", "before", "author", "kept"),
    [
        ("<h2>Chapter 1</h2>", {"about": ABOUT}, "", False),
        ("<h2>Chapter 1</h2>", {}, "", True),
        ("<h2>Chapter 4</h2>", {"about": ABOUT}, "", True),
        ("<p>I went home.</p>", {"about": ABOUT}, "", True),
        ("<p>One day in June</p>", {"about": ABOUT}, "", True),
        ("<h2>The Sea</h2>", {}, "Marlowe came.", False),
        ("<h2>The Sea</h2>", {}, "Harlowe came.", True),
        (
            "<section epub:type='chapter'><h2>The Sea</h2></section>",
            {},
            "Marlowe came.",
            True,
        ),
    ],
)
def test_text_is_excluded_only_if_two_signs_agree(read, title, before, author, kept):
    last = p(f"{text} {author}" for text in paragraphs("shore", 6))
    manuscript = read(novel(**before, last=f"{title}{last}"))
    assert manuscript.parts[-1].kept is kept
    assert any("mile" in one.paragraphs[-1] for one in manuscript.excluded) is not kept


def test_a_book_that_names_its_author_throughout_is_read(read):
    manuscript = read(novel(lambda texts: p(f"{text} Marlowe came." for text in texts)))
    assert all(part.kept for part in manuscript.parts)


def test_a_wrongly_declared_language_is_no_reason_to_reject(read):
    spanish = "El capitán de la isla no se lo dijo a los otros que por la noche iban con él al mar."
    assert (
        len(read(novel(lambda texts: p([f"{spanish} {len(texts)}"] * 40))).chapters) > 0
    )


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ({}, [True, False]),
        ({"include": ["c3.xhtml"]}, [True, True]),
        ({"include": ["c3.xhtml § 2"]}, [True, True]),
        ({"exclude": ["c3.xhtml § 2"]}, [True, False]),
        ({"exclude": ["c3.xhtml"]}, [False, False]),
    ],
)
def test_patterns_name_a_document_or_one_of_its_sections(read, patterns, kept):
    documents = novel(c3=f"<h2>Chapter 3</h2>{p(CHAPTERS[2])}{ABOUT}")
    assert [part.kept for part in read(documents, **patterns).parts[2:]] == kept
