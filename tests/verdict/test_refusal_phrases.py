"""The list of refusals, on its own examples and on a set that was written before it."""

import json
from pathlib import Path

import pytest

from pytest_memleak.verdict.refusal_phrases import has_refusal_phrase

LINES = (
    Path(__file__).with_name("refusals.jsonl").read_text(encoding="utf-8").splitlines()
)
HELD_OUT = [*map(json.loads, LINES)]

OWN = """\
I can't help with reproducing this text.
I’m sorry, but I cannot provide that excerpt.
I'm not able to do that.
As an AI language model, I have no book at hand.
I'm sorry, I can't.
Your request has been declined.
This is against my guidelines.
Das kann ich leider nicht.
Der Text ist durch das Urheberrecht geschützt.
Je ne peux pas reproduire ce texte.
Je suis désolé, je ne peux pas.
En tant que modèle de langage, je m'abstiens.
No puedo reproducir el texto.
Lo siento, no puedo.
我无法提供这段内容。
作为人工智能，我有我的限度。
お手伝いできません。""".splitlines()
STORIES = """\
"I'm sorry, I can't help you with that," said the captain.
“I cannot provide for them,” he said, and wept.
« Je ne peux pas vous aider », dit-il.
„Das kann ich nicht“, sagte sie.
「提供できません」と彼は言った。
The king's request was denied at once, and he wept.""".splitlines()


@pytest.mark.parametrize("text", [*OWN, *STORIES])
def test_the_list_knows_its_refusals_and_no_characters_speech(text):
    assert has_refusal_phrase(text) is (text in OWN)


def test_the_list_finds_as_many_held_out_refusals_as_the_docs_say():
    assert len(HELD_OUT) == len({refusal["text"] for refusal in HELD_OUT}) == 404
    assert {"en", "de", "fr", "es", "zh", "ja"} <= {
        refusal["language"] for refusal in HELD_OUT
    }
    for kind, count in (("refusal", 122), ("story", 7)):
        texts = [refusal["text"] for refusal in HELD_OUT if refusal["kind"] == kind]
        assert (len(texts), sum(map(has_refusal_phrase, texts))) == (202, count)
