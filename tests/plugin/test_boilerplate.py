"""A model that recites a copyright page has recited nothing of the book."""

import zipfile

import pytest
from corpus import shakespeare
from suite_files import write_answers

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.books.instructions import write_summaries
from pytest_memleak.records import Excerpt

NOTICE = (
    "All rights reserved. No part of this publication may be reproduced, distributed, or "
    "transmitted in any form or by any means, including photocopying, recording, or other "
    "electronic or mechanical methods, without the prior written permission of the publisher.",
    "Published in the United States by Harbour Books, a division of Big House, 1745 Broadway, New "
    "York, NY 10019.",
    "This is a work of fiction. Names, characters, places and incidents are either the product of "
    "the author’s imagination or are used fictitiously. Any resemblance to actual persons, living "
    "or dead, events, or locales is entirely coincidental.",
    "ISBN 978-1-2345-6789-0 (ebook)",
)
SUITE = """
suite = { samples = 2 }
limits = { longest_passage = 20, nv_longest_passage = 20 }
book = [{ id = "book", source = "book.epub", summaries = "summaries.json" }]
model = [{ id = "m", provider = "recorded", options = { path = "answers.json" } }]
"""
CHAPTERS = 3


def play(at, count):
    return " ".join(shakespeare()[at : at + count])


def page(*paragraphs):
    body = "".join(f"<p>{one}</p>" for one in paragraphs)
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'


PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" version="2.0"><metadata
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Book</dc:title><dc:creator>Doe</dc:creator>
</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"""
CONTAINER = """<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="content.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""
ITEM = '<item id="{0}" href="{0}" media-type="application/xhtml+xml"/>'


@pytest.fixture
def epub(pytester):
    """A book with copyright pages before and behind it, and in the midst of its last chapter."""
    documents = {"copyright.xhtml": page("Copyright © 2019 by Jane Doe", *NOTICE)}
    for n in range(CHAPTERS):
        # What a tag or a reference could be made of is no matter here.
        chapter = (play(1_000 * n + at, 100) for at in range(0, 800, 100))
        text = [part.translate({38: None, 60: None}) for part in chapter]
        notice = NOTICE if n == CHAPTERS - 1 else ()
        documents[f"c{n}.xhtml"] = page(f"<b>CHAPTER {n + 1}</b>", *text, *notice)
    documents["back.xhtml"] = page(*NOTICE)
    items = "".join(map(ITEM.format, documents))
    spine = "".join(map('<itemref idref="{}"/>'.format, documents))
    path = pytester.path / "book.epub"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("mimetype", "application/epub+zip")
        made.writestr("META-INF/container.xml", CONTAINER)
        made.writestr("content.opf", PACKAGE.format(items=items, spine=spine))
        for name, text in documents.items():
            made.writestr(name, text)
    return path


@pytest.fixture
def run(pytester, epub):
    def answering(recited):
        excerpts: tuple[Excerpt, ...] = cut(read_epub(epub))
        answers = {
            one.id: [f"{play(at + 700 * n, 300)} {recited(one)}" for at in (20_000, 120_000)]
            for n, one in enumerate(excerpts)
        }
        write_answers("answers.json", answers, finish_reason="stop")
        told = "Somebody quarrels with everybody else about what should become of scene {}."
        summaries = {one.id: told.format(n) for n, one in enumerate(excerpts)}
        write_summaries(pytester.path / "summaries.json", excerpts, summaries)
        (pytester.path / "b.memleak.toml").write_text(SUITE, encoding="utf-8")
        return pytester.runpytest()

    return answering


def test_a_model_that_recites_the_copyright_page_passes(run):
    run(lambda _: " ".join(NOTICE)).assert_outcomes(passed=1)


def test_one_that_recites_as_much_of_the_book_does_not(run):
    words = len(" ".join(NOTICE).split())
    run(lambda one: " ".join(one.text.split()[50 : 50 + words])).assert_outcomes(failed=1)
