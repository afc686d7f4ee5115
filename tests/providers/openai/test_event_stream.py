"""Streams of events add up to one response: every text of theirs, and the worst finish reason."""

import json

import clients
import pytest
from clients import make_provider
from http_server import HttpServer, Response

from pytest_memleak.errors import UnusableResponse
from pytest_memleak.records import FinishReason

ASIDE = "a whole page of the book"


@pytest.fixture
def sample_stream():
    """Sample completions of a server that streams these events, through the provider."""
    servers = []

    def sample(events, *, line_end="\n", n=1):
        lines = (
            "\n".join(f"data: {line}" for line in each.split("\n")) for each in events
        )
        text = "\n\n".join([*lines, "data: [DONE]", ""]).replace("\n", line_end)
        server = HttpServer()
        stream = Response(body=text.encode(), content_type="text/event-stream")
        server.route("POST", "/v1/chat/completions", "chat", lambda _: stream)
        server.start()
        servers.append(server)
        return clients.sample(
            make_provider("openai", base_url=f"{server.url}/v1").open(None), n
        )

    yield sample
    for server in servers:
        server.stop()


def event_of(delta, reason=None, *, index=0, **fields):
    choice = {"index": index, "delta": delta, "finish_reason": reason} | fields
    return json.dumps(
        {"id": "x", "model": "base", "choices": [choice]}, ensure_ascii=False
    )


def thinking(text):
    return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]


TOKENS = ("a wh", "ole", " page", " of", " the", " book")


@pytest.mark.parametrize("deltas", [
    [{"content": thinking(ASIDE)}],
    [{"content": thinking(token)} for token in TOKENS],
    [{"content": {"type": "thinking", "thinking": ASIDE}}],
    [{"reasoning": ASIDE}, {"reasoning": [{"text": "More."}]}],
    [{"reasoning": ASIDE}, {"reasoning": 7}, {"reasoning": {"text": "More."}}],
    [{"reasoning": {"text": ASIDE}}, {"reasoning": "More."}],
    [{"role": ASIDE}],
    [{"name": token} for token in TOKENS],
])  # fmt: skip
def test_texts_of_every_type_are_kept_in_their_order(sample_stream, deltas):
    answer = [
        {"content": "It rained "},
        {"content": [{"type": "text", "text": "all "}]},
    ]
    answer += [{"content": "day."}]
    (completion,) = sample_stream(
        [*map(event_of, [*deltas, *answer]), event_of({}, "stop")]
    )
    assert completion.text == "It rained all day."
    assert ASIDE in completion.reasoning
    assert completion.finish_reason is FinishReason.STOP


def test_a_message_beside_its_delta_counts_unless_it_repeats_the_answer(sample_stream):
    answer = "It rained all day and nobody saw it go over the quay at night."
    words = answer.split()
    deltas = [
        {"content": f"{' ' if place else ''}{word}"} for place, word in enumerate(words)
    ]
    events = [
        event_of(
            delta,
            message={"role": "assistant", "content": " ".join(words[: place + 1])},
        )
        for place, delta in enumerate(deltas)
    ]
    (completion,) = sample_stream([*events, event_of({}, "stop")])
    assert completion.written == answer
    events[3] = event_of(deltas[3], message={"content": ASIDE})
    (completion,) = sample_stream([*events, event_of({}, "stop")])
    assert completion.text == answer
    assert completion.reasoning == ASIDE


def test_texts_among_the_choices_count_as_beside_the_first(sample_stream):
    stray = json.dumps({"choices": [ASIDE]})
    (completion,) = sample_stream(
        [event_of({"content": "It rained."}), stray, event_of({}, "stop")]
    )
    assert (completion.text, completion.reasoning) == ("It rained.", ASIDE)


@pytest.mark.parametrize(("reasons", "word"), [
    (["content_filter", "stop"], "content_filter"),
    (["stop", "content_filter"], "content_filter"),
    (["length", "stop"], "length"),
    (["length", "tool_calls", "stop"], "tool_calls"),
    (["content_filter", "RECITATION", "length"], "RECITATION"),
    (["", "null", None, "stop", ""], "stop"),
])  # fmt: skip
def test_the_reason_that_withholds_most_is_kept_for_each_choice(
    sample_stream, reasons, word
):
    events = [event_of({"content": "It rained."}, "stop")]
    events += [event_of({"content": "The sun shone."}, index=1)]
    events += [event_of({}, reason, index=1) for reason in reasons]
    first, second = sample_stream(events, n=2)
    assert (first.finish_word, second.finish_word) == ("stop", word)
    assert (first.text, second.text) == ("It rained.", "The sun shone.")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_only_line_ends_of_the_specification_end_a_line(sample_stream, line_end):
    text = "It rained.\u2028The sun shone.\u0085\u2029It snowed."
    (completion,) = sample_stream(
        [event_of({"content": text}, "stop")], line_end=line_end
    )
    assert completion.text == text


def test_data_of_several_lines_is_one_event(sample_stream):
    event = json.dumps(
        json.loads(event_of({"content": "It rained."}, "stop")), indent=1
    )
    assert event.count("\n") > 5
    (completion,) = sample_stream([event])
    assert completion.text == "It rained."


@pytest.mark.parametrize("key", ["id", "model", "role"])
def test_a_name_that_changes_makes_no_response(sample_stream, key):
    fields = json.loads(event_of({"content": "It rained."}))
    events = [
        event_of({key: token}) if key == "role" else json.dumps(fields | {key: token})
        for token in TOKENS
    ]
    with pytest.raises(UnusableResponse, match="unexpected format"):
        sample_stream([*events, event_of({}, "stop")])


def test_a_name_may_be_empty_at_first(sample_stream):
    first = json.dumps({"id": "", "model": None, "choices": []})
    (completion,) = sample_stream([first, event_of({"content": "It rained."}, "stop")])
    assert (completion.served.model, completion.served.response_id) == ("base", "x")
