"""A base model behind llama.cpp's server, asked for raw text: what it knows, and what it does not.

Gemma 3 270M knows the First Amendment by heart; SmolLM2 135M knows nothing of it.
"""

import json
import os
import urllib.request
from pathlib import Path

import pytest
from clients import longest_passage
from suite_files import evidence

from pytest_memleak.scoring.words import words

AMENDMENT = (
    "Congress shall make no law respecting an establishment of religion, or "
    "prohibiting the free"
    " exercise thereof; or abridging the freedom of speech, or of the press; or the "
    "right of the"
    " people peaceably to assemble, and to petition the Government for a redress of "
    "grievances."
)
PREFIX, REST = 8, 37  # words
SUITE = """
suite = { samples = 2, probe = "continuation", prefix_words = 8, min_length_ratio = 0.01 }
limits = { longest_passage = 38, greedy_longest_span = 30 }
sampling = { deadline = 900 }
book = [{ id = "text", source = "text.txt" }]
[[model]]
id = "model"
provider = "openai"
endpoint = "NAME"
[model.options]
base_url = "ADDRESS/v1"
api = "completions"
concurrency = 1
completions_per_call = 1
"""
LETTERS = 600  # of a novel
BOOKS = Path(os.environ.get("MEMLEAK_BOOKS", "nowhere"))


@pytest.fixture
def run(pytester):
    """Runs the suite for a text; the result, and the pair of its evidence."""

    def go(address, text, name="gemma"):
        Path("text.txt").write_text(text, encoding="utf-8")
        suite = SUITE.replace("ADDRESS", address).replace("NAME", name)
        pytester.makefile(".memleak.toml", it=suite)
        return evidence(pytester, "-v", run="runpytest_subprocess")

    return go


def directly(address):
    """What the server itself goes on with, most likely, by its own protocol."""
    begun = " ".join(AMENDMENT.split()[:PREFIX])
    body = {"prompt": begun, "n_predict": 60, "temperature": 0}
    request = urllib.request.Request(
        f"{address}/completion",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["content"]


def test_the_first_amendment_comes_back_whole(run, gemma):
    result, pair = run(gemma, AMENDMENT)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*greedy_longest_span 37 exceeds the limit 30*"])
    assert pair["measures"]["greedy_longest_span"]["value"] == REST
    rest = " ".join(AMENDMENT.split()[PREFIX:])
    answer = directly(gemma)
    assert longest_passage(" ".join(words(rest)), " ".join(words(answer))) == REST


def test_the_first_amendment_comes_back_through_a_proxy(run, through_litellm):
    result, pair = run(through_litellm, AMENDMENT)
    result.assert_outcomes(failed=1)
    assert pair["measures"]["greedy_longest_span"]["value"] == REST


@pytest.mark.full
@pytest.mark.parametrize("book", ["dracula", "pride-and-prejudice"])
def test_gemma_does_not_recite_a_novel(run, gemma, book):
    result, pair = run(gemma, beginning(book))
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"


@pytest.mark.full
def test_smollm2_does_not_recite_the_amendment(run, llama):
    with llama("smollm2") as address:
        result, pair = run(address, AMENDMENT, name="smollm2")
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"
    assert pair["measures"]["greedy_longest_span"]["value"] < REST / 2


def beginning(book):
    """Words from a novel's middle."""
    path = BOOKS / f"{book}.epub"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    from pytest_memleak.books.epub import read_epub

    chapters = read_epub(path)
    chapter = chapters.chapters[len(chapters.chapters) // 2]
    return "\n\n".join(chapter.paragraphs)[:LETTERS]
