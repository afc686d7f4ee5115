"""Generations to files and back, and the listing of what a ledger holds."""

from __future__ import annotations

import json

import pytest
from batching import Batching
from by_hand import count_words, intent
from scripted import Scripted, broken, busy, terms
from tuner import TRAINING, Tuner

from pytest_memleak.errors import LedgerError, ProviderError
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus
from pytest_memleak.ledger.call_reservations import claim
from pytest_memleak.ledger.calls import Answer, give_up, record
from pytest_memleak.ledger.generation_files import Imported, export_generations, import_generations
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import generations, missing, tally
from pytest_memleak.ledger.listing import EndpointRow, list_batches, list_endpoints, list_jobs
from pytest_memleak.ledger.prompts import Ask, questionnaire
from pytest_memleak.records import Book, Excerpt, FinishReason, Sampling
from pytest_memleak.records.paper_format import generations_from_records, load_records
from pytest_memleak.sampling.loop import draw
from pytest_memleak.sampling.remote_jobs import ensure_finetune

ODD = "NUL \x00, lone \ud83d, pair \U0001f600, \u2028 line"
COMPLETIONS = [
    Completion(ODD, FinishReason.STOP, 5, 7),
    Completion("cut", FinishReason.LENGTH, 0, 9),
    Completion("", FinishReason.RECITATION),
]


@pytest.fixture
def asked(ask):
    return ask(excerpts=12, samples=4)


@pytest.fixture
def filled(ledger, asked):
    """Some generations of endpoint `e`, with holes, an open call and a surplus completion."""
    for question in reversed(asked.questions):
        call = claim(ledger, intent(ledger, asked, Ask(question, (0, 2, 3))))
        came = [*COMPLETIONS, Completion("surplus")][: 4 if question is asked.questions[0] else 3]
        record(ledger, Answer(call, came, 5, 16, None))
    claim(ledger, intent(ledger, asked, Ask(asked.questions[0], (1,))))
    return ledger


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_out_and_in_again(filled, asked, tmp_path, suffix):
    path = tmp_path / "files" / f"generations{suffix}"
    drawn = list(generations(filled, "e", asked))
    assert export_generations(filled, path, endpoint_id="e") == len(drawn) == 36
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    back = import_generations(filled, path, endpoint_id="e", questionnaire=asked)
    assert back == Imported(added=0, present=36)
    for known in (0, 36):
        told = import_generations(filled, path, endpoint_id="copy", questionnaire=asked)
        assert told == Imported(added=36 - known, present=known)
        assert list(generations(filled, "copy", asked)) == drawn
    assert missing(filled, "copy", asked).count == 12
    assert tally(filled, "copy", asked).calls == 0


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_it_is_of_the_papers_form(filled, asked, tmp_path, suffix):
    path = tmp_path / f"generations{suffix}"
    export_generations(filled, path, endpoint_id="e")
    found = generations_from_records(load_records(path))
    assert [one.excerpt_id for one in found] == [
        f"p_id{number}" for number in range(1, 13) for _ in range(3)
    ]
    assert [one.text for one in found[:3]] == [ODD, "cut", ""]
    assert found[2].finish_reason is FinishReason.RECITATION
    assert all(byte < 128 for byte in path.read_bytes())


def test_two_instructions_of_an_excerpt(ledger, ask, tmp_path):
    first = ask(excerpts=1, samples=1)
    draw(ledger, Scripted(), endpoint_id="e", questionnaire=first, terms=terms())

    longer = Excerpt("p_id1", "words " * 50, "Write number 1.")
    book = Book("book", "A Book", "An Author", (longer,), "0" * 64)
    second = questionnaire("m/b", book, Sampling(samples=1), words=count_words)
    draw(ledger, Scripted(), endpoint_id="e", questionnaire=second, terms=terms())
    with pytest.raises(LedgerError, match="has 2 different prompts"):
        export_generations(ledger, tmp_path / "out.json", endpoint_id="e")


def test_a_file_that_cannot_be_written(filled, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="Can't write the file"):
        export_generations(filled, tmp_path / "file" / "out.json", endpoint_id="e")


# --- imports -------------------------------------------------------------------------------


def imported(ledger, asked, tmp_path, records, *, endpoint_id="e") -> Imported:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(records))
    return import_generations(ledger, path, endpoint_id=endpoint_id, questionnaire=asked)


def entry(number: int, *texts: str, **more) -> dict:
    answers = [{"generated_text": text} for text in texts]
    return {"excerpt_id": f"p_id{number}", "generations": answers} | more


def test_the_papers_own_records(ledger, asked, tmp_path):
    records = [entry(2, "a", "b"), entry(1, "c", instruction="Write number 1.")]
    assert imported(ledger, asked, tmp_path, records).added == 3
    assert [(one.excerpt_id, one.ordinal, one.text) for one in generations(ledger, "e", asked)] == [
        ("p_id1", 0, "c"),
        ("p_id2", 0, "a"),
        ("p_id2", 1, "b"),
    ]
    counts = draw(
        ledger, endpoint := Scripted(), endpoint_id="e", questionnaire=asked, terms=terms()
    )
    assert counts.got == 48
    assert len(endpoint.calls) == 45


