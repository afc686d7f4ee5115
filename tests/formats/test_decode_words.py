"""Base64, hexadecimal, ROT13, and camelCase are read as what they write, wherever a text is cut."""

import base64
import random
import string

import pytest
from examples import examples
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pytest_memleak.formats.decode_words import (
    decoded_readings,
    decoded_rot13,
    hides_words,
)
from pytest_memleak.formats.reasoning_and_tool_calls import texts_in

SENTENCE = "The harbour wall was built before anyone in the town could read a map of it"


def read(text):
    return [*decoded_readings(text)]


@hypothesis_settings(max_examples=examples(200, fast=30), deadline=None)
@given(
    st.text(string.ascii_letters + "äéжш東", min_size=40, max_size=120),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode, bytes.hex]),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_a_blob_is_decoded_but_for_what_its_edges_cut(text, encode, before, behind):
    encoded = encode(text.encode())
    blob = encoded if isinstance(encoded, str) else encoded.decode().rstrip("=")
    cut = blob[before : len(blob) - behind]
    found = "\n".join(read(f"So: {cut}. And so on."))
    # Each edge cuts up to two characters of three bytes beside its own.
    assert text[before + 3 : len(text) - behind - 3] in found


@pytest.mark.parametrize("size", [16, 33, 60])
def test_lines_of_a_blob_are_one(size):
    blob = base64.b64encode(SENTENCE.encode()).decode()
    lines = "\n".join(blob[at : at + size] for at in range(0, len(blob), size))
    is_blob = size >= 40
    assert any(SENTENCE in reading for reading in read(lines)) is is_blob


@pytest.mark.parametrize("encode", [base64.b64encode, bytes.hex])
@pytest.mark.parametrize("behind", ["Then", "then comes this", "bad", "abc123"])
def test_a_word_in_the_line_behind_a_blob_hides_nothing(encode, behind):
    text = SENTENCE[:57].encode()  # without a sign of its end
    encoded = encode(text)
    blob = encoded if isinstance(encoded, str) else encoded.decode()
    assert any(SENTENCE[:55] in reading for reading in read(f"{blob}\n{behind}"))


def test_random_bytes_and_numbers_are_no_text():
    rng = random.Random(1)
    for size in (30, 300, 3_000):
        data = rng.randbytes(size)
        texts = {base64.b64encode(data).decode(), data.hex()}
        assert not any(map(hides_words, texts))
    assert not hides_words("1234567890" * 8)
    assert not hides_words("chatcmpl-123e4567-e89b-12d3-a456-426614174000")


def test_eight_humps_are_words_and_seven_are_one():
    assert read("theOldManSatByTheGreySea") == ["the Old Man Sat By The Grey Sea"]
    assert read("theOldManSatByTheGreysea") == []


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(SENTENCE.encode()).decode(),
        SENTENCE.encode().hex(),
        SENTENCE.title().replace(" ", ""),
    ],
)
def test_encoded_reasoning_is_text(text):
    assert texts_in({"reasoning_content": text, "id": "msg_1"}) == [text]


def test_escapes_in_camel_case_are_no_digits():
    text = r"So\u2019I\u2019Said:TheOldManSat\u2014ByTheGreySea\u2014AndSlept"
    assert read(text) != []


def test_prose_is_read_once():
    assert read(SENTENCE) == []
    assert read(f"{SENTENCE} uncharacteristically—disproportionately") == []


def test_rot13_is_its_own_inverse():
    assert decoded_rot13(decoded_rot13(SENTENCE)) == SENTENCE != decoded_rot13(SENTENCE)
