"""Generations to files and back, and the listing of what a ledger holds."""

import dataclasses
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
from pytest_memleak.ledger.listing import list_batches, list_endpoints, list_jobs
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
def test_out_and_in_again_in_the_papers_form(filled, asked, tmp_path, suffix):
    path = tmp_path / "files" / f"generations{suffix}"
    drawn = list(generations(filled, "e", asked))
    assert export_generations(filled, path, endpoint_id="e") == len(drawn) == 36
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert all(byte < 128 for byte in path.read_bytes())
    found = generations_from_records(load_records(path))
    ids = [f"p_id{number}" for number in range(1, 13) for _ in range(3)]
    assert [one.excerpt_id for one in found] == ids
    assert [one.text for one in found[:3]] == [ODD, "cut", ""]
    assert found[2].finish_reason is FinishReason.RECITATION
    for endpoint_id, present in (("e", 36), ("copy", 0), ("copy", 36)):
        told = import_generations(filled, path, endpoint_id=endpoint_id, questionnaire=asked)
        assert told == Imported(added=36 - present, present=present)
    assert list(generations(filled, "copy", asked)) == drawn
    assert missing(filled, "copy", asked).count == 12
    assert tally(filled, "copy", asked).calls == 0


def test_what_cannot_be_exported(ledger, ask, tmp_path):
    first = ask(excerpts=1, samples=1)
    draw(ledger, Scripted(), endpoint_id="e", questionnaire=first, terms=terms())
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="Can't write the file"):
        export_generations(ledger, tmp_path / "file" / "out.json", endpoint_id="e")
    longer = Excerpt("p_id1", "words " * 50, "Write number 1.")
    book = Book("book", "A Book", "An Author", (longer,), "0" * 64)
    second = questionnaire("m/b", book, Sampling(samples=1), words=count_words)
    draw(ledger, Scripted(), endpoint_id="e", questionnaire=second, terms=terms())
    with pytest.raises(LedgerError, match="has 2 different prompts"):
        export_generations(ledger, tmp_path / "out.json", endpoint_id="e")


@pytest.fixture
def imported(ledger, asked, tmp_path):
    """Imports the generations of each excerpt, by its number."""

    def run(texts, endpoint_id="e", **more):
        records = [
            {"excerpt_id": f"p_id{n}", "generations": [{"generated_text": one} for one in drawn]}
            for n, drawn in texts.items()
        ]
        path = tmp_path / "in.json"
        path.write_text(json.dumps([record | more for record in records]))
        return import_generations(ledger, path, endpoint_id=endpoint_id, questionnaire=asked)

    return run


def test_the_papers_own_records(ledger, asked, imported):
    assert imported({2: "ab"}).added == 2
    assert imported({1: "c"}, instruction="Write number 1.").added == 1
    drawn = [(one.excerpt_id, one.ordinal, one.text) for one in generations(ledger, "e", asked)]
    assert drawn == [("p_id1", 0, "c"), ("p_id2", 0, "a"), ("p_id2", 1, "b")]
    endpoint = Scripted()
    assert draw(ledger, endpoint, endpoint_id="e", questionnaire=asked, terms=terms()).got == 48
    assert len(endpoint.calls) == 45


def test_what_is_there_stays(ledger, asked, imported):
    assert imported({1: "ab"}) == Imported(2, 0)
    assert imported({1: "abc"}) == Imported(1, 2)
    with pytest.raises(LedgerError, match="holds another generation 1 of excerpt 'p_id1'"):
        imported({2: "x", 1: ["a", "other"]})
    assert tally(ledger, "e", asked).got == 3
    assert imported({1: ["a", "other"]}, endpoint_id="e2").added == 2


def drawn_in_batches(ledger, endpoint, asked, retry):
    settings = {"questionnaire": asked, "terms": terms(per_call=2, batch=True), "retry": retry}
    return draw(ledger, endpoint, endpoint_id="e", **settings)


def test_endpoints(filled, ask):
    priced = ask(excerpts=2, samples=1, temperature=0.5)
    endpoint = Scripted(lambda _: [Completion("x", prompt_tokens=10, completion_tokens=5)])
    draw(filled, endpoint, endpoint_id="e", questionnaire=priced, terms=terms(price=(1, 2)))
    lost = claim(filled, intent(filled, priced, Ask(priced.questions[0], (7,)), price=1000))
    give_up(filled, lost, billed=True, cause="x")
    first, second = list_endpoints(filled)
    assert dataclasses.asdict(first) == {
        "endpoint": "e",
        "book": "book",
        "temperature": 0.5,
        "seed": 0,
        "excerpts": 2,
        "generations": 2,
        "withheld": 0,
        "surplus": 0,
        "calls": 3,
        "lost": 1,
        "open": 0,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cost": pytest.approx(41e-6),
    }
    assert (second.excerpts, second.generations, second.withheld) == (12, 36, 12)
    assert (second.calls, second.surplus, second.open, second.cost) == (12, 1, 1, None)


def test_jobs_and_batches(ledger, ask, hasty):
    tuner = Tuner()
    tuner.outcome = JobState(JobStatus.SUCCEEDED, endpoint="e", tokens=5)
    ensure_finetune(ledger, tuner, TRAINING, retry=hasty)
    batching = Batching(fails=lambda batch, place: batch == place == 0)
    drawn_in_batches(ledger, batching, ask(), hasty)
    (job,) = list_jobs(ledger)
    names = (job.provider, job.job_id, job.state, job.endpoint)
    assert names == ("tuner", "job-0", "succeeded", "e")
    assert (job.examples, job.tokens, job.digest) == (1, 5, TRAINING.digest)
    first, second = list_batches(ledger)
    assert (first.batch_id, first.state) == ("batch-0", "succeeded")
    assert (first.requests, first.answered) == (6, 5)
    assert (second.batch_id, second.requests, second.answered) == ("batch-1", 1, 1)
    assert first.began <= first.ended <= second.ended


def test_no_key_reaches_the_ledger(tmp_path, ask, hasty, monkeypatch):
    """Whatever a provider says goes through the mask before it is written."""
    secret = "tops3cret-value"
    monkeypatch.setenv("OTHER_API_KEY", secret)
    cause = f"no: {secret} and sk-abcdef0123456789"
    refused = JobState(JobStatus.FAILED, detail=cause)
    tuner, failing, batching = Tuner(), Tuner(), Batching()
    tuner.failures["start"] = [broken(cause)]
    failing.name, failing.outcome = "failing", refused
    batching.states["batch-0"] = refused

    def sampled(ledger, endpoint):
        settings = {"questionnaire": ask(), "terms": terms(), "retry": hasty}
        draw(ledger, endpoint, endpoint_id="e", **settings)

    def tuned(ledger, tuner):
        ensure_finetune(ledger, tuner, TRAINING, retry=hasty)

    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for run, provider in (
            (sampled, Scripted(broken(cause))),
            (sampled, Scripted(busy(f"cut off {cause}"))),
            (tuned, tuner),
            (tuned, failing),
        ):
            with pytest.raises(ProviderError) as caught:
                run(ledger, provider)
            told = f"{caught.value} {caught.value!r} {caught.value.__dict__}"
            assert "[masked]" in told
            assert "tops3cret" not in told
            assert "sk-abc" not in told
        with pytest.raises(ProviderError):
            drawn_in_batches(ledger, batching, ask(), hasty)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
            assert b"sk-abcdef" not in path.read_bytes()
    assert b"[masked]" in (tmp_path / "ledger.db").read_bytes()
