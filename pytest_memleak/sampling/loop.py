"""The run loop: samples what the ledger lacks for a pair.

Each thread (`Pace` sets their number) takes the next call in order, reserves its
ordinals in the ledger, makes the call within the deadline, and records the answer.
Remaining ordinals (fewer completions than requested, a lost call) are sampled again.
Other processes that sample the same pair share the work; the loop ends when every
ordinal is stored, whoever sampled it.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pytest_memleak.errors import (
    CallsDropped,
    Inconclusive,
    JobPending,
    LedgerError,
    SettingsError,
)
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import Endpoint
from pytest_memleak.ledger.call_outcomes import Answer, Call, give_up, record
from pytest_memleak.ledger.call_reservations import CallTerms, budget_limit, prompt_ids
from pytest_memleak.ledger.call_states import NOT_STORED
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import LedgerCounts, Missing, missing, tally
from pytest_memleak.ledger.prompts import Ask, PairPrompts, PromptSpec, asks
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.sampling.backoff import Pace, Retry
from pytest_memleak.sampling.call_attempts import (
    CallAttempts,
    Notice,
    SamplingContext,
    Stopped,
)
from pytest_memleak.sampling.call_deadline import NO_THREAD
from pytest_memleak.sampling.calls_of_dead_processes import (
    settle_calls_of_dead_processes,
)
from pytest_memleak.sampling.checked_endpoint import CheckedEndpoint

if TYPE_CHECKING:
    from pytest_memleak.sampling.batch import Batches

_FRUITLESS_BATCHES = 3
_LOOK_AT_OTHERS = 0.2


def sample_missing(
    ledger: Ledger,
    endpoint: Endpoint,
    *,
    endpoint_id: str,
    prompts: PairPrompts,
    terms: CallTerms,
    budget: float | None = None,
    progress: Progress | None = None,
    retry: Retry | None = None,
    wait: bool = True,
    notice: str = "",
) -> LedgerCounts:
    """Sample every generation of the pair that the ledger lacks; return the counts.

    endpoint_id: names in the ledger what shapes the generations, above all the weights
    budget:      US$ that the ledger's run may spend, with all its processes
    progress:    called a few times a second, in the calling thread
    wait:        whether to wait for batches
    notice:      shown with the progress

    Whatever is raised, every answer received by then is in the ledger: ProviderError
    and ProviderBusy (the endpoint failed), BudgetExceeded, JobPending (a batch is
    unfinished), LedgerError, SettingsError (a budget without a price or a cap),
    KeyboardInterrupt (after Ctrl-C and once the calls in flight have ended),
    CallsDropped (after another Ctrl-C).
    """
    limit = budget_limit(budget, terms.price, location=prompts.pair)
    if limit is not None and not all(prompt.capped for prompt in prompts.questions):
        raise SettingsError(
            'A budget needs a cap on generations, but max_tokens = "default" sends '
            "none",
            location=prompts.pair,
            hint="set max_tokens to a number, or run without a budget",
        )
    retry = retry or Retry()
    progress = progress or Progress()
    checked = CheckedEndpoint(
        endpoint,
        endpoint_id=endpoint_id,
        provider=terms.sampler.name,
        deadline=retry.deadline,
    )
    numbers = prompt_ids(ledger, endpoint_id, prompts.questions)
    context = SamplingContext(
        ledger,
        checked,
        prompt_of_id={numbers[prompt.key]: prompt for prompt in prompts.questions},
        numbers=numbers,
        terms=terms,
        limit=limit,
        retry=retry,
        pace=Pace(terms.sampler.concurrency),
        notice=Notice(notice),
    )
    sampling = _PairSampling(context, prompts, progress)
    remote = abilities_of(endpoint).batches
    if remote is not None:
        from pytest_memleak.sampling.batch import Batches

        batches = Batches(context, remote, wait, progress)
        batches.settle()
        if terms.sampler.batch:
            sampling.in_batches(batches)
            return sampling.tell()
    sampling.online()
    return sampling.tell()


class _PairSampling:
    """The sampling of one pair."""

    def __init__(
        self,
        context: SamplingContext,
        prompts: PairPrompts,
        progress: Progress,
    ) -> None:
        self.context = context
        self._ledger = context.ledger
        self._endpoint_id = context.endpoint.id
        self._prompts = prompts
        self._progress = progress
        # The number of ordinals that others hold, and since when it is the same.
        self._held = 0
        self._held_since = 0.0

    def online(self) -> None:
        """Sample call by call until everything is stored, whoever sampled it."""
        workers = Workers(self.context)
        while True:
            lacking = self._lacking()
            if lacking.free:
                self._sample(workers, lacking)
            elif lacking.in_batches:
                raise JobPending(
                    f"unread batches hold {amount(lacking.in_batches, 'generation')}",
                    location=self.context.endpoint.calls.location,
                    hint="set batch = true again for this endpoint",
                )
            elif lacking.elsewhere:
                self._wait_for_others(lacking)
            else:
                return

    def in_batches(self, batches: Batches) -> None:
        """Sample in batches until everything is stored; each must add something new."""
        fewest = math.inf
        fruitless = 0
        while True:
            lacking = self._lacking()
            if lacking.free:
                fruitless += 1
                if lacking.count < fewest:
                    fruitless = 0
                if fruitless == _FRUITLESS_BATCHES:
                    raise self.context.endpoint.calls.failing("batch").final(
                        f"still missing after {_FRUITLESS_BATCHES} batches: "
                        f"{amount(lacking.count, 'generation')}",
                        "see the batch's error file at the provider",
                    )
                fewest = min(fewest, lacking.count)
                per_call = self.context.terms.sampler.completions_per_call
                batches.submit(asks(lacking.free, per_call))
                self.tell()
            elif lacking.elsewhere:
                self._wait_for_others(lacking)
            elif not lacking.in_batches:
                return
            batches.settle()

    def _wait_for_others(self, lacking: Missing) -> None:
        """Wait a little for other processes; Inconclusive if they have stopped."""
        now = time.monotonic()
        retry = self.context.retry
        notice = self.context.notice
        if lacking.elsewhere != self._held:
            self._held, self._held_since = lacking.elsewhere, now
        if now - self._held_since > retry.deadline + retry.total:
            raise Inconclusive(
                f"{amount(lacking.elsewhere, 'generation')} reserved but not stored by "
                f"{lacking.holder}",
                hint="resume or end that process, and rerun",
            )
        notice.others = lacking.holder
        self.tell()
        notice.others = ""
        time.sleep(_LOOK_AT_OTHERS)

    def tell(self) -> LedgerCounts:
        """Count what is stored now, and report it as progress."""
        now = tally(self._ledger, self._endpoint_id, self._prompts)
        self._progress(self._event(now, done=now.got))
        return now

    def _event(
        self,
        then: LedgerCounts,
        *,
        done: int,
        tokens: int = 0,
        cost: float | None = None,
    ) -> ProgressEvent:
        """Build a progress event from earlier counts, and what was added since."""
        return ProgressEvent(
            Phase.ENDING if self.context.notice.ending else Phase.SAMPLING,
            self._prompts.pair,
            done,
            then.requested,
            then.prompt_tokens + then.completion_tokens + tokens,
            then.cost if cost is None else (then.cost or 0.0) + cost,
            lost=(then.cost or 0.0) - (then.billed or 0.0),
            note=str(self.context.notice),
        )

    def _sample(self, workers: Workers, lacking: Missing) -> None:
        before = self.tell()
        counts = self.context.counts
        counts.clear()

        def tell() -> None:
            cost = None if self.context.terms.price is None else counts.cost / 1e9
            self._progress(
                self._event(
                    before,
                    done=before.got + counts.done,
                    tokens=counts.tokens,
                    cost=cost,
                ),
            )

        workers.sample(asks(lacking.free, workers.per_call), tell=tell)

    def _lacking(self) -> Missing:
        settle_calls_of_dead_processes(self.context)
        return missing(self._ledger, self._endpoint_id, self._prompts)


_ONE_IN_A_ROW = 2
_TELL_EVERY = 0.2
_KEEP_ALIVE_EVERY = 5.0
_LOOKAHEAD = 32  # calls to check at once while other processes have taken the next ones


class Workers:
    """Threads that sample from one endpoint.

    per_call: completions per call, which falls to 1 if the server ignores `n`
    """

    def __init__(self, context: SamplingContext) -> None:
        self._context = context
        self.per_call = max(1, context.terms.sampler.completions_per_call)
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._work: deque[Ask] = deque()
        self._crowded = False
        self._running = 0
        self._retiring = 0
        self._failure: BaseException | None = None
        self._singles = 0
        self._unstored: dict[int, Answer] = {}  # by call

    def sample(self, wanted: Iterable[Ask], *, tell: Callable[[], None]) -> None:
        """Sample what is free of `wanted`; call `tell` a few times a second meanwhile.

        Raises the first failure of any thread, once the calls in flight have ended.
        """
        self._work = deque(wanted)
        try:
            self._start_more()
            self._watch(tell)
        except BaseException:
            self._stop.set()
            self._wait_for_calls_in_flight(tell)
            raise
        if self._failure is not None:
            if self._unstored and isinstance(self._failure, LedgerError):
                self._store_again()
            if self._unstored and isinstance(self._failure, LedgerError):
                lost = amount(len(self._unstored), "response")
                self._failure.message += f"; received and not stored: {lost}"
            raise self._failure

    def _store_again(self) -> None:
        """Store what found no room: some may be free now, or suffice for the cause."""
        ledger = self._context.ledger
        for number, answer in list(self._unstored.items()):
            try:
                record(ledger, answer)
            except LedgerError:
                with contextlib.suppress(LedgerError):
                    give_up(ledger, answer.call, billed=True, cause=NOT_STORED)
            else:
                del self._unstored[number]

    def _wait_for_calls_in_flight(self, tell: Callable[[], None]) -> None:
        """Wait for the calls in flight, which may be billed."""

        def tell_number() -> None:
            in_flight = self._running
            if in_flight:
                calls = amount(in_flight, "call")
                notice = self._context.notice
                notice.others = (
                    f"{calls}; Ctrl-C now drops them, and they may be billed"
                )
                notice.ending = True
                tell()

        try:
            tell_number()
            self._watch(tell_number)
        except KeyboardInterrupt:
            in_flight = self._running
            if in_flight:
                lost = f"{amount(in_flight, 'call')} dropped, which may be billed"
                raise CallsDropped(lost) from None

    def _start_more(self) -> None:
        """Start as many threads as the work and the pace allow."""
        with self._lock:
            at_work = self._running - self._retiring
            more = min(self._context.pace.at_once - at_work, len(self._work))
            if self._stop.is_set() or more <= 0:
                return
            for _ in range(more):
                thread = threading.Thread(
                    target=self._run_thread,
                    name="memleak-worker",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError:
                    raise self._context.endpoint.calls.failing("sample").final(
                        *NO_THREAD,
                    ) from None
                self._running += 1  # the thread needs the lock, held here, to end

    def _watch(self, tell: Callable[[], None]) -> None:
        seen = time.monotonic()
        while self._running:
            self._changed.wait(_TELL_EVERY)
            self._changed.clear()
            tell()
            if time.monotonic() - seen > _KEEP_ALIVE_EVERY:
                self._context.ledger.keep_alive()
                seen = time.monotonic()

    # --- in a thread ------------------------------------------------------------------

    def _run_thread(self) -> None:
        retired = False
        try:
            retired = self._sample_until_done()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `sample`
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()
        finally:
            with self._lock:
                self._running -= 1
                self._retiring -= retired
            self._changed.set()

    def _sample_until_done(self) -> bool:
        """Work until nothing is left; tell whether the thread retires (slower pace)."""
        answer: Answer | None = None
        try:
            while not self._stop.is_set():
                if self._retires():
                    return True
                candidates = self._next()
                if not candidates:
                    break
                # One commit records the answer and the next intent.
                call = self._claimed(candidates, answer)
                answer = None
                if call is None:
                    continue
                attempts = CallAttempts(self._context, call, self._stop)
                answer = attempts.run()
                if answer is not None:
                    self._take_up_the_rest(answer, attempts.left)
                    self._context.pace.answered()
                    self._start_more()
        finally:
            if answer is not None:
                self._unstored[answer.call.id] = answer
                record(self._context.ledger, answer)
                del self._unstored[answer.call.id]
        return False

    def _retires(self) -> bool:
        with self._lock:
            retires = self._running - self._retiring > self._context.pace.at_once
            self._retiring += retires
        return retires

    def _next(self) -> list[Ask]:
        with self._lock:
            wanted = _LOOKAHEAD if self._crowded else 1
            return [self._work.popleft() for _ in range(min(wanted, len(self._work)))]

    def _claimed(self, candidates: list[Ask], after: Answer | None) -> Call | None:
        """Reserve a call for the first free candidate; put those behind it back."""
        call = self._context.claim(candidates, after=after)
        taken = len(candidates)
        if call is not None:
            key = self._context.prompt_of_id[call.question].key
            ordinals = set(call.ordinals)
            taken = next(
                place
                for place, ask in enumerate(candidates)
                if ask.question.key == key and ordinals.issubset(ask.ordinals)
            )
        with self._lock:
            self._crowded = taken > 0
            self._work.extendleft(reversed(candidates[taken + 1 :]))
        return call

    def _take_up_the_rest(self, answer: Answer, left: tuple[int, ...]) -> None:
        """Queue what is missing; `left` is what a call after a timeout omitted."""
        question = self._context.prompt_of_id[answer.call.question]
        ordinals = answer.call.ordinals
        came = len(answer.completions)
        rest = (*ordinals[came:], *left)
        with self._lock:
            if rest:
                self._work.appendleft(Ask(question, rest))
            if left:
                self._request_at_most(len(ordinals))
            elif len(ordinals) > 1:
                self._singles = self._singles + 1 if came == 1 else 0
                if self._singles == _ONE_IN_A_ROW:  # the server never returns more
                    self._request_at_most(1)

    def _request_at_most(self, count: int) -> None:
        """Request so many completions per call from now on."""
        self.per_call = min(count, self.per_call)
        # For further pairs; an extension's own sampler may be read-only.
        sampler = self._context.terms.sampler
        with contextlib.suppress(AttributeError):
            sampler.completions_per_call = self.per_call
        left: dict[PromptSpec, list[int]] = {}
        for ask in self._work:
            left.setdefault(ask.question, []).extend(ask.ordinals)
        self._work = deque(asks(left, self.per_call))
