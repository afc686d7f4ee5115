"""A provider of fine-tunes that does as it is told."""

from __future__ import annotations

from scripted import fail

from pytest_memleak.interfaces.protocols import JobState, JobStatus, TrainingExample, TrainingSet

TRAINING = TrainingSet((TrainingExample("Write.", "Words."),), "d" * 64)


class Tuner:
    """Starts jobs that run for so many looks; failures are raised in turn."""

    name = "tuner"
    concurrency = completions_per_call = 1
    batch = False

    def __init__(self, *, looks: int = 2) -> None:
        self.looks = looks
        self.jobs: dict[str, str] = {}
        self.polls = 0
        self.outcome: JobState | None = None
        self.failures: dict[str, list] = {"find": [], "start": [], "poll": []}
        self.started: list[str] = []

    def find_finetune(self, digest: str) -> str | None:
        fail(self.failures["find"])
        return next((job for job, found in self.jobs.items() if found == digest), None)

    def start_finetune(self, training: TrainingSet) -> str:
        fail(self.failures["start"])
        job_id = f"job-{len(self.started)}"
        self.started.append(job_id)
        self.jobs[job_id] = training.digest
        return job_id

    def poll_finetune(self, job_id: str) -> JobState:
        fail(self.failures["poll"])
        self.polls += 1
        if self.polls <= self.looks:
            return JobState(JobStatus.RUNNING)
        return self.outcome or JobState(JobStatus.SUCCEEDED, endpoint=f"tuned-{job_id}", tokens=123)

    def open(self, endpoint):
        raise NotImplementedError
