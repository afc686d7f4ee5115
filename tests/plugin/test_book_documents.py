"""Which documents of a book are read: `include` and `exclude` of the suite, told in the reports."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
SUITE = """
[suite]
samples = 1
probe = "continuation"
prefix_words = 20

[limits]
longest_passage = 30

[[book]]
id = "lamplighter"
source = "the-lamplighter.epub"
WHICH

[[model]]
id = "babbler"
provider = "ngram"
[model.options]
order = 2
pretraining = ["lamplighter"]
"""


@pytest.fixture
def run(pytester):
    def with_keys(which, story=STORY):
        shutil.copy(story, pytester.path / STORY.name)
        suite = pytester.path / "story.memleak.toml"
        suite.write_text(SUITE.replace("WHICH", which), encoding="utf-8")
        return pytester.runpytest("--memleak-html=out.html", "--memleak-evidence=out.json")

    return with_keys


def test_evidence_and_page_hold_the_map_of_the_book(pytester, run):
    run('include = ["colophon*"]\nexclude = ["EPUB/text/chapter-[!1].xhtml"]')
    [pair] = json.loads((pytester.path / "out.json").read_text())["pairs"]
    parts = {one["name"]: one for one in pair["book"]["parts"]}
    assert len(parts) == 11
    assert parts["EPUB/text/chapter-1.xhtml"]["kept"]
    assert parts["EPUB/text/chapter-2.xhtml"]["rule"] == "exclude names it"
    assert parts["EPUB/text/colophon.xhtml"]["rule"] == "include names it"
    assert pair["book"]["words"] == 1_630 + 81 - 4 * 20  # less the prefix of each excerpt
    page = (pytester.path / "out.html").read_text()
    assert "EPUB/text/chapter-2.xhtml" in page
    assert "left out because exclude names it: 6 documents" in page


def test_a_chapter_whose_words_only_a_style_sheet_parts_stops_the_pair(pytester, run):
    """As fixed pages have them; looked for as they are read, none of its words would be found."""

    def placed(paragraph):
        words = re.sub("<[^>]*>", "", paragraph[1]).split()
        spans = (f'<span style="position: absolute">{word}</span>' for word in words)
        return f"<p>{''.join(spans)}</p>"

    with zipfile.ZipFile(STORY) as story, zipfile.ZipFile(pytester.path / "it", "w") as laid_out:
        for one in story.infolist():
            data = story.read(one)
            if one.filename.endswith("chapter-2.xhtml"):
                page = re.sub("<p>(.*?)</p>", placed, data.decode("utf-8"), flags=re.DOTALL)
                data = page.encode("utf-8")
            laid_out.writestr(one, data)
    done = run("", story=pytester.path / "it")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*% of its letters are in words of over 40*"])


def test_a_pattern_that_fits_nothing_stops_the_pair(run):
    done = run('exclude = ["chapter-9*"]')
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*exclude names 'chapter-9?', which matches no document*"])
