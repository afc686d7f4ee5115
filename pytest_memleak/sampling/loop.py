"""The run loop: samples what the ledger lacks for a pair.

Workers make the calls (`call_workers`; for an engine, `engine_workers`). Other
processes that sample the same pair share the work; the loop ends when every ordinal is
stored, whoever sampled it.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive, JobPending, SettingsError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.interfaces.protocols import Endpoint
from pytest_memleak.ledger.call_reservations import (
    CallTerms,
    budget_limit,
    prompt_row_ids,
)
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import (
    LedgerCounts,
    Missing,
    count_generations_and_calls,
    find_missing_ordinals,
)
from pytest_memleak.ledger.prompts import PairPrompts, asks_by_round
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.sampling.adaptive_concurrency import AdaptiveConcurrency
from pytest_memleak.sampling.call_workers import Workers
from pytest_memleak.sampling.calls_of_dead_processes import (
    settle_calls_of_dead_processes,
)
from pytest_memleak.sampling.checked_endpoint import CheckedEndpoint
from pytest_memleak.sampling.engine_workers import EngineWorkers
from pytest_memleak.sampling.reserved_call import Notice, SamplingContext
from pytest_memleak.sampling.retry import Retry

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
    one_by_one: bool = False,
) -> LedgerCounts:
    """Sample every generation of the pair that the ledger lacks; return the counts.

    endpoint_id: names in the ledger what shapes the generations, above all the weights
    budget:      US$ that the ledger's run may spend, with all its processes
    progress:    called a few times a second, in the calling thread
    wait:        whether to wait for batches
    notice:      shown with the progress
    one_by_one:  whether calls follow each other, as a server may batch those that don't

    Whatever is raised, every answer received by then is in the ledger: ProviderError
    and ProviderBusy (the endpoint failed), BudgetExceeded, JobPending (a batch is
    unfinished), LedgerError, SettingsError (a budget without a price or a cap),
    KeyboardInterrupt (after Ctrl-C and once the calls in flight have ended),
    CallsDropped (after another Ctrl-C).
    """
    limit = budget_limit(budget, terms.price, location=prompts.pair)
    if limit is not None and not all(prompt.capped for prompt in prompts.specs):
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
    engine = abilities_of(endpoint).engine
    prompt_ids = prompt_row_ids(ledger, endpoint_id, prompts.specs)
    context = SamplingContext(
        ledger,
        checked,
        prompt_of_id={prompt_ids[prompt.key]: prompt for prompt in prompts.specs},
        prompt_ids=prompt_ids,
        terms=terms,
        limit=limit,
        retry=retry,
        pace=AdaptiveConcurrency(
            1 if one_by_one or engine is not None else terms.sampler.concurrency
        ),
        notice=Notice(notice),
    )
    sampling = _PairSampling(context, prompts, progress)
    remote = abilities_of(endpoint).batches
    if remote is not None:
        from pytest_memleak.sampling.batch import Batches

        batches = Batches(context, remote, wait, progress)
        batches.finish_batches()
        if terms.sampler.batch:
            sampling.in_batches(batches)
            return sampling.tell()
    workers = Workers(context)
    if engine is not None:
        workers = EngineWorkers(context, engine)
    sampling.online(workers)
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

    def online(self, workers: Workers) -> None:
        """Sample by workers until everything is stored, whoever sampled it."""
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
                batches.submit(asks_by_round(lacking.free, per_call))
                self.tell()
            elif lacking.elsewhere:
                self._wait_for_others(lacking)
            elif not lacking.in_batches:
                return
            batches.finish_batches()

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
        now = count_generations_and_calls(
            self._ledger, self._endpoint_id, self._prompts
        )
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
            str(self.context.notice),
            lost=(then.cost or 0.0) - (then.billed or 0.0),
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

        workers.sample(asks_by_round(lacking.free, workers.per_call), tell=tell)

    def _lacking(self) -> Missing:
        settle_calls_of_dead_processes(self.context)
        return find_missing_ordinals(self._ledger, self._endpoint_id, self._prompts)
