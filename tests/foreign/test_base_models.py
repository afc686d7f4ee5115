"""A base model behind llama.cpp's server, asked for raw text: what it knows, and what it does not.

Gemma 3 270M knows the First Amendment by heart; SmolLM2 135M knows nothing of it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pytest_memleak.contracts.protocols import ProviderSetup, Window
from pytest_memleak.providers.transformers.transformers_provider import TransformersProvider
from pytest_memleak.records import Model
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
completions_per_call = 1
timeout = 900
"""
PROBABILITY = """
[suite]
probe = "probability"
[suite.probability]
prefix_tokens = PREFIX
suffix_tokens = SUFFIX
top_k = 0
[limits]
extractable = 0.1
[[book]]
id = "text"
source = "text.txt"
[[model]]
id = "model"
provider = "transformers"
base = "FOLDER"
[model.options]
device = "cpu"
threads = 1
"""
LETTERS = 600  # of a novel
# llama.cpp rounds activations, too, where the weights are quantised: nats a token.
TOLERANCE = 0.2
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


def post(address, path, **asked):
    """The server's own protocol."""
    request = urllib.request.Request(
        f"{address}/{path}", json.dumps(asked).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def directly(address, *, tokens=60):
    """What the server itself goes on with, most likely."""
    begun = " ".join(AMENDMENT.split()[:PREFIX])
    return post(address, "completion", prompt=begun, n_predict=tokens, temperature=0, n_probs=1)


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
    assert in_common(rest, directly(gemma)["content"]) == REST


def test_through_a_proxy_it_does_too(run, through_litellm):
    result, pair = run(through_litellm, AMENDMENT)
    result.assert_outcomes(failed=1)
    assert pair["measures"]["greedy_longest_span"]["value"] == REST


@pytest.mark.slow
@pytest.mark.parametrize("book", ["dracula", "pride-and-prejudice"])
def test_it_does_not_know_a_novel(run, gemma, book):
    result, pair = run(gemma, beginning(book))
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"


@pytest.mark.slow
def test_another_model_does_not_know_the_amendment(run, llama):
    with llama("smollm2") as address:
        result, pair = run(address, AMENDMENT, name="smollm2")
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"
    assert pair["measures"]["greedy_longest_span"]["value"] < REST / 2


@pytest.fixture(scope="module")
def dequantised(llama_environment, tmp_path_factory):
    """The folder of Gemma's weights, as transformers reads them from the same file."""
    folder = tmp_path_factory.mktemp("gemma")
    packages = next(llama_environment.parent.glob("lib/python*/site-packages"))
    script = Path(__file__).with_name("dequantise.py")
    subprocess.run(
        [sys.executable, script, "gemma", folder, packages],
        check=True,
        timeout=1800,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    return folder


@pytest.mark.slow
def test_its_weights_on_this_machine_are_as_sure(pytester, gemma, dequantised):
    """Token by token, and in the suite's one window, by two programs that share no code."""
    written = AMENDMENT.replace("Government", "government")  # as the model writes it
    tokens = post(gemma, "tokenize", content=written)["tokens"]
    prefix = post(gemma, "tokenize", content=" ".join(AMENDMENT.split()[:PREFIX]))["tokens"]
    rest = tokens[len(prefix) :]
    assert tokens[: len(prefix)] == prefix
    theirs = directly(gemma, tokens=len(rest))["completion_probabilities"]
    assert [one["id"] for one in theirs] == rest
    expected = [one["logprob"] for one in theirs]

    model = Model(
        id="m",
        provider="transformers",
        base=str(dequantised),
        options={"device": "cpu", "threads": 1},
    )
    setup = ProviderSetup(
        model=model,
        place="suite.memleak.toml, model m",
        root=Path(),
        state=pytester.path / "state",
        read_book=lambda book: pytest.fail(f"asked for {book}"),
    )
    endpoint = TransformersProvider(setup).open(None)
    assert endpoint.text_tokens(written) == tokens
    window = Window(tuple(prefix), tuple(rest))
    [ours] = endpoint.log_probabilities([window])
    assert ours == pytest.approx(expected, abs=TOLERANCE)

    (pytester.path / "text.txt").write_text(written, encoding="utf-8")
    suite = PROBABILITY.replace("FOLDER", str(dequantised)).replace("PREFIX", str(len(prefix)))
    pytester.makefile(".memleak.toml", it=suite.replace("SUFFIX", str(len(rest))))
    result = pytester.runpytest_subprocess("-m", "copyright", "--memleak-evidence=e.json")
    result.assert_outcomes(failed=1)
    (pair,) = json.loads((pytester.path / "e.json").read_text("utf-8"))["pairs"]
    assert pair["measures"]["extractable"]["value"] == 1.0
    assert pair["windows"]["ln_p_z"] == pytest.approx([math.fsum(ours)])


def beginning(book):
    """Words from a novel's middle."""
    path = BOOKS / f"{book}.epub"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    from pytest_memleak.books.epub import read_epub

    told = read_epub(path)
    chapter = told.chapters[len(told.chapters) // 2]
    return "\n\n".join(chapter.paragraphs)[:LETTERS]
