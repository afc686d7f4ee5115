"""A provider that keeps its own books, in a folder, and a run against it that may be killed.

    python bookkeeper.py FOLDER LEDGER_URL KIND      # KIND: plain, kept, batch

Every answer that is sent stands in the folder's `answers` before it is sent, as an append-only,
synced line, so that after any number of kills books and ledger can be held against each other.
The endpoint of KIND `kept` finds its answers again by request id; `batch` answers in batches.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    JobState,
    JobStatus,
    SampleRequest,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.ledger.call_costs import Terms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import PairPrompts, questionnaire
from pytest_memleak.records import Book, Excerpt, Sampling
from pytest_memleak.sampling.finetune import ensure_finetune
from pytest_memleak.sampling.loop import draw
from pytest_memleak.sampling.retry import Retry

CONCURRENCY = 4
TRAINING = TrainingSet((TrainingExample("Write.", "Words."),), "d" * 64)
PATIENCE = Retry(deadline=30.0, recovery=0.3, poll=0.02, poll_most=0.05, first=0.01)


class Books:
    """Append-only lists of JSON lines, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, *rows: object) -> None:
        """Append the rows at once, and see them safe."""
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        file = os.open(self._folder / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        try:
            assert os.write(file, data) == len(data)
            os.fsync(file)
        finally:
            os.close(file)

    def read(self, name: str) -> list[Any]:
        """Every row so far."""
        path = self._folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Bookkeeper:
    """The provider: three fine-tunes would show as three lines in `jobs`."""

    name = "bookkeeper"
    concurrency = CONCURRENCY
    completions_per_call = 3

    def __init__(self, books: Books, kind: str) -> None:
        self._books = books
        self._kind = kind
        self.batch = kind == "batch"

    def find_finetune(self, digest: str) -> str | None:
        return next(
            (job["id"] for job in self._books.read("jobs") if job["digest"] == digest), None
        )

    def start_finetune(self, training: TrainingSet) -> str:
        linger()
        job_id = f"job-{os.getpid()}-{time.time_ns()}"
        self._books.write("jobs", {"id": job_id, "digest": training.digest, "at": time.time()})
        linger()
        return job_id

    def poll_finetune(self, job_id: str) -> JobState:
        job = next(job for job in self._books.read("jobs") if job["id"] == job_id)
        if time.time() < job["at"] + 0.1:
            return JobState(JobStatus.RUNNING)
        return JobState(JobStatus.SUCCEEDED, endpoint=f"tuned-by-{job_id}", tokens=7)

    def open(self, endpoint: str | None) -> Endpoint:
        assert endpoint is not None
        kinds = {"plain": Plain, "kept": Kept, "batch": Batched}
        return kinds[self._kind](self._books)


class Plain:
    """Answers, and forgets."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._numbers = itertools.count()

    def sample(
        self, instruction: str, *, n: int, temperature: float, max_tokens: int, seed: int | None
    ) -> Sequence[Completion]:
        return self._answer("", instruction, n)

    def _answer(self, request_id: str, instruction: str, n: int) -> list[Completion]:
        linger()
        call = f"{os.getpid()}-{next(self._numbers)}"
        texts = [f"{instruction} {call} {place}" for place in range(n)]
        self._books.write("answers", {"request": request_id, "texts": texts})
        linger()
        return _completions(texts)


class Kept(Plain):
    """Answers, and knows by the request id what it answered."""

    def sample_as(
        self,
        request_id: str,
        instruction: str,
        *,
        n: int,
        temperature: float,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion]:
        return self._answer(request_id, instruction, n)

    def recover(self, request_id: str) -> Sequence[Completion] | None:
        kept = [row for row in self._books.read("answers") if row["request"] == request_id]
        return _completions(kept[0]["texts"]) if kept else None


class Batched(Plain):
    """Answers batches; every third request of a first batch fails."""

    max_batch_requests = 7

    def find_batch(self, digest: str) -> str | None:
        rows = self._books.read("batches")
        return next((row["id"] for row in rows if row["digest"] == digest), None)

    def start_batch(self, requests: Sequence[SampleRequest], *, digest: str) -> str:
        linger()
        batch_id = f"batch-{os.getpid()}-{next(self._numbers)}"
        fails = len(requests) > 2
        answers = {
            one.key: [f"{one.instruction} {batch_id} {one.key} {n}" for n in range(one.n)]
            for place, one in enumerate(requests)
            if not (fails and place % 3 == 1)
        }
        row = {"id": batch_id, "digest": digest, "at": time.time(), "answers": answers}
        self._books.write("batches", row)
        linger()
        return batch_id

    def poll_batch(self, batch_id: str) -> JobState:
        running = time.time() < self._row(batch_id)["at"] + 0.05
        return JobState(JobStatus.RUNNING if running else JobStatus.SUCCEEDED)

    def read_batch(self, batch_id: str) -> Iterator[tuple[str, Sequence[Completion]]]:
        for key, texts in self._row(batch_id)["completeness"].items():
            time.sleep(0.001)
            yield key, _completions(texts)

    def _row(self, batch_id: str) -> Any:
        return next(row for row in self._books.read("batches") if row["id"] == batch_id)


def _completions(texts: Sequence[str]) -> list[Completion]:
    return [
        Completion(text, prompt_tokens=10 * (place == 0), completion_tokens=20)
        for place, text in enumerate(texts)
    ]


def linger() -> None:
    """As long as a kill may need to come in between."""
    time.sleep(random.uniform(0, 0.02))


def sent(books: Books) -> list[list[str]]:
    """Every answer that was sent, as its texts."""
    answers = [row["texts"] for row in books.read("answers")]
    in_batches = [texts for row in books.read("batches") for texts in row["completeness"].values()]
    return answers + in_batches


def asked() -> PairPrompts:
    """What is drawn: 8 excerpts, 12 times each."""
    excerpts = tuple(Excerpt(f"p_id{n}", "some words", f"Write {n}.") for n in range(8))
    book = Book("book", "A Book", "An Author", excerpts, "0" * 64)
    return questionnaire("m/b", book, Sampling(samples=12), words=lambda text: len(text.split()))


def main(folder: str, url: str, kind: str) -> None:
    """A whole run: fine-tune and draw, or take up where the last one was killed."""
    provider = Bookkeeper(Books(Path(folder)), kind)
    with Ledger(url) as ledger:
        print("ready", flush=True)
        endpoint_id = ensure_finetune(ledger, provider, TRAINING, retry=PATIENCE)
        drawn = draw(
            ledger,
            provider.open(endpoint_id),
            endpoint_id=endpoint_id,
            questionnaire=asked(),
            terms=Terms(provider, price=(1.0, 2.0)),
            retry=PATIENCE,
        )
    print(drawn.got, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
