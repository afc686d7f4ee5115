"""The "openai" provider against llama.cpp's server, with a model of 98 MB that can chat."""

import pytest
from clients import make_provider

from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.records import FinishReason

SLOTS = 4  # of serve_gguf.py
INSTRUCTION = "Write a long story about a fox, a lamp and a harbour."


@pytest.fixture(scope="module")
def endpoint(llama):
    with llama("smollm2") as address:
        yield make_provider("openai", base="smollm2", base_url=f"{address}/v1").open(
            None
        )


def test_a_seed_has_an_answer_of_its_own(endpoint):
    settings = {"n": SLOTS, "temperature": 1.0, "max_tokens": 24}
    # The completions of a call have the seeds from `seed` on, one each.
    first, other = (
        endpoint.sample(INSTRUCTION, seed=at, **settings) for at in (1, 1 + SLOTS)
    )
    assert len({answer.text for answer in first}) == SLOTS
    assert {answer.finish_reason for answer in first} == {FinishReason.LENGTH}
    assert {answer.text for answer in first}.isdisjoint(answer.text for answer in other)
    more = endpoint.sample(
        INSTRUCTION, seed=1, **{**settings, "n": 10}
    )  # than it has slots
    assert 1 <= len(more) <= SLOTS


def test_a_prompt_that_is_too_long_is_refused_without_its_text(endpoint):
    with pytest.raises(RequestRejected, match="400") as error:
        endpoint.sample("lamp " * 3000, n=1, temperature=1.0, max_tokens=8, seed=1)
    assert "lamp lamp lamp" not in str(error.value)
