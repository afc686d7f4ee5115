"""A server that is not there: nothing is booked, nothing is in doubt, and it is told soon."""

import dataclasses
import threading
import time

import pytest
import sqlalchemy as sa
from marks import full
from scripted import (
    TRAINING,
    Batching,
    Keeping,
    Scripted,
    Tuner,
    answers,
    busy,
    open_claims,
    sample_all,
    spent,
    states,
    terms,
)

from pytest_memleak.errors import RequestNotSent
from pytest_memleak.ledger.jobs import JobRow
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.tables import batches
from pytest_memleak.ledger.verify_chain import check_ledger
from pytest_memleak.sampling.remote_jobs import ensure_finetune
from pytest_memleak.sampling.retry import Retry


def refused(**more):
    return RequestNotSent(
        "connection refused", provider="scripted", endpoint="e", call="sample", **more
    )


@pytest.fixture
def paused():
    return []


@pytest.fixture
def retry(paused):
    """As in a real run, only that no time passes."""
    return Retry(pause=lambda _, seconds: paused.append(seconds))


def priced(ledger, endpoint, prompts, retry, **more):
    return sample_all(
        ledger, endpoint, prompts, retry, terms(price=(1.0, 1.0), **more), budget=5.0
    )


def nothing_is_booked(ledger):
    assert (spent(ledger), open_claims(ledger)) == (0, 0)
    assert set(states(ledger)) <= {"failed"}


@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_unreachable_server_is_an_error_after_a_few_quick_tries(
    ledger, ask, retry, paused, concurrency
):
    endpoint = Keeping(refused())
    with pytest.raises(RequestNotSent, match="connection refused") as caught:
        priced(ledger, endpoint, ask(), retry, concurrency=concurrency)
    assert "check that the server runs" in caught.value.hint
    if concurrency == 1:
        assert 2 <= len(endpoint.calls) <= 4
        assert sum(paused) <= 5.0
    assert endpoint.scan_scope == []  # what was never sent left no answer to look for
    nothing_is_booked(ledger)


def test_another_pair_of_the_run_tries_once(url, ask, retry, paused):
    with Ledger(url, run="one") as ledger:
        for tries in ((2, 3, 4), (1,)):
            endpoint = Scripted(refused())
            with pytest.raises(RequestNotSent):
                priced(ledger, endpoint, ask(seed=tries[0]), retry)
            assert len(endpoint.calls) in tries
    with Ledger(url, run="another") as ledger:
        endpoint = Scripted(refused(), refused(), answers)
        assert priced(ledger, endpoint, ask(excerpts=1, samples=1), retry).lost == 0


def test_a_certificate_that_does_not_hold_is_told_at_once(ledger, ask, retry, paused):
    endpoint = Scripted(refused(lasting=True, hint="trust its authority"))
    with pytest.raises(RequestNotSent, match="trust its authority"):
        priced(ledger, endpoint, ask(), retry)
    assert (len(endpoint.calls), paused) == (1, [])
    nothing_is_booked(ledger)


@pytest.mark.parametrize("away", [0.3, full(32.0)])
def test_the_ledgers_own_server_may_be_away(postgres, ask, retry, away):
    back = threading.Timer(away, postgres.start)

    def stopping(request):
        postgres.stop()
        back.start()
        return answers(request)

    with Ledger(postgres.new_place()) as ledger:
        endpoint = Scripted(answers, stopping, *[answers] * 20)
        began = time.monotonic()
        counts = priced(ledger, endpoint, ask(excerpts=3, samples=6), retry)
        assert (counts.got, counts.lost) == (18, 0)
        assert time.monotonic() - began >= away
        assert check_ledger(ledger).wrong == []
    back.join()


def test_a_server_that_answered_another_pair_or_refused_is_waited_for(
    ledger, url, ask, retry
):
    priced(ledger, Scripted(), ask(excerpts=1, samples=1, seed=1), retry)
    endpoint = Scripted(*[refused()] * 7, answers)
    assert priced(ledger, endpoint, ask(excerpts=1, samples=1), retry).got == 1
    with Ledger(url, run="another") as other:
        endpoint = Scripted(busy(), *[refused()] * 6, answers)
        assert (
            priced(other, endpoint, ask(excerpts=1, samples=1, seed=2), retry).got == 1
        )


@pytest.mark.parametrize("verb", ["find", "start"])
def test_a_batch_that_was_never_sent(ledger, ask, retry, paused, verb):
    endpoint = Batching()
    endpoint.failures[verb] = [refused()] * (20 if verb == "find" else 8)
    with pytest.raises(RequestNotSent):
        priced(ledger, endpoint, ask(), retry, batch=True)
    if verb == "find":
        assert sum(paused) <= 5.0
    nothing_is_booked(ledger)
    (row,) = ledger.read(lambda c: c.execute(sa.select(batches)).all())
    assert (row.state, row.cause) == (JobRow.FAILED, "connection refused")
    endpoint.failures[verb] = []
    assert priced(ledger, endpoint, ask(), retry, batch=True).got == 12


def test_a_batch_that_may_have_been_started_is_kept(ledger, ask, retry):
    """The first start broke off, and then the server was gone: its requests stay promised."""
    endpoint = Batching()
    endpoint.failures["start"] = [busy("the connection was cut off")]
    endpoint.failures["find"] = [None, *[refused()] * 20]
    hasty = dataclasses.replace(retry, recovery=0.0)
    with pytest.raises(RequestNotSent):
        priced(ledger, endpoint, ask(), hasty, batch=True)
    (row,) = ledger.read(lambda c: c.execute(sa.select(batches)).all())
    assert (row.state, row.lease) == (JobRow.STARTING, None)
    assert states(ledger) == {"asked": 12}
    assert spent(ledger) > 0


def test_a_fine_tune_that_runs_is_waited_for_through_a_restart(ledger, retry):
    tuner = Tuner(looks=1)
    tuner.failures["poll"] = [refused()] * 7
    assert ensure_finetune(ledger, tuner, TRAINING, retry=retry) == "tuned-job-0"
