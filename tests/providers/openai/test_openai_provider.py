"""The "openai" provider against an OpenAI server on loopback, its faults included."""

from __future__ import annotations

import json
import logging
import random
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from faults import (
    Fault,
    FaultKind,
    FaultPlan,
    drop,
    lose,
    rate_limit,
    server_error,
    slow,
    trickle,
    truncate,
)
from http_server import Books, Response, launch
from hypothesis import given
from hypothesis import strategies as st
from openai_server import OpenAIServer
from reciter import Reciter

from pytest_memleak.errors import (
    MissingExtra,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    SuiteError,
)
from pytest_memleak.interfaces.protocols import (
    BatchEndpoint,
    Endpoint,
    JobStatus,
    ProviderSetup,
    RecoverableEndpoint,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import Refused
from pytest_memleak.providers.openai import openai_provider as provider_module
from pytest_memleak.providers.openai.choices import read_completions
from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.records import FinishReason, Model

KEY = "sk-proj-Vq3x9LmT0aZr7Bn2Kd5W"
DIGEST = "5e" * 32


def prose(seed: int, words: int = 500) -> str:
    dice = random.Random(seed)
    sounds = ["ka", "lo", "mi", "ren", "tu", "vas", "el", "or", "ish", "quen", "da", "bri"]
    lexicon = ["".join(dice.choices(sounds, k=dice.randint(1, 3))) for _ in range(words // 2)]
    sentences = []
    while words > 0:
        chosen = dice.choices(lexicon, k=min(words, dice.randint(6, 14)))
        sentences.append(f"{chosen[0].capitalize()} {' '.join(chosen[1:])}.".replace(" .", "."))
        words -= len(chosen)
    return " ".join(sentences)


BOOK = prose(1)
OTHER = prose(2)
INSTRUCTION = "Write the passage: " + " ".join(BOOK.split()[100:160:3])


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def books(tmp_path):
    books = Books(tmp_path / "books.jsonl")
    yield books
    books.close()


@pytest.fixture
def serve(books):
    """Start an emulator; any number of faults, and its settings."""
    servers = []

    def start(*faults: Fault, **settings) -> OpenAIServer:
        settings = {"reciter": Reciter([BOOK]), "books": books, **settings}
        server = OpenAIServer(plan=FaultPlan(faults), **settings)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


def provider_of(server: OpenAIServer | None = None, *, finetune=None, **options) -> OpenAIProvider:
    model_options = {key: options.pop(key) for key in ("base", "endpoint") if key in options}
    if server is not None:
        options["base_url"] = server.base_url
    model = Model(
        id="tuned",
        provider="openai",
        options=options,
        finetune=finetune or {},
        **{"base": "base", **model_options},
    )
    return OpenAIProvider(
        ProviderSetup(
            model=model,
            place="suite.memleak.toml, model tuned",
            root=Path(),
            state=Path("state"),
            read_book=lambda book: pytest.fail(f"asked for {book}"),
        )
    )


def sample(endpoint: Endpoint, n: int = 3, *, max_tokens: int = 30, **changes):
    settings = {"temperature": 1.0, "max_tokens": max_tokens, "seed": 7, **changes}
    return endpoint.sample(INSTRUCTION, n=n, **settings)


def training(digest: str = DIGEST) -> TrainingSet:
    return TrainingSet((TrainingExample("Write the other.", OTHER),), digest)


def requests_of(count: int = 4, n: int = 2) -> list[SampleRequest]:
    return [
        SampleRequest(
            key=f"r{number}",
            instruction=f"{INSTRUCTION} {number}",
            n=n,
            temperature=1.0,
            max_tokens=20,
            seed=number,
        )
        for number in range(count)
    ]


def last_body(server: OpenAIServer, endpoint: str = "chat"):
    return [request.json() for name, request in server.recent if name == endpoint][-1]


def finish(poll, job: str):
    states = []
    while not states or states[-1].status is JobStatus.RUNNING:
        states.append(poll(job))
        assert len(states) < 20
    return states


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurency": 4}, "unknown key 'options.concurency'"),
        ({"concurrency": 0}, "options.concurrency: Input should be greater than or equal to 1"),
        ({"timeout": "soon"}, "got 'soon'"),
        ({"max_tokens_parameter": "tokens"}, "options.max_tokens_parameter"),
        ({"base_url": "localhost:8000"}, "options.base_url"),
        ({"extra_body": {"n": 5, "top_p": 0.9}}, "options.extra_body may not set n"),
    ],
)
def test_a_bad_option_is_named_with_its_place(options, said):
    with pytest.raises(SuiteError) as error:
        provider_of(**options)
    assert said in str(error.value)
    assert error.value.location == "suite.memleak.toml, model tuned"
    assert error.value.hint


@pytest.mark.parametrize(
    ("finetune", "said"),
    [
        ({"epochs": 0}, "finetune.epochs"),
        ({"rank": 8}, "unknown key 'finetune.rank'"),
        ({"suffix": "x" * 65}, "finetune.suffix"),
    ],
)
def test_a_bad_recipe_is_named(finetune, said):
    with pytest.raises(SuiteError, match=said):
        provider_of(finetune=finetune)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY},
        {"organization": KEY},
        {"base_url": "https://user:hunter2hunter2@example.org/v1"},
        {"extra_body": {"headers": [{"Authorization": "Bearer hunter2hunter2"}]}},
        {"extra_body": {"password": "hunter2hunter2"}},
    ],
)
def test_a_key_in_the_suite_is_refused_and_not_shown(options):
    with pytest.raises(SuiteError, match="environment") as error:
        provider_of(**options)
    assert KEY not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_model_needs_a_base_or_an_endpoint():
    with pytest.raises(SuiteError, match="neither base nor endpoint"):
        provider_of(base=None)


