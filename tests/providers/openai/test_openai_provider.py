"""What is the "openai" provider's own, against an OpenAI server on loopback."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import clients
import pytest
from clients import (
    DIGEST,
    INSTRUCTION,
    OTHER,
    SECRETS,
    make_provider,
    requests_of,
    sample,
    training,
)
from faults import Fault, FaultKind, drop, lose, server_error
from http_server import Response

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.abilities import ParameterValues
from pytest_memleak.interfaces.protocols import JobStatus, SampleRequest
from pytest_memleak.providers.call_errors import RequestRejected

provider_of = partial(make_provider, "openai")
last_body = partial(clients.last_body, endpoint="chat")
OLD = Fault(FaultKind.REFUSE_PARAMETER, code="max_completion_tokens")


def test_the_key_comes_from_the_named_variable(serve, monkeypatch):
    server = serve(key=SECRETS["openai"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one-0123456789")
    monkeypatch.setenv("MY_SERVER_KEY", SECRETS["openai"])
    assert sample(provider_of(server, api_key_env="MY_SERVER_KEY").open(None))
    with pytest.raises(RequestRejected):
        sample(provider_of(server).open(None))


def test_a_request_says_what_was_asked(serve):
    server = serve()
    options = {
        "extra_body": {"top_p": 0.5},
        "system": "Be brief.",
        "sampling": "server",
    }
    sample(provider_of(server, **options).open(None), 2)
    assert last_body(server) == {
        "model": "base",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": INSTRUCTION},
        ],
        "n": 2,
        "temperature": 1.0,
        "max_completion_tokens": 30,
        "seed": 7,
        "top_p": 0.5,
    }
    sample(provider_of(server).open(None), seed=None)
    assert "seed" not in last_body(server)


def test_a_server_without_batches_is_told_with_the_option(serve):
    server = serve(server_error("files.*", status=404))
    batches = provider_of(server, batch=True).open(None).abilities.batches
    with pytest.raises(RequestRejected, match="404 Not Found") as error:
        batches.start(requests_of(), DIGEST)
    assert "options.batch" in error.value.hint


def test_an_account_without_credit_is_refused_for_good(serve):
    server = serve(server_error("chat", status=429, code="insufficient_quota"))
    with pytest.raises(RequestRejected) as error:
        sample(provider_of(server).open(None))
    assert "add credit" in error.value.hint


def test_a_lone_surrogate_cannot_be_sent(serve):
    with pytest.raises(ProviderError, match="can't be sent"):
        sample(provider_of(serve()).open(None), instruction="\ud800")


def test_an_error_that_repeats_the_request_is_not_quoted(serve, monkeypatch):
    server = serve()
    echo = Response.json({"detail": [{"msg": "no", "input": INSTRUCTION}]}, status=422)
    monkeypatch.setattr(server, "_work", lambda route, request: echo)
    with pytest.raises(RequestRejected, match="422") as error:
        sample(provider_of(server).open(None))
    assert INSTRUCTION[:30] not in str(error.value)


def test_an_old_server_is_asked_by_the_old_name(serve, books):
    server = serve(OLD)
    provider = provider_of(server)
    endpoint = provider.open(None)
    assert [len(sample(opened)) for opened in (endpoint, provider.open(None))] == [3, 3]
    assert last_body(server)["max_tokens"] == 30
    assert endpoint.abilities.parameter_values()[
        "max_completion_tokens"
    ] == ParameterValues(requested=(30,), rejected=(30,))
    assert endpoint.abilities.parameter_values()["max_tokens"].accepted == (30,)
    # The first call was refused (and cost nothing); then the old name was remembered.
    assert server.plan.calls("chat") == 3
    assert len(books.rows("completion")) == 6
    # A name that the suite has settled is kept.
    with pytest.raises(RequestRejected, match="max_completion_tokens"):
        sample(
            provider_of(server, max_tokens_parameter="max_completion_tokens").open(None)
        )
    sample(provider_of(server, max_tokens_parameter="max_tokens").open(None))
    assert "max_completion_tokens" not in last_body(server)
    # One that ignores the new name is asked by the old one.
    server, choice = (
        serve(),
        {"message": {"content": "It rained."}, "finish_reason": "stop"},
    )
    deaf = Response.json({"choices": [choice], "usage": {"completion_tokens": 700}})
    server._work = lambda route, request: deaf
    endpoint = provider_of(server).open(None)
    assert [len(sample(endpoint, 1)) for _ in range(2)] == [1, 1]
    assert last_body(server)["max_tokens"] == 30


def test_threads_that_learn_the_old_name_at_once(serve):
    endpoint = provider_of(serve(OLD)).open(None)
    gate = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(
            lambda seed: gate.wait() + 1 and sample(endpoint, seed=seed), range(6)
        )
        assert [len(answer) for answer in answers] == [3] * 6


def test_an_answer_lost_on_its_way_is_found_again(serve, books):
    # Some servers cannot filter by metadata.
    server = serve(lose("chat", calls=(0,)), drop("chat", calls=(2,)), filters=False)
    endpoint = provider_of(server, store=True).open(None)
    recovery = endpoint.abilities.recovery
    first = SampleRequest("run-1/0", INSTRUCTION, 3, 1.0, 30, 1)
    with pytest.raises(ProviderBusy):
        recovery.sample(first)
    answers = recovery.recover("run-1/0")
    assert [answer.text for answer in answers] == [
        row["text"] for row in books.rows("completion")
    ]
    assert {row["request"] for row in books.rows("completion")} == {"run-1/0"}
    assert answers == recovery.sample(dataclasses.replace(first, key="run-1/1"))
    assert answers == recovery.recover("run-1/1")
    with pytest.raises(ProviderBusy):
        recovery.sample(dataclasses.replace(first, key="never arrived"))
    assert recovery.recover("never arrived") is None
    sample(endpoint)
    assert "store" not in last_body(server)  # only named requests are kept


def test_the_job_carries_recipe_digest_and_examples(serve, books):
    server = serve()
    recipe = {
        "epochs": 2,
        "learning_rate_multiplier": 0.5,
        "seed": 11,
        "suffix": "mine",
    }
    provider_of(server, finetune=recipe, system="Be brief.").start_finetune(training())
    (row,) = books.rows("finetune")
    rate = {"learning_rate_multiplier": 0.5}
    assert row["hyperparameters"] == {"n_epochs": 2, "batch_size": 1, **rate}
    assert (row["seed"], row["suffix"], row["model"]) == (11, "mine", "base")
    assert row["metadata"] == {"memleak_digest": DIGEST}
    (upload,) = books.rows("upload")
    assert upload["purpose"] == "fine-tune"
    lines = server._files[upload["id"]]["data"].decode().splitlines()
    turns = (("user", "Write the other."), ("assistant", OTHER))
    messages = [{"role": role, "content": content} for role, content in turns]
    assert [json.loads(line) for line in lines] == [{"messages": messages}]
    provider_of(serve()).start_finetune(training())  # the default is the paper's recipe
    row = books.rows("finetune")[1]
    assert row["hyperparameters"] == {"n_epochs": 1, "batch_size": 1}
    assert row["suffix"] == f"memleak-{DIGEST[:12]}"


def test_the_size_of_a_batch_is_known_beforehand(serve):
    server = serve()
    batches = provider_of(server, batch=True).open(None).abilities.batches
    requests = [*requests_of(3), SampleRequest("é", "“ö\ud800”", 1, 0.5, 3)]
    batches.start(requests, DIGEST)
    (file,) = server._files.values()
    assert len(file["data"]) == sum(
        batches.request_bytes(request) for request in requests
    )
    assert (batches.max_requests, batches.max_bytes) == (50_000, 200_000_000)


def test_a_batch_that_was_cancelled_keeps_what_was_answered(serve):
    server = serve(Fault(FaultKind.PARTIAL, "batches.create", share=0.5), polls=0)
    batches = provider_of(server, batch=True).open(None).abilities.batches
    batch = batches.start(requests_of(), DIGEST)
    batches.poll(batch)
    kept = server._batches[batch].object
    kept["status"] = "cancelled"
    state = batches.poll(batch)
    assert state.status is JobStatus.SUCCEEDED
    assert state.detail == "cancelled: answered 2 of 4 requests"
    file = server._files[kept["output_file_id"]]
    file["data"] = file["data"][:-40] + b"\n"  # damaged
    with pytest.raises(ProviderBusy, match=r"line 2 of file \S+ isn't a JSON object"):
        list(batches.read(batch))
