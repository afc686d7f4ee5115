import dataclasses
import os
import threading
from collections import Counter, deque
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from by_hand import intent
from scripted import (
    Asked,
    Keeping,
    Scripted,
    answers,
    broken,
    busy,
    open_claims,
    sample_all,
    states,
    terms,
    texts,
)

from pytest_memleak.errors import (
    CallsDropped,
    CallTimeout,
    Inconclusive,
    LedgerError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    UnusableResponse,
)
from pytest_memleak.interfaces.abilities import Deployment
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_outcomes import CallResult, store_call_result
from pytest_memleak.ledger.call_reservations import reserve_call
from pytest_memleak.ledger.deployments import claim_deployment, leave_deployment
from pytest_memleak.ledger.ledger_queries import generations, generations_with_texts
from pytest_memleak.ledger.prompts import Ask
from pytest_memleak.ledger.tables import calls
from pytest_memleak.ledger.tables import generations as generations_table
from pytest_memleak.records import FinishReason
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.sampling import call_deadline, call_workers
from pytest_memleak.sampling.call_deadline import within
from pytest_memleak.sampling.retry import Retry


@pytest.fixture
def drawing(memory, hasty):
    """Draws into a ledger in memory, without waiting between tries."""

    def draw_all(endpoint, prompts, by=None, retry=hasty, **options):
        return sample_all(memory, endpoint, prompts, retry, by, **options)

    return draw_all


def causes(ledger):
    rows = ledger.read(lambda c: c.execute(sa.select(calls.c.cause)).scalars().all())
    return set(rows) - {None}


def test_everything_is_drawn_and_nothing_twice(ledger, ask, hasty):
    endpoint, prompts = Scripted(), ask(excerpts=5, samples=7)
    for _ in range(2):
        counts = sample_all(
            ledger, endpoint, prompts, hasty, terms(concurrency=4, per_call=3)
        )
        assert (counts.got, counts.requested, counts.lost) == (35, 35, 0)
        assert len(endpoint.calls) == counts.calls == 15
    result = list(generations(ledger, "e", prompts))
    places = [
        (f"p_id{number}", ordinal) for number in range(1, 6) for ordinal in range(7)
    ]
    assert [(one.excerpt_id, one.ordinal) for one in result] == places
    assert len({one.text for one in result}) == 35
    assert open_claims(ledger) == 0


def test_a_call_says_what_the_suite_says(drawing, ask):
    endpoint, prompts = Scripted(), ask(excerpts=1, samples=2, temperature=0.7, seed=5)
    drawing(endpoint, prompts)
    (prompt,) = prompts.specs
    assert endpoint.calls == [
        Asked(
            number,
            "Write number 1.",
            1,
            0.7,
            prompt.max_tokens,
            prompt.seed_from(number),
        )
        for number in range(2)
    ]


def test_rounds_are_whole_and_more_samples_draw_the_rest(drawing, ask):
    endpoint = Scripted()
    drawing(endpoint, ask(excerpts=3, samples=2))
    a_round = [f"Write number {number}." for number in (1, 2, 3)]
    assert [call.instruction for call in endpoint.calls] == a_round * 2
    drawing(endpoint, ask(excerpts=3, samples=4))
    assert [call.instruction for call in endpoint.calls] == a_round * 4


def test_calls_run_at_once_but_no_more_than_allowed(drawing, ask, monkeypatch):
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3)
    # The last answers are stored at once; while a list compares them, another thread
    # changes it.
    monkeypatch.setattr(
        call_workers,
        "store_call_result",
        lambda *stored: (together.wait(20), store_call_result(*stored)),
    )
    monkeypatch.setattr(CallResult, "__eq__", lambda *_: pytest.fail("compared"))

    def reply(request):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(20)
        with lock:
            running -= 1
        return answers(request)

    drawing(Scripted(reply), ask(excerpts=6, samples=2), terms(concurrency=3))
    assert most == 3