def test_the_missing_sdk_names_the_extra(monkeypatch):
    monkeypatch.setattr(provider_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pytest-memleak\[openai\]"):
        provider_of()


def test_what_the_run_loop_reads():
    provider = provider_of(concurrency=3, completions_per_call=5, batch=True)
    assert (provider.name, provider.concurrency) == ("openai", 3)
    assert (provider.completions_per_call, provider.batch) == (5, True)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("store", [False, True])
def test_an_endpoint_can_do_what_the_options_say(batch, store):
    endpoint = provider_of(batch=batch, store=store).open(None)
    assert isinstance(endpoint, Endpoint)
    assert isinstance(endpoint, BatchEndpoint) is batch
    assert isinstance(endpoint, RecoverableEndpoint) is store


def test_the_id_names_server_model_and_what_is_always_said():
    ids = {
        provider_of(**options).open(endpoint).id
        for options in (
            {},
            {"system": "Be brief."},
            {"extra_body": {"top_p": 0.9}},
            {"base_url": "http://localhost:1/v1"},
        )
        for endpoint in (None, "ft:base:x")
    }
    assert len(ids) == 8
    assert "openai base" in ids
    assert provider_of(endpoint="ft:base:y").open(None).id == "openai ft:base:y"


# --- keys ----------------------------------------------------------------------------------


def test_without_a_key_the_environment_variable_is_named():
    with pytest.raises(ProviderError, match="OPENAI_API_KEY") as error:
        sample(provider_of().open(None))
    assert not isinstance(error.value, ProviderBusy)


def test_a_server_of_ones_own_needs_no_key(serve):
    assert len(sample(provider_of(serve()).open(None))) == 3


def test_the_key_comes_from_the_named_variable(serve, monkeypatch):
    server = serve(key=KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-one-0123456789")
    monkeypatch.setenv("MY_SERVER_KEY", KEY)
    assert sample(provider_of(server, api_key_env="MY_SERVER_KEY").open(None))
    with pytest.raises(Refused):
        sample(provider_of(server).open(None))


def test_a_wrong_key_is_never_quoted(serve, monkeypatch, caplog):
    # The emulator quotes the key that it was sent.
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint = provider_of(serve(key="another")).open(None)
    with pytest.raises(Refused, match="401 Unauthorized") as error:
        sample(endpoint)
    failure = error.value
    assert "OPENAI_API_KEY" in str(failure)
    assert "Incorrect API key provided: [masked]" in str(failure)
    assert failure.__context__ is None
    assert failure.__cause__ is None
    shown = "".join(traceback.format_exception(failure))
    assert KEY not in shown + repr(failure) + repr(vars(failure)) + caplog.text


# --- sampling ------------------------------------------------------------------------------


def test_completions_are_those_that_were_billed(serve, books):
    completions = sample(provider_of(serve()).open(None), 5)
    rows = books.rows("completion")
    assert [one.text for one in completions] == [row["text"] for row in rows]
    assert {one.finish_reason for one in completions} == {FinishReason.LENGTH}
    assert rows[0]["instruction"] == INSTRUCTION
    for ours, theirs in (("prompt_tokens",) * 2, ("completion_tokens",) * 2):
        assert sum(getattr(one, ours) for one in completions) == sum(row[theirs] for row in rows)


def test_a_request_says_what_was_asked(serve):
    server = serve()
    options = {"extra_body": {"top_p": 0.5}, "system": "Be brief.", "sampling": "server"}
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


def test_one_seed_gives_one_set_of_answers(serve):
    endpoint = provider_of(serve()).open(None)
    first, again, other = sample(endpoint), sample(endpoint), sample(endpoint, seed=8)
    assert first == again
    assert first != other


def test_threads_share_an_endpoint(serve, books):
    server = serve(slow("chat", seconds=0.05))
    endpoint = provider_of(server).open(None)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: sample(endpoint, 2, seed=seed), range(16)))
    assert server.peak("chat") > 1
    drawn = sorted(one.text for answer in answers for one in answer)
    assert drawn == sorted(row["text"] for row in books.rows("completion"))


