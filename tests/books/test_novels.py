"""Real novels, where MEMLEAK_BOOKS names a folder of EPUBs; none is part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_memleak.books import cut, read_epub
from pytest_memleak.scoring.words import words

FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = sorted(Path(FOLDER).glob("*.epub")) if FOLDER else []

pytestmark = pytest.mark.skipif(not NOVELS, reason="MEMLEAK_BOOKS names no folder with EPUBs")


@pytest.fixture(params=NOVELS, ids=lambda path: path.stem)
def manuscript(request):
    return read_epub(request.param)


def test_it_is_read_whole(manuscript):
    assert manuscript.title
    assert manuscript.author
    assert manuscript.warnings == ()
    assert len(manuscript.chapters) > 1
    assert all(chapter.title for chapter in manuscript.chapters)


@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_the_excerpts_hold_every_word_once(manuscript, mode):
    excerpts = cut(manuscript, mode=mode)
    counted = [words(excerpt.text, mode) for excerpt in excerpts]
    book = [
        word
        for chapter in manuscript.chapters
        for paragraph in chapter.paragraphs
        for word in words(paragraph, mode)
    ]
    assert [word for one in counted for word in one] == book
    assert [excerpt.id for excerpt in excerpts] == [
        f"p_id{number}" for number in range(1, len(excerpts) + 1)
    ]
    assert all(300 <= len(one) <= 500 for one in counted)


def test_no_excerpt_holds_words_of_two_long_chapters(manuscript):
    excerpts = iter(cut(manuscript))
    left: list[str] = []
    for chapter in manuscript.chapters:
        expected = [word for one in chapter.paragraphs for word in words(one)]
        if len(expected) < 300:
            pytest.skip("a chapter under 300 words may share its excerpts")
        while len(left) < len(expected):
            left += words(next(excerpts).text)
        assert left == expected
        left = []
