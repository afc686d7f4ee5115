"""A book whose words ICU separates: in reports and in the bundle."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from icu4py import icu_version
from suite_files import read_pair, write_answers, write_book

from pytest_memleak.pipeline.prompted_book import pair_prompts
from pytest_memleak.records import Book, Excerpt, Sampling, Scoring

UDHR = Path(__file__).parents[1] / "scoring" / "udhr" / "thai.txt"
SUITE = """
suite = { samples = 1, word_mode = "unicode" }
limits = { longest_passage = 38 }
book = [{ id = "declaration", source = "declaration.json" }]
model = [{ id = "candidate", provider = "recorded", options = { path = "answers.json" } }]
"""


@pytest.fixture
def declaration(pytester):
    """A book of two excerpts, and an answer that recites from the other one."""
    paragraphs = UDHR.read_text(encoding="utf-8").split("\n\n")
    texts = {
        "p_id1": "\n\n".join(paragraphs[:9]),
        "p_id2": "\n\n".join(paragraphs[9:18]),
    }
    write_book(
        "declaration.json",
        texts,
        lambda key: f"Write about the rights in {key}, please.",
    )
    write_answers(
        "answers.json", {"p_id1": [texts["p_id2"][:300]], "p_id2": ["ไม่ทราบ"]}
    )
    pytester.path.joinpath("it.memleak.toml").write_text(SUITE, encoding="utf-8")


@pytest.mark.usefixtures("declaration")
def test_reports_say_which_icu_separated_its_words_and_how_long_they_are(gate):
    evidence = "--memleak-evidence=evidence.json"
    notice = (
        f"*ICU {icu_version} splits it into words; 38 words are about 1?? characters*"
    )
    gate("-v", evidence, lines=["*longest passage, * words*", notice], failed=1)
    assert read_pair()["settings"]["icu"] == icu_version


def test_a_generation_has_tokens_enough_for_its_letters():
    text = UDHR.read_text(encoding="utf-8")[:1_500]
    pair = SimpleNamespace(
        id="p", sampling=Sampling(), scoring=Scoring(word_mode="unicode")
    )
    book = Book("b", "b", "a", (Excerpt("p_id1", text, "Write about rights"),), "")
    (prompt,) = pair_prompts(pair, book).specs
    assert len("".join(text.split())) < prompt.max_tokens < 2 * len(text)
    assert prompt.prompt_words == 3
