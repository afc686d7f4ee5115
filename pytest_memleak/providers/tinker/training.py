"""Fine-tuning at Tinker, where the client drives every step in a thread.

A job is a training set in a folder, a lock for the thread that drives it, and, at its
end, the name of its weights. A free lock means that nothing drives the job, as after a
crash: who next asks for its state resumes it. A job that keeps failing without progress
isn't resumed, since each try may cost something. When the process ends, the thread gets
some time to save its state.

A job first looks at the provider for what exists under its name: finished weights end
it at once, and it resumes from a saved state. It saves its state after each epoch (or
`save_steps`), and when this process ends. So at worst, what was trained since then is
billed twice: one epoch, or `save_steps` steps.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field

from pytest_memleak.errors import ProviderBusy
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import CallErrorFactory, RequestRejected
from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.tinker.tinker_client import PROVIDER, TinkerCalls
from pytest_memleak.providers.tinker.tinker_format import ChatFormat, TokenizedExample
from pytest_memleak.redaction.file_writing import write_private

if TYPE_CHECKING:
    from tinker import APIFuture, Checkpoint, TrainingClient

DIGEST_KEY = "memleak_digest"
TOKENS_KEY = "memleak_tokens"

_GRACE = 60.0  # seconds to save at the end of the process
_TRIES = 4
_PAGE = 100
_STATE_LIFE = 7 * 24 * 3600
_T = TypeVar("_T")


class Recipe(Table):
    """`[model.finetune]` of this provider, in addition to `books`.

    The defaults are those of arXiv 2603.20957.

    learning_rate: learning rate at the first step; it falls linearly to 0
    max_tokens: the longest example, instruction included; the rest is truncated
    seed: determines the adapter's first weights and the examples' order
    save_steps: number of steps between saves, in addition to one after each epoch
    """

    rank: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] = 16
    epochs: Annotated[int, Field(ge=1)] = 3
    max_tokens: Annotated[int, Field(ge=2)] = 2048
    seed: Annotated[int, Field(ge=0)] = 0
    save_steps: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights at the provider, and the tokens they were trained on, if known."""

    path: str
    tokens: int | None = None


