"""A base model behind llama.cpp's server, asked for raw text: what it knows, and what it does not.

Gemma 3 270M knows the First Amendment by heart; SmolLM2 135M knows nothing of it.
"""

import json
import math
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from clients import longest_passage, make_provider
from suite_files import evidence

from pytest_memleak.interfaces.protocols import Window
from pytest_memleak.scoring.words import words

AMENDMENT = (
    "Congress shall make no law respecting an establishment of religion, or prohibiting the free"
    " exercise thereof; or abridging the freedom of speech, or of the press; or the right of the"
    " people peaceably to assemble, and to petition the Government for a redress of grievances."
)
PREFIX, REST = 8, 37  # words
SUITE = """
suite = { samples = SAMPLES, probe = "continuation", prefix_words = 8, min_length_ratio = 0.01 }
limits = { longest_passage = 38, greedy_longest_span = 30 }
sampling = { deadline = 900 }
book = [{ id = "text", source = "text.txt" }]
[[model]]
id = "model"
provider = "openai"
endpoint = "NAME"
options = { base_url = "ADDRESS/v1", api = "completions", CALLS }
"""
CALLS = "concurrency = 1, completions_per_call = 1"
PROBABILITY = """
suite.probe = "probability"
suite.probability = { prefix_tokens = PREFIX, suffix_tokens = SUFFIX, top_k = TOP_K }
limits = { extractable = 0.1, extractable_plain = 0.1 }
book = [{ id = "text", source = "text.txt" }]
[[model]]
id = "model"
provider = "PROVIDER"
base_model = "BASE"
[model.options]
OPTIONS
"""
ON_THE_CPU = 'device = "cpu"\nthreads = 1'
TOP_K = 40
LETTERS = 600  # of a novel
# llama.cpp rounds activations, too, where the weights are quantised: nats a token.
TOLERANCE = 0.2
SAME_SERVER = 0.02  # a text that is read in one go, and one that is written word by word
WRITTEN = AMENDMENT.replace("Government", "government")  # as the model writes it
BOOKS = Path(os.environ.get("MEMLEAK_BOOKS", "nowhere"))


def evaluate(pytester, text, suite, **words):
    """Run a suite, in which these words stand for others; the result, and the evidence's pair."""
    Path("text.txt").write_text(text, encoding="utf-8")
    for word, other in words.items():
        suite = suite.replace(word, str(other))
    pytester.makefile(".memleak.toml", it=suite)
    return evidence(pytester, "-v", run="runpytest_subprocess")


@pytest.fixture
def run(pytester):
    """Runs the suite for a text; the result, and the pair of its evidence."""

    def go(address, text, name="gemma", samples=2):
        return evaluate(
            pytester, text, SUITE, ADDRESS=address, NAME=name, SAMPLES=samples, CALLS=CALLS
        )

    return go


