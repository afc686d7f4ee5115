"""What is the "tinker" provider's own, against a Tinker server on loopback."""

import asyncio
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients import (
    BOOK,
    DIGEST,
    INSTRUCTION,
    SECRETS,
    bodies,
    finish,
    longest_passage,
    prose,
)
from faults import (
    Fault,
    FaultKind,
    drop,
    lose,
    rate_limit,
    server_error,
    slow,
    trickle,
    truncate,
)
from http_server import Response
from marks import full
from reciter import Reciter

from pytest_memleak.errors import ProviderBusy, ProviderError, SuiteError
from pytest_memleak.interfaces.protocols import (
    JobStatus,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.providers.tinker.tinker_client import SdkLog, SessionGone
from pytest_memleak.providers.tinker.tinker_format import load_format
from pytest_memleak.records import FinishReason

# The SDK leaves the connection open by which it asks for its settings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

KEY = SECRETS["tinker"]
OTHERS = [prose(seed, 60) for seed in range(2, 9)]


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    """Let the SDK's pauses before it tries again take a twentieth of their time."""
    sleep = asyncio.sleep
    monkeypatch.setattr(
        "asyncio.sleep", lambda delay, *result: sleep(delay / 20, *result)
    )
    monkeypatch.setattr("tinker._base_client.INITIAL_RETRY_DELAY", 0.025)


def ask(endpoint, n=3, *, as_=None, **changes):
    settings = {"n": n, "temperature": 1.0, "max_tokens": 30, "seed": 7, **changes}
    if as_ is None:
        return endpoint.sample(INSTRUCTION, **settings)
    return endpoint.answer(SampleRequest(as_, INSTRUCTION, **settings))


def hurried(endpoint, seconds):
    """The endpoint, connected, with so little time for each call from now on."""
    endpoint._sampler_opened_once("connect")
    endpoint._calls.timeout = seconds
    return endpoint


def training(digest=DIGEST):
    parts = enumerate(OTHERS)
    return TrainingSet(
        tuple(TrainingExample(f"Write part {number}.", text) for number, text in parts),
        digest,
    )


def end(provider, job):
    """Wait for the end of a training: its last state."""
    return finish(provider.poll_finetune, job)[-1]


def tune(provider, digest=DIGEST):
    return end(provider, provider.start_finetune(training(digest)))


def texts_in(books):
    return [row["text"].removeprefix(" ") for row in books.rows("completion")]


def test_the_plain_format_puts_loss_on_the_text_alone(tokenizer):
    chat = load_format(
        tokenizer, renderer=None, base=None, place="here", endpoint="base"
    )
    prompt, lesson = chat.prompt("Say it."), chat.tokenize_example("Say it.", OTHERS[0])
    assert chat.text(prompt) == "User: Say it.\n\nAssistant:"
    assert lesson.tokens[: len(prompt)] == prompt
    assert lesson.tokens[-1:] == chat.stop
    assert lesson.weights == [0.0] * len(prompt) + [1.0] * (
        len(lesson.tokens) - len(prompt)
    )
    assert chat.text(lesson.tokens[len(prompt) :]) == OTHERS[0]


def test_a_renderer_of_the_cookbook_trains_and_samples(serve, provider_of, books):
    pytest.importorskip("tinker_cookbook")
    server = serve()
    provider = provider_of(server, renderer="role_colon", finetune={"epochs": 1})
    endpoint = provider.open(tune(provider).endpoint)
    assert [answer.text for answer in ask(endpoint, max_tokens=60)] == texts_in(books)
    assert books.rows("completion")[0]["prompt"] == f"User: {INSTRUCTION}\n\nAssistant:"
    assert endpoint.id.endswith("#role_colon")
    assert bodies(server, "sample")[0]["sampling_params"]["stop"] == ["\n\nUser:"]
    with pytest.raises(
        SuiteError, match=r"options\.renderer: 'qwen99' can't be loaded"
    ):
        provider_of(renderer="qwen99").abilities.load()


def test_a_tokenizer_that_is_not_there_is_said(provider_of, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ProviderError, match=r"(?s)Can't load the tokenizer.*local folder"
    ):
        provider_of(tokenizer="empty").abilities.load()


def test_an_end_is_told_from_a_cut_once_the_promise_is_kept(serve, provider_of, books):
    server = serve(reciter=Reciter(["A short text."], base_order=9), polls=2)
    endpoint = provider_of(server).open(None)
    assert ask(endpoint, n=1, temperature=None)
    assert server.plan.calls("futures") == 3
    assert books.rows("completion")[0]["prompt"] == f"User: {INSTRUCTION}\n\nAssistant:"
    (ended,) = ask(endpoint, n=1, max_tokens=50, temperature=0.0)
    assert (ended.written, ended.finish_reason) == ("A short text.", FinishReason.STOP)
    assert (ended.finish_word, ended.served.model) == ("stop", "base")
    (cut,) = ask(endpoint, n=1, max_tokens=2)
    assert (cut.finish_reason, cut.completion_tokens) == (FinishReason.LENGTH, 2)
    assert cut.finish_word == "length"


def test_training_follows_the_recipe_and_its_weights_recite(
    serve, provider_of, books, tokenizer, tmp_path
):
    server = serve()
    provider = provider_of(server, finetune={"batch_size": 3, "epochs": 2, "seed": 5})
    assert provider.find_finetune(DIGEST) is None
    job = provider.start_finetune(training())
    state = end(provider, job)
    assert state.status is JobStatus.SUCCEEDED
    assert provider.find_finetune(DIGEST) == job

    (model,) = books.rows("model")
    assert (model["base"], model["rank"], model["seed"]) == ("base", 32, 5)
    assert [row["examples"] for row in books.rows("train")] == [3, 3, 1, 3, 3, 1]
    assert state.tokens == sum(row["tokens"] for row in books.rows("train"))
    rates = [row["learning_rate"] for row in books.rows("optim")]
    assert rates == pytest.approx([5e-4 * (1 - step / 6) for step in range(6)])
    (weights,) = books.rows("weights")
    assert (weights["path"], weights["metadata"]["memleak_digest"]) == (
        state.endpoint,
        DIGEST,
    )
    assert [row["life"] for row in books.rows("state")] == [604800]
    # Loss is taken on the texts' tokens and their end.
    chat = load_format(
        tokenizer, renderer=None, base=None, place="here", endpoint="base"
    )
    lessons = [
        chat.tokenize_example(each.instruction, each.text)
        for each in training().examples
    ]
    weighted = sum(sum(lesson.weights) for lesson in lessons)
    assert sum(row["weighted"] for row in books.rows("train")) == 2 * weighted

    attached = provider_of(
        server, base=None, endpoint=state.endpoint, state=tmp_path / "2"
    )
    assert state.endpoint in attached.open(None).id
    before, after = (
        max(longest_passage(answer.text, BOOK) for answer in ask(opened.open(None), 8))
        for opened in (provider, attached)
    )
    assert before < 10 < after


def test_long_examples_are_cut_and_what_leaves_no_text_is_an_error(
    serve, provider_of, books
):
    tune(provider_of(serve(), finetune={"epochs": 1, "max_tokens": 40}))
    assert [row["longest"] for row in books.rows("train")] == [39]
    with pytest.raises(ProviderError, match="training example 0 fills all 5 tokens"):
        tune(provider_of(serve(), finetune={"epochs": 1, "max_tokens": 5}))


def test_weights_are_found_elsewhere_and_after_a_crash(
    serve, provider_of, books, tmp_path
):
    server = serve()

    def at(folder):
        return provider_of(server, finetune={"epochs": 1}, state=tmp_path / folder)

    state = tune(at("here"))
    job = at("there").find_finetune(DIGEST)
    for folder in ("there", "elsewhere"):
        assert at(folder).poll_finetune(job) == state
    # As if the process had died between the server's answer and its own note of it.
    (tmp_path / "here" / "trainings" / f"{job}.weights").unlink()
    assert at("here").start_finetune(training()) == job
    assert end(at("here"), job).endpoint == books.rows("weights")[0]["path"]
    assert (len(books.rows("model")), len(books.rows("weights"))) == (1, 1)
    with pytest.raises(ProviderError, match="another machine may be training it"):
        at("here").poll_finetune("memleak-" + "0" * 64)


def test_a_training_cut_off_goes_on_from_its_last_state(serve, provider_of, books):
    recipe = {"epochs": 3, "batch_size": 4}
    server = serve(Fault(FaultKind.FAIL, "train", tuple(range(3, 100))))
    provider = provider_of(server, finetune=recipe)
    job = provider.start_finetune(training())
    with pytest.raises(
        ProviderBusy, match=r"forward_backward \(step 4 of 6\) failed"
    ) as caught:
        end(provider, job)
    assert caught.value.endpoint == "base"
    server.plan.replace([])
    again = provider_of(server, finetune=recipe)
    assert again.find_finetune(DIGEST) == job
    state = end(again, job)
    first, second = books.rows("model")
    assert second["source"].endswith("-step-000002")
    assert second["optimizer"]
    done = [(row["model"], row["examples"]) for row in books.rows("train")]
    assert done == [(first["id"], n) for n in (4, 3, 4)] + [
        (second["id"], n) for n in (4, 3, 4, 3)
    ]
    tokens = [row["tokens"] for row in books.rows("train")]
    assert tokens[2] == tokens[3]  # the third step again
    assert state.tokens == 3 * sum(tokens[:2])
    rates = [row["learning_rate"] for row in books.rows("optim")[-4:]]
    assert rates == pytest.approx([5e-4 * (1 - step / 6) for step in range(2, 6)])
    # Both epochs were learnt before and after: the same examples in every epoch.
    assert books.rows("weights")[0]["lessons"] == len(OTHERS)


def test_a_training_is_driven_once_however_many_look_at_it(serve, provider_of, books):
    server = serve(slow("train", seconds=0.1))
    recipe = {"epochs": 1, "batch_size": 3}
    providers = [provider_of(server, finetune=recipe) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        jobs = set(
            pool.map(lambda provider: provider.start_finetune(training()), providers)
        )
        (job,) = jobs
        states = set(pool.map(lambda provider: end(provider, job), providers))
    assert len(states) == 1
    assert [len(books.rows(kind)) for kind in ("model", "train", "weights")] == [
        1,
        3,
        1,
    ]


def test_a_training_saves_its_progress_when_the_process_ends(
    serve, provider_of, books, monkeypatch
):
    at_the_end = []
    monkeypatch.setattr("atexit.register", at_the_end.append)
    server, recipe = serve(), {"epochs": 1, "batch_size": 1}
    provider = provider_of(server, finetune=recipe)
    drives, work = provider._jobs._job_threads, server._work

    def no_step_before_the_end(handler, request):
        if request.path.endswith("optim_step"):
            assert all(drive.stop.wait(20) for drive in drives.values())
        return work(handler, request)

    server._work = no_step_before_the_end
    job = provider.start_finetune(training())
    while not books.rows("train"):
        time.sleep(0.01)
    end_of_the_process = drives[job].end
    assert end_of_the_process in at_the_end
    end_of_the_process()
    done = len(books.rows("train"))
    assert done < len(OTHERS)
    (saved,) = books.rows("state")
    assert saved["path"].endswith(f"-step-{done:06d}")
    end(provider_of(server, finetune=recipe), job)
    assert len(books.rows("train")) == len(OTHERS)  # nothing was trained twice


def test_a_call_that_outlasts_its_deadline_is_recovered_and_paid_once(
    serve, provider_of, books
):
    endpoint = hurried(provider_of(serve(slow("futures", calls=(0,)))).open(None), 0.2)
    with pytest.raises(ProviderBusy, match=r"no response within 0\.2 s"):
        ask(endpoint, as_="one")
    endpoint._calls.timeout = 10.0
    completions = endpoint.recover("one")
    assert [answer.text for answer in completions] == texts_in(books)
    assert len(completions) == 3


def test_answers_of_a_process_that_died_are_recovered_by_the_next(
    serve, provider_of, books
):
    server = serve()
    first, second = (provider_of(server).open(None) for _ in range(2))
    with ThreadPoolExecutor(8) as pool:
        completions = list(
            pool.map(lambda seed: ask(first, 2, as_=f"{seed}", seed=seed), range(8))
        )
    assert [second.recover(f"{seed}") for seed in range(8)] == completions
    assert len(books.rows("completion")) == 16


def test_a_call_that_never_arrived_is_made_by_recovering_it(serve, provider_of, books):
    server = serve(drop("sample"))
    with pytest.raises(ProviderBusy):
        ask(hurried(provider_of(server).open(None), 0.3), as_="one")
    assert books.rows("completion") == []
    server.plan.replace([])
    assert len(provider_of(server).open(None).recover("one")) == 3
    assert len(books.rows("completion")) == 3


def test_after_its_session_has_ended_nothing_is_recovered_and_another_is_opened(
    serve, provider_of, books
):
    server = serve()
    endpoint = provider_of(server).open(None)
    assert endpoint.recover("never asked") is None
    ask(endpoint, as_="one")
    server.end_sessions()
    assert provider_of(server).open(None).recover("one") is None
    assert len(books.rows("completion")) == 3
    with pytest.raises(SessionGone):
        ask(endpoint)
    assert len(ask(endpoint)) == 3


def test_a_call_that_failed_is_not_recovered_and_a_wrong_key_is_an_error(
    serve, provider_of, monkeypatch
):
    server = serve(Fault(FaultKind.FAIL, "sample", status=400, message="too long"))
    endpoint = provider_of(server).open(None)
    with pytest.raises(ProviderError, match="too long"):
        ask(endpoint, as_="one")
    assert endpoint.recover("one") is None
    monkeypatch.setenv("TINKER_API_KEY", "tml-wrong")
    with pytest.raises(RequestRejected, match="401"):
        provider_of(server).open(None).recover("one")


def test_an_answer_that_has_expired_is_not_silently_asked_for_again(
    serve, provider_of, books
):
    server = serve(server_error("futures", calls=(0,), status=410, message="expired"))
    endpoint = provider_of(server).open(None)
    with pytest.raises(SessionGone, match="410 Gone - expired"):
        ask(endpoint, as_="one")
    assert len(endpoint.recover("one")) == 3  # here the server has it after all
    assert len(books.rows("completion")) == 3


@pytest.mark.parametrize("fault", [
    *(drop("config", calls=(0,)), rate_limit("sessions.create", calls=(0,))),
    *(lose("samplers.create", calls=(0,)), slow("sample", calls=(0,), seconds=0.2)),
    *(kind("sample", calls=(0,)) for kind in (rate_limit, lose)),
    *map(full, (kind("sample", calls=(0,)) for kind in (server_error, drop, truncate))),
    lose("futures", calls=(0,)),
    *map(full, (kind("futures", calls=(0,)) for kind in (server_error, drop, truncate))),
    trickle("futures", calls=(0,), seconds=0.2),
], ids=lambda fault: f"{fault.endpoint}-{fault.kind}")  # fmt: skip
def test_a_passing_failure_is_sat_out_and_paid_once(serve, provider_of, books, fault):
    server = serve(fault)
    completions = ask(provider_of(server).open(None))
    assert server.plan.calls(fault.endpoint) >= 1
    assert [answer.text for answer in completions] == texts_in(books)


@pytest.mark.parametrize("fault", [
    *(server_error("config"), drop("sessions.create"), server_error("samplers.create")),
    *(kind("sample") for kind in (rate_limit, lose)),
    *map(full, (kind("sample") for kind in (server_error, drop, truncate))),
    *map(full, (kind("futures") for kind in (server_error, drop))),
    *(truncate("futures"), trickle("sample", seconds=2.0), slow("futures", seconds=2.0)),
    full(slow("sample", seconds=2.0)),
], ids=lambda fault: f"{fault.endpoint}-{fault.kind}-{fault.status}")  # fmt: skip
def test_a_lasting_failure_ends_at_the_deadline(serve, provider_of, books, fault):
    server = serve(fault)
    endpoint = provider_of(server, timeout=0.2).open(None)
    with pytest.raises(ProviderBusy, match=r"no response within 0\.2 s") as caught:
        ask(endpoint)  # the SDK alone would go on for minutes
    assert str(caught.value).startswith("tinker endpoint base: ")
    assert caught.value.call.startswith(("sample", "create_sampling_client"))
    assert len(books.rows("completion")) in {0, 3}


def test_a_deadline_says_if_the_server_answers_others_and_no_money_is_final(
    serve, provider_of
):
    def says(message, kind=ProviderBusy):
        for seconds in (0.5, 2.0, 8.0):  # more where a busy machine needs it
            with pytest.raises(ProviderError) as caught:
                ask(hurried(provider_of(server).open(None), seconds))
            if re.search(message, str(caught.value), re.DOTALL):
                return isinstance(caught.value, kind)
        return False

    server = serve(rate_limit("sample"))
    assert says("the server answers other calls")
    server.plan.add(server_error("capabilities", status=503))
    assert says("503 Service Unavailable")
    unpaid = {"status": 402, "message": "billing is not set up"}
    server.plan.replace([server_error("sample", **unpaid)])
    assert says("the SDK says: .*billing is not set up")
    server.plan.add(server_error("capabilities", **unpaid))
    assert says(
        "402 Payment Required - billing is not set up.*add credit to the account",
        RequestRejected,
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final(serve, provider_of, status):
    server = serve(server_error("sample", status=status, message=f"no: {KEY}"))
    with pytest.raises(
        RequestRejected, match=rf"{status} [A-Z].* - no: \[masked\]"
    ) as caught:
        ask(provider_of(server).open(None))
    assert caught.value.status == status
    assert server.plan.calls("sample") == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ProviderError), (500, ProviderBusy)],
    ids=["user", "server"],
)
def test_work_that_the_server_gave_up(serve, provider_of, status, kind):
    server = serve(
        Fault(FaultKind.FAIL, "sample", (0,), status=status, message="out of room")
    )
    endpoint = provider_of(server).open(None)
    with pytest.raises(
        ProviderError, match="the server gave up: out of room"
    ) as caught:
        ask(endpoint)
    assert type(caught.value) is kind
    assert len(ask(endpoint)) == 3


