"""The "openai" provider against llama.cpp's server, with a model of 98 MB that can chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.records import FinishReason, Model

SLOTS = 4  # of serve_gguf.py
INSTRUCTION = "Write a long story about a fox, a lamp and a harbour."


@pytest.fixture(scope="module")
def base_url(llama):
    with llama("smollm2") as address:
        yield f"{address}/v1"


@pytest.fixture
def endpoint(base_url):
    model = Model(id="m", provider="openai", base_model="smollm2", options={"base_url": base_url})
    setup = ProviderSetup(
        model=model,
        place="suite.memleak.toml, model m",
        root=Path(),
        state=Path("state"),
        read_book=lambda book: pytest.fail(f"asked for {book}"),
    )
    return OpenAIProvider(setup).open(None)


def test_it_really_samples(endpoint):
    settings = {"n": SLOTS, "temperature": 1.0, "max_tokens": 24}
    completions = endpoint.sample(INSTRUCTION, seed=1, **settings)
    assert len({one.text for one in completions}) == SLOTS
    assert {one.finish_reason for one in completions} == {FinishReason.LENGTH}
    # The completions of a call have the seeds from `seed` on, one each.
    other = endpoint.sample(INSTRUCTION, seed=1 + SLOTS, **settings)
    assert {one.text for one in completions}.isdisjoint(one.text for one in other)


def test_more_completions_than_it_has_slots(endpoint):
    completions = endpoint.sample(INSTRUCTION, n=10, temperature=1.0, max_tokens=8, seed=1)
    assert 1 <= len(completions) <= SLOTS


def test_a_prompt_that_is_too_long(endpoint):
    with pytest.raises(Refused, match="400") as error:
        endpoint.sample("lamp " * 3000, n=1, temperature=1.0, max_tokens=8, seed=1)
    assert "lamp lamp lamp" not in str(error.value)
