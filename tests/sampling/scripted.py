"""Endpoints that do as they are told, and count what they are asked."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import sqlalchemy as sa

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.abilities import (
    Abilities,
    BatchCalls,
    Engine,
    Finetuning,
    Recovery,
)
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    RequestEndpoint,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.ledger.call_outcomes import run_spending
from pytest_memleak.ledger.call_reservations import CallTerms
from pytest_memleak.ledger.ledger_queries import generations
from pytest_memleak.ledger.tables import calls, claims
from pytest_memleak.sampling.loop import sample_missing


@dataclass(frozen=True)
class Asked:
    number: int
    instruction: str
    n: int
    temperature: float
    max_tokens: int
    seed: int | None
    request_id: str | None = None


def answers(request):
    return [
        Completion(f"{request.number}.{place} {request.instruction}")
        for place in range(request.n)
    ]


class Scripted(RequestEndpoint):
    """Plays its replies in turn, the last one for ever; exceptions are raised."""

    def __init__(self, *replies):
        self._replies = list(replies) or [answers]
        self._lock = threading.Lock()
        self.calls = []

    def answer(self, request):
        with self._lock:
            number = len(self.calls)
            prompts = Asked(
                *(number, request.instruction, request.n, request.temperature),
                *(request.max_tokens, request.seed, request.key or None),
            )
            self.calls.append(prompts)
            reply = self._replies[min(number, len(self._replies) - 1)]
        if isinstance(reply, Exception):
            raise reply
        return reply(prompts)


class Keeping(Scripted):
    """As above, with `kept`: the answers that are there by request id."""

    def __init__(self, *replies):
        super().__init__(*replies)
        self.kept = {}
        self.scan_scope = []
        self.recovering = []

    @property
    def abilities(self):
        return Abilities(recovery=Recovery(self.answer, self.recover))

    def recover(self, request_id):
        self.scan_scope.append(request_id)
        if self.recovering:
            raise self.recovering.pop(0)
        return self.kept.get(request_id)


@dataclass
class Sampler:
    name: str = "scripted"
    concurrency: int | None = 1
    completions_per_call: int = 1
    batch: bool = False


@dataclass
class CountingSampler(Sampler):
    """A provider that counts tokens: one a character."""

    counted: list[str] = field(default_factory=list)

    @property
    def abilities(self):
        return Abilities(count_tokens=self.count_tokens)

    def count_tokens(self, text):
        self.counted.append(text)
        return len(text)


def terms(concurrency=1, per_call=1, *, price=None, batch=False):
    return CallTerms(Sampler("scripted", concurrency, per_call, batch), price)


def busy(cause="429 Too Many Requests", **more):
    return ProviderBusy(cause, provider="scripted", endpoint="e", call="sample", **more)


def broken(cause="400 Bad Request"):
    return ProviderError(cause, provider="scripted", endpoint="e", call="sample")


def fail(failures):
    """Raise the next of these failures, or wait for it where it is an event."""
    failure = failures.pop(0) if failures else None
    if isinstance(failure, threading.Event):
        failure.wait(20)
    elif failure is not None:
        raise failure


def sample_all(ledger, endpoint, prompts, retry=None, by=None, **options):
    """Draw everything that is asked, by these terms, as of the endpoint "e"."""
    options |= {"retry": retry} if retry else {}
    return sample_missing(
        ledger,
        endpoint,
        endpoint_id="e",
        prompts=prompts,
        terms=by or terms(),
        **options,
    )


def texts(ledger, prompts, endpoint_id="e"):
    return [generation.text for generation in generations(ledger, endpoint_id, prompts)]


def states(ledger, table=calls):
    return Counter(
        ledger.read(lambda c: c.execute(sa.select(table.c.state)).scalars().all())
    )


def open_claims(ledger):
    return ledger.read(
        lambda c: c.scalar(sa.select(sa.func.count()).select_from(claims))
    )


def spent(ledger):
    """Billionths of a US$ that this run's calls have cost, or may have."""
    return ledger.read(lambda c: run_spending(c, {ledger.run}))[ledger.run]