@dataclass(slots=True)
class JobThread:
    """A thread that drives a job.

    stop: set to have it save and end; progress: set once it has saved something
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread still drives the job."""
        return self.thread is not None and self.thread.is_alive()

    def end(self) -> None:
        """Let the thread finish its step and save."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(_GRACE)


class TrainingJobs:
    """The jobs in a folder.

    train: trains the job of a name; returns None if it was stopped
    """

    def __init__(
        self,
        folder: Path,
        train: Callable[[str, TrainingSet, JobThread], Weights | None],
    ) -> None:
        self._folder = folder
        self._train = train
        self._job_threads: dict[str, JobThread] = {}
        self._tries: dict[str, int] = {}  # without progress
        self._lock = threading.Lock()

    def is_started(self, job: str) -> bool:
        """Tell whether the job has begun or ended in this folder."""
        files = (self._path(job, "training"), self._path(job, "weights"))
        return any(file.is_file() for file in files)

    def start(self, job: str, training: TrainingSet) -> None:
        """Store the training set and begin to train, once."""
        if not self.is_started(job):
            _write_training(self._path(job, "training"), training)
        self.state_after_resuming(job)

    def end(self, job: str, weights: Weights) -> None:
        """Record that the job has ended with these weights."""
        record = json.dumps(asdict(weights))
        write_private(self._path(job, "weights"), record)
        training = self._path(job, "training")
        training.unlink(missing_ok=True)

    def state_after_resuming(self, job: str) -> JobState | None:
        """Return a job's state, and resume it if nothing drives it; None if unknown.

        Raises the exception that ended its thread, once; the next call resumes it. A
        ProviderBusy becomes a ProviderError after too many tries without progress.
        """
        with self._lock:
            state = self._state_if_ended(job)
            if state is not None:
                self._job_threads.pop(job, None)
                return state
            job_thread = self._job_threads.get(job)
            if job_thread is not None and job_thread.is_alive:
                return JobState(JobStatus.RUNNING)
            self._job_threads.pop(job, None)
            if job_thread is not None and job_thread.failure is not None:
                raise self._error_after_tries(job, job_thread, job_thread.failure)
            return self._resume(job)

    def _error_after_tries(
        self,
        job: str,
        job_thread: JobThread,
        error: BaseException,
    ) -> BaseException:
        if job_thread.progress.is_set():
            self._tries.pop(job, None)
        tries = self._tries.get(job, 0) + 1
        self._tries[job] = tries
        if not isinstance(error, ProviderBusy) or tries < _TRIES:
            return error
        self._tries.pop(job)
        cause = f"{error.cause} ({tries} times, without progress)"
        kept = "checkpoints are kept: rerun when the provider works again"
        failing = CallErrorFactory(error.provider, error.endpoint, error.call)
        return failing.final(cause, error.hint or kept)

    def _resume(self, job: str) -> JobState | None:
        path = self._path(job, "training")
        if not path.is_file():
            return self._state_if_ended(job)  # it may have just ended
        lock = FileLock(self._path(job, "lock"), thread_local=False)
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            self._job_threads[job] = self._start_thread(job, path, lock)
        return JobState(JobStatus.RUNNING)

    def _start_thread(
        self,
        job: str,
        path: Path,
        lock: FileLock,
    ) -> JobThread:
        job_thread = JobThread()

        def work() -> None:
            try:
                weights = self._train(job, _read_training(path), job_thread)
                if weights is not None:
                    self.end(job, weights)
            except BaseException as error:  # noqa: BLE001 - raised again by `state_after_resuming`
                job_thread.failure = error
            finally:
                lock.release()
                atexit.unregister(job_thread.end)

        name = f"memleak-{job[:24]}"
        job_thread.thread = threading.Thread(
            target=work,
            name=name,
            daemon=True,
        )
        atexit.register(job_thread.end)
        job_thread.thread.start()
        return job_thread

    def _state_if_ended(self, job: str) -> JobState | None:
        try:
            record = json.loads(self._path(job, "weights").read_bytes())
        except FileNotFoundError:
            return None
        path, tokens = record["path"], record["tokens"]
        return JobState(JobStatus.SUCCEEDED, endpoint=path, tokens=tokens)

    def _path(self, job: str, kind: str) -> Path:
        return self._folder / f"{job}.{kind}"


def _write_training(path: Path, training: TrainingSet) -> None:
    examples = [[example.instruction, example.text] for example in training.examples]
    record = {"digest": training.digest, "examples": examples}
    write_private(path, json.dumps(record))


def _read_training(path: Path) -> TrainingSet:
    record = json.loads(path.read_bytes())
    examples = [TrainingExample(*example) for example in record["examples"]]
    return TrainingSet(tuple(examples), record["digest"])


@dataclass(frozen=True, slots=True)
class _TrainingState:
    """The progress of a training; `path` is its saved state's, if it has one."""

    path: str | None = None
    step: int = 0
    tokens: int = 0


