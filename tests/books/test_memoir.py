"""A memoir of 22 chapters as a trade publisher cuts it, between texts by others.

Its first and last chapters name the author as often as the editor's preface and the
appendix do; in those between, as in "Twelve Years a Slave", the author goes by another
name. The prose is that of a seeded grammar.
"""

import re

import pytest
from epub_texts import contents, p
from grammar_stories import story

from pytest_memleak.books.epub import read_epub

METADATA = (
    "<dc:title>The Salt Road</dc:title><dc:creator>Solomon Marlowe</dc:creator>"
    "<dc:language>en</dc:language>"
)
NUMERALS = [
    "I",
    "II",
    "III",
    "IV",
    "V",
    "VI",
    "VII",
    "VIII",
    "IX",
    "X",
    "XI",
    "XII",
    "XIII",
    "XIV",
    "XV",
    "XVI",
    "XVII",
    "XVIII",
    "XIX",
    "XX",
    "XXI",
    "XXII",
]
TITLES = [
    "Born Free",
    "A Journey",
    "The Pen",
    "The Brig",
    "The Gulf",
    "The Sale",
    "The Pines",
    "The Loom",
    "The Sun",
    "The Swamp",
    "The Mistress",
    "The Cotton",
    "The Axe",
    "The Cane",
    "The Mill",
    "The Fiddle",
    "The Hounds",
    "The Tanner",
    "The Stranger",
    "The Hope",
    "The Deliverer",
    "Home",
]
NAMING = {1, 2, 21, 22}
NAMES_AUTHOR = "it names the author throughout, as text by others does"


def written(seed, people, *, words):
    """Paragraphs of the grammar, with these people in the place of as many of its own."""
    told = story(seed, words=words)
    text = "\n".join(told.paragraphs)
    for name, person in zip(told.cast, people, strict=False):
        text = re.sub(rf"\b{name}\b", person, text)
    return text.split("\n")


def chapter(number, teller, *, words):
    """A chapter's paragraphs; `teller` takes the part of half its people."""
    author = "Marlowe" if number in NAMING else "Platt"
    return written(number, [author, *[teller] * 4], words=words)


def memoir(titles, teller, *, words=3_600):
    """The memoir's documents, its table of contents, and its text."""
    chapters = [
        chapter(number, teller, words=words) for number in range(1, len(titles) + 1)
    ]
    others = [
        written(seed, ["Marlowe"], words=size)
        for seed, size in ((98, 700), (99, 3_000))
    ]
    preface, appendix = others
    documents = {
        "preface.xhtml": f"<h2>Editor’s Preface</h2>{p(preface)}",
        "dedication.xhtml": "<h2>Dedication</h2><p>To Solomon Marlowe’s children.</p>",
        **{
            f"c{number}.xhtml": f"<h2>{title}</h2>{p(texts)}"
            for number, (title, texts) in enumerate(
                zip(titles, chapters, strict=True), 1
            )
        },
        "appendix.xhtml": f"<h2>Appendix</h2>{p(appendix)}",
        "list.xhtml": "<h2>Also Available from Harbor Books</h2>"
        "<p>The Far Shore</p><p>A Winter Harbor</p>",
    }
    headings = {
        name: re.search("<h2>(.*?)</h2>", body)[1] for name, body in documents.items()
    }
    nav = contents(*((title, name) for name, title in headings.items()))
    return documents, nav, [text for texts in chapters for text in texts]


@pytest.mark.parametrize(
    ("titles", "teller"),
    [
        ([f"CHAPTER {numeral}" for numeral in NUMERALS], "he"),
        (NUMERALS, "he"),
        (TITLES, "I"),
    ],
    ids=["numbered chapters", "numerals alone", "titles, and the first person"],
)
def test_a_memoir_keeps_every_chapter_and_no_text_by_others(new_epub, titles, teller):
    documents, nav, text = memoir(titles, teller)
    manuscript = read_epub(new_epub(documents, metadata=METADATA, nav=nav).write())
    left_out = {part.name: part.rule for part in manuscript.parts if not part.kept}
    others = ("preface", "dedication", "appendix", "list")
    assert set(left_out) == {f"OEBPS/{name}.xhtml" for name in others}
    assert left_out["OEBPS/preface.xhtml"] == NAMES_AUTHOR
    assert left_out["OEBPS/appendix.xhtml"] == NAMES_AUTHOR
    assert manuscript.paragraphs() == text
    assert sum(part.words for part in manuscript.parts) > 79_200