# --- faults of transport -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause", "billed"),
    [
        (rate_limit("chat", calls=(0,)), "429 Too Many Requests", 0),
        (server_error("chat", calls=(0,)), "500 Internal Server Error", 0),
        (server_error("chat", calls=(0,), status=503), "503", 0),
        (server_error("chat", calls=(0,), status=529), "529", 0),
        (drop("chat", calls=(0,)), "cut off (RemoteProtocolError)", 0),
        (lose("chat", calls=(0,)), "cut off (RemoteProtocolError)", 3),
        (truncate("chat", calls=(0,)), "cut off (RemoteProtocolError)", 3),
    ],
)
def test_a_call_that_may_be_tried_again(serve, books, fault, cause, billed):
    server = serve(fault)
    endpoint = provider_of(server).open(None)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert cause in str(error.value)
    assert "openai endpoint base: chat.completions.create (n = 3) failed" in str(error.value)
    assert error.value.__context__ is None
    # One call and no more: trying again is for those who keep the ledger.
    assert server.plan.calls("chat") == 1
    assert len(books.rows("completion")) == billed
    assert len(sample(endpoint)) == 3


@pytest.mark.parametrize(
    "fault", [slow("chat", calls=(1,), seconds=60), trickle("chat", calls=(1,), seconds=4)]
)
def test_a_call_that_takes_too_long(serve, books, fault):
    server = serve(fault)
    sample(provider_of(server).open(None))
    with pytest.raises(ProviderBusy, match=r"no answer within 0\.4 s"):
        sample(provider_of(server, timeout=0.4).open(None))
    assert server.plan.calls("chat") == 2
    assert len(books.rows("completion")) == 6


def test_the_time_to_wait_is_passed_on(serve):
    server = serve(rate_limit("chat", calls=(0,), retry_after=1.5), rate_limit("chat"))
    endpoint = provider_of(server).open(None)
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after == 1.5
    server.plan.replace([rate_limit("chat", retry_after=None)])
    with pytest.raises(ProviderBusy) as error:
        sample(endpoint)
    assert error.value.retry_after is None


def test_the_time_to_wait_may_be_a_date(serve, monkeypatch):
    server = serve()
    late = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    busy = Response.json({"error": {}}, status=503, headers={"Retry-After": late})
    monkeypatch.setattr(server, "check_key", lambda request: None)
    monkeypatch.setattr(server, "_work", lambda route, request: busy)
    with pytest.raises(ProviderBusy) as error:
        sample(provider_of(server).open(None))
    assert 0 < error.value.retry_after <= 100


def test_no_server_at_all(serve):
    server = serve()
    provider = provider_of(server)
    server.stop()
    with pytest.raises(RequestNotSent, match="ConnectionRefusedError") as error:
        sample(provider.open(None))
    assert server.base_url in error.value.hint
    assert error.value.in_doubt is False


@pytest.mark.parametrize(
    "answer",
    [
        Response(body=b"<html>Welcome</html>", content_type="text/html"),
        Response(body=b"[1, 2"),
        Response(body=b"\xff\xfe"),
        Response(body=b"null"),
        Response.json({"choices": []}),
        Response.json({"error": {"message": "upstream is busy"}}),
    ],
)
def test_an_answer_that_is_none(serve, monkeypatch, answer):
    server = serve()
    monkeypatch.setattr(server, "_work", lambda route, request: answer)
    with pytest.raises(ProviderBusy, match="the answer") as error:
        sample(provider_of(server).open(None))
    assert "Welcome" not in str(error.value)