def test_the_rest_is_asked_for_and_one_by_one_where_a_server_ignores_n(drawing, ask):
    endpoint = Scripted(lambda request: answers(request)[: max(1, request.n - 2)])
    assert drawing(endpoint, ask(excerpts=1, samples=8), terms(per_call=8)).got == 8
    assert [call.n for call in endpoint.calls] == [8, 2, 1]
    endpoint = Scripted(lambda request: answers(request)[:1])
    of_endpoint = terms(per_call=8)
    assert drawing(endpoint, ask(excerpts=3, samples=8, seed=1), of_endpoint).got == 24
    assert len(endpoint.calls) == 24
    assert Counter(call.n for call in endpoint.calls)[1] >= 20
    # Another pair doesn't learn it again.
    assert drawing(endpoint, ask(excerpts=1, samples=8, seed=2), of_endpoint).got == 8
    assert Counter(call.n for call in endpoint.calls[24:]) == {1: 8}


def test_none_at_all_is_an_error(drawing, ask, memory):
    endpoint = Scripted(lambda _: [])
    with pytest.raises(UnusableResponse, match="no completions"):
        drawing(endpoint, ask(excerpts=1))
    assert len(endpoint.calls) == 2
    assert states(memory) == {"lost": 2}
    # None now and then is asked again.
    endpoint = Scripted(lambda _: [], answers, lambda _: [], answers)
    assert drawing(endpoint, ask(excerpts=1, samples=3, seed=1)).got == 3


def test_withheld_completions_are_kept_and_not_drawn_again(drawing, ask, memory):
    reply = [
        Completion("", FinishReason.CONTENT_FILTER),
        Completion("part", FinishReason.RECITATION),
        Completion(" \n", FinishReason.STOP, 3, 4),
        "",
    ]
    endpoint, prompts = Scripted(lambda _: reply), ask(excerpts=1, samples=4)
    counts = drawing(endpoint, prompts, terms(per_call=4))
    kept = {
        FinishReason.CONTENT_FILTER: 1,
        FinishReason.RECITATION: 1,
        FinishReason.EMPTY: 2,
    }
    assert counts.withheld == kept
    drawing(endpoint, prompts, terms(per_call=4))
    assert len(endpoint.calls) == 1
    result = list(generations(memory, "e", prompts))
    assert (result[2].text, result[2].prompt_tokens, result[2].completion_tokens) == (
        " \n",
        3,
        4,
    )


@pytest.mark.parametrize(("reply", "message"), [
    ("a string", "returned a str; expected a sequence of completions"),
    (None, "returned nothing; expected a sequence"),
    ([b"bytes"], "returned a bytes among its completions"),
    ([{"text": "x"}], "returned a dict among its completions"),
])  # fmt: skip
def test_an_answer_of_another_form(drawing, ask, memory, reply, message):
    with pytest.raises(ProviderError, match=message):
        drawing(Scripted(lambda _: reply), ask(excerpts=1))
    assert states(memory) == {"lost": 1}


def test_a_process_that_stopped_with_what_it_reserved_is_named(
    drawing, ask, memory, hasty
):
    prompts = ask(excerpts=1, samples=1)
    reserve_call(memory, intent(memory, prompts, Ask(prompts.specs[0], (0,))))
    notes, holder = [], f"process {os.getpid()} on "
    retry = dataclasses.replace(hasty, deadline=0.1, total=0.1)
    progress = Progress(lambda event: notes.append(event.note))
    with pytest.raises(
        Inconclusive, match=f"1 generation reserved but not stored by {holder}"
    ):
        drawing(Scripted(), prompts, retry=retry, progress=progress)
    assert notes[-1].startswith(f"waiting for {holder}")


