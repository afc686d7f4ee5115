"""The Responses API: requests, answers of every kind, streams, and batches."""

import json
from functools import partial

import clients
import pytest
from clients import (
    DIGEST,
    INSTRUCTION,
    bodies,
    finish,
    make_provider,
    requests_of,
    sample,
)
from examples import examples
from faults import Fault, FaultKind, server_error
from http_server import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_responses import event_line, events_of

from pytest_memleak.errors import ProviderBusy, SuiteError
from pytest_memleak.interfaces.abilities import ParameterValues
from pytest_memleak.interfaces.protocols import JobStatus
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.openai.event_stream import read_response_body
from pytest_memleak.providers.openai.responses import (
    read_response,
    streamed_response,
)
from pytest_memleak.records import FinishReason

provider_of = partial(make_provider, "openai", api="responses")
last_body = partial(clients.last_body, endpoint="responses")
ASIDE = "a whole page of the book"
USAGE = {"input_tokens": 9, "output_tokens": 160}


def message(*parts, **more):
    content = [
        {"type": "output_text", "text": part, "annotations": []}
        if isinstance(part, str)
        else part
        for part in parts
    ]
    return {"type": "message", "role": "assistant", "content": content, **more}


def response(*output, status="completed", **more):
    return {
        "id": "resp_1", "object": "response", "status": status, "model": "base",
        "output": [*output], "error": None, "incomplete_details": None,
        "usage": USAGE, "truncation": "disabled", "tool_choice": "auto",
        "service_tier": "default", "metadata": {}, **more,
    }  # fmt: skip


@pytest.fixture
def endpoint_of(serve):
    return lambda *faults, **options: provider_of(serve(*faults), **options).open(None)


def test_a_request_says_what_was_asked(serve):
    server = serve()
    extra = {"reasoning": {"summary": "auto"}}
    endpoint = provider_of(server, system="Be brief.", extra_body=extra).open(None)
    sample(endpoint)
    assert last_body(server) == {
        "model": "base",
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": INSTRUCTION},
        ],
        "temperature": 1.0,
        "max_output_tokens": 30,
        "top_p": 1.0,
        "store": False,
        "reasoning": {"summary": "auto"},
    }


def test_each_call_has_one_completion_as_it_was_billed(endpoint_of, books):
    endpoint = endpoint_of()
    completions = [*sample(endpoint, 3), *sample(endpoint, 2)]
    rows = books.rows("completion")
    assert [each.text for each in completions] == [row["text"] for row in rows]
    for each, row in zip(completions, rows, strict=True):
        assert each.prompt_tokens == row["prompt_tokens"]
        assert each.completion_tokens == row["completion_tokens"]
        assert each.served.model == "base"
        assert each.served.response_id.startswith("resp_")


def test_a_seed_is_named_as_omitted(endpoint_of):
    endpoint = endpoint_of()
    sample(endpoint)
    parameter_values = endpoint.abilities.parameter_values()
    assert parameter_values["seed"] == ParameterValues(
        requested=("given",), rejected=("given",)
    )
    assert parameter_values["temperature"].rejected == ()


@pytest.mark.parametrize("setting", ["temperature", "top_p", "store"])
def test_a_rejected_setting_is_omitted_and_recorded(serve, setting):
    server = serve(Fault(FaultKind.REFUSE_PARAMETER, code=setting))
    endpoint = provider_of(server).open(None)
    assert len(sample(endpoint)) == 1
    assert setting not in last_body(server)
    assert endpoint.abilities.parameter_values()[setting].rejected


def test_another_servers_settings_are_rejected_one_by_one(serve):
    server = serve()
    sample(provider_of(server).open(None))
    names = [{*body} for body in bodies(server, "responses")]
    assert {"top_k", "min_p", "presence_penalty"} <= names[0]
    assert not names[-1] & {"top_k", "min_p", "presence_penalty", "repetition_penalty"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FaultKind.EMPTY, FinishReason.EMPTY),
        (FaultKind.FILTER, FinishReason.CONTENT_FILTER),
        (FaultKind.REFUSE, FinishReason.REFUSAL),
        (FaultKind.REJECT, FinishReason.CONTENT_FILTER),
    ],
)
def test_a_withheld_completion_is_kept_and_named(endpoint_of, fault, reason):
    (completion,) = sample(endpoint_of(Fault(fault)))
    assert completion.finish_reason is reason


def test_an_incomplete_response_is_cut(endpoint_of):
    (completion,) = sample(endpoint_of(), max_tokens=5)
    assert completion.finish_reason is FinishReason.LENGTH
    assert completion.finish_word == "max_output_tokens"
    assert completion.completion_tokens == 5