class Batching(Scripted):
    """Answers batches after so many looks; `fails` says which keys are not answered."""

    def __init__(self, *, looks=1, fails=lambda batch, place: False, **size):
        super().__init__(broken("nothing is asked online"))
        self.looks = looks
        self.fails = fails
        self.started = []
        self.found = {}
        self.polls = Counter()
        self.states = {}
        self.failures = {verb: [] for verb in ("find", "start", "poll", "read")}
        self.size = size

    @property
    def abilities(self):
        calls = (self.find_batch, self.start_batch, self.poll_batch, self.read_batch)
        return Abilities(batches=BatchCalls(*calls, **self.size))

    def find_batch(self, digest):
        fail(self.failures["find"])
        return self.found.get(digest)

    def start_batch(self, requests, digest):
        fail(self.failures["start"])
        batch_id = f"batch-{len(self.started)}"
        self.started.append((batch_id, list(requests)))
        self.found[digest] = batch_id
        return batch_id

    def poll_batch(self, batch_id):
        fail(self.failures["poll"])
        self.polls[batch_id] += 1
        if self.polls[batch_id] <= self.looks:
            return JobState(JobStatus.RUNNING)
        return self.states.get(batch_id, JobState(JobStatus.SUCCEEDED))

    def read_batch(self, batch_id):
        number = int(batch_id.removeprefix("batch-"))
        for place, request in reversed(list(enumerate(self.started[number][1]))):
            if not self.fails(number, place):
                texts = (f"{batch_id} {request.key} {n}" for n in range(request.n))
                came = [
                    Completion(text, prompt_tokens=5 * (not n))
                    for n, text in enumerate(texts)
                ]
                yield request.key, came
        fail(self.failures["read"])


TRAINING = TrainingSet((TrainingExample("Write.", "Words."),), "d" * 64)


class Tuner:
    """Starts jobs that run for so many looks; failures are raised in turn."""

    name = "tuner"
    concurrency = completions_per_call = 1
    batch = False
    start_deadline = None

    def __init__(self, *, looks=2):
        self.looks = looks
        self.jobs = {}
        self.polls = 0
        self.outcome = None
        self.failures = {"find": [], "start": [], "poll": []}
        self.started = []

    @property
    def abilities(self):
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            start_deadline=self.start_deadline,
        )
        return Abilities(finetuning=finetuning)

    def find_finetune(self, digest):
        fail(self.failures["find"])
        return next(
            (job for job, result in self.jobs.items() if result == digest), None
        )

    def start_finetune(self, training):
        fail(self.failures["start"])
        job_id = f"job-{len(self.started)}"
        self.started.append(job_id)
        self.jobs[job_id] = training.digest
        return job_id

    def poll_finetune(self, job_id):
        fail(self.failures["poll"])
        self.polls += 1
        if self.polls <= self.looks:
            return JobState(JobStatus.RUNNING)
        return self.outcome or JobState(
            JobStatus.SUCCEEDED, endpoint=f"tuned-{job_id}", tokens=123
        )

    def open(self, endpoint):
        raise NotImplementedError


class Together(Scripted):
    """An engine that plays its replies in turn, each for all requests of a call."""

    def __init__(self, *replies, most=4096):
        super().__init__(broken("nothing is asked alone"))
        self._together = list(replies) or [self.answers]
        self.most = most
        self.asked = []

    @property
    def abilities(self):
        return Abilities(engine=Engine(self.sample_many, self.most))

    def answers(self, requests):
        number = len(self.asked)
        return [
            [
                Completion(f"{number}.{place} {request.key} {n}")
                for n in range(request.n)
            ]
            for place, request in enumerate(requests)
        ]

    def sample_many(self, requests):
        self.asked.append(list(requests))
        reply = self._together[min(len(self.asked), len(self._together)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply(requests)
