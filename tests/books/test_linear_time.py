"""Whatever sees a book takes twice as long for twice as much of it, and no longer."""

from __future__ import annotations

import time

import pytest
from marks import full

from pytest_memleak.books.boilerplate import (
    find_notices,
    header_field,
    kind_of_title,
    without_license,
)
from pytest_memleak.books.html_attributes import block_classes
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.sentences import cut_paragraph
from pytest_memleak.books.table_of_contents import navigation_contents, ncx_contents
from pytest_memleak.books.text_decoding import is_binary, legible, read_source, without_controls
from pytest_memleak.scoring.words import words

SEEDS = [
    " ", "\n", "\n ", "a", "a ", "-", "*", "* ", "_", "1", "i", "[", "[ ", ". ", ".", ".”", '"',
    "'", "é", "é ", "’", "木", "ก", "a\u0301", "\u0301", "\u0323\u0301", "&", "&a", "&amp;", "<",
    "</", "</b>", "<b>", "<p>", "<!--", "<!-->", "<?", "<a href='#'>", "<meta ", "<br/>",
    "display:", "<!ENTITY ", "]>", "END OF PROJECT GUTENBERG ", "*START OF THE PROJECT GUTENBERG ",
    "START OF THE PROJECT GUTENBERG ", "THE SMALL PRINT!", "Title:", "Title:\n ",
    "/*", "{", "}", ".a,", "@", "copyright ", "copyright a a ", "published ", "10 ", "street ",
    "reproduced ", "ISBN ", "<ol>", "<navPoint>", "<a href='x'>",
]  # fmt: skip


def around(before, after=""):
    return lambda text: read_markup(f"{before}{text}{after}".encode())


SEE_A_BOOK = {
    "a document": around(""),
    "a document type": around("<!DOCTYPE html [", "]><p>word</p>"),
    "a paragraph": around("<p>", "</p>"),
    "a link": around("<p>x<a href='#n'>", "</a></p>"),
    "a page number": around("<p>x<span class='pagenum'>", "</span></p>"),
    "lines as they stand": around("<pre>", "</pre>"),
    "a heading": around("<h1>", "</h1><p>word</p>"),
    "a style": lambda text: read_markup(f'<p style="{text.replace(chr(34), "")}">'.encode()),
    "a source": lambda text: read_source(text.encode()),
    "a licence": lambda text: without_license([f"{text} PROJECT GUTENBERG"]),
    "a header": lambda text: header_field([text, "*** START OF THE PROJECT GUTENBERG"], "Title"),
    "characters": lambda text: (is_binary(text), legible(text), without_controls(text)),
    "a style sheet": lambda text: block_classes([text, f"{text}{{display:block}}"]),
    "a copyright page": lambda text: find_notices([text[:2_400], text]),
    "a title": kind_of_title,
    "contents": lambda text: (
        navigation_contents(f"<nav epub:type='toc'><ol>{text}".encode(), "n"),
        ncx_contents(f"<navPoint>{text}".encode(), "n"),
    ),
    "words of the paper": words,
    "words of every script": lambda text: words(text, "unicode"),
    "sentences": lambda text: cut_paragraph(text, mode="paper", longest=500),
    "sentences of every script": lambda text: cut_paragraph(text, mode="unicode", longest=500),
}
LENGTH = 100_000


@pytest.mark.full
@pytest.mark.parametrize(
    "see", [full(see) if see == "sentences of every script" else see for see in SEE_A_BOOK]
)
def test_what_would_take_hours_if_it_were_not_linear_comes_to_an_end(see):
    # A hundred thousand squared is ten thousand million steps for each of these seeds.
    for seed in SEEDS:
        SEE_A_BOOK[see]((seed * LENGTH)[:LENGTH])


def seconds(see, text):
    best = float("inf")
    for _ in range(2):
        start = time.process_time()
        SEE_A_BOOK[see](text)
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.full
@pytest.mark.parametrize("see", SEE_A_BOOK)
def test_four_times_as_much_takes_four_times_as_long(see):
    for seed in SEEDS:
        once, four = (seconds(see, (seed * size)[:size]) for size in (2 * LENGTH, 8 * LENGTH))
        # Sixteen times is what a quadratic step would take; under 20 ms there is only noise.
        assert four < 9 * max(once, 0.02), seed