def test_a_summary_of_the_reasoning_is_beside_the_answer(endpoint_of, monkeypatch):
    # The API has no seed, and some drawn answers end after a few words.
    monkeypatch.setattr("secrets.randbits", lambda _bits: 7)
    (completion,) = sample(endpoint_of(Fault(FaultKind.THINK)))
    assert completion.text == ""
    assert len(completion.reasoning.split()) > 5
    assert completion.finish_reason is FinishReason.EMPTY


@pytest.mark.parametrize("beside", [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": ASIDE}]},
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": ASIDE}]},
    {"type": "reasoning", "summary": [{"text": "a whole page"}, {"text": " of the book"}]},
    {"type": "function_call", "name": "f", "arguments": json.dumps({"x": ASIDE})},
    {"type": "web_search_call", "action": {"query": ASIDE}},
    {"type": "message", "role": "user", "content": [{"text": ASIDE}]},
    {"type": f"{ASIDE} and the next, and a whole page of another book"},
    ASIDE,
    message({"type": "output_text", "text": "", "annotations": [{"title": ASIDE}]}),
    message("", note=ASIDE),
])  # fmt: skip
def test_whatever_is_written_beside_the_answer_is_kept(beside):
    (completion,) = read_response(response(beside, message("It rained.")))
    assert completion.text == "It rained."
    assert completion.finish_reason is FinishReason.STOP
    assert ASIDE in completion.reasoning


PASSAGE = (
    "when the ferry had gone the keeper of the lamp went down to the shore and read "
    "what the tide had left there for him"
)
WORDS = PASSAGE.split()


@pytest.mark.parametrize("items", [
    [{"type": "reasoning", "id": word, "summary": []} for word in WORDS],
    [{"type": "function_call", "name": word, "arguments": ""} for word in WORDS],
    [{"type": "reasoning", "name": {f"n{n}": word}} for n, word in enumerate(WORDS)],
    [{"type": "message", "role": "user", "status": word} for word in WORDS],
    [{"type": word} for word in WORDS],
    [{"type": "reasoning", word: 1} for word in WORDS],
    [message({"text": "", "logprobs": [{"token": word} for word in WORDS]})],
    [{("id", "name", "status", "model")[n % 4]: word} for n, word in enumerate(WORDS)],
], ids=["id", "name", "nested name", "status", "type", "key", "logprobs", "by turns"])  # fmt: skip
@pytest.mark.parametrize("is_event", [False, True], ids=["item", "event"])
def test_words_hidden_one_by_one_are_a_text(items, is_event):
    answer = response(message("It rained."), *([] if is_event else items))
    if is_event:
        answer = streamed_response([*items, {"response": answer}])
    (completion,) = read_response(answer)
    assert PASSAGE in " ".join(completion.reasoning.split())


@pytest.mark.parametrize("more", [{"truncation": ASIDE}, {"draft": [ASIDE]}])
def test_so_is_what_stands_outside_the_output(more):
    (completion,) = read_response(response(message("It rained."), **more))
    assert completion.reasoning == ASIDE


def test_settings_and_names_are_no_text_beside_the_answer():
    items = [message("It rained.", id=f"msg_{n}", status="completed") for n in range(9)]
    (completion,) = read_response(response(*items, previous_response_id="resp_0"))
    assert completion.reasoning == ""


def test_all_messages_are_the_answer():
    first = message("It rai", "ned.", phase="commentary")
    (completion,) = read_response(response(first, message("The sun shone.")))
    assert completion.text == "It rained.\n\nThe sun shone."


def test_the_instruction_repeated_is_no_text_of_the_model():
    asked = {"type": "message", "role": "user", "content": [{"text": INSTRUCTION}]}
    answer = response(asked, message("It rained."))
    (completion,) = read_response(answer, instruction=INSTRUCTION)
    assert completion.written.split() == ["It", "rained."]


@pytest.mark.parametrize(("status", "reason", "expected"), [
    ("incomplete", "max_output_tokens", FinishReason.LENGTH),
    ("incomplete", "content_filter", FinishReason.CONTENT_FILTER),
    ("incomplete", "another", FinishReason.UNKNOWN),
    ("incomplete", None, FinishReason.UNKNOWN),
    ("in_progress", None, FinishReason.UNKNOWN),
    ("failed", None, FinishReason.UNKNOWN),
    (None, None, FinishReason.UNKNOWN),
    (["completed"], None, FinishReason.UNKNOWN),
])  # fmt: skip
def test_only_a_completed_response_has_ended_by_itself(status, reason, expected):
    details = {"reason": reason} if reason else None
    answer = response(message("It"), status=status, incomplete_details=details)
    (completion,) = read_response(answer)
    assert completion.finish_reason is expected
    assert completion.text == "It"


def test_a_response_that_failed_is_tried_again(serve):
    failed = response(status="failed", error={"code": "server_error", "message": "no"})
    server = serve()
    endpoint = provider_of(server).open(None)
    server._work = lambda *_: Response.json(failed)
    with pytest.raises(ProviderBusy, match="has no completion: no"):
        sample(endpoint)
    failed["error"] = {"code": "invalid_prompt", "message": "no"}
    (completion,) = sample(endpoint)
    assert completion.finish_reason is FinishReason.CONTENT_FILTER