def post(address, path, **fields):
    """The server's own protocol."""
    request = urllib.request.Request(
        f"{address}/{path}", json.dumps(fields).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def directly(address, *, tokens=60, likeliest=1):
    """What the server itself goes on with, most likely, and the likeliest tokens in each place."""
    begun = " ".join(AMENDMENT.split()[:PREFIX])
    settings = {"n_predict": tokens, "temperature": 0, "n_probs": likeliest}
    return post(address, "completion", prompt=begun, **settings)


def test_the_first_amendment_comes_back_whole(run, gemma):
    result, pair = run(gemma, AMENDMENT)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*greedy_longest_span 37 exceeds the limit 30*"])
    assert pair["measures"]["greedy_longest_span"]["value"] == REST
    rest = " ".join(AMENDMENT.split()[PREFIX:])
    answer = directly(gemma)["content"]
    assert longest_passage(" ".join(words(rest)), " ".join(words(answer))) == REST


def test_through_a_proxy_it_does_too(run, through_litellm):
    result, pair = run(through_litellm, AMENDMENT)
    result.assert_outcomes(failed=1)
    assert pair["measures"]["greedy_longest_span"]["value"] == REST


@pytest.mark.full
@pytest.mark.parametrize("book", ["dracula", "pride-and-prejudice"])
def test_it_does_not_know_a_novel(run, gemma, book):
    result, pair = run(gemma, beginning(book))
    result.assert_outcomes(passed=1)
    assert pair["verdict"] == "PASS"


@pytest.mark.full
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


@pytest.fixture
def extract(pytester):
    """Runs the suite of one window, which is WRITTEN; the pair of its evidence."""

    def go(prefix, rest, *, provider, base, options, top_k):
        tokens = {"PREFIX": prefix, "SUFFIX": rest, "TOP_K": top_k}
        model = {"PROVIDER": provider, "BASE": base, "OPTIONS": options}
        result, pair = evaluate(pytester, WRITTEN, PROBABILITY, **tokens, **model)
        result.assert_outcomes(failed=1)
        assert pair["measures"]["extractable"]["value"] == 1.0
        assert pair["measures"]["extractable_plain"]["value"] == 1.0
        return pair

    return go


@pytest.fixture
def tokens(gemma):
    """Of WRITTEN, the prefix's and the rest's."""
    whole = post(gemma, "tokenize", content=WRITTEN)["tokens"]
    prefix = post(gemma, "tokenize", content=" ".join(AMENDMENT.split()[:PREFIX]))["tokens"]
    assert whole[: len(prefix)] == prefix
    return prefix, whole[len(prefix) :]


def test_its_server_tells_how_probable_the_book_is(gemma, tokens, extract):
    """Of what it writes alone: the same as where it writes it unasked."""
    prefix, rest = tokens
    written = directly(gemma, tokens=len(rest), likeliest=TOP_K)["completion_probabilities"]
    assert [one["id"] for one in written] == rest
    plain = [one["logprob"] for one in written]
    scheme = [
        one["logprob"] - math.log(sum(math.exp(other["logprob"]) for other in one["top_logprobs"]))
        for one in written
    ]
    options = f'base_url = "{gemma}/v1"\nconcurrency = 1'
    how = {"provider": "openai", "base": "gemma", "options": options, "top_k": TOP_K}
    pair = extract(len(prefix), len(rest), **how)
    near = len(rest) * SAME_SERVER
    assert pair["windows"]["p_z"] == f"top-k {TOP_K}, temperature 1"
    assert pair["windows"]["ln_p_z_plain"] == pytest.approx([math.fsum(plain)], abs=near)
    assert pair["windows"]["ln_p_z"] == pytest.approx([math.fsum(scheme)], abs=near)
    assert pair["windows"]["ln_p_z"] > pair["windows"]["ln_p_z_plain"]


@pytest.mark.full
def test_its_weights_on_this_machine_are_as_sure(pytester, gemma, tokens, dequantised, extract):
    """Token by token, and in the suite's one window, by two programs that share no code."""
    prefix, rest = tokens
    theirs = directly(gemma, tokens=len(rest))["completion_probabilities"]
    assert [token["id"] for token in theirs] == rest
    expected = [token["logprob"] for token in theirs]

    local = {"state": pytester.path / "state", "device": "cpu", "threads": 1}
    endpoint = make_provider("transformers", base=str(dequantised), **local).open(None)
    assert endpoint.text_tokens(WRITTEN) == [*prefix, *rest]
    [ours] = endpoint.log_probabilities([Window(tuple(prefix), tuple(rest))])
    assert ours == pytest.approx(expected, abs=TOLERANCE)

    how = {"provider": "transformers", "base": dequantised, "options": ON_THE_CPU, "top_k": 0}
    pair = extract(len(prefix), len(rest), **how)
    assert pair["windows"]["ln_p_z"] == pytest.approx([math.fsum(ours)])


def beginning(book):
    """Words from a novel's middle."""
    path = BOOKS / f"{book}.epub"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    from pytest_memleak.books.epub import read_epub

    chapters = read_epub(path)
    chapter = chapters.chapters[len(chapters.chapters) // 2]
    return "\n\n".join(chapter.paragraphs)[:LETTERS]
