"""vLLM on a processor: what it tells of a text's tokens, for tokenizers of three forms.

The weights are a few thousand random numbers, the same each time, so that transformers can be
asked for the same. `record_vllm.py` keeps the answers for tests that need no server.
"""

import json
import math

import pytest
from clients import make_provider
from record_vllm import KEPT, TOP_K, asked_of, served, told
from record_vllm import expected as expected_of
from tiny_weights import FORMS, TEXT

from pytest_memleak.interfaces.protocols import Window

pytestmark = pytest.mark.full
PREFIX = 10


@pytest.fixture(scope="module", params=FORMS)
def vllm(request, tmp_path_factory):
    """Form, folder of weights, and the address of a server for them."""
    folder = tmp_path_factory.mktemp("weights") / request.param
    with served(folder, request.param) as address:
        yield request.param, folder, address


def test_it_tells_what_transformers_computes(vllm, tmp_path):
    _, folder, address = vllm
    local = {"base": str(folder), "state": tmp_path, "device": "cpu", "threads": 1}
    theirs, ours = (
        make_provider(name, **options).open(None).abilities.probabilities
        for name, options in (
            ("openai", {"base": "tiny", "base_url": f"{address}/v1"}),
            ("transformers", local),
        )
    )
    tokens = theirs.text_tokens(TEXT)
    assert tokens == ours.text_tokens(TEXT)
    windows = [Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))]
    [found] = theirs.log_probabilities(windows)
    [expected] = ours.log_probabilities(windows)
    assert found == pytest.approx(expected, abs=1e-3)
    likely = expected_of(folder)["likely"]
    windows = [Window(tuple(likely[:PREFIX]), tuple(likely[PREFIX:]))]
    [found], [expected] = (each.top_k(windows, TOP_K, 0.7) for each in (theirs, ours))
    assert found.plain == pytest.approx(expected.plain, abs=1e-3)
    assert found.top_k == pytest.approx(expected.top_k, abs=3e-3)
    assert -math.inf in found.top_k
    assert any(one > -math.inf for one in found.top_k)


def test_its_answers_are_those_that_are_kept(vllm):
    form, folder, address = vllm
    kept = json.loads(KEPT.read_text("utf-8"))[form]
    assert [one["asked"] for one in kept["answers"]] == asked_of(expected_of(folder))
    for one in kept["answers"]:
        assert told(address, one["asked"]) == like(one["told"]), f"{form}: record {KEPT.name} anew"


def like(kept):
    """Equal to the same with numbers that are nearly so."""
    if isinstance(kept, dict):
        return {key: like(value) for key, value in kept.items()}
    if isinstance(kept, list):
        return [like(value) for value in kept]
    return pytest.approx(kept, abs=1e-3) if isinstance(kept, float) else kept
