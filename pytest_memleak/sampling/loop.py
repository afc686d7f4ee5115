"""The run loop: draws what the ledger lacks for a pair.

    draw(ledger, endpoint, endpoint_id="ft:...", questionnaire=..., terms=Terms(provider))

Each of as many threads as pace.py says takes the next call in order, claims its ordinals in the
ledger, makes the call within the deadline, and records the answer; what is left over (fewer
completions than asked, a call that was lost) is taken up again. Other processes that draw the
same pair share the work; the loop ends when every ordinal is there, whoever drew it.
"""

from __future__ import annotations

import math
import time

from pytest_memleak.errors import JobPending, ProviderError
from pytest_memleak.interfaces.protocols import BatchEndpoint, Endpoint
from pytest_memleak.ledger.call_costs import Terms, limit_of
from pytest_memleak.ledger.call_reservations import number_questions
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.ledger_queries import LedgerCounts, Missing, missing, tally
from pytest_memleak.ledger.prompts import PairPrompts, asks
from pytest_memleak.records.phases import Phase, Progress, ProgressEvent
from pytest_memleak.sampling.adaptive_concurrency import Pace
from pytest_memleak.sampling.batch import Batches
from pytest_memleak.sampling.call import Desk
from pytest_memleak.sampling.endpoint_calls import Line
from pytest_memleak.sampling.recovery import settle_doubts
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.sampling.workers import Workers

__all__ = ["draw"]

_FRUITLESS_BATCHES = 3
_LOOK_AT_OTHERS = 0.2


def draw(
    ledger: Ledger,
    endpoint: Endpoint,
    *,
    endpoint_id: str,
    questionnaire: PairPrompts,
    terms: Terms,
    budget: float | None = None,
    progress: Progress | None = None,
    retry: Retry | None = None,
    wait: bool = True,
) -> LedgerCounts:
    """Draw every generation of the pair that the ledger lacks; returns what there is then.

    endpoint_id: names the weights, and whatever else shapes their answers, in the ledger
    budget:      US$ that the ledger's run may spend, with all its processes
    progress:    told a few times a second, in the thread that draws
    wait:        whether to wait for batches

    Whatever is raised, every answer that was in by then is in the ledger: ProviderError and
    ProviderBusy (the endpoint failed), BudgetExceeded, JobPending (a batch is at the provider
    still), LedgerError, SettingsError (a budget without a price). After Ctrl-C the calls in
    flight get `retry.grace` seconds.
    """
    drawing = _Pair(
        ledger,
        endpoint,
        endpoint_id=endpoint_id,
        questionnaire=questionnaire,
        terms=terms,
        limit=limit_of(budget, terms, pair=questionnaire.pair),
        progress=progress or Progress(),
        retry=retry or Retry(),
    )
    if isinstance(endpoint, BatchEndpoint):
        batches = drawing.batches(endpoint, wait=wait)
        batches.settle(drawing.desk.asked.keys())
        if terms.sampler.batch:
            drawing.in_batches(batches)
            return drawing.tell()
    drawing.online()
    return drawing.tell()


class _Pair:
    """The drawing of one pair."""

    def __init__(
        self,
        ledger: Ledger,
        endpoint: Endpoint,
        *,
        endpoint_id: str,
        questionnaire: PairPrompts,
        terms: Terms,
        limit: int | None,
        progress: Progress,
        retry: Retry,
    ) -> None:
        self._ledger = ledger
        self._endpoint_id = endpoint_id
        self._questionnaire = questionnaire
        self._progress = progress
        numbers = number_questions(ledger, endpoint_id, questionnaire.questions)
        line = Line(
            endpoint,
            endpoint_id=endpoint_id,
            provider=terms.sampler.name,
            deadline=retry.deadline,
        )
        asked = {numbers[question.key]: question for question in questionnaire.questions}
        pace = Pace(terms.sampler.concurrency)
        self.desk = Desk(ledger, line, asked, numbers, terms, limit, retry, pace)

    def online(self) -> None:
        """Draw call by call until everything is there, whoever drew it."""
        workers = Workers(self.desk)
        while True:
            lacking = self._lacking()
            if lacking.free:
                self._draw(workers, lacking)
            elif lacking.in_batches:
                raise self._unread(lacking)
            elif lacking.elsewhere:
                self.tell()
                time.sleep(_LOOK_AT_OTHERS)
            else:
                return

    def in_batches(self, batches: Batches) -> None:
        """Draw in batches until everything is there; each must bring something new."""
        fewest, fruitless = math.inf, 0
        while True:
            lacking = self._lacking()
            if lacking.free:
                fruitless = fruitless + 1 if lacking.count >= fewest else 0
                if fruitless == _FRUITLESS_BATCHES:
                    raise self._no_use(lacking)
                fewest = min(fewest, lacking.count)
                per_call = self.desk.terms.sampler.completions_per_call
                batches.submit(asks(lacking.free, per_call), self.desk.numbers)
                self.tell()
            elif lacking.elsewhere:
                time.sleep(_LOOK_AT_OTHERS)
            elif not lacking.in_batches:
                return
            batches.settle(self.desk.asked.keys())

    def batches(self, endpoint: BatchEndpoint, *, wait: bool) -> Batches:
        """The batches of this pair's endpoint."""
        desk = self.desk
        return Batches(
            ledger=desk.ledger,
            endpoint=endpoint,
            endpoint_id=self._endpoint_id,
            line=desk.line,
            terms=desk.terms,
            limit=desk.limit,
            retry=desk.retry,
            wait=wait,
            progress=self._progress,
        )

    def tell(self) -> LedgerCounts:
        """What there is now, also told to whoever watches."""
        now = tally(self._ledger, self._endpoint_id, self._questionnaire)
        self._progress(self._standing(now, done=now.got))
        return now

    def _standing(
        self, then: LedgerCounts, *, done: int, tokens: int = 0, cost: float | None = None
    ) -> ProgressEvent:
        """How far it is: what there was at some time, and the tokens and US$ that came since."""
        return ProgressEvent(
            Phase.SAMPLING,
            self._questionnaire.pair,
            done,
            then.asked,
            then.prompt_tokens + then.completion_tokens + tokens,
            then.cost if cost is None else (then.cost or 0.0) + cost,
        )

    def _draw(self, workers: Workers, lacking: Missing) -> None:
        before = self.tell()
        counts = self.desk.counts
        counts.clear()

        def tell() -> None:
            cost = None if self.desk.terms.price is None else counts.cost / 1e9
            self._progress(
                self._standing(
                    before,
                    done=before.got + counts.done,
                    tokens=counts.prompt_tokens + counts.completion_tokens,
                    cost=cost,
                )
            )

        workers.draw(asks(lacking.free, workers.per_call), tell=tell)

    def _lacking(self) -> Missing:
        desk = self.desk
        settle_doubts(desk.ledger, desk.line, asked=desk.asked, terms=desk.terms, retry=desk.retry)
        return missing(self._ledger, self._endpoint_id, self._questionnaire)

    def _unread(self, lacking: Missing) -> JobPending:
        return JobPending(
            f"{lacking.in_batches:,} generations are asked for in batches that have not been read",
            place=f"{self.desk.terms.sampler.name} endpoint {self._endpoint_id}",
            hint="open the endpoint for batches once more (batch = true)",
        )

    def _no_use(self, lacking: Missing) -> ProviderError:
        return ProviderError(
            f"{lacking.count:,} generations did not come in {_FRUITLESS_BATCHES} batches in a row",
            provider=self.desk.terms.sampler.name,
            endpoint=self._endpoint_id,
            call="batch",
            hint="the provider's own error file of the batch says why",
        )