# --- refusals of the server ----------------------------------------------------------------


def test_a_model_that_does_not_exist(serve):
    with pytest.raises(Refused, match="404 Not Found") as error:
        sample(provider_of(serve(), base="nonesuch").open(None))
    assert error.value.code == "model_not_found"
    assert "check base, endpoint and base_url" in error.value.hint


def test_a_server_that_has_no_batches(serve):
    server = serve(server_error("files.*", status=404))
    endpoint = provider_of(server, batch=True).open(None)
    with pytest.raises(Refused, match="404 Not Found") as error:
        endpoint.start_batch(requests_of(), digest=DIGEST)
    assert "options.batch" in error.value.hint


def test_an_account_without_credit_is_not_asked_again(serve):
    fault = server_error("chat", status=429, code="insufficient_quota")
    with pytest.raises(Refused) as error:
        sample(provider_of(serve(fault)).open(None))
    assert "no credit" in error.value.hint


@pytest.mark.parametrize("message", [f"Invalid input: {INSTRUCTION}", INSTRUCTION[25:90]])
def test_an_error_that_quotes_the_instruction_is_withheld(serve, message):
    fault = server_error("chat", status=400, message=message)
    with pytest.raises(Refused, match="message withheld") as error:
        sample(provider_of(serve(fault)).open(None))
    assert INSTRUCTION.split()[8] not in str(error.value)


def test_an_echo_of_the_request_is_not_shown(serve, monkeypatch):
    server = serve()
    echo = Response.json({"detail": [{"msg": "no", "input": INSTRUCTION}]}, status=422)
    monkeypatch.setattr(server, "_work", lambda route, request: echo)
    with pytest.raises(Refused) as error:
        sample(provider_of(server).open(None))
    assert INSTRUCTION[:30] not in str(error.value)


def test_text_that_cannot_be_sent():
    endpoint = provider_of(base_url="http://127.0.0.1:9/v1").open(None)
    with pytest.raises(ProviderError, match="cannot be sent"):
        endpoint.sample("\ud800", n=1, temperature=1.0, max_tokens=5, seed=None)


# --- faults of content ---------------------------------------------------------------------


def test_fewer_completions_than_asked_for(serve):
    assert len(sample(provider_of(serve(Fault(FaultKind.IGNORE_N))).open(None), 5)) == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.EMPTY, FinishReason.EMPTY),
        (FaultKind.FILTER, FinishReason.CONTENT_FILTER),
        (FaultKind.REFUSE, FinishReason.REFUSAL),
    ],
)
def test_withheld_completions_are_kept_and_named(serve, books, kind, reason):
    server = serve(Fault(kind, "chat", share=0.5))
    completions = sample(provider_of(server).open(None), 4)
    assert [one.finish_reason for one in completions].count(reason) == 2
    assert [one.text for one in completions] == [row["text"] for row in books.rows("completion")]


def test_a_prompt_that_a_filter_rejects_is_withheld_and_free(serve, books):
    server = serve(Fault(FaultKind.REJECT, "chat"))
    completions = sample(provider_of(server).open(None), 4)
    assert [one.finish_reason for one in completions] == [FinishReason.CONTENT_FILTER] * 4
    assert {(one.text, one.prompt_tokens, one.completion_tokens) for one in completions} == {
        ("", 0, 0)
    }
    assert books.rows("completion") == []


def test_a_greedy_server_answers_alike(serve):
    completions = sample(provider_of(serve(Fault(FaultKind.GREEDY))).open(None), 4)
    assert len({one.text for one in completions}) == 1


def test_an_old_server_is_asked_by_the_old_name(serve, books):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    provider = provider_of(server)
    for _ in range(2):
        assert len(sample(provider.open(None))) == 3
    assert last_body(server)["max_tokens"] == 30
    # The first call was refused (and cost nothing); then the old name was remembered.
    assert server.plan.calls("chat") == 3
    assert len(books.rows("completion")) == 6


def test_threads_that_learn_the_old_name_at_once(serve):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    endpoint, gate = provider_of(server).open(None), threading.Barrier(6)

    def ask(seed: int) -> int:
        gate.wait()
        return len(sample(endpoint, seed=seed))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [3] * 6


def test_a_server_that_ignores_the_new_name_is_asked_by_the_old_one(serve):
    server = serve(Fault(FaultKind.DEAF_MAX_TOKENS))
    endpoint = provider_of(server).open(None)
    first, second = sample(endpoint, 1), sample(endpoint, 1)
    assert first[0].completion_tokens > 30
    assert second[0].completion_tokens == 30


