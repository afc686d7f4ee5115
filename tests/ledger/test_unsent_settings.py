"""Prompts without a seed or a cap: what requests omit, and what the ledger keeps."""

import pytest

from pytest_memleak.ledger.prompts import build_prompts, prompt_from_row, prompt_row
from pytest_memleak.records import Book, Excerpt, Sampling

BOOK = Book(
    id="b",
    title="B",
    author="A",
    excerpts=(Excerpt("p_id1", "one two three", instruction="Write three words."),),
    digest="",
)


def prompt_of(**settings):
    (prompt,) = build_prompts(
        "pair", BOOK, Sampling(**settings), words=lambda text: len(text.split())
    ).specs
    return prompt


UNSENT = [{"seed": None}, {"max_tokens": "default"}, {"temperature": None}]


@pytest.mark.parametrize("settings", [*UNSENT, {}, UNSENT[0] | UNSENT[1]])
def test_a_prompt_survives_its_row(settings):
    prompt = prompt_of(**settings)
    again = prompt_from_row(prompt_row(prompt))
    assert again == prompt
    assert again.has_matching_digests


def test_requests_omit_what_the_suite_omits():
    request = prompt_of(seed=None, max_tokens="default").request("r", [0])
    assert (request.seed, request.max_tokens) == (None, None)
    request = prompt_of().request("r", [0])
    assert request.seed is not None
    assert request.max_tokens == int(3 * 4 / 3) + 50


def test_each_omission_resamples():
    digests = {prompt_of(**settings).settings_digest for settings in [*UNSENT, {}]}
    assert len(digests) == 4