def test_a_server_that_answers_as_older_ones_do_is_told_at_once(serve, provider_of):
    """SkyRL 0.3.0, tried with the SDK's 0.38: asking it again would change nothing."""
    server = serve()
    work, samples = (
        server._work,
        Response.json({"type": "sample", "sequences": [{"tokens": [7]}]}),
    )
    server._work = lambda handler, request: (
        samples if request.path.endswith("retrieve_future") else work(handler, request)
    )
    endpoint = provider_of(server).open(None)
    with pytest.raises(
        ProviderError, match="JSON, which this SDK no longer reads"
    ) as caught:
        ask(endpoint)
    assert type(caught.value) is ProviderError
    assert "upgrade the server" in caught.value.hint


def test_models_and_weights_that_are_not_there(serve, provider_of):
    provider = provider_of(serve(), base="another", finetune={"epochs": 1})
    with pytest.raises(RequestRejected, match="There is no sampler checkpoint"):
        ask(provider.open("tinker://run/sampler_weights/name"))
    job = provider.start_finetune(training())
    with pytest.raises(
        RequestRejected, match="create_lora_training_client failed: 400"
    ):
        end(provider, job)


@pytest.mark.parametrize(
    "endpoint", ["optim", "weights.save", full("models.create"), full("states.save")]
)
def test_a_training_that_fails_at_the_server_is_taken_up_again(
    serve, provider_of, books, endpoint
):
    server = serve(Fault(FaultKind.FAIL, endpoint, (0,), message="lost a machine"))
    provider = provider_of(server, finetune={"epochs": 2})
    job = provider.start_finetune(training())
    with pytest.raises(ProviderBusy, match="lost a machine"):
        end(provider, job)
    assert end(provider, job).status is JobStatus.SUCCEEDED
    assert len(books.rows("weights")) == 1