def test_what_is_there_stays(ledger, asked, tmp_path):
    assert imported(ledger, asked, tmp_path, [entry(1, "a", "b")]) == Imported(2, 0)
    assert imported(ledger, asked, tmp_path, [entry(1, "a", "b", "c")]) == Imported(1, 2)
    with pytest.raises(LedgerError, match="holds another generation 1 of excerpt 'p_id1'"):
        imported(ledger, asked, tmp_path, [entry(2, "x"), entry(1, "a", "other")])
    assert tally(ledger, "e", asked).got == 3
    other = imported(ledger, asked, tmp_path, [entry(1, "a", "other")], endpoint_id="e2")
    assert other.added == 2


# --- listing -------------------------------------------------------------------------------


def drawn_in_batches(ledger, endpoint, asked, retry):
    return draw(
        ledger,
        endpoint,
        endpoint_id="e",
        questionnaire=asked,
        terms=terms(per_call=2, batch=True),
        retry=retry,
    )


def test_endpoints(filled, asked, ask):
    priced = ask(excerpts=2, samples=1, temperature=0.5)
    reply = [Completion("x", prompt_tokens=10, completion_tokens=5)]
    draw(
        filled,
        Scripted(lambda _: reply),
        endpoint_id="e",
        questionnaire=priced,
        terms=terms(price=(1, 2)),
    )
    lost = claim(filled, intent(filled, priced, Ask(priced.questions[0], (7,)), price=1000))
    give_up(filled, lost, billed=True, cause="x")
    first, second = list_endpoints(filled)
    assert first == EndpointRow(
        endpoint="e",
        book="book",
        temperature=0.5,
        seed=0,
        excerpts=2,
        generations=2,
        withheld=0,
        surplus=0,
        calls=3,
        lost=1,
        open=0,
        prompt_tokens=20,
        completion_tokens=10,
        cost=pytest.approx(41e-6),
    )
    assert (second.excerpts, second.generations, second.withheld) == (12, 36, 12)
    assert (second.calls, second.surplus, second.open, second.cost) == (12, 1, 1, None)


def test_jobs_and_batches(ledger, ask, hasty):
    tuner = Tuner()
    tuner.outcome = JobState(JobStatus.SUCCEEDED, endpoint="e", tokens=5)
    ensure_finetune(ledger, tuner, TRAINING, retry=hasty)
    batching = Batching(fails=lambda batch, place: batch == place == 0)
    drawn_in_batches(ledger, batching, ask(), hasty)
    (job,) = list_jobs(ledger)
    assert (job.provider, job.job_id, job.state, job.endpoint) == (
        "tuner",
        "job-0",
        "succeeded",
        "e",
    )
    assert (job.examples, job.tokens, job.digest) == (1, 5, TRAINING.digest)
    first, second = list_batches(ledger)
    assert (first.batch_id, first.state, first.requests, first.answered) == (
        "batch-0",
        "succeeded",
        6,
        5,
    )
    assert (second.batch_id, second.requests, second.answered) == ("batch-1", 1, 1)
    assert first.began <= first.ended <= second.ended


def told_without_keys(error: ProviderError) -> bool:
    told = f"{error} {error!r} {error.__dict__}"
    return "[masked]" in told and "tops3cret" not in told and "sk-abc" not in told


def test_no_key_reaches_the_ledger(tmp_path, ask, hasty, monkeypatch):
    """Whatever a provider says goes through the mask before it is written."""
    secret = "tops3cret-value"
    monkeypatch.setenv("OTHER_API_KEY", secret)
    cause = f"no: {secret} and sk-abcdef0123456789"
    tuner = Tuner()
    tuner.failures["start"] = [broken(cause)]
    failing = Tuner()
    failing.name = "failing"
    failing.outcome = JobState(JobStatus.FAILED, detail=cause)
    batching = Batching()
    batching.states["batch-0"] = JobState(JobStatus.FAILED, detail=cause)
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for endpoint in (Scripted(broken(cause)), Scripted(busy(f"cut off {cause}"))):
            with pytest.raises(ProviderError) as caught:
                draw(
                    ledger,
                    endpoint,
                    endpoint_id="e",
                    questionnaire=ask(),
                    terms=terms(),
                    retry=hasty,
                )
            assert told_without_keys(caught.value)
        for one in (tuner, failing):
            with pytest.raises(ProviderError) as caught:
                ensure_finetune(ledger, one, TRAINING, retry=hasty)
            assert told_without_keys(caught.value)
        with pytest.raises(ProviderError):
            drawn_in_batches(ledger, batching, ask(), hasty)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
            assert b"sk-abcdef" not in path.read_bytes()
    assert b"[masked]" in (tmp_path / "ledger.db").read_bytes()
