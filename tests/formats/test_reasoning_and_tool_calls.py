"""Texts beside the messages of a row: of thoughts, tool calls, and anything else."""

from pytest_memleak.formats.reasoning_and_tool_calls import texts_in

SENTENCE = "the lamps along the quay went out one by one before the rain came in"
WORDS = SENTENCE.split()


def test_single_words_under_different_keys_are_a_text():
    arguments = {f"{number}": word for number, word in enumerate(WORDS)}
    assert SENTENCE in texts_in({"arguments": arguments})


def test_few_single_words_are_no_text():
    arguments = {f"{number}": word for number, word in enumerate(WORDS[:5])}
    assert texts_in({"arguments": arguments}) == []
