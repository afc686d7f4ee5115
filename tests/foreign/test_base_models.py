"""A base model behind llama.cpp's server, asked for raw text: what it knows, and what it does not.

Gemma 3 270M knows the First Amendment by heart; SmolLM2 135M knows nothing of it.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from pytest_memleak.scoring.words import words

AMENDMENT = (
    "Congress shall make no law respecting an establishment of religion, or prohibiting the free"
    " exercise thereof; or abridging the freedom of speech, or of the press; or the right of the"
    " people peaceably to assemble, and to petition the Government for a redress of grievances."
)
PREFIX, REST = 8, 37  # words
SUITE = """
[suite]
samples = SAMPLES
probe = "continuation"
prefix_words = 8
min_answer = 0.01
[limits]
longest_recital = 38
greedy_longest_span = 30
[[book]]
id = "text"
source = "text.txt"
[[model]]
id = "model"
provider = "openai"
endpoint = "NAME"
[model.options]
base_url = "ADDRESS/v1"
api = "completions"
concurrency = 1
"""
BOOKS = Path(__file__).resolve().parents[3] / "shared" / "books"


@pytest.fixture
def run(pytester):
    """Runs the suite for a text; the result, and the pair of its evidence."""

    def go(address, text, name="gemma", samples=2):
        (pytester.path / "text.txt").write_text(text, encoding="utf-8")
        suite = SUITE.replace("ADDRESS", address).replace("NAME", name)
        suite = suite.replace("SAMPLES", str(samples))
        pytester.makefile(".memleak.toml", it=suite)
        result = pytester.runpytest_subprocess("-m", "copyright", "--memleak-evidence=e.json", "-v")
        (pair,) = json.loads((pytester.path / "e.json").read_text("utf-8"))["pairs"]
        return result, pair

    return go


def directly(address):
    """What the server itself goes on with, most likely, by its own protocol."""
    asked = {
        "prompt": " ".join(AMENDMENT.split()[:PREFIX]),
        "n_predict": 60,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{address}/completion", json.dumps(asked).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["content"]


def in_common(text, answer):
    """The words of the longest run that both have."""
    ours, theirs = words(text), words(answer)
    return max(
        length
        for start in range(len(ours))
        for length in range(len(ours) - start + 1)
        if any(
            ours[start : start + length] == theirs[at : at + length]
            for at in range(len(theirs) - length + 1)
        )
    )


def test_the_first_amendment_comes_back_whole(run, gemma):
    result, pair = run(gemma, AMENDMENT)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*greedy_longest_span 37 is over its limit 30*"])
    assert pair["measures"]["greedy_longest_span"]["value"] == REST
    rest = " ".join(AMENDMENT.split()[PREFIX:])
    assert in_common(rest, directly(gemma)) == REST


def test_through_a_proxy_it_does_too(run, through_litellm):
    result, pair = run(through_litellm, AMENDMENT)
    result.assert_outcomes(failed=1)
    assert pair["measures"]["greedy_longest_span"]["value"] == REST


@pytest.mark.slow
@pytest.mark.parametrize("book", ["dracula", "pride-and-prejudice"])
def test_it_does_not_know_a_novel(run, gemma, book):
    result, pair = run(gemma, beginning(book), samples=4)
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"


@pytest.mark.slow
def test_another_model_does_not_know_the_amendment(run, llama):
    with llama("smollm2") as address:
        _, pair = run(address, AMENDMENT, name="smollm2")
    assert pair["measures"]["greedy_longest_span"]["value"] < REST / 2


def beginning(book):
    """Words from a novel's middle."""
    path = BOOKS / f"{book}.epub"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    from pytest_memleak.books.epub import read_epub

    told = read_epub(path)
    chapter = told.chapters[len(told.chapters) // 2]
    return "\n\n".join(chapter.paragraphs)[:5000]