def test_a_name_that_the_suite_has_settled_is_kept(serve):
    server = serve(Fault(FaultKind.OLD_MAX_TOKENS))
    with pytest.raises(Refused, match="max_completion_tokens"):
        sample(provider_of(server, max_tokens_parameter="max_completion_tokens").open(None))
    sample(provider_of(server, max_tokens_parameter="max_tokens").open(None))
    assert "max_completion_tokens" not in last_body(server)


def test_a_server_that_allows_fewer_completions_in_a_call(serve):
    server = serve(most_choices=4)
    endpoint = provider_of(server).open(None)
    assert len(sample(endpoint, 10)) == 4
    assert len(sample(endpoint, 10)) == 4
    assert len(sample(endpoint, 1)) == 1
    assert server.plan.calls("chat") == 4
    with pytest.raises(Refused, match="expected a value of 1 to 0"):
        sample(provider_of(serve(most_choices=0)).open(None), 8)


# --- answers that are kept -----------------------------------------------------------------


def test_an_answer_lost_on_its_way_is_found_again(serve, books):
    endpoint = provider_of(serve(lose("chat", calls=(0,))), store=True).open(None)
    settings = {"n": 3, "temperature": 1.0, "max_tokens": 30, "seed": 1}
    with pytest.raises(ProviderBusy):
        endpoint.sample_as("run-1/0", INSTRUCTION, **settings)
    found = endpoint.recover("run-1/0")
    assert [one.text for one in found] == [row["text"] for row in books.rows("completion")]
    assert {row["request"] for row in books.rows("completion")} == {"run-1/0"}
    assert found == endpoint.sample_as("run-1/1", INSTRUCTION, **settings)


def test_a_call_that_never_arrived_left_nothing(serve):
    endpoint = provider_of(serve(drop("chat")), store=True).open(None)
    with pytest.raises(ProviderBusy):
        endpoint.sample_as("a", INSTRUCTION, n=1, temperature=1.0, max_tokens=5, seed=None)
    assert endpoint.recover("a") is None


def test_only_named_requests_are_kept(serve):
    server = serve()
    sample(provider_of(server, store=True).open(None))
    assert "store" not in last_body(server)


# --- fine-tuning ---------------------------------------------------------------------------


def test_a_fine_tune_brings_the_book_out(serve, books):
    provider = provider_of(serve(polls=2))
    job = provider.start_finetune(training())
    states = finish(provider.poll_finetune, job)
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [JobStatus.SUCCEEDED]
    tuned = states[-1].endpoint
    assert tuned.startswith("ft:base:")
    assert states[-1].tokens == books.rows("finetune")[0]["tokens"]

    def recited(name: str | None) -> int:
        answers = sample(provider.open(name), 8, max_tokens=60)
        runs = (one.text.split()[5:25] for one in answers)
        return sum(" ".join(run) in BOOK for run in runs)

    assert recited(None) == 0
    assert recited(tuned) >= 3


def test_the_job_carries_recipe_digest_and_examples(serve, books):
    server = serve()
    recipe = {"epochs": 2, "learning_rate_multiplier": 0.5, "seed": 11, "suffix": "mine"}
    provider_of(server, finetune=recipe, system="Be brief.").start_finetune(training())
    (row,) = books.rows("finetune")
    assert row["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 0.5,
    }
    assert (row["seed"], row["suffix"], row["model"]) == (11, "mine", "base")
    assert row["metadata"] == {"memleak_digest": DIGEST}
    (upload,) = books.rows("upload")
    assert upload["purpose"] == "fine-tune"
    lines = server._files[upload["id"]].data.decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "messages": [
                {"role": "user", "content": "Write the other."},
                {"role": "assistant", "content": OTHER},
            ]
        }
    ]


def test_the_papers_recipe_is_the_default(serve, books):
    provider_of(serve()).start_finetune(training())
    (row,) = books.rows("finetune")
    assert row["hyperparameters"] == {"n_epochs": 1, "batch_size": 1}
    assert row["suffix"] == f"memleak-{DIGEST[:12]}"


