"""Requests with a conversation before the instruction, in the form of each API."""

import pytest

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.ledger.call_outcomes import Call
from pytest_memleak.ledger.prompts import build_prompts
from pytest_memleak.providers.openai.api_forms import prompt_fields
from pytest_memleak.providers.tinker.tinker_format import PlainFormat, TextFormat
from pytest_memleak.providers.transformers.local_format import Format, PromptWording
from pytest_memleak.providers.transformers.weights import Loaded
from pytest_memleak.providers.vertex.gemini import GeminiSettings
from pytest_memleak.records import Book, BookPrompt, Sampling
from pytest_memleak.sampling.checked_endpoint import CheckedEndpoint

BEFORE = ("Do you know it?", "Yes.")
REQUEST = SampleRequest("", "Go on.", n=1, temperature=0.0, max_tokens=9, before=BEFORE)


class Letters:
    """A tokenizer whose tokens are characters, and a chat template of its own."""

    bos_token_id = None
    eos_token_id = 0
    chat_template = "yes"

    def encode(self, text, *, add_special_tokens):
        return [ord(letter) for letter in text]

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt):
        return "".join(f"<{each['role']}>{each['content']}" for each in messages)


def spelled(tokens):
    return "".join(map(chr, tokens))


def test_a_chat_has_the_messages_of_user_and_model_in_turn():
    prompt = prompt_fields("chat", ("Be brief.",), REQUEST.texts)
    roles = [message["role"] for message in prompt["messages"]]
    texts = [message["content"] for message in prompt["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert texts == ["Be brief.", *BEFORE, "Go on."]


def test_plain_completions_get_the_conversation_as_paragraphs():
    prompt = prompt_fields("completions", (), REQUEST.texts)
    assert prompt == {"prompt": "Do you know it?\n\nYes.\n\nGo on."}


def test_gemini_has_the_contents_of_user_and_model_in_turn():
    contents = GeminiSettings("m").request(REQUEST, {})["contents"]
    assert [each["role"] for each in contents] == ["user", "model", "user"]
    assert [each["parts"][0]["text"] for each in contents] == [*BEFORE, "Go on."]


def test_tinkers_formats_have_the_conversation():
    plain = PlainFormat(Letters()).prompt("Go on.", BEFORE)
    assert spelled(plain) == (
        "User: Do you know it?\n\nAssistant: Yes.\n\nUser: Go on.\n\nAssistant:"
    )
    text = TextFormat(Letters()).prompt("Go on.", BEFORE)
    assert spelled(text) == "Do you know it?\n\nYes.\n\nGo on."


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("yes", "<user>Do you know it?<assistant>Yes.<user>Go on."),
        (None, "Do you know it?\n\nYes.\n\nGo on.\n\n"),
    ],
)
def test_local_weights_get_the_chat_of_their_template(template, expected):
    tokenizer = Letters()
    tokenizer.chat_template = template
    form = Format(
        Loaded(model=None, tokenizer=tokenizer, stop=frozenset({0})), PromptWording()
    )
    assert spelled(form.prompt("Go on.", BEFORE)) == expected


def test_an_endpoint_that_only_samples_rejects_a_conversation():
    class Own:
        id = "own"

        def sample(self, instruction, **settings):
            return ["text"]

    book = Book("b", "b", "a", (), "", prompts=(BookPrompt("p", "Go on.", BEFORE),))
    prompts = build_prompts("m/b", book, Sampling(samples=1), words=len)
    endpoint = CheckedEndpoint(Own(), endpoint_id="own", provider="own", deadline=5)
    call = Call(1, 1, request_id="r", began=0.0, ordinals=(0,))
    with pytest.raises(ProviderError, match="can't hold a conversation"):
        endpoint.sample(call, prompts.specs[0], late=print)


def test_a_request_for_responses_has_the_conversation_as_its_input():
    prompt = prompt_fields("responses", ("Be brief.",), REQUEST.texts)
    assert [each["role"] for each in prompt["input"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