def test_what_a_filtered_response_wrote_is_kept():
    error = {"code": "invalid_prompt", "message": "no"}
    answer = response(message(ASIDE), status="failed", error=error)
    (completion,) = read_response(answer)
    assert (completion.text, completion.finish_reason.withheld) == (ASIDE, True)


def test_a_server_without_the_api_is_named(endpoint_of):
    with pytest.raises(RequestRejected, match=r"responses\.create .*404") as error:
        sample(endpoint_of(server_error("responses", status=404)))
    assert 'options.api = "chat"' in error.value.hint


# --- streams
# ------------------------------------------------------------------------------


def streamed(events):
    return read_response_body("".join(map(event_line, events)).encode())


def test_a_server_that_only_streams_is_read_alike(serve):
    server = serve()
    (whole,) = sample(provider_of(server).open(None), temperature=0.0)
    work = server._work
    error = {"error": {"message": "set stream to true", "param": "stream"}}

    def stream(handler, request):
        if "stream" in request.json():
            return work(handler, request)
        return Response.json(error, status=400)

    server._work = stream
    (completion,) = sample(provider_of(server).open(None), temperature=0.0)
    assert completion == whole
    assert last_body(server)["stream"] is True


def test_what_a_stream_had_and_its_response_has_not_is_kept():
    words = ASIDE.split()
    events = [
        {"type": "response.reasoning_summary_text.delta", "delta": f"{word} "}
        for word in words
    ]
    events += events_of(response(message("It rained.", id="m")))
    (completion,) = read_response(streamed(events))
    assert (completion.text, completion.reasoning) == ("It rained.", f"{ASIDE} ")
    events = [
        {"type": "response.unheard_of.delta", "delta": f" {word}"} for word in words
    ]
    events += events_of(response(message("It rained.", id="m")))
    assert ASIDE in read_response(streamed(events))[0].reasoning


def test_a_stream_that_was_cut_is_not_complete():
    events = [*events_of(response(message(f"{ASIDE} and more", id="m")))]
    (completion,) = read_response(streamed(events[:-2]))
    assert completion.finish_reason.withheld
    assert ASIDE in completion.written


def test_a_stream_that_ends_in_an_error_has_no_completion():
    events = [*events_of(response(message("It rained.", id="m")))][:-1]
    error = {"type": "error", "code": "server_error", "message": "no"}
    assert read_response(streamed([*events, error])) == []


KEYS = st.sampled_from(
    ["content", "delta", "error", "events", "incomplete_details", "output", "reason",
     "refusal", "response", "role", "status", "text", "type", "usage", "output_index"]
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from([None, True, -1, 2.5, "", "message", "response.x.delta", ASIDE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@settings(max_examples=examples(500, fast=60), deadline=None)
@given(VALUES, st.lists(st.dictionaries(KEYS, VALUES), max_size=4))
def test_no_json_breaks_the_reader(answer, events):
    for body in (answer, {"output": [answer]}, streamed_response(events)):
        assert len(read_response(body)) <= 1


# --- batches, and the suite's options
# ------------------------------------------------------------------------------


def test_a_batch_of_responses_is_read(serve, books):
    server = serve()
    extra = {"extra_body": {"top_p": 1.0}, "sampling": "server"}
    batches = provider_of(server, batch=True, **extra).open(None).abilities.batches
    requests = requests_of(n=1)
    batch = batches.start(requests, DIGEST)
    assert finish(batches.poll, batch)[-1].status is JobStatus.SUCCEEDED
    answers = dict(batches.read(batch))
    assert server._batches[batch].object["endpoint"] == "/v1/responses"
    assert {key: answers[key][0].text for key in answers} == {
        row["request"]: row["text"] for row in books.rows("completion")
    }
    assert answers.keys() == {request.key for request in requests}


def test_the_id_tells_responses_from_chats():
    ids = {
        make_provider("openai", api=api).open(None).id
        for api in ("auto", "chat", "completions", "responses")
    }
    assert ids == {"openai base", "openai base#text", "openai base#responses"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store": True}, "options.store needs a chat"),
        ({"completions_per_call": 2}, "completions_per_call is set"),
        ({"max_tokens_parameter": "max_tokens"}, "max_tokens_parameter is set"),
        ({"extra_body": {"input": "x"}}, "may not set input"),
        ({"extra_body": {"max_output_tokens": 3}}, "may not set max_output_tokens"),
    ],
)
def test_an_option_that_responses_lack_is_an_error(options, message):
    with pytest.raises(SuiteError, match=message) as error:
        provider_of(**options)
    assert error.value.hint