def test_a_machine_without_threads_is_named_and_nothing_billed(
    drawing, ask, memory, monkeypatch
):
    class NoThread(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pytest_memleak.sampling.call_deadline._idle", deque())
    monkeypatch.setattr(
        "pytest_memleak.sampling.call_deadline._Runner.start", NoThread.start
    )
    with pytest.raises(RequestNotSent, match="threads, or memory is reached") as error:
        drawing(Scripted(), ask(excerpts=1, samples=1))
    assert "ulimit -u" in error.value.hint
    assert states(memory) == {"failed": 1}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_paid_call_is_made_where_the_disk_may_not_hold_it(
    ledger, ask, hasty, monkeypatch
):
    usage = SimpleNamespace(total=1 << 30, free=9 << 20)

    def fill_disk(request):
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        return answers(request)

    endpoint, prompts, costs = (
        Scripted(answers, fill_disk),
        ask(),
        {"price": None, "limit": None},
    )
    wanted = [Deployment(digest * 64, "weights", {}, 1.0) for digest in "ef"]
    job = claim_deployment(ledger, "own", wanted[0], **costs, recovery=0.0)
    with pytest.raises(
        LedgerError,
        match="full: less than 32 MiB are free, so no more paid calls are made",
    ):
        sample_all(ledger, endpoint, prompts, hasty)
    assert len(texts(ledger, prompts)) == len(endpoint.calls) == 2
    with pytest.raises(LedgerError, match="less than 32 MiB are free"):
        claim_deployment(ledger, "own", wanted[1], **costs, recovery=0.0)
    sample_all(
        ledger, endpoint, prompts, hasty, dataclasses.replace(terms(), free=True)
    )
    assert leave_deployment(ledger, job)
    usage.total = usage.free = 0  # of file systems that don't say
    assert claim_deployment(ledger, "own", wanted[1], **costs, recovery=0.0)


def test_a_full_disk_says_how_many_answers_were_lost(drawing, ask, memory):
    def fill_disk(_):
        memory.rows(sa.text("PRAGMA max_page_count = 1"))
        return [os.urandom(100_000).hex()]  # which no ledger can pack

    with pytest.raises(
        LedgerError, match="disk is full; received and not stored: 1 response"
    ):
        drawing(Scripted(fill_disk), ask())


def test_a_busy_provider_is_asked_again_in_the_same_call(drawing, ask, memory):
    endpoint = Keeping(busy(), busy("503 Service Unavailable"), answers)
    counts = drawing(endpoint, ask(excerpts=1, samples=1), terms(price=(1, 1)))
    assert (counts.got, counts.calls, counts.lost) == (1, 1, 0)
    assert states(memory) == {"answered": 1}
    assert len({call.request_id for call in endpoint.calls}) == 1
    assert endpoint.scan_scope == []


def test_a_broken_connection_may_have_been_billed_and_is_looked_after(
    drawing, ask, memory
):
    endpoint = Scripted(busy("the connection was cut off"), answers)
    counts = drawing(endpoint, ask(excerpts=1, samples=1), terms(price=(1.0, 1.0)))
    assert (counts.got, counts.calls, counts.lost) == (1, 2, 1)
    assert states(memory) == {"lost": 1, "answered": 1}
    assert endpoint.calls[0].seed == endpoint.calls[1].seed
    endpoint, prompts = Keeping(), ask(excerpts=1, samples=1, seed=1)

    def cut_off(call):
        endpoint.kept[call.request_id] = [Completion("found")]
        raise busy("the connection was cut off")

    endpoint._replies = [cut_off]
    counts = drawing(endpoint, prompts)
    assert (counts.got, counts.calls, counts.lost, counts.recovered) == (1, 1, 0, 1)
    assert texts(memory, prompts) == ["found"]


@pytest.mark.parametrize(("endpoint", "failed"), [
    (Keeping(busy("the connection was cut off"), answers), 1),  # what a keeper never answered
    (Scripted(busy("the connection was refused", in_doubt=False), answers), 0),
])  # fmt: skip
def test_unbilled_calls_are_not_lost(drawing, ask, memory, endpoint, failed):
    counts = drawing(endpoint, ask(excerpts=1, samples=1))
    assert (counts.got, counts.lost) == (1, 0)
    assert states(memory) == Counter(failed=failed, answered=1)


def test_a_final_error_stops_the_pair_but_keeps_what_is_in_flight(drawing, ask, memory):
    failing = threading.Event()

    def fail(request):
        failing.set()
        raise broken("400 the key sk-abcdef0123456789 is wrong")

    def slow(request):
        failing.wait(20)
        while (
            sum(thread.name == "memleak-worker" for thread in threading.enumerate()) > 2
        ):
            threading.Event().wait(0.01)  # the one that failed has to end
        return answers(request)

    endpoint, prompts = Scripted(slow, slow, fail), ask(excerpts=3, samples=4)
    with pytest.raises(ProviderError, match="400"):
        drawing(endpoint, prompts, terms(concurrency=3))
    assert len(texts(memory, prompts)) == 2
    assert len(endpoint.calls) == 3
    assert states(memory) == {"answered": 2, "failed": 1}
    assert causes(memory) == {"400 the key [masked] is wrong"}
    assert open_claims(memory) == 0


def test_a_bug_in_ones_own_endpoint(drawing, ask, memory):
    def bug(request):
        raise KeyError("secret text of the book")

    with pytest.raises(
        ProviderError, match=r"KeyError at line \d+ of .*test_loop.py"
    ) as caught:
        drawing(Scripted(bug), ask(excerpts=1))
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert states(memory) == {"lost": 1}


def test_a_call_that_hangs_is_given_up_and_made_anew(drawing, memory, ask, monkeypatch):
    release, came, hurried = threading.Event(), threading.Event(), iter([0.2])
    monkeypatch.setattr(call_deadline, "within", lambda seconds, *call, **late: (
        within(next(hurried, seconds), *call, **late)
    ))  # fmt: skip

    def hang(request):
        release.wait(20)
        return [Completion("late"), None]  # what is no completion costs no other

    endpoint, prompts = Scripted(hang, answers), ask(excerpts=1, samples=2)
    counts = drawing(endpoint, prompts)
    assert (counts.got, counts.lost) == (2, 1)
    release.set()
    until = threading.Timer(20, came.set)
    until.start()
    while "late" not in everything(memory) and not came.is_set():
        threading.Event().wait(0.01)
    until.cancel()
    assert "late" in everything(memory)
    assert texts(memory, prompts) == ["1.0 Write number 1.", "2.0 Write number 1."]
    assert states(memory) == {"answered": 3}


@pytest.mark.parametrize("bears", [3, 1])
def test_a_call_that_timed_out_is_repeated_with_half_its_generations(
    drawing, memory, ask, bears
):
    def slow(request):
        if request.n > bears:
            place = {"provider": "scripted", "endpoint": "e", "call": "sample"}
            raise CallTimeout("no response within 9 s", in_doubt=True, **place)
        return answers(request)

    endpoint, prompts = Scripted(slow), ask(excerpts=2, samples=10)
    assert drawing(endpoint, prompts, terms(per_call=10, concurrency=1)).got == 20
    sizes = [call.n for call in endpoint.calls]
    # What one call has learned holds for all that follow.
    assert sizes == ([10, 5, 2, *[2] * 9] if bears == 3 else [10, 5, 2, 1, *[1] * 19])
    assert states(memory) == {
        "lost": sum(n > bears for n in sizes),
        "answered": 20 // min(2, bears),
    }


def everything(ledger):
    return {
        text
        for _, text, _ in generations_with_texts(ledger, sa.select(generations_table))
    }


def test_a_provider_that_always_hangs(drawing, memory, ask):
    release = threading.Event()
    endpoint = Scripted(lambda _: release.wait(20) and [])
    retry = Retry(deadline=0.05, tries=2, first=0.0)
    with pytest.raises(
        ProviderBusy, match=r"sample failed: no response within 0\.05 s"
    ) as caught:
        drawing(endpoint, ask(excerpts=1, samples=1), retry=retry)
    assert states(memory) == {"lost": 2}
    release.set()  # what comes now is late
    assert caught.value.location == "scripted endpoint e"


def test_timeouts_without_anything_left_to_halve_end_after_the_time_for_pauses(
    drawing, memory, ask
):
    release = threading.Event()
    endpoint = Scripted(lambda _: release.wait(20) and [])
    retry = Retry(deadline=0.05, first=0.0, total=0.0)
    with pytest.raises(ProviderBusy, match=r"within 0\.05 s \(tried 4 times\)"):
        drawing(endpoint, ask(excerpts=1, samples=4), terms(per_call=4), retry=retry)
    release.set()
    assert [call.n for call in endpoint.calls] == [4, 2, 1, 1]


def test_a_timeout_within_the_time_for_pauses_is_repeated_until_it_is_answered(
    drawing, memory, ask
):
    gateway = CallTimeout("504", provider="scripted", endpoint="e", call="sample")
    endpoint = Scripted(gateway, gateway, gateway, answers)
    retry = Retry(first=0.0)
    assert drawing(endpoint, ask(excerpts=1, samples=1), retry=retry).got == 1
    assert states(memory) == {"lost": 3, "answered": 1}


def test_progress(drawing, ask):
    told = []
    endpoint = Scripted(
        lambda request: [Completion("x", prompt_tokens=10, completion_tokens=5)]
    )
    by, progress = terms(price=(1, 2)), Progress(told.append)
    drawing(endpoint, ask(excerpts=2, samples=3), by, progress=progress)
    assert told[0] == ProgressEvent(Phase.SAMPLING, "model/book", 0, 6, 0, None)
    assert told[-1] == ProgressEvent(
        Phase.SAMPLING, "model/book", 6, 6, 90, pytest.approx(120e-6)
    )
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert all(one.of == 6 for one in told)


def test_progress_says_that_the_server_is_waited_for(drawing, ask):
    notes, limit, limited = (
        [],
        "waiting for the server's rate limit (429), 9",
        threading.Event(),
    )

    def tell(event):
        notes.append(event.note)
        if event.note.startswith(limit):
            limited.set()

    waits = busy(retry_after=99.0), busy("503 Service Unavailable", retry_after=99.0)
    options = {
        "retry": Retry(pause=lambda *_: limited.wait(20)),
        "progress": Progress(tell),
    }
    drawing(Scripted(*waits, answers), ask(excerpts=1), notice="look", **options)
    for start in ("look", limit, "waiting for the server (503), 9"):
        assert any(note.startswith(start) for note in notes)


def test_ctrl_c_waits_for_what_is_in_flight_and_says_so(drawing, ask, memory):
    release, prompts = threading.Event(), ask(excerpts=2, samples=50)

    def stop(event):
        if (
            event.note
            == "waiting for 1 call; Ctrl-C now drops them, and they may be billed"
        ):
            release.set()
        elif states(memory):
            raise KeyboardInterrupt

    slow = Scripted(lambda request: release.wait(20) and answers(request))
    with pytest.raises(KeyboardInterrupt) as raised:
        drawing(slow, prompts, progress=Progress(stop))
    assert raised.type is KeyboardInterrupt
    assert states(memory) == {"answered": 1}
    assert open_claims(memory) == 0
    assert drawing(Scripted(), prompts).got == 100


def test_another_ctrl_c_drops_what_is_in_flight_and_counts_it(drawing, memory, ask):
    release = threading.Event()

    def stop(_):
        if states(memory):
            raise KeyboardInterrupt

    endpoint = Scripted(lambda _: ["late"] * release.wait(20))
    with pytest.raises(CallsDropped, match="1 call dropped, which may be billed"):
        drawing(endpoint, ask(excerpts=1, samples=9), progress=Progress(stop))
    assert states(memory) == {"asked": 1}
    release.set()
