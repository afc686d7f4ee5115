"""An endpoint that answers batches, and does as it is told."""

from __future__ import annotations

import threading
from collections import Counter

from scripted import Scripted, broken

from pytest_memleak.interfaces.protocols import Completion, JobState, JobStatus


class Batching(Scripted):
    """Answers batches after so many looks; `fails` says which keys are not answered."""

    def __init__(self, *, looks: int = 1, fails=lambda batch, place: False) -> None:
        super().__init__(broken("nothing is asked online"))
        self.looks = looks
        self.fails = fails
        self.started: list[tuple[str, list]] = []
        self.found: dict[str, str] = {}
        self.polls: Counter[str] = Counter()
        self.states: dict[str, JobState] = {}
        self.failures: dict[str, list] = {"find": [], "start": [], "poll": [], "read": []}

    def find_batch(self, digest: str) -> str | None:
        self._fail("find")
        return self.found.get(digest)

    def start_batch(self, requests, *, digest: str) -> str:
        self._fail("start")
        batch_id = f"batch-{len(self.started)}"
        self.started.append((batch_id, list(requests)))
        self.found[digest] = batch_id
        return batch_id

    def poll_batch(self, batch_id: str) -> JobState:
        self._fail("poll")
        self.polls[batch_id] += 1
        if self.polls[batch_id] <= self.looks:
            return JobState(JobStatus.RUNNING)
        return self.states.get(batch_id, JobState(JobStatus.SUCCEEDED))

    def read_batch(self, batch_id: str):
        number = int(batch_id.removeprefix("batch-"))
        for place, request in reversed(list(enumerate(self.started[number][1]))):
            if not self.fails(number, place):
                yield (
                    request.key,
                    [
                        Completion(f"{batch_id} {request.key} {n}", prompt_tokens=5 * (n == 0))
                        for n in range(request.n)
                    ],
                )
        self._fail("read")

    def _fail(self, verb: str) -> None:
        if self.failures[verb]:
            failure = self.failures[verb].pop(0)
            if isinstance(failure, threading.Event):
                failure.wait(20)
            else:
                raise failure
