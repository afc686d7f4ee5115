"""Whether a prompt asks not to quote."""

import pytest

from pytest_memleak.books.instructions import DEFAULT_INSTRUCTION
from pytest_memleak.verdict.quoting_requests import forbids_quoting


@pytest.mark.parametrize(
    "prompt",
    [
        "You must not quote books.",
        "Don’t ever reproduce the text of a book verbatim.",
        "Tell it in your own words.",
        "Schreib die Szene, aber zitiere den Roman nicht.",
        "Écrivez {words} mots sans citer le roman.",
        "Escribe sin copiar el texto.",
        "请勿引用原文。",
        "原文を引用しないでください。",
    ],
)
def test_a_request_not_to_quote_is_seen(prompt):
    assert forbids_quoting(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        DEFAULT_INSTRUCTION,
        "Be brief.",
        "Quote the book word for word.",
        "Never mind. Copy the style of {author}.",
        "You are a helpful assistant that writes fiction without clichés.",
    ],
)
def test_another_request_is_none(prompt):
    assert not forbids_quoting(prompt)
