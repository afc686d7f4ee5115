"""Servers that refuse parameters, think, reroute, have no chat, or say little of themselves."""

import json
from functools import partial, reduce

import clients
import pytest
from clients import DIGEST, bodies, make_provider
from faults import Fault, FaultKind
from http_server import Response

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import ParameterValues
from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.openai.choices import read_completions
from pytest_memleak.providers.openai.openai_client import OpenAICalls

PLAIN = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
PLAIN |= {"presence_penalty": 0.0, "frequency_penalty": 0.0}
ASIDE = "a whole page of it"
provider_of = partial(make_provider, "openai")


def endpoint_of(server, **options):
    return provider_of(server, **options).open(None)


def sample(endpoint, n=2, **changes):
    return clients.sample(endpoint, n, "the lamp went over the quay", **changes)


@pytest.mark.parametrize(("url", "plain"), [
    ("https://api.openai.com/v1", True),
    ("https://r.openai.azure.com/openai/v1", True),
    ("https://us-aiplatform.googleapis.com/v1", True),
    ("https://api.together.xyz/v1", False),
    ("https://api.openai.com.example.org/v1", False),
])  # fmt: skip
def test_official_servers_sample_plainly_by_themselves(url, plain):
    calls = OpenAICalls(base_url=url, key_variable="OPENAI_API_KEY", timeout=5)
    assert calls.plain_by_itself is plain


@pytest.mark.parametrize(
    ("model", "fixed"),
    [
        ("tinker://RUN/sampler_weights/NAME", True),
        ("accounts/acme/models/tuned", False),
    ],
)
def test_tuned_models_of_tinker_and_fireworks_are_asked_by_their_names(
    serve, model, fixed
):
    server = serve(models=[model])
    endpoint = endpoint_of(server, base=None, endpoint=model)
    assert len(sample(endpoint)) == 2
    assert bodies(server, "chat")[-1]["model"] == model
    assert endpoint.abilities.fixed_weights is fixed


def test_top_k_off_may_be_0_and_what_the_suite_says_itself_is_never_left_out(serve):
    server = serve(Fault(FaultKind.REFUSE_PARAMETER, "chat", calls=(0,), code="top_k"))
    sample(endpoint_of(server))
    assert bodies(server, "chat")[-1]["top_k"] == 0
    server = serve(Fault(FaultKind.REFUSE_PARAMETER, code="top_p"))
    with pytest.raises(RequestRejected, match="top_p"):
        sample(endpoint_of(server, extra_body={"top_p": 0.5}))
    assert server.plan.calls("chat") == 1


def test_answers_at_temperature_0_come_without_the_cache_of_prompts(serve):
    server = serve()
    for temperature in (0.0, 1.0):
        sample(endpoint_of(server, sampling="server"), temperature=temperature)
    greedy, sampled = bodies(server, "chat")
    assert greedy["cache_prompt"] is False
    assert "cache_prompt" not in sampled


def test_a_server_may_reject_what_it_does_not_know_of_a_cache(serve):
    fault = Fault(FaultKind.REFUSE_PARAMETER, "chat", code="cache_prompt")
    server = serve(fault)
    endpoint = endpoint_of(server)
    for _ in range(2):
        sample(endpoint, temperature=0.0)
    bodies_sent = bodies(server, "chat")
    assert ["cache_prompt" in body for body in bodies_sent] == [True, False, False]


def test_a_server_that_only_streams_may_reject_the_options_of_streams(serve):
    fault = Fault(FaultKind.REFUSE_PARAMETER, code="stream_options")
    server = serve(fault)
    work = server._work
    error = {"error": {"message": "set stream to true", "param": "stream"}}

    def stream(handler, request):
        if "stream" in request.json():
            return work(handler, request)
        return Response.json(error, status=400)

    server._work = stream
    assert sample(endpoint_of(server))
    assert "stream_options" not in bodies(server, "chat")[-1]


def test_a_temperature_of_1_only_is_obeyed_where_it_is_1(serve):
    server = serve(Fault(FaultKind.ONLY_ONE))
    endpoint = endpoint_of(server)
    sample(endpoint)
    sample(endpoint, temperature=0.0)
    assert "temperature" not in bodies(server, "chat")[-1]
    assert endpoint.abilities.parameter_values()["temperature"] == ParameterValues(
        requested=(1.0, 0.0), rejected=(0.0,)
    )


def test_a_batch_asks_for_the_plain_distribution_as_a_call_does(serve):
    server = serve()
    sample(endpoint_of(server))
    request = SampleRequest("k", "the lamp", n=1, temperature=None, max_tokens=5)
    endpoint_of(server, batch=True).abilities.batches.start([request], DIGEST)
    (file,) = server._files.values()
    body = json.loads(file["data"])["body"]
    assert "temperature" not in body
    for requested in (body, bodies(server, "chat")[-1]):
        assert requested.items() >= PLAIN.items()


def test_the_usage_of_one_choice_is_noticed():
    choice = {"message": {"content": "It rained"}, "finish_reason": "length"}
    answer = {"choices": [choice] * 4, "usage": {"completion_tokens": 30}}
    assert (
        sum(each.completion_tokens for each in read_completions(answer, max_tokens=30))
        == 120
    )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_completions_are_chosen_by_themselves_where_there_is_no_chat(
    serve, temperature
):
    server = serve(Fault(FaultKind.NO_CHAT))
    endpoint = endpoint_of(server)
    assert len(sample(endpoint, temperature=temperature)) == 2
    sample(endpoint)
    assert server.plan.calls("chat") == 1
    assert bodies(server, "completions")[-1]["prompt"] == "the lamp went over the quay"
    assert endpoint.abilities.parameter_values()["api"].rejected == ("chat",)
    with pytest.raises(RequestRejected, match=r"chat\.completions\.create .*404"):
        sample(endpoint_of(serve(models=("other",))))  # nowhere