class Trainer:
    """Trains `base` by `recipe`; a job has the name of its weights."""

    def __init__(
        self,
        *,
        base: str,
        recipe: Recipe,
        calls: TinkerCalls,
        chat: Callable[[], ChatFormat],
    ) -> None:
        self.base = base
        self.recipe = recipe
        self.calls = calls
        self._chat = chat

    def find(self, job: str) -> Weights | None:
        """Return the finished weights of that name at the provider."""
        return self._finished_weights_and_last_state(job)[0]

    def train(
        self,
        job: str,
        training: TrainingSet,
        job_thread: JobThread,
    ) -> Weights | None:
        """Train from the last saved state unless weights exist; None if stopped."""
        weights, state = self._finished_weights_and_last_state(job)
        if weights is not None:
            return weights
        tokenized_examples = self._tokenized_examples(training)
        client = self._training_client_from_state(state, training.digest)
        training_run = _TrainingRun(
            self,
            job,
            training.digest,
            client,
            tokenized_examples,
            state.step,
            state.tokens,
        )
        return training_run.run(job_thread)

    def ask(self, call: str, function: Callable[[], APIFuture[_T]]) -> _T:
        """Return the result of a call for the base model."""
        return self.calls.ask(call, function, endpoint=self.base)

    def _finished_weights_and_last_state(
        self, job: str
    ) -> tuple[Weights | None, _TrainingState]:
        """Return the weights of that name, and their training's last saved state."""
        latest = _TrainingState()
        for saved in self._checkpoints():
            path = saved.tinker_path
            name = path.rpartition("/")[2]
            tokens = _number_in_metadata(saved, TOKENS_KEY)
            if saved.checkpoint_type == "sampler" and name == job:
                return Weights(path, tokens), latest
            if saved.checkpoint_type != "training":
                continue
            head, _, step = name.rpartition("-step-")
            if head == job and step.isdecimal() and int(step) > latest.step:
                latest = _TrainingState(path, int(step), tokens or 0)
        return None, latest

    def _checkpoints(self) -> Iterator[Checkpoint]:
        """Yield the account's checkpoints, newest first; none without a list."""
        call = "list_user_checkpoints"
        rest = self.calls.rest(endpoint=self.base, call=call)
        for offset in count(0, _PAGE):
            page = functools.partial(rest.list_user_checkpoints, _PAGE, offset)
            try:
                answer = self.ask(call, page)
            except RequestRejected as refused:
                if refused.status == HTTPStatus.NOT_FOUND:
                    return
                raise
            yield from answer.checkpoints
            if len(answer.checkpoints) < _PAGE:
                return

    def _training_client_from_state(
        self, state: _TrainingState, digest: str
    ) -> TrainingClient:
        call = "create_lora_training_client"
        service = self.calls.service(endpoint=self.base, call=call)
        metadata = {DIGEST_KEY: digest}
        path = state.path
        if path is not None:
            return self.ask(
                "create_training_client_from_state_with_optimizer",
                lambda: service.create_training_client_from_state_with_optimizer(
                    path,
                    user_metadata=metadata,
                ),
            )
        return self.ask(
            call,
            lambda: service.create_lora_training_client(
                self.base,
                rank=self.recipe.rank,
                seed=self.recipe.seed,
                user_metadata=metadata,
            ),
        )

    def _tokenized_examples(self, training: TrainingSet) -> list[TokenizedExample]:
        chat = self._chat()
        most = self.recipe.max_tokens
        tokenized_examples = []
        for number, example in enumerate(training.examples):
            whole = chat.tokenize_example(example.instruction, example.text)
            tokens = whole.tokens[:most]
            weights = whole.weights[:most]
            tokenized = TokenizedExample(tokens, weights)
            if not any(tokenized.weights):
                raise CallErrorFactory(PROVIDER, self.base, "forward_backward").final(
                    f"The instruction of training example {number} fills all {most} "
                    "tokens",
                    "increase finetune.max_tokens",
                )
            tokenized_examples.append(tokenized)
        return tokenized_examples