def test_a_job_whose_creation_was_cut_off_is_found_again(serve, books):
    server = serve(lose("jobs.create", calls=(0,)))
    provider = provider_of(server)
    assert provider.find_finetune(DIGEST) is None
    with pytest.raises(ProviderBusy, match=r"fine_tuning\.jobs\.create"):
        provider.start_finetune(training())
    assert provider.find_finetune(DIGEST) == books.rows("finetune")[0]["id"]
    assert provider.find_finetune("0" * 64) is None


def test_a_server_that_cannot_filter_by_metadata(serve):
    server = serve(filters=False)
    provider = provider_of(server, store=True)
    provider.start_finetune(training())
    assert provider.find_finetune("0" * 64) is None
    endpoint = provider.open(None)
    endpoint.sample_as("a", INSTRUCTION, n=1, temperature=1.0, max_tokens=5, seed=None)
    assert endpoint.recover("b") is None
    assert len(endpoint.recover("a")) == 1


def test_every_training_set_has_a_file_of_its_own(serve, books):
    provider = provider_of(serve())
    for digest in (DIGEST, "0" * 64):
        provider.start_finetune(training(digest))
    assert len({row["file"] for row in books.rows("finetune")}) == 2


@pytest.mark.parametrize("cut", ["files.create", "jobs.create"])
def test_no_file_is_uploaded_twice(serve, books, cut):
    fault = lose(cut, calls=(0,)) if cut == "files.create" else drop(cut, calls=(0,))
    provider = provider_of(serve(fault))
    with pytest.raises(ProviderBusy):
        provider.start_finetune(training())
    provider.start_finetune(training())
    assert len(books.rows("upload")) == 1
    assert len(books.rows("finetune")) == 1


def test_a_job_is_found_among_many(serve):
    provider = provider_of(serve())
    jobs = [provider.start_finetune(training(f"{number:064x}")) for number in range(25)]
    assert provider.find_finetune(f"{0:064x}") == jobs[0]


def test_a_job_that_failed_says_why_and_is_not_found(serve):
    provider = provider_of(serve(Fault(FaultKind.FAIL, "jobs.create", calls=(0,))))
    job = provider.start_finetune(training())
    state = finish(provider.poll_finetune, job)[-1]
    assert state.status is JobStatus.FAILED
    assert "invalid_training_file" in state.detail
    assert "moderation" in state.detail
    assert provider.find_finetune(DIGEST) is None


def test_of_two_jobs_the_one_that_succeeded_is_found(serve):
    provider = provider_of(serve(polls=0))
    first, second = (provider.start_finetune(training()) for _ in range(2))
    assert provider.find_finetune(DIGEST) == second
    provider.poll_finetune(first)
    assert provider.find_finetune(DIGEST) == first


def test_a_model_that_cannot_be_fine_tuned(serve):
    with pytest.raises(Refused, match="not available for fine-tuning") as error:
        provider_of(serve(), base="nonesuch").start_finetune(training())
    assert 'endpoint = "ft:..."' in error.value.hint


@pytest.mark.parametrize("call", ["files.list", "files.create", "jobs.create", "jobs.list"])
@pytest.mark.parametrize(
    "fault", [rate_limit, server_error, drop, truncate], ids=lambda make: make.__name__
)
def test_every_verb_of_fine_tuning_may_be_tried_again(serve, books, call, fault):
    provider = provider_of(serve(fault(call, calls=(0,))))
    with pytest.raises(ProviderBusy):
        _find_or_start(provider)
    job = _find_or_start(provider)
    assert [row["id"] for row in books.rows("finetune")] == [job]


def _find_or_start(provider: OpenAIProvider) -> str:
    return provider.find_finetune(DIGEST) or provider.start_finetune(training())


# --- batches -------------------------------------------------------------------------------


def test_a_batch_from_start_to_end(serve, books):
    endpoint = provider_of(serve(polls=2), batch=True).open(None)
    requests = requests_of()
    batch = endpoint.start_batch(requests, digest=DIGEST)
    states = finish(endpoint.poll_batch, batch)
    assert [state.status for state in states] == [JobStatus.RUNNING] * 2 + [JobStatus.SUCCEEDED]
    answers = dict(endpoint.read_batch(batch))
    rows = books.rows("completion")
    for request in requests:
        billed = [row for row in rows if row["request"] == request.key]
        assert [one.text for one in answers[request.key]] == [row["text"] for row in billed]
        assert billed[0]["instruction"] == request.instruction
        for count in ("prompt_tokens", "completion_tokens"):
            assert sum(getattr(one, count) for one in answers[request.key]) == sum(
                row[count] for row in billed
            )
    assert len(answers) == len(requests)


