"""Which documents of a book are read: `include` and `exclude` of the suite, told in the reports."""

import re
import shutil
import zipfile
from pathlib import Path

import pytest
from suite_files import read_pair

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
def run(gate):
    def with_keys(which, story=STORY, lines=(), **outcomes):
        shutil.copy(story, STORY.name)
        Path("story.memleak.toml").write_text(SUITE.replace("WHICH", which), encoding="utf-8")
        files = ("html=out.html", "evidence=out.json")
        reports = (*(f"--memleak-{file}" for file in files), "--junitxml=out.xml")
        gate(*reports, lines=lines, **outcomes)

    return with_keys


def test_evidence_and_page_hold_the_map_of_the_book(run):
    run('include = ["colophon*"]\nexclude = ["EPUB/text/chapter-[!1].xhtml"]')
    pair = read_pair("out.json")
    parts = {part["name"]: part for part in pair["book"]["parts"]}
    assert len(parts) == 11
    assert parts["EPUB/text/chapter-1.xhtml"]["kept"]
    assert parts["EPUB/text/chapter-2.xhtml"]["rule"] == "it matches exclude"
    assert parts["EPUB/text/colophon.xhtml"]["rule"] == "it matches include"
    assert pair["book"]["words"] == 1_630 + 81 - 4 * 20  # less the prefix of each excerpt
    page = Path("out.html").read_text()
    assert "EPUB/text/chapter-2.xhtml" in page
    assert "excluded because it matches exclude: 6 documents" in page
    for report in (page, Path("out.xml").read_text()):
        assert "86.3% of the file excluded" in report
        assert "only because of a title" not in report


def test_a_chapter_whose_words_only_a_style_sheet_parts_stops_the_pair(run):
    """As fixed pages have them; looked for as they are read, none of its words would be found."""

    def placed(paragraph):
        words = re.sub("<[^>]*>", "", paragraph[1]).split()
        spans = (f'<span style="position: absolute">{word}</span>' for word in words)
        return f"<p>{''.join(spans)}</p>"

    with zipfile.ZipFile(STORY) as story, zipfile.ZipFile("it", "w") as laid_out:
        for entry in story.infolist():
            data = story.read(entry)
            if entry.filename.endswith("chapter-2.xhtml"):
                page = re.sub("<p>(.*?)</p>", placed, data.decode("utf-8"), flags=re.DOTALL)
                data = page.encode("utf-8")
            laid_out.writestr(entry, data)
    run("", story="it", lines=["*% of its letters are in words of over 40*"], errors=1)


def test_a_pattern_that_fits_nothing_stops_the_pair(run):
    message = "*exclude names 'chapter-9?', which matches no document*"
    run('exclude = ["chapter-9*"]', lines=[message], errors=1)