@pytest.mark.parametrize("api", ["completions", "auto"])
def test_an_endpoint_goes_on_with_text_as_it_stands(serve, api):
    server = serve(Fault(FaultKind.NO_CHAT))
    requested = endpoint_of(server, system="Be brief.", api=api)
    sample(requested)
    text = requested.abilities.continuing()
    assert text.id != requested.id
    sample(text)
    assert bodies(server, "completions")[-1]["prompt"] == "the lamp went over the quay"


def test_a_chat_does_not_continue(serve):
    for api in ("chat", "auto"):
        endpoint = endpoint_of(serve(), api=api)
        sample(endpoint)
        assert endpoint.continuing() is None
    raw = provider_of(base_url="https://api.openai.com/v1", api="completions").open(
        None
    )
    assert raw.continuing().id == raw.id


def test_a_password_in_an_address_is_used_and_never_shown(serve, monkeypatch):
    server = serve()
    address = server.base_url.replace("://", "://svc:hunter2hunter2@")
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    endpoint = provider_of().open(None)
    assert endpoint.id == f"{server.base_url} base"
    sample(endpoint)
    (request,) = [request for name, request in server.recent if name == "chat"]
    assert request.headers["Authorization"].startswith("Basic ")
    server.stop()
    with pytest.raises(ProviderError) as error:
        sample(endpoint)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("beside", [
    {"reasoning_details": [{"type": "reasoning.text", "text": ASIDE}]},
    {"thinking": ASIDE},
    {"thinking_blocks": [{"thinking": ASIDE, "signature": "x"}]},
    {"content": [{"type": "thinking", "thinking": [{"text": ASIDE}]}]},
    {"tool_calls": [{"function": {"name": "f", "arguments": ASIDE}}]},
    {"audio": {"transcript": ASIDE}},
    {"thoughts": reduce(lambda inner, _: {"x": [inner]}, range(50), ASIDE)},
    {"annotations": [{"text": ASIDE}]},
    {"inner_monologue": {"draft": [ASIDE]}},
    {"reasoning_content": "short thought", "reasoning": ASIDE},
    {"reasoning": ["a", "whole", "page", "of", "it"]},
    {"reasoning_details": [{"text": part} for part in ("a who", "le pa", "ge of", " it")]},
    {"thoughts": {ASIDE: 1}},
    {"name": ASIDE},
    {"prompt": ASIDE},
    {"refusal": {"text": ASIDE}},
    {"content": ["It rained.", 7, {"text": "It rained.", "type": "text", "x": ASIDE}]},
    {"content": {"text": ASIDE}},
    {"content": [{"type": "x", "draft": part} for part in ("a who", "le pa", "ge of", " it")]},
], ids=lambda one: next(iter(one)))  # fmt: skip
def test_whatever_is_written_beside_the_answer_is_kept(beside):
    message = {"content": "It rained."} | beside
    (one,) = read_completions(
        {"choices": [{"message": message, "finish_reason": "stop"}]}
    )
    assert ASIDE in one.written


def test_words_hidden_by_turns_in_ids_names_and_keys_are_a_text():
    words = [f"{number}th" for number in range(30)]
    calls = [
        {"id": first, "function": {"name": second}, third: None}
        for first, second, third in zip(
            words[::3], words[1::3], words[2::3], strict=True
        )
    ]
    message = {"content": "It rained.", "tool_calls": calls}
    (one,) = read_completions(
        {"choices": [{"message": message, "finish_reason": "stop"}]}
    )
    assert {*words} <= {*one.reasoning.split()}
    assert " ".join(words[9:12]) in one.reasoning


@pytest.mark.parametrize(
    "beside", [{"draft": ASIDE}, {"output": [{"text": ASIDE}]}, {"prompt": ASIDE}]
)
def test_so_is_what_stands_with_no_choice(beside):
    choices = [
        {"message": {"content": text}, "finish_reason": "stop"}
        for text in ("Rain.", "Sun.")
    ]
    first, second = read_completions({"choices": choices} | beside)
    assert ASIDE in first.written
    assert second.written == "Sun."


def test_names_dates_and_the_answer_said_again_are_no_texts_beside_it():
    choice = {
        "message": {
            "role": "assistant",
            "content": "It rained all day.",
            "refusal": None,
        },
        "text": "It rained all day.",
        "logprobs": {
            "tokens": ["It", " rained", " all", " day."],
            "top_logprobs": [{" It": 0}],
        },
        "finish_reason": "stop",
    }
    answer = {
        "id": "chatcmpl-123e4567-e89b-12d3-a456-426614174000",
        "created": "2026-11-27T00:39:20.123456+00:00",
        "model": "meta-llama/Llama-3.1-70B-Instruct-Turbo",
        "signature": "q83vEjRWeJq83vEjRWeJq83v+EjRWeJq83vEjRWeJ/q83vEjRWeJq83vEjRWeJ=="
        * 20,
        "verbose": {"prompt": "[INST] Write of the weather. [/INST]"},
        "prompt": "Write of the weather.",
        "choices": [choice],
    }
    (one,) = read_completions(answer, instruction="Write of the weather.")
    assert "Write" not in one.written
    assert (
        one.written.replace("[INST]", "").replace("[/INST]", "").split()
        == one.text.split()
    )
