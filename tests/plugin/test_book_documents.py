"""Which documents of a book are read: `include` and `exclude` of the suite, told in the reports."""

import json
import shutil
from pathlib import Path

import pytest

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
SUITE = """
[suite]
samples = 1
instruction = "Write about {words} words of the story {title} by {author}, as it stands there."

[limits]
longest_recital = 30

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
    def with_keys(which):
        shutil.copy(STORY, pytester.path)
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
    assert pair["book"]["words"] == 1_630 + 81
    page = (pytester.path / "out.html").read_text()
    assert "EPUB/text/chapter-2.xhtml" in page
    assert "left out, since exclude names it: 6 documents" in page


def test_a_pattern_that_fits_nothing_stops_the_pair(run):
    done = run('exclude = ["chapter-9*"]')
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*exclude names 'chapter-9?', which fits no document*"])
