"""Answers of completions endpoints that echo a prompt, in the forms that servers give them."""

import math

import pytest

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import Window
from pytest_memleak.providers.openai.logprobs import EchoCompletions

WINDOW = Window(("The", " quay"), (" was", " dark"))


class Answering:
    """Stands in for the calls to a server: gives one answer, whatever is asked."""

    provider = "openai"

    def __init__(self, answer):
        self.answer = answer

    def ask_json(self, call, path, body, *, endpoint, texts):
        return self.answer


def echoing(tokens, *logs):
    """An echo of these tokens, parted by strokes; the first has no log-probability."""
    told = {"tokens": tokens.split("/"), "token_logprobs": [None, *logs]}
    return EchoCompletions("m", Answering({"choices": [{"logprobs": told}]}))


@pytest.mark.parametrize("mark", ["<s>", "<|begin_of_text|>", ""])
def test_a_mark_of_the_beginning_and_the_token_after_the_end_are_left_aside(mark):
    plain = echoing("The/ quay/ was/ dark/!", -1.0, -2.0, -4.0, -8.0)
    marked = echoing(f"{mark}/The/ quay/ was/ dark/!", -0.5, -1.0, -2.0, -4.0, -8.0)
    assert marked.tokens("The quay was dark") == ["The", " quay", " was", " dark"]
    for echo in (plain, marked):  # the suffix alone counts
        assert echo.log_probabilities(WINDOW) == [-2.0, -4.0]


@pytest.mark.parametrize(
    ("tokens", "logs", "total"),
    [
        ("The/ quay/ wa/s/ dark", (-1.0, -2.0, -0.5, -4.0), -6.5),
        ("The/ quay/ was dark", (-1.0, -3.0), -3.0),
        ("The/ qu/ay was/ dark", (-1.0, -2.0, -4.0), -6.0),
        ("The/ quay/ wa/s/ dark", (-1.0, -2.0, -0.5, -math.inf), -math.inf),
    ],
)
def test_a_window_that_is_cut_otherwise_has_the_same_product(tokens, logs, total):
    assert math.fsum(echoing(tokens, *logs).log_probabilities(WINDOW)) == total


def test_parts_of_a_character_count_with_it():
    echo = echoing("so/ on//…/ x", -1.0, -2.0, -4.0, -8.0)
    assert math.fsum(echo.log_probabilities(Window(("so", " on"), ("…",)))) == -6.0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": [{"text": "was dark", "logprobs": None}]},
        {"choices": [{"logprobs": {"content": []}}]},
        {"choices": [{"logprobs": {"tokens": [" was"], "token_logprobs": [-1.0]}}]},
        {"choices": [{"logprobs": {"tokens": ["The"], "token_logprobs": ["x"]}}]},
        {"choices": [{"logprobs": {"tokens": [1, 2], "token_logprobs": [-1.0, -1.0]}}]},
    ],
)
def test_what_does_not_echo_is_an_error(answer):
    with pytest.raises(ProviderError, match="doesn't echo the prompt"):
        EchoCompletions("m", Answering(answer)).log_probabilities(WINDOW)


def test_a_suffix_that_is_not_known_is_an_error():
    echo = echoing("The/ quay/ was/ dark", -1.0, None, -4.0)
    with pytest.raises(ProviderError, match="lacks a token"):
        echo.log_probabilities(WINDOW)
