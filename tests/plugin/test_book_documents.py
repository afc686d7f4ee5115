"""Which documents of a book are read: `include` and `exclude` of the suite, told in the reports."""

import shutil
from pathlib import Path

from suite_files import read_pair

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
SUITE = """
suite = { samples = 1, probe = "continuation", prefix_words = 20 }
limits = { longest_passage = 30 }
model = [
    { id = "babbler", provider = "ngram", options = { order = 2, pretraining = ["lamplighter"] } }
]
[[book]]
id = "lamplighter"
source = "the-lamplighter.epub"
include = ["colophon*"]
exclude = ["EPUB/text/chapter-[!1].xhtml"]
"""


def test_evidence_and_page_hold_the_map_of_the_book(gate):
    shutil.copy(STORY, STORY.name)
    Path("story.memleak.toml").write_text(SUITE, encoding="utf-8")
    gate("--memleak-html=out.html", "--memleak-evidence=out.json", "--junitxml=out.xml")
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
