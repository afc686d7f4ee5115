"""The digest of the text that a suite's author approved, in the bundle and in reports."""

import shutil
from pathlib import Path

import pytest
from suite_files import STORIES, read_pair

from pytest_memleak.books.build_book import make_book, words_digest
from pytest_memleak.books.epub import read_epub

STORY = STORIES / "the-lamplighter.epub"
SUITE = """
suite = { samples = 1, probe = "continuation", prefix_words = 20 }
limits = { longest_passage = 30 }
model = [
    { id = "babbler", provider = "ngram", options = { order = 2, pretraining = ["lamplighter"] } }
]
[[book]]
id = "lamplighter"
source = "the-lamplighter.epub"
exclude = ["EPUB/text/chapter-[!1].xhtml"]
"""
EXCLUDED = ["EPUB/text/chapter-[!1].xhtml"]
REPORTS = ("--memleak-html=out.html", "--memleak-evidence=out.json", "--junitxml=x.xml")


def digest_of_words(**choice):
    return words_digest(make_book("b", read_epub(STORY, **choice)))


@pytest.fixture
def reports(gate, monkeypatch):
    """Runs a suite with these keys of its book; returns the pair, and each report."""

    def run(keys):
        shutil.copy(STORY, STORY.name)
        Path("story.memleak.toml").write_text(SUITE + keys, encoding="utf-8")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        gate(*REPORTS)
        names = ("out.html", "x.xml", "summary.md")
        texts = [Path(name).read_text(encoding="utf-8") for name in names]
        return read_pair("out.json"), texts

    return run


def test_reports_say_that_the_author_approved_the_text(reports):
    pair, texts = reports(f'approved = "{digest_of_words(exclude=EXCLUDED)}"\n')
    assert pair["book"]["approval"] == "approved by the suite's author"
    for text in texts:
        plain = text.replace("&#39;", "'").replace("&#x27;", "'")
        assert "approved by the suite's author" in plain
        assert "not approved" not in plain


def test_reports_say_that_nobody_approved_the_text(reports):
    pair, texts = reports("")
    assert pair["book"]["approval"] == "not approved"
    assert all("not approved" in text for text in texts)


def test_an_approval_of_other_words_does_not_hold(reports):
    pair, (page, *_) = reports(f'approved = "{digest_of_words()}"\n')
    assert pair["book"]["approval"] == "not approved"
    assert "isn&#39;t the approved one" in page


def test_the_approval_is_of_words_and_not_of_their_cutting():
    manuscript = read_epub(STORY)
    by_mode = {
        words_digest(make_book("b", manuscript, mode=mode))
        for mode in ("paper", "unicode")
    }
    assert len(by_mode) == 1
    assert by_mode != {digest_of_words(exclude=EXCLUDED)}
