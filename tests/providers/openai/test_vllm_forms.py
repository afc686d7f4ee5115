"""Answers in vLLM's form for three forms of tokenizers.

They are made with vLLM's own functions (tests/foreign/make_vllm_answers.py), not recorded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from http_server import HttpServer, Request, Response

from pytest_memleak.contracts.protocols import ProviderSetup, Window
from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.records import Model

MADE = json.loads(Path(__file__).with_name("vllm_answers.json").read_text("utf-8"))
PREFIX = 10


class Playing(HttpServer):
    """Answers with what was made for the very same request."""

    def __init__(self, answers, *, numbers=True):
        super().__init__()
        self._answers = answers
        self._numbers = numbers
        self.route("POST", "/v1/completions", "completions", self._answer)

    def _answer(self, request: Request) -> Response:
        body = request.json()
        for one in self._answers:
            if one["asked"] == body:
                told = one["told"]
                if not self._numbers:
                    told = {"logprobs": told.get("logprobs")}
                choice = {"index": 0, "text": "", "finish_reason": "length", **told}
                return Response.json({"object": "text_completion", "choices": [choice]})
        raise AssertionError(f"nothing was made for {body}")


@pytest.fixture
def ask(tmp_path):
    """`ask(form)`: an endpoint that answers so."""
    servers = []

    def start(form, **settings):
        server = Playing(MADE[form]["answers"], **settings).start()
        servers.append(server)
        model = Model(
            id="m", provider="openai", base="tiny", options={"base_url": f"{server.url}/v1"}
        )
        setup = ProviderSetup(
            model=model,
            place="s, model m",
            root=Path(),
            state=tmp_path,
            read_book=lambda book: pytest.fail(f"asked for {book}"),
        )
        return OpenAIProvider(setup).open(None)

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("form", MADE)
def test_the_numbers_are_those_of_the_weights(ask, form):
    told, endpoint = MADE[form], ask(form)
    tokens = endpoint.text_tokens(told["text"])
    assert tokens == told["tokens"]
    window = Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))
    [found] = endpoint.log_probabilities([window])
    assert found == pytest.approx(told["log_probabilities"][PREFIX:], abs=1e-3)


@pytest.mark.parametrize("form", ["byte-level", "metaspace"])
def test_what_is_echoed_joins_to_the_text(ask, form):
    told, endpoint = MADE[form], ask(form, numbers=False)
    tokens = endpoint.text_tokens(told["text"])
    assert "".join(tokens) == told["text"]
    window = Window(tuple(tokens[:PREFIX]), tuple(tokens[PREFIX:]))
    [found] = endpoint.log_probabilities([window])
    assert sum(found) == pytest.approx(sum(told["log_probabilities"][PREFIX:]), abs=1e-3)


def test_llama_2s_echo_has_lost_its_blanks(ask):
    """So it was asked before tokens were told by number; now it is said why it is of no use."""
    with pytest.raises(ProviderError, match="blanks are lost or added"):
        ask("llama-2", numbers=False).text_tokens(MADE["llama-2"]["text"])
