import itertools
import time

import pytest
from scripted import (
    Batching,
    Scripted,
    broken,
    busy,
    open_claims,
    sample_all,
    spent,
    states,
    terms,
)

from pytest_memleak.errors import (
    BudgetExceeded,
    JobPending,
    ProviderBusy,
    ProviderError,
)
from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import (
    find_missing_ordinals,
    generations,
    surplus_generations,
)
from pytest_memleak.ledger.tables import batches
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.sampling.batch import request_key
from pytest_memleak.sampling.cost_plan import plan


def batched(ledger, endpoint, prompts, retry, per_call=2, **options):
    options = {"by": terms(per_call=per_call, batch=True)} | options
    return sample_all(ledger, endpoint, prompts, retry, **options)


def test_everything_in_one_batch(ledger, ask, hasty):
    endpoint, prompts = Batching(), ask(excerpts=3, samples=5)
    told = []
    for _ in range(2):
        counts = batched(
            ledger, endpoint, prompts, hasty, progress=Progress(told.append)
        )
        assert (counts.got, counts.calls, counts.lost) == (15, 9, 0)
    waited = ProgressEvent(Phase.WAITING, "batch-0")
    assert [one for one in told if one.phase != Phase.SAMPLING] == [waited]
    ((_, requests),) = endpoint.started
    assert [request.n for request in requests] == [2] * 6 + [1] * 3
    assert len({request.key for request in requests}) == 9
    assert requests[0].seed == prompts.specs[0].seed_from(0)
    assert requests[0].max_tokens == prompts.specs[0].max_tokens
    places = [
        (f"p_id{number}", ordinal) for number in (1, 2, 3) for ordinal in range(5)
    ]
    assert [
        (one.excerpt_id, one.ordinal) for one in generations(ledger, "e", prompts)
    ] == places
    assert states(ledger, batches) == {"succeeded": 1}
    assert open_claims(ledger) == 0


def test_a_batch_need_not_be_waited_for(ledger, url, ask, hasty):
    endpoint, prompts = Batching(), ask()
    with pytest.raises(JobPending, match="The batch is unfinished: batch-0"):
        batched(ledger, endpoint, prompts, hasty, wait=False)
    lacking = find_missing_ordinals(ledger, "e", prompts)
    assert (lacking.count, lacking.in_batches) == (0, 12)
    assert plan(ledger, "e", prompts, terms(batch=True)).pending == 12
    ledger.close()
    with Ledger(url) as later:
        assert batched(later, endpoint, prompts, hasty, wait=False).got == 12
    assert len(endpoint.started) == 1


def test_batches_hold_so_many_requests_and_bytes(ledger, ask, hasty):
    endpoint = Batching(max_requests=4)
    assert (
        batched(ledger, endpoint, ask(excerpts=3, samples=6, seed=1), hasty).got == 18
    )
    assert [len(requests) for _, requests in endpoint.started] == [4, 4, 1]
    endpoint = Batching(
        max_bytes=250, request_bytes=lambda request: len(request.key) + 73
    )
    assert batched(ledger, endpoint, ask(excerpts=1, samples=10), hasty).got == 10
    assert [len(requests) for _, requests in endpoint.started] == [2, 2, 1]
    key = endpoint.started[0][1][0].key
    assert len(key) == len(request_key("0" * 64, 0))


def test_failed_requests_are_sent_again(ledger, ask, hasty):
    endpoint = Batching(fails=lambda batch, place: place % 2 == 0 and batch < 2)
    prompts = ask(excerpts=2, samples=6)
    assert batched(ledger, endpoint, prompts, hasty).got == 12
    assert [len(requests) for _, requests in endpoint.started] == [6, 3, 2]
    assert states(ledger) == {"answered": 6, "failed": 5}
    keys = [request.key for _, requests in endpoint.started for request in requests]
    assert len(set(keys)) == len(keys)


def test_batches_that_bring_nothing(ledger, ask, hasty):
    endpoint = Batching(fails=lambda batch, place: place == 0)
    with pytest.raises(
        ProviderError, match="still missing after 3 batches: 2 generations"
    ):
        batched(ledger, endpoint, ask(excerpts=2, samples=2), hasty)
    assert [len(requests) for _, requests in endpoint.started] == [2, 1, 1, 1]
    assert len(set(endpoint.found)) == 4
    assert open_claims(ledger) == 0


def test_a_batch_that_fails(ledger, ask, hasty):
    endpoint, prompts = Batching(), ask()
    endpoint.states["batch-0"] = JobState(JobStatus.FAILED, detail="the file is bad")
    with pytest.raises(ProviderError, match="batch batch-0 failed: the file is bad"):
        batched(ledger, endpoint, prompts, hasty)
    assert states(ledger, batches) == {"failed": 1}
    assert open_claims(ledger) == 0
    assert batched(ledger, endpoint, prompts, hasty).got == 12
    assert [batch for batch, _ in endpoint.started] == ["batch-0", "batch-1"]
    # A refused start.
    endpoint, prompts = Batching(), ask(seed=1)
    endpoint.failures["start"] = [broken("401 Unauthorized")]
    with pytest.raises(ProviderError, match="401"):
        batched(ledger, endpoint, prompts, hasty)
    assert states(ledger)["failed"] == 6 + 6
    assert batched(ledger, endpoint, prompts, hasty).got == 12


