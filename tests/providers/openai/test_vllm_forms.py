"""Answers of vLLM 0.32 for three forms of tokenizers.

They are recorded from a server on a processor, by tests/foreign/record_vllm.py.
"""

import json
import math
from contextlib import ExitStack
from pathlib import Path

import pytest
from clients import make_provider
from http_server import HttpServer, Response

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import Window

KEPT = json.loads(Path(__file__).with_name("vllm_answers.json").read_text("utf-8"))
PREFIX, TOP_K = 10, 5


class Playing(HttpServer):
    """Answers with what was recorded for the very same request."""

    def __init__(self, answers, *, numbers=True):
        super().__init__()
        self._answers = answers
        self._numbers = numbers
        self.route("POST", "/v1/completions", "completions", self._answer)

    def _answer(self, request):
        body = request.json()
        for one in self._answers:
            if one["asked"] == body:
                told = one["told"]
                if not self._numbers:
                    told = {"logprobs": told.get("logprobs")}
                choice = {"index": 0, "text": "", "finish_reason": "length", **told}
                return Response.json({"object": "text_completion", "choices": [choice]})
        raise AssertionError(f"nothing was recorded for {body}")


@pytest.fixture
def ask():
    """`ask(form)`: the probabilities of an endpoint that answers so."""
    with ExitStack() as servers:

        def start(form, **settings):
            server = servers.enter_context(Playing(KEPT[form]["answers"], **settings))
            provider = make_provider("openai", base="tiny", base_url=f"{server.url}/v1")
            return provider.open(None).abilities.probabilities

        yield start


@pytest.mark.parametrize("form", KEPT)
def test_the_numbers_are_those_of_the_weights(ask, form):
    told, endpoint = KEPT[form], ask(form)
    tokens = endpoint.text_tokens(told["text"])
    assert tokens == told["tokens"]
    window = Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))
    [found] = endpoint.log_probabilities([window])
    assert found == pytest.approx(told["log_probabilities"][PREFIX:], abs=1e-3)


@pytest.mark.parametrize("form", KEPT)
def test_the_likeliest_tokens_share_the_probability(ask, form):
    kept, endpoint = KEPT[form], ask(form)
    endpoint.text_tokens(kept["text"])
    tokens = kept["likely"]
    window = Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))
    [found] = endpoint.top_k([window], TOP_K, 1.0)
    (told,) = (
        one["told"]["prompt_logprobs"]
        for one in kept["answers"]
        if one["asked"].get("prompt_logprobs") == TOP_K
    )
    expected = []
    for token, place in zip(tokens[PREFIX:], told[-len(window.suffix) :], strict=True):
        logs = sorted((one["logprob"] for one in place.values()), reverse=True)[:TOP_K]
        own = place[str(token)]["logprob"]
        total = math.log(sum(map(math.exp, logs)))
        expected.append(own - total if own in logs else -math.inf)
    assert found.top_k == pytest.approx(expected)
    assert len(set(map(math.isinf, expected))) == 2  # some are among them, and some are not


@pytest.mark.parametrize("form", ["byte-level", "metaspace"])
def test_what_is_echoed_joins_to_the_text(ask, form):
    told, endpoint = KEPT[form], ask(form, numbers=False)
    tokens = endpoint.text_tokens(told["text"])
    assert "".join(tokens) == told["text"]
    window = Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))
    [found] = endpoint.log_probabilities([window])
    assert sum(found) == pytest.approx(sum(told["log_probabilities"][PREFIX:]), abs=1e-3)


def test_llama_2s_echo_has_lost_its_blanks(ask):
    """So it was asked before tokens were told by number; now it is said why it is of no use."""
    with pytest.raises(ProviderError, match="blanks are lost or added"):
        ask("llama-2", numbers=False).text_tokens(KEPT["llama-2"]["text"])