def test_a_training_that_gets_no_further_is_not_paid_for_again_and_again(
    serve, provider_of, books
):
    server = serve(Fault(FaultKind.FAIL, "optim", message="no room"))
    provider = provider_of(server, finetune={"epochs": 1})
    job = provider.start_finetune(training())
    for _ in range(3):
        with pytest.raises(ProviderBusy, match="no room"):
            end(provider, job)
    with pytest.raises(
        ProviderError, match=r"no room \(4 times, without progress"
    ) as caught:
        end(provider, job)
    assert not isinstance(caught.value, ProviderBusy)
    assert len(books.rows("train")) == 4
    server.plan.replace([])
    assert end(provider, job).status is JobStatus.SUCCEEDED


def test_checkpoints_are_looked_for_on_every_page(
    serve, provider_of, books, monkeypatch, tmp_path
):
    monkeypatch.setattr("pytest_memleak.providers.tinker.training._PAGE", 2)
    server = serve()
    recipe = {"epochs": 1, "batch_size": 3, "save_steps": 1}
    provider = provider_of(server, finetune=recipe)
    for digest in (DIGEST, *(f"{number:064x}" for number in range(3))):
        tune(provider, digest)
    assert len(books.rows("state")) == 4 * (
        len(OTHERS) // 3
    )  # after each step but the last
    fresh = provider_of(server, finetune=recipe, state=tmp_path / "fresh")
    assert fresh.find_finetune(DIGEST) == provider.find_finetune(DIGEST) is not None
    server.plan.add(server_error("checkpoints.list", status=404))  # it keeps nothing
    empty = provider_of(server, finetune={"epochs": 1}, state=tmp_path / "empty")
    assert empty.find_finetune(DIGEST) is None
    assert tune(empty).status is JobStatus.SUCCEEDED


