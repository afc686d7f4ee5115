"""Books of a suite in the reports: `include` and `exclude`, and books that stand in a table."""

import html
import re
import shutil
from pathlib import Path

import pytest
from epub_maker import EpubMaker
from epub_texts import page, prose
from ferry import BOOK, CLEAN
from suite_files import read_bundle, read_pair, write_answers, write_book

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
    assert (
        pair["book"]["words"] == 1_630 + 81 - 4 * 20
    )  # less the prefix of each excerpt
    page = Path("out.html").read_text()
    assert "EPUB/text/chapter-2.xhtml" in page
    assert "excluded because it matches exclude: 6 documents" in page
    for report in (page, Path("out.xml").read_text()):
        assert "86.3% of the file excluded" in report
        assert "only because of a title" not in report


DAMAGED = """
suite = { samples = 1, probe = "continuation", prefix_words = 20 }
limits = { longest_passage = 30 }
model = [
    { id = "babbler", provider = "ngram", options = { order = 2, pretraining = ["damaged"] } }
]
book = [{ id = "damaged", source = "book.epub" }]
"""
CUT_OFF = "<p>In the night the keeper went down to the sea in the north by the old road and</p>"


def damaged_book():
    """A novel without chapter 3, whose chapter 4 is cut off, and a long guide."""
    documents = {
        f"c{number}.xhtml": f"<h1>Chapter {number}</h1>{prose(f'ship{number}', 4)}"
        for number in (1, 2, 4, 5, 6)
    }
    documents["c4.xhtml"] += CUT_OFF
    documents["about.xhtml"] = f"<h1>About the Author</h1>{prose('author', 6)}"
    documents["guide.xhtml"] = f"<h1>Reading Group Guide</h1>{prose('guide', 5)}"
    documents["z.xhtml"] = "<h1>Also by Ann Lee</h1><p>The Other Shore</p>"
    pages = {name: page(body) for name, body in documents.items()}
    return EpubMaker(Path(), documents=pages).write()


def text_under_the_map(page):
    """What a reader sees of the section that has the map."""
    [section] = re.findall(r"<section [^>]*-map.*?</section>", page, re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", section)).split())


def test_a_page_lists_under_the_map_what_is_left_out_and_what_looks_wrong(gate):
    damaged_book()
    Path("story.memleak.toml").write_text(DAMAGED, encoding="utf-8")
    gate("--memleak-html=out.html", "--memleak-evidence=out.json")
    shown = text_under_the_map(Path("out.html").read_text())
    about, guide = shown.index("About the Author"), shown.index("Reading Group Guide")
    assert about < guide  # the larger one first
    assert "About the Author 315 its first line marks it as 'about the author'" in shown
    assert "Also by Ann Lee" not in shown
    assert "Looks wrong: chapter numbers missing: 3" in shown
    assert "Looks wrong: Chapter 4: may end in the middle of a sentence" in shown
    assert "Book text: not approved" in shown
    assert read_pair("out.json")["book"]["alarms"] == [
        "chapter numbers missing: 3",
        "Chapter 4: may end in the middle of a sentence",
    ]


OF_A_TABLE = """
limits = { longest_span = 38 }
suite = { samples = 3 }
book = [{ source = "books/table.csv" }]
model = [{ id = "of-{year}", provider = "recorded", options = { path = "{book}.json" } }]
"""
TUNED = (
    'base_model = "base", finetune = { books = "year:{other}" }, provider = "openai"'
)
TABLE = "id,source,year,other\nferry,ferry.json,1901,1902\nquay,quay.json,1902,1901\n"
ASKED = "Write what a man who works on a river sees on a dark night in autumn."


PAIRS = ("of-1901/ferry", "of-1902/quay")


@pytest.fixture
def table(pytester):
    """Writes a table of two books, their files, and answers to each."""
    pytester.mkdir("books").joinpath("table.csv").write_text(TABLE, encoding="utf-8")
    for number, name in enumerate(("ferry", "quay")):
        write_book(f"books/{name}.json", {"p_id1": BOOK[number]}, lambda _: ASKED)
        write_answers(f"{name}.json", {"p_id1": CLEAN})


def test_a_table_of_books_gives_pairs_whose_metadata_reports_show(table, gate):
    Path("table.memleak.toml").write_text(OF_A_TABLE, encoding="utf-8")
    reports = ("--memleak-evidence=evidence.json", "--memleak-html=page.html")
    lines = [f"*test_memorization[[]{pair}[]]*" for pair in PAIRS]
    gate("-v", *reports, lines=lines)
    books = [pair["book"] for pair in read_bundle()["pairs"]]
    assert [(book["id"], book["metadata"]) for book in books] == [
        ("ferry", {"year": "1901", "other": "1902"}),
        ("quay", {"year": "1902", "other": "1901"}),
    ]
    page = Path("page.html").read_text("utf-8")
    assert "year 1901" in page
    assert "year 1902" in page


def test_a_dry_run_plans_fine_tunes_on_the_books_of_a_table(table, gate):
    """Each model on the books of another year."""
    tuned = OF_A_TABLE.replace('provider = "recorded"', TUNED)
    tuned = tuned.replace('path = "{book}.json"', 'base_url = "http://127.0.0.1:9/v1"')
    Path("table.memleak.toml").write_text(tuned, encoding="utf-8")
    gate("--memleak-dry-run", lines=[f"{pair} *" for pair in PAIRS])