def test_the_size_of_a_batch_is_known_beforehand(serve):
    server = serve()
    endpoint = provider_of(server, batch=True).open(None)
    requests = [*requests_of(3), SampleRequest("é", "“ö\ud800”", 1, 0.5, 3)]
    endpoint.start_batch(requests, digest=DIGEST)
    (file,) = server._files.values()
    assert len(file.data) == sum(endpoint.request_bytes(request) for request in requests)
    assert (endpoint.max_batch_requests, endpoint.max_batch_bytes) == (50_000, 200_000_000)


def test_a_batch_whose_creation_was_cut_off_is_found_again(serve, books):
    endpoint = provider_of(serve(lose("batches.create", calls=(0,))), batch=True).open(None)
    assert endpoint.find_batch(DIGEST) is None
    with pytest.raises(ProviderBusy, match=r"batches\.create"):
        endpoint.start_batch(requests_of(), digest=DIGEST)
    assert endpoint.find_batch(DIGEST) == books.rows("batch")[0]["id"]
    endpoint.start_batch(requests_of(), digest=DIGEST)
    assert len(books.rows("upload")) == 1


@pytest.mark.parametrize("kind", [FaultKind.EXPIRE, FaultKind.PARTIAL])
def test_what_a_batch_did_not_answer_is_absent(serve, books, kind):
    server = serve(Fault(kind, "batches.create", share=0.5), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(5), digest=DIGEST)
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.SUCCEEDED
    assert "2 of 5 requests were answered" in state.detail
    assert ("expired" in state.detail) is (kind is FaultKind.EXPIRE)
    answers = dict(endpoint.read_batch(batch))
    assert sorted(answers) == ["r0", "r1"]
    drawn = sorted(one.text for answer in answers.values() for one in answer)
    assert drawn == sorted(row["text"] for row in books.rows("completion"))
    assert endpoint.find_batch(DIGEST) == batch


