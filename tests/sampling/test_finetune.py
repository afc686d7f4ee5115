import contextlib
import dataclasses
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from by_hand import a_book
from hypothesis import given
from hypothesis import strategies as st
from scripted import TRAINING, Tuner, broken, busy

from pytest_memleak.errors import BookError, JobPending, ProviderBusy, ProviderError
from pytest_memleak.interfaces.protocols import JobState, JobStatus, TrainingExample
from pytest_memleak.ledger.jobs import finetuned_endpoint
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import jobs
from pytest_memleak.records.phases import Phase, Progress
from pytest_memleak.sampling.remote_jobs import ensure_finetune
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.sampling.training_set import build_training_set


def tuned(ledger, tuner, retry, **options):
    return ensure_finetune(ledger, tuner, TRAINING, retry=retry, **options)


def row(ledger):
    return ledger.read(lambda c: c.execute(sa.select(jobs)).one())


def test_a_finetune_is_started_waited_for_and_known_from_then_on(ledger, hasty):
    tuner = Tuner()
    told = []
    endpoint = tuned(ledger, tuner, hasty, progress=Progress(told.append))
    assert endpoint == "tuned-job-0"
    assert [one.about for one in told] == ["at tuner", "job-0", "job-0"]
    assert {one.phase for one in told} == {Phase.TUNING}
    result = row(ledger)
    assert (result.state, result.tokens, result.examples) == ("succeeded", 123, 1)
    assert finetuned_endpoint(ledger, "tuner", TRAINING.digest) == endpoint
    assert finetuned_endpoint(ledger, "tuner", "e" * 64) is None
    tuner.failures = {verb: [broken()] for verb in ("find", "start", "poll")}
    assert tuned(ledger, tuner, hasty) == endpoint


def test_a_finetune_need_not_be_waited_for(ledger, url, hasty):
    tuner = Tuner(looks=1)
    with pytest.raises(JobPending, match="fine-tune job-0 is still running"):
        tuned(ledger, tuner, hasty, wait=False)
    ledger.close()
    with Ledger(url) as later:
        assert tuned(later, tuner, hasty, wait=False) == "tuned-job-0"
    assert tuner.started == ["job-0"]


def test_a_start_that_was_cut_off_is_found(ledger, url, hasty):
    """The process ended between the provider's work and the ledger's row."""
    tuner = Tuner(looks=0)
    with Ledger(url) as dead:
        tuner.failures["find"] = [ZeroDivisionError()]
        with pytest.raises(ProviderError):
            tuned(dead, tuner, hasty)
        dead.write(lambda c: c.execute(jobs.update().values(state="starting")).rowcount)
    tuner.jobs["the-one"] = TRAINING.digest
    assert tuned(ledger, tuner, hasty) == "tuned-the-one"
    with Ledger("sqlite://") as anew:  # as where a ledger was lost
        assert tuned(anew, tuner, hasty) == "tuned-the-one"
    assert tuner.started == []


def test_a_job_that_may_be_on_its_way_is_searched_again(ledger):
    """The connection broke, and the provider lists the job a little later."""
    tuner = Tuner(looks=0)
    tuner.failures["start"] = [busy("the connection was cut off")]
    looks = 0

    def pause(event, seconds):
        nonlocal looks
        looks += 1
        if looks == 4:
            tuner.jobs["the-one"] = TRAINING.digest

    assert tuned(ledger, tuner, Retry(pause=pause, recovery=60.0)) == "tuned-the-one"
    assert (tuner.started, looks) == ([], 4)


@pytest.mark.parametrize("verb", ["find", "start", "poll"])
def test_a_busy_provider_is_given_up_or_called_again(ledger, hasty, verb):
    tuner = Tuner()
    tuner.failures[verb] = [busy()] * hasty.tries
    with pytest.raises(ProviderBusy):
        tuned(ledger, tuner, hasty)
    tuner.failures[verb] = [busy(), busy()]
    assert tuned(ledger, tuner, hasty) == "tuned-job-0"
    assert tuner.started == ["job-0"]


def test_a_job_that_fails(url, hasty):
    tuner = Tuner()
    tuner.outcome = JobState(
        JobStatus.FAILED, detail="bad line 3; key sk-abcdef0123456789"
    )
    with Ledger(url, run="first") as ledger:
        for _ in range(2):
            with pytest.raises(
                ProviderError, match="fine-tune job-0 failed: bad line 3"
            ) as caught:
                tuned(ledger, tuner, hasty)
            assert "sk-abc" not in str(caught.value)
            assert not isinstance(caught.value, ProviderBusy)
        assert tuner.started == ["job-0"]
        assert "[masked]" in row(ledger).cause
    tuner.jobs.clear()  # a provider does not find what has failed
    tuner.outcome = None
    with Ledger(url, run="second") as ledger:
        assert tuned(ledger, tuner, hasty) == "tuned-job-1"


