"""Canaries of a rerun: a server that batches stays the same model, another model doesn't."""

import itertools
import random
import string
import time

import pytest
from earned_suites import KEY, SUITE, write_book
from suite_files import evidence, model_table
from troubled_servers import TROUBLES, TroubledServer
from unearned_servers import book_of_servers, other_plays

CHANGED = "the model no longer answers the canaries (fixed prompts) as it did"
WORDLESS = "reasoning takes all tokens of the canaries"
COMPUTING = 0.02  # seconds, in which other calls join the batch
PLAYS = other_plays(100_000)


class BatchingServer(TroubledServer):
    """Ends no two texts alike, and begins those alike that it computes alone.

    same: words with which each answer at temperature 0 begins
    """

    same = 20

    def __init__(self, **common):
        super().__init__(plays=PLAYS, **common)
        self._turns = itertools.count(1)
        self._batch = 0

    def _chat(self, request):
        self._batch += 1
        time.sleep(COMPUTING)
        try:
            return super()._chat(request)
        finally:
            self._batch -= 1

    def _answer(self, style, body):
        name = "".join(random.choices(string.ascii_letters, k=32))
        timings = {"cache_n": 0, "prompt_n": 156, "prompt_ms": 1300.5}
        own = {"id": f"chatcmpl-{name}", "system_fingerprint": "b0-unknown"}
        return super()._answer(style, body) | own | {"timings": timings}

    def _text(self, body, words):
        text = super()._text(body, words).split(" ")
        same = self.same if self._batch == 1 else 0
        begun, rest = text[:same], text[same:]
        turn = next(self._turns) % 50
        return " ".join([*begun, *rest[turn:], *rest[:turn]])


@pytest.fixture
def server():
    with BatchingServer() as running:
        yield running


@pytest.fixture
def rerun(server, pytester, monkeypatch):
    """Run a suite twice; the verdicts, and the causes of the second one."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    write_book(pytester.path, book_of_servers())

    def running(style="marked", same=20):
        options = f'base_url = "{server.url}/{style}/v1"'
        keys = f'base_model = "honest"\n{TROUBLES[style].model}'
        suite = SUITE.format(samples=3, keys="")
        pytester.makefile(
            ".memleak.toml", it=suite + model_table("m", "openai", options, keys)
        )
        _, first = evidence(pytester)
        server.same = same
        _, second = evidence(pytester)
        assert second["provenance"]["calls_this_run"] == 0
        causes = [issue["cause"] for issue in second["completeness"]["issues"]]
        return [first["verdict"], second["verdict"]], " ".join(causes)

    return running


@pytest.mark.full
def test_greedy_answers_that_diverge_late_are_of_the_same_model(rerun):
    assert rerun() == (["PASS", "PASS"], "")


@pytest.mark.full
def test_greedy_answers_that_begin_otherwise_are_of_another_model(rerun):
    verdicts, causes = rerun(same=0)
    assert verdicts == ["PASS", "INCONCLUSIVE"]
    assert CHANGED in causes


@pytest.mark.full
@pytest.mark.parametrize("style", ["reasons-with-room", "reasons-shown-with-room"])
def test_canaries_without_words_show_no_change(rerun, style):
    verdicts, causes = rerun(style)
    assert verdicts == ["PASS", "INCONCLUSIVE"]
    assert WORDLESS in causes
    assert CHANGED not in causes