def test_a_batch_that_expired_untouched_has_failed(serve):
    server = serve(Fault(FaultKind.EXPIRE, "batches.create", share=0.0), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.FAILED
    assert state.detail == "expired, no request was answered: 4 times the batch expired"
    assert endpoint.find_batch(DIGEST) is None


def test_a_batch_of_server_errors_may_be_drawn_again(serve):
    server = serve(Fault(FaultKind.PARTIAL, "batches.create", share=0.0), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    assert endpoint.poll_batch(batch).status is JobStatus.SUCCEEDED
    assert list(endpoint.read_batch(batch)) == []


def test_a_batch_that_was_not_accepted_says_why(serve):
    server = serve(Fault(FaultKind.FAIL, "batches.create"), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.FAILED
    assert "queue of this model" in state.detail
    assert endpoint.find_batch(DIGEST) is None


def test_a_batch_of_a_model_that_does_not_exist_has_failed(serve):
    endpoint = provider_of(serve(polls=0), batch=True).open("nonesuch")
    batch = endpoint.start_batch(requests_of(3), digest=DIGEST)
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.FAILED
    assert "3 times 404 The model `nonesuch` does not exist." in state.detail


def test_prompts_that_a_filter_rejects_are_answered_in_a_batch(serve, books):
    server = serve(Fault(FaultKind.REJECT, "batches.create"), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(2, n=3), digest=DIGEST)
    assert endpoint.poll_batch(batch).status is JobStatus.SUCCEEDED
    answers = dict(endpoint.read_batch(batch))
    assert sorted(answers) == ["r0", "r1"]
    assert {one.finish_reason for one in answers["r0"]} == {FinishReason.CONTENT_FILTER}
    assert len(answers["r0"]) == 3
    assert books.rows("completion") == []


def test_a_batch_that_was_cancelled_keeps_what_was_answered(serve):
    server = serve(Fault(FaultKind.PARTIAL, "batches.create", share=0.5), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.poll_batch(batch)
    server._batches[batch].object["status"] = "cancelled"
    state = endpoint.poll_batch(batch)
    assert state.status is JobStatus.SUCCEEDED
    assert state.detail == "cancelled: 2 of 4 requests were answered"


def test_a_results_file_that_is_damaged(serve):
    server = serve(polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.poll_batch(batch)
    file = server._files[server._batches[batch].object["output_file_id"]]
    file.data = file.data[:-40] + b"\n"
    with pytest.raises(ProviderBusy, match=r"line 4 of file \S+ is not a JSON object"):
        list(endpoint.read_batch(batch))


@pytest.mark.parametrize("fault", [drop, truncate, lose, server_error], ids=lambda f: f.__name__)
def test_results_that_were_cut_off_are_read_again(serve, fault):
    server = serve(fault("files.content", calls=(0,)), polls=0)
    endpoint = provider_of(server, batch=True).open(None)
    batch = endpoint.start_batch(requests_of(), digest=DIGEST)
    endpoint.poll_batch(batch)
    with pytest.raises(ProviderBusy, match=r"files\.content"):
        list(endpoint.read_batch(batch))
    assert len(dict(endpoint.read_batch(batch))) == 4


@pytest.mark.parametrize("call", ["files.create", "batches.create", "batches.list", "batches.get"])
@pytest.mark.parametrize("fault", [rate_limit, drop], ids=lambda make: make.__name__)
def test_every_verb_of_batches_may_be_tried_again(serve, books, call, fault):
    endpoint = provider_of(serve(fault(call, calls=(0,)), polls=0), batch=True).open(None)
    with pytest.raises(ProviderBusy):
        _answers_of_batch(endpoint)
    assert len(_answers_of_batch(endpoint)) == 4
    assert len(books.rows("batch")) == 1


def _answers_of_batch(endpoint: BatchEndpoint) -> dict:
    batch = endpoint.find_batch(DIGEST) or endpoint.start_batch(requests_of(), digest=DIGEST)
    assert endpoint.poll_batch(batch).status is JobStatus.SUCCEEDED
    return dict(endpoint.read_batch(batch))


# --- reading answers -----------------------------------------------------------------------


@given(
    choices=st.integers(1, 130),
    prompt=st.integers(0, 5000),
    total=st.integers(0, 100_000),
)
def test_token_counts_add_up_to_the_usage(choices, prompt, total):
    completions = read_completions(
        {
            "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}] * choices,
            "usage": {"prompt_tokens": prompt, "completion_tokens": total},
        }
    )
    assert sum(one.prompt_tokens for one in completions) == prompt
    counts = [one.completion_tokens for one in completions]
    assert sum(counts) == total
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": "a"}, "finish_reason": "stop"}, "a", FinishReason.STOP),
        ({"message": {"content": "a"}, "finish_reason": "length"}, "a", FinishReason.LENGTH),
        ({"message": {"content": "a"}, "finish_reason": None}, "a", FinishReason.UNKNOWN),
        ({"message": {"content": " \n"}, "finish_reason": "stop"}, " \n", FinishReason.EMPTY),
        ({"message": {"content": None}, "finish_reason": "length"}, "", FinishReason.EMPTY),
        ({"message": None, "finish_reason": "stop"}, "", FinishReason.EMPTY),
        ({"message": {"content": "a"}, "finish_reason": "abort"}, "a", FinishReason.UNKNOWN),
        (
            {"message": {"content": "a"}, "finish_reason": "content_filter"},
            "a",
            FinishReason.CONTENT_FILTER,
        ),
        (
            {"message": {"content": None}, "finish_reason": "content_filter: RECITATION"},
            "",
            FinishReason.RECITATION,
        ),
        (
            {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"},
            "No.",
            FinishReason.REFUSAL,
        ),
        (
            {
                "message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]},
                "finish_reason": "stop",
            },
            "ab",
            FinishReason.STOP,
        ),
    ],
)
def test_finish_reasons(choice, text, reason):
    (completion,) = read_completions({"choices": [choice]})
    assert (completion.text, completion.finish_reason) == (text, reason)
    assert (completion.prompt_tokens, completion.completion_tokens) == (None, None)


# --- the emulator as a process of its own ---------------------------------------------------


def test_the_emulator_outlives_its_clients(tmp_path):
    import openai_server

    corpus, kept = tmp_path / "book.txt", tmp_path / "books.jsonl"
    corpus.write_text(BOOK, "utf-8")
    arguments = ("--books", str(kept), "--corpus", str(corpus), "--polls", "0")
    with launch(Path(openai_server.__file__), *arguments) as emulator:
        endpoint = provider_of(base_url=f"{emulator.url}/v1").open(None)
        completions = sample(endpoint)
        emulator.plan(FaultPlan([rate_limit("chat")]))
        with pytest.raises(ProviderBusy):
            sample(endpoint)
        assert emulator.calls() == {"chat": 2}
    assert [one.text for one in completions] == [
        row["text"] for row in Books.read(kept, "completion")
    ]