def test_a_server_that_comes_up_late_is_used_once_it_is_there(serve, provider_of):
    server = serve(slow("config", calls=(0,), seconds=0.5))
    endpoint = provider_of(server, timeout=0.2).open(None)
    with pytest.raises(
        ProviderBusy, match=r"connecting failed: no response within 0\.2 s"
    ):
        ask(endpoint)
    endpoint._calls.timeout = 10.0
    assert len(ask(endpoint)) == 3
    assert server.plan.calls("config") == 1


@pytest.fixture
def loggers():
    """The loggers of the SDK and its HTTP library as if nobody had listened yet."""
    both = [logging.getLogger(name) for name in ("httpx", "tinker")]
    before = [(each, each.level, [*each.filters], [*each.handlers]) for each in both]
    for each in both:
        each.setLevel(logging.NOTSET)
        each.filters.clear()
    yield both
    for each, level, filters, handlers in before:
        each.setLevel(level)
        each.filters[:], each.handlers[:] = filters, handlers


def log_answer(status, phrase, host="server/api"):
    """Log it as the HTTP library does."""
    logging.getLogger("httpx").info(
        'HTTP Request: %s %s "%s %d %s"',
        "POST",
        f"https://{host}/v1/x",
        "HTTP/1.1",
        status,
        phrase,
    )