def test_a_refused_start_and_success_without_an_endpoint(url, hasty):
    tuner = Tuner()
    tuner.failures["start"] = [broken("400 no such model")]
    with Ledger(url, run="first") as ledger:
        for _ in range(2):
            with pytest.raises(ProviderError, match="400 no such model"):
                tuned(ledger, tuner, hasty)
    tuner.outcome = JobState(JobStatus.SUCCEEDED)
    unnamed = pytest.raises(ProviderError, match="without naming an endpoint")
    with Ledger(url, run="second") as ledger, unnamed:
        tuned(ledger, tuner, hasty)
    assert tuner.started == ["job-0"]


def test_a_start_that_hangs_is_not_repeated(ledger, url, hasty):
    tuner = Tuner(looks=0)
    release = threading.Event()
    tuner.failures["start"] = [release]
    tuner.start_deadline = 0.05
    with pytest.raises(
        ProviderError, match=r"start_finetune failed: no response within 0\.05 s"
    ):
        tuned(ledger, tuner, hasty)
    for wait in (True, False):
        with pytest.raises(JobPending, match="hasn't confirmed the start"):
            tuned(ledger, tuner, hasty, wait=wait)
    with (
        Ledger(url) as other,
        pytest.raises(JobPending, match="Another process is starting"),
    ):
        tuned(other, tuner, hasty, wait=False)
    release.set()
    until = threading.Event()
    while row(ledger).state == "starting" and not until.wait(0.01):
        pass
    assert tuned(ledger, tuner, hasty) == "tuned-job-0"
    assert tuner.started == ["job-0"]


def test_a_hanging_start_that_fails_in_the_end(ledger, hasty):
    tuner = Tuner(looks=0)
    release = threading.Event()

    def refuse(training):
        release.wait(20)
        raise broken()

    started, tuner.start_finetune = tuner.start_finetune, refuse
    tuner.start_deadline = 0.05
    with pytest.raises(ProviderError):
        tuned(ledger, tuner, hasty)
    release.set()
    while row(ledger).lease is not None:
        threading.Event().wait(0.01)
    tuner.start_finetune = started
    tuner.start_deadline = math.inf
    assert tuned(ledger, tuner, hasty) == "tuned-job-0"


@pytest.mark.parametrize("ledgers", [1, 4])
def test_threads_and_processes_start_one(url, ledgers):
    tuner = Tuner(looks=5)
    begin, release = threading.Barrier(4), threading.Event()
    tuner.failures["start"] = [release]
    retry = Retry(poll=0.01, poll_most=0.02, recovery=0.0)
    told = []

    def released(standing):
        told.append(standing)
        if len(told) > 4:  # each has told that it is at it, and one looks again
            release.set()

    def ensure(ledger):
        begin.wait()
        return tuned(ledger, tuner, retry, progress=Progress(released))

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        opened = [stack.enter_context(Ledger(url)) for _ in range(ledgers)]
        assert set(pool.map(ensure, opened * (4 // ledgers))) == {"tuned-job-0"}
    assert tuner.started == ["job-0"]


def test_a_training_set_is_the_books_pairs():
    book = a_book(2)
    unasked = dataclasses.replace(book.excerpts[0], instruction=None)
    book = dataclasses.replace(book, excerpts=(unasked, *book.excerpts))
    training = build_training_set(
        [book, a_book(1, book_id="other")], {"base": "m", "epochs": 3}
    )
    assert training.examples == (
        TrainingExample("Write number 1.", "words of excerpt 1"),
        TrainingExample("Write number 2.", "words of excerpt 2"),
        TrainingExample("Write number 1.", "words of excerpt 1"),
    )
    with pytest.raises(BookError, match=r"no excerpt of the books \('book'\)"):
        build_training_set([a_book(0)], {})


def test_its_digest_names_examples_and_recipe():
    recipe, same = {"base": "m", "epochs": 3}, {"epochs": 3, "base": "m"}
    books_and_recipes = (
        (2, recipe),
        (2, same),
        (3, recipe),
        (2, recipe | {"epochs": 4}),
    )
    digests = [
        build_training_set([a_book(count)], each).digest
        for count, each in books_and_recipes
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def excerpts_of(count, share):
    book = a_book(count)
    return [each.text for each in build_training_set([book], {}, share=share).examples]


@given(st.integers(1, 40), st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_larger_share_of_the_excerpts_has_those_of_a_smaller_one(count, one, other):
    less, more = (excerpts_of(count, share) for share in sorted((one, other)))
    everything = excerpts_of(count, 1.0)
    assert len(everything) == count
    assert len(less) == max(1, round(min(one, other) * count))
    assert less == [text for text in more if text in less]
    assert more == [text for text in everything if text in more]


def test_a_share_is_of_all_books_together_and_not_their_beginning():
    books = [a_book(30), a_book(30, book_id="other")]
    half = build_training_set(books, {}, share=0.5).examples
    assert len(half) == 30
    assert [each.text for each in half] != excerpts_of(30, 1.0)


def test_another_share_is_another_fine_tune_and_all_is_the_same_as_none():
    digests = {
        build_training_set([a_book(8)], {}, share=share).digest for share in (0.5, 1.0)
    }
    assert len(digests) == 2
    assert build_training_set([a_book(8)], {}).digest in digests
