"""Samples of a Tinker server that means ill: protobuf messages, each as an act of hostile.py."""

import json

import numpy as np
from hostile import ACTS, _body, _half, _instead, _whole, _wire
from tinker.proto import tinker_public_pb2 as pb


def _samples(changed):
    """Writes the honest samples, changed; what is no sample goes as it is."""

    def write(answer):
        body = answer.body
        if "protobuf" in answer.content_type:
            message = pb.SampleResponse.FromString(body)
            changed(message)
            body = message.SerializeToString()
        return _whole(body, **{"Content-Type": answer.content_type})

    return _wire(write)


def _json(value):
    return _instead(json.dumps(value).encode())


def _tokens(change):
    def changed(message):
        for sequence in message.sequences:
            sequence.tokens = change(sequence.tokens)

    return _samples(changed)


def _of(*numbers):
    return np.array(numbers, dtype=np.int64).astype(np.int32).tobytes()


def _many(message):
    message.sequences.extend(list(message.sequences) * 40)


def _stop(message):
    for sequence in message.sequences:
        sequence.stop_reason = 77


SAMPLES = {
    "no_samples": _samples(lambda message: message.ClearField("sequences")),
    "many_samples": _samples(_many),
    "stop_unknown": _samples(_stop),
    "cut_samples": _body(_half),
    "odd_tokens": _tokens(lambda tokens: tokens[:-1]),
    "no_tokens": _tokens(lambda _: b""),
    "negative_tokens": _tokens(lambda tokens: _of(-1, -(2**31)) + tokens),
    "foreign_tokens": _tokens(lambda tokens: _of(2**31 - 1) + tokens),
    "many_tokens": _tokens(lambda tokens: tokens * 2_000),
    "failed_strangely": _json({"error": {"a": 1}, "category": ["x"]}),
    "failed_without_a_word": _json({"error": None, "category": None}),
    "failed_at_length": _json({"error": "a." * 60_000, "category": "user"}),
    "failed_as_a_terminal": _json(
        {"error": "\x1b[2J\x07\u202e gone", "category": "user"}
    ),
    "try_again_for_ever": _json(
        {"type": "try_again", "request_id": "x", "queue_state": "active"}
    ),
    "try_again_strangely": _json(
        {"type": "try_again", "queue_state": {"a": 1}, "retry_after": -1}
    ),
}
ACTS.update(SAMPLES)
