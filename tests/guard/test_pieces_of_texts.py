"""A text in pieces is read as a client may join them, whatever key or event has them."""

import base64
import random
import re

import pytest
from disguised_texts import prose
from guarded_texts import deltas, library, longest

from pytest_memleak.guard import GuardedAnswer, GuardedItems

ASKED = {"messages": [{"role": "user", "content": "Tell me of the town."}]}
LEAK = " ".join(prose("the-lamplighter")[:120])
PIECES = [*deltas(LEAK, random.Random(3), 12)]
CODED = base64.b64encode(LEAK.encode()).decode()
NAMES = ("other", "odd.delta", "content_block_delta", "text_delta", "content_filter")
JUNK = {"type": "other"}


def strings_in(value):
    """Return the strings in a value that may be a text, in order."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in strings_in(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings_in(part)]
    is_name = value in NAMES
    return [value] if isinstance(value, str) and not is_name else []


def left_of(answer, bodies):
    sent = [part for body in bodies for part in answer.read(body)]
    return "".join(strings_in([*sent, *answer.end()]))


def of_delta(delta, **more):
    return {"choices": [{"index": 0, "delta": delta}], **more}


def of_block(text):
    delta = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": 0, "delta": delta}


CHUNKS = {
    "an unknown key": of_delta,
    "no usual role": lambda piece: of_delta({"role": piece}),
    "beside choices": lambda piece: of_delta({}, note=piece),
    "in usage": lambda piece: of_delta({}, usage={"note": piece}),
}
CHUNKS["an unknown key"] = lambda piece: of_delta({"thoughts": piece})
EVENTS = {
    "an unknown event": lambda piece: [{"type": "odd.delta", "delta": piece}],
    "an unknown delta": lambda piece: [{"type": "odd.delta", "delta": {"odd": piece}}],
    "other events between": lambda piece: [of_block(piece), JUNK],
    "a chunk": lambda piece: [of_delta({"content": piece})],
}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
def test_pieces_of_a_chunks_key_are_read_joined(chunk):
    left = left_of(GuardedAnswer(library(), ASKED), map(chunk, PIECES))
    assert LEAK.startswith(left.strip())
    assert longest(left) == 38


@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS)
def test_pieces_of_any_events_are_read_joined(events):
    bodies = [event for piece in PIECES for event in events(piece)]
    left = left_of(GuardedItems(library(), ASKED), bodies)
    assert longest(left) == 38


def test_a_coded_text_in_short_pieces_is_read_joined():
    chunks = [of_delta({"signature": piece}) for piece in re.findall(".{1,36}", CODED)]
    left = left_of(GuardedAnswer(library(), ASKED), chunks)
    assert CODED.startswith(left)
    assert 30 < longest(base64.b64decode(left[: len(left) // 4 * 4]).decode()) <= 38


def test_choices_of_one_number_in_a_body_are_one_text():
    choices = [{"index": 0, "message": {"content": piece}} for piece in PIECES]
    (sent,) = GuardedAnswer(library(), ASKED).read({"choices": choices}, whole=True)
    assert longest("".join(strings_in(sent["choices"]))) == 38


@pytest.mark.parametrize("words", [1, 3])
def test_keys_of_ids_are_read(words):
    names = [
        "_".join(prose("the-lamplighter")[n : n + words]) for n in range(0, 90, words)
    ]
    chunks = [of_delta({f"{name}_id": 1}) for name in names]
    answer = GuardedAnswer(library(), ASKED)
    sent = [part for chunk in chunks for part in answer.read(chunk)]
    keys = [key for part in sent for key in part["choices"][0]["delta"]]
    assert len(keys) < len(names) / 2
