"""An endpoint that answers batches, and does as it is told."""

from __future__ import annotations

from collections import Counter

from scripted import Scripted, broken, fail

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
        self.failures: dict[str, list] = {verb: [] for verb in ("find", "start", "poll", "read")}

    def find_batch(self, digest: str) -> str | None:
        fail(self.failures["find"])
        return self.found.get(digest)

    def start_batch(self, requests, *, digest: str) -> str:
        fail(self.failures["start"])
        batch_id = f"batch-{len(self.started)}"
        self.started.append((batch_id, list(requests)))
        self.found[digest] = batch_id
        return batch_id

    def poll_batch(self, batch_id: str) -> JobState:
        fail(self.failures["poll"])
        self.polls[batch_id] += 1
        if self.polls[batch_id] <= self.looks:
            return JobState(JobStatus.RUNNING)
        return self.states.get(batch_id, JobState(JobStatus.SUCCEEDED))

    def read_batch(self, batch_id: str):
        number = int(batch_id.removeprefix("batch-"))
        for place, request in reversed(list(enumerate(self.started[number][1]))):
            if not self.fails(number, place):
                texts = (f"{batch_id} {request.key} {n}" for n in range(request.n))
                came = [Completion(text, prompt_tokens=5 * (not n)) for n, text in enumerate(texts)]
                yield request.key, came
        fail(self.failures["read"])
