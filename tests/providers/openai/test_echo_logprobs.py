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

    def ask_json(self, call, function, *, endpoint, texts):
        return self.answer


def echoing(*told):
    told = {"tokens": [one for one, _ in told], "token_logprobs": [value for _, value in told]}
    return EchoCompletions("m", Answering({"choices": [{"logprobs": told}]}), sent="m")


def test_the_suffix_alone_counts_and_the_token_after_it_does_not():
    echo = echoing(("The", None), (" quay", -1.0), (" was", -2.0), (" dark", -4.0), ("!", -8.0))
    assert echo.log_probabilities(WINDOW) == [-2.0, -4.0]


@pytest.mark.parametrize("mark", ["<s>", "<|begin_of_text|>", ""])
def test_a_mark_of_the_beginning_is_left_aside(mark):
    echo = echoing(
        (mark, None), ("The", -0.5), (" quay", -1.0), (" was", -2.0), (" dark", -4.0), ("!", -8.0)
    )
    assert echo.tokens("The quay was dark") == ["The", " quay", " was", " dark"]
    assert echo.log_probabilities(WINDOW) == [-2.0, -4.0]


def test_a_window_that_is_cut_otherwise_has_the_same_product():
    finer = echoing(("The", None), (" quay", -1.0), (" wa", -2.0), ("s", -0.5), (" dark", -4.0))
    assert math.fsum(finer.log_probabilities(WINDOW)) == -6.5
    coarser = echoing(("The", None), (" quay", -1.0), (" was dark", -3.0))
    assert math.fsum(coarser.log_probabilities(WINDOW)) == -3.0
    across = echoing(("The", None), (" qu", -1.0), ("ay was", -2.0), (" dark", -4.0))
    assert math.fsum(across.log_probabilities(WINDOW)) == -6.0
    impossible = echoing(
        ("The", None), (" quay", -1.0), (" wa", -2.0), ("s", -0.5), (" dark", -math.inf)
    )
    assert -math.inf in impossible.log_probabilities(WINDOW)


def test_parts_of_a_character_count_with_it():
    window = Window(("so", " on"), ("…",))
    echo = echoing(("so", None), (" on", -1.0), ("", -2.0), ("…", -4.0), (" x", -8.0))
    assert math.fsum(echo.log_probabilities(window)) == -6.0


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
    with pytest.raises(ProviderError, match="does not echo the prompt"):
        EchoCompletions("m", Answering(answer), sent="m").log_probabilities(WINDOW)


def test_a_suffix_that_is_not_known_is_an_error():
    echo = echoing(("The", None), (" quay", -1.0), (" was", None), (" dark", -4.0))
    with pytest.raises(ProviderError, match="lacks a token"):
        echo.log_probabilities(WINDOW)