@dataclass(slots=True)
class _TrainingRun:
    """A training from a state to its end; `pending` is the step at the server."""

    trainer: Trainer
    job: str
    digest: str
    client: TrainingClient
    tokenized_examples: list[TokenizedExample]
    step: int
    tokens: int
    pending: tuple[str, list[Future[Any]]] | None = None

    def run(self, job_thread: JobThread) -> Weights | None:
        """Train; a step is submitted before the previous one has ended."""
        recipe = self.trainer.recipe
        batches = _example_numbers_of_steps(len(self.tokenized_examples), recipe)
        steps = len(batches)
        per_epoch = steps // recipe.epochs
        every = recipe.save_steps or per_epoch
        try:
            while self.step < steps:
                if job_thread.stop.is_set():
                    self._save()
                    return None
                tokenized_examples = [
                    self.tokenized_examples[place] for place in batches[self.step]
                ]
                self._submit(tokenized_examples, steps)
                is_due = self.step % per_epoch == 0 or self.step % every == 0
                if is_due and self.step < steps:
                    self._save()
                    job_thread.progress.set()
            self._wait_for_pending_step()
            return self._finish()
        finally:
            self._cancel()

    def _cancel(self) -> None:
        if self.pending is not None:
            _, futures = self.pending
            for future in futures:
                future.cancel()

    def _submit(self, tokenized_examples: list[TokenizedExample], steps: int) -> None:
        from tinker import types

        call = f"step {self.step + 1} of {steps}"
        rest = 1 - self.step / steps
        rate = self.trainer.recipe.learning_rate * rest
        adam = types.AdamParams(learning_rate=rate)
        data = [_datum_of_example(tokenized) for tokenized in tokenized_examples]
        calls = self.trainer.calls
        base = self.trainer.base
        gradients = calls.begin(
            f"forward_backward ({call})",
            lambda: self.client.forward_backward(data, "cross_entropy"),
            endpoint=base,
        )
        update = calls.begin(
            f"optim_step ({call})",
            lambda: self.client.optim_step(adam),
            endpoint=base,
        )
        before = self.pending
        self.pending = call, [gradients, update]
        self.step += 1
        self.tokens += sum(
            len(tokenized.tokens) - 1 for tokenized in tokenized_examples
        )
        self._wait_for(before)

    def _wait_for_pending_step(self) -> None:
        before = self.pending
        self.pending = None
        self._wait_for(before)

    def _wait_for(self, pending: tuple[str, list[Future[Any]]] | None) -> None:
        if pending is None:
            return
        call, futures = pending
        calls = self.trainer.calls
        base = self.trainer.base
        names = ("forward_backward", "optim_step")
        for name, future in zip(names, futures, strict=True):
            calls.result(future, call=f"{name} ({call})", endpoint=base)

    def _save(self) -> None:
        """Save the training's state, which the provider keeps for a week."""
        self._wait_for_pending_step()
        name = f"{self.job}-step-{self.step:06d}"
        self.trainer.ask(
            "save_state",
            lambda: self.client.save_state(
                name,
                ttl_seconds=_STATE_LIFE,
                overwrite=True,
                user_metadata=self._metadata(),
            ),
        )

    def _finish(self) -> Weights:
        saved = self.trainer.ask(
            "save_weights_for_sampler",
            lambda: self.client.save_weights_for_sampler(
                self.job,
                user_metadata=self._metadata(),
            ),
        )
        return Weights(saved.path, self.tokens)

    def _metadata(self) -> dict[str, str]:
        return {DIGEST_KEY: self.digest, TOKENS_KEY: str(self.tokens)}


def _example_numbers_of_steps(examples: int, recipe: Recipe) -> list[list[int]]:
    """Return the numbers of each step's examples, the same for the same seed."""
    batches = []
    for epoch in range(recipe.epochs):
        order = list(range(examples))
        dice = random.Random(f"{recipe.seed} {epoch}")  # noqa: S311 - not a secret
        dice.shuffle(order)
        for start in range(0, examples, recipe.batch_size):
            batch = order[start : start + recipe.batch_size]
            batches.append(batch)
    return batches


def _datum_of_example(tokenized: TokenizedExample) -> Any:
    """Return a tokenized for the SDK: each token but the last, and the one after it."""
    from tinker import types

    tokens = tokenized.tokens[:-1]
    targets = tokenized.tokens[1:]
    weights = tokenized.weights[1:]
    shape = [len(tokens)]
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens),
        loss_fn_inputs={
            "target_tokens": types.TensorData(targets, dtype="int64", shape=shape),
            "weights": types.TensorData(weights, dtype="float32", shape=shape),
        },
    )


def _number_in_metadata(saved: Checkpoint, key: str) -> int | None:
    metadata = saved.user_metadata or {}
    value = metadata.get(key, "")
    if not value.isdecimal():
        return None
    return int(value)