@pytest.mark.parametrize("verb", ["find", "start", "poll", "read"])
@pytest.mark.parametrize("times", [1, 8])
def test_a_busy_provider(ledger, ask, hasty, verb, times):
    endpoint, prompts = Batching(), ask()
    endpoint.failures[verb] = [busy()] * times
    if times == hasty.tries:
        with pytest.raises(ProviderBusy):
            batched(ledger, endpoint, prompts, hasty)
    assert batched(ledger, endpoint, prompts, hasty).got == 12
    assert len(endpoint.started) == 1


@pytest.mark.parametrize("reached", [True, False])
def test_a_start_that_was_cut_off_is_found_or_made_again(
    ledger, url, ask, hasty, reached
):
    """The process ended between the provider's work and the ledger's row."""
    endpoint, prompts = Batching(), ask()
    with Ledger(url) as dead:
        with pytest.raises(JobPending):
            batched(dead, endpoint, prompts, hasty, wait=False)
        undone = batches.update().values(state="starting", job_id=None)
        dead.write(lambda c: c.execute(undone).rowcount)
    if not reached:
        endpoint.found.clear()
    assert batched(ledger, endpoint, prompts, hasty).got == 12
    first, *again = (requests for _, requests in endpoint.started)
    assert again == ([] if reached else [first])


def test_a_ledger_that_was_lost_finds_its_batch(postgres, tmp_path, ask, hasty):
    """The digest and the keys say what is asked, not which ledger asked it."""
    endpoint, prompts = Batching(), ask()
    with Ledger(f"sqlite:///{tmp_path}/lost.db") as lost, pytest.raises(JobPending):
        batched(lost, endpoint, prompts, hasty, wait=False)
    with Ledger(postgres.new_place()) as ledger:
        assert batched(ledger, endpoint, prompts, hasty).got == 12
    assert len(endpoint.started) == 1


def test_answers_are_kept_as_they_are_read(ledger, ask, hasty):
    """A read that breaks off has been recorded so far, and the rest is read again."""
    endpoint, prompts = Batching(), ask(excerpts=150, samples=2)
    whole = endpoint.read_batch

    def read(batch_id):
        yield from itertools.islice(whole(batch_id), 250)
        raise broken("the download broke off")

    endpoint.read_batch = read
    with pytest.raises(ProviderError, match="the download broke off"):
        batched(ledger, endpoint, prompts, hasty, per_call=1)
    assert states(ledger)["answered"] == 250
    endpoint.read_batch = whole
    assert batched(ledger, endpoint, prompts, hasty, per_call=1).got == 300
    assert len(endpoint.started) == 1


def test_a_batch_has_to_be_within_the_budget(ledger, ask, hasty):
    endpoint, prompts = Batching(), ask(excerpts=1, samples=4)
    by = terms(batch=True, price=(1.0, 1.0))
    worst = plan(ledger, "new", prompts, by).cost
    with pytest.raises(BudgetExceeded):
        batched(ledger, endpoint, prompts, hasty, by=by, budget=worst - 1e-9)
    assert endpoint.started == []
    counts = batched(ledger, endpoint, prompts, hasty, by=by, budget=worst)
    assert counts.cost == pytest.approx(spent(ledger) / 1e9)
    assert counts.prompt_tokens == 20


def test_ordinals_in_a_batch_are_not_sampled_online(ledger, ask, hasty):
    endpoint, prompts = Batching(), ask()
    with pytest.raises(JobPending):
        batched(ledger, endpoint, prompts, hasty, wait=False)
    online = Scripted()
    with pytest.raises(JobPending, match="unread batches hold 12 generations"):
        batched(ledger, online, prompts, hasty, by=terms())
    assert online.calls == []
    counts = batched(ledger, endpoint, prompts, hasty, by=terms())
    assert (counts.got, endpoint.calls) == (12, [])


def test_keys_that_nobody_asked_for_and_answers_that_are_empty(ledger, ask, hasty):
    endpoint, prompts = Batching(), ask()
    whole = endpoint.read_batch

    def read(batch_id):
        rows = list(whole(batch_id))
        if batch_id == "batch-0":  # an empty answer is asked for again
            rows[0] = rows[0][0], []
        return itertools.chain([("someone-else's", [Completion("x")])], rows, rows)

    endpoint.read_batch = read
    assert batched(ledger, endpoint, prompts, hasty).got == 12
    assert [len(requests) for _, requests in endpoint.started] == [6, 1]
    assert list(surplus_generations(ledger, "e", prompts, until=time.time())) == []