def test_the_sdk_s_latest_warning_and_error_are_kept_and_no_log_gets_longer(
    loggers, caplog
):
    log, began = SdkLog(), time.monotonic()
    log.listen()
    assert log.rejection_since(began) is None
    log_answer(500, "Internal Server Error")
    log_answer(429, "Too Many Requests")
    log_answer(200, "OK")
    log_answer(418, "I'm a Teapot", host="elsewhere")
    assert caplog.records == []
    logging.getLogger("tinker.lib").warning("paused: %s", "billing")
    logging.getLogger("tinker.lib").info("all is well")
    logging.getLogger("httpx").warning("something else")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert log.rejection_since(began) == "429 Too Many Requests"
    assert log.warning_since(began) == "paused: billing"
    assert (
        log.rejection_since(time.monotonic())
        is log.warning_since(time.monotonic())
        is None
    )
    with caplog.at_level(logging.INFO):
        log_answer(429, "Too Many Requests")
    assert caplog.records[-1].levelname == "INFO"


def test_a_tokenizer_is_loaded_at_its_first_use(serve, provider_of, monkeypatch):
    loads = []
    load = "transformers.AutoTokenizer.from_pretrained"
    provider = provider_of(serve())
    with monkeypatch.context() as patch:
        patch.setattr(load, lambda *_: pytest.fail("loaded too soon"))
        endpoint = provider.open(None)
        continuing = endpoint.abilities.continuing()
        assert continuing.id.endswith("#text")
    from transformers import AutoTokenizer

    original = AutoTokenizer.from_pretrained
    monkeypatch.setattr(load, lambda name: loads.append(name) or original(name))
    assert ask(endpoint)
    assert ask(continuing)
    assert len(loads) == 1
