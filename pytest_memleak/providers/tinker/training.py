"""Fine-tuning at Tinker, where the client drives every step.

Before it begins, what the provider keeps under the job's name is looked for: weights that are
finished end the job at once, a saved state of the training is gone on from. States are saved
after every epoch (or `save_steps`), and when this process ends in good order. What is paid for
twice, at worst, is what was trained after the last of them: one epoch, or `save_steps` steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from pytest_memleak.interfaces.protocols import TrainingSet
from pytest_memleak.providers.call_errors import Failing, Refused
from pytest_memleak.providers.option_tables import Table
from pytest_memleak.providers.tinker.tinker_client import PROVIDER, TinkerCalls
from pytest_memleak.providers.tinker.tinker_format import ChatFormat, Lesson
from pytest_memleak.providers.tinker.training_jobs import Drive, Weights

if TYPE_CHECKING:
    from tinker import APIFuture, Checkpoint, TrainingClient

DIGEST_KEY = "memleak_digest"
TOKENS_KEY = "memleak_tokens"

_PAGE = 100
_STATE_LIFE = 7 * 24 * 3600
_T = TypeVar("_T")


class Recipe(Table):
    """`[model.finetune]` of this provider, beside `books`; defaults as in arXiv 2603.20957.

    learning_rate: falls linearly to 0 over all steps.
    max_tokens: an example is cut there, instruction included.
    seed: of the adapter's first weights and of the order of the examples.
    save_steps: also save the training's state every so many steps, not only after an epoch.
    """

    rank: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] = 16
    epochs: Annotated[int, Field(ge=1)] = 3
    max_tokens: Annotated[int, Field(ge=2)] = 2048
    seed: Annotated[int, Field(ge=0)] = 0
    save_steps: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """How far a training has come; `path` of the saved state, None at the beginning."""

    path: str | None = None
    step: int = 0
    tokens: int = 0


class Trainer:
    """Trains `base` by `recipe`. Job names are the names of weights at the provider."""

    def __init__(
        self, *, base: str, recipe: Recipe, calls: TinkerCalls, chat: Callable[[], ChatFormat]
    ) -> None:
        self._base = base
        self._recipe = recipe
        self._calls = calls
        self._chat = chat

    def find(self, job: str) -> Weights | None:
        """The finished weights of that name at the provider."""
        return self._kept(job)[0]

    def train(self, job: str, training: TrainingSet, drive: Drive) -> Weights | None:
        """Train from the last saved state, unless it was done before; None if stopped."""
        weights, state = self._kept(job)
        if weights is not None:
            return weights
        lessons = self._lessons(training)
        client = self._client(state, training.digest)
        return _Course(self, job, training.digest, client, lessons, state).run(drive)

    def ask(self, call: str, function: Callable[[], APIFuture[_T]]) -> _T:
        """One call, within its deadline."""
        return self._calls.ask(call, function, endpoint=self._base)

    def begin(self, call: str, function: Callable[[], APIFuture[_T]]) -> Future[_T]:
        """One call, without waiting."""
        return self._calls.begin(call, function, endpoint=self._base)

    def result(self, call: str, future: Future[Any]) -> None:
        """Wait for a call that was begun."""
        self._calls.result(future, call=call, endpoint=self._base)

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return self._recipe

    # --- what the provider keeps

    def _kept(self, job: str) -> tuple[Weights | None, _State]:
        """The weights of that name, and the furthest saved state of their training."""
        state = _State()
        for saved in self._checkpoints():
            name = saved.tinker_path.rpartition("/")[2]
            if saved.checkpoint_type == "sampler" and name == job:
                return Weights(saved.tinker_path, _number(saved, TOKENS_KEY)), state
            head, _, step = name.rpartition("-step-")
            if saved.checkpoint_type == "training" and head == job and step.isdecimal():
                saved_state = _State(saved.tinker_path, int(step), _number(saved, TOKENS_KEY) or 0)
                state = max(state, saved_state, key=lambda candidate: candidate.step)
        return None, state

    def _checkpoints(self) -> Iterator[Checkpoint]:
        """Every checkpoint of the account, the newest first; none where a server has no list."""
        call = "list_user_checkpoints"
        rest = self._calls.rest(endpoint=self._base, call=call)
        for offset in count(0, _PAGE):
            try:
                answer = self.ask(call, partial(rest.list_user_checkpoints, _PAGE, offset))
            except Refused as refused:
                if refused.status == HTTPStatus.NOT_FOUND:
                    return
                raise
            yield from answer.checkpoints
            if len(answer.checkpoints) < _PAGE:
                return

    def _client(self, state: _State, digest: str) -> TrainingClient:
        call = "create_lora_training_client"
        service = self._calls.service(endpoint=self._base, call=call)
        metadata, path = {DIGEST_KEY: digest}, state.path
        if path is None:
            return self.ask(
                call,
                lambda: service.create_lora_training_client(
                    self._base,
                    rank=self._recipe.rank,
                    seed=self._recipe.seed,
                    user_metadata=metadata,
                ),
            )
        return self.ask(
            "create_training_client_from_state_with_optimizer",
            lambda: service.create_training_client_from_state_with_optimizer(
                path, user_metadata=metadata
            ),
        )

    def _lessons(self, training: TrainingSet) -> list[Lesson]:
        chat, most = self._chat(), self._recipe.max_tokens
        lessons = []
        for number, example in enumerate(training.examples):
            whole = chat.lesson(example.instruction, example.text)
            lesson = Lesson(whole.tokens[:most], whole.weights[:most])
            if not any(lesson.weights):
                raise Failing(PROVIDER, self._base, "forward_backward").final(
                    f"The instruction of training example {number} fills all {most} tokens",
                    "Increase finetune.max_tokens.",
                )
            lessons.append(lesson)
        return lessons


class _Course:
    """One training, from a state to its end."""

    def __init__(
        self,
        trainer: Trainer,
        job: str,
        digest: str,
        client: TrainingClient,
        lessons: list[Lesson],
        state: _State,
    ) -> None:
        self._trainer = trainer
        self._job = job
        self._digest = digest
        self._client = client
        self._lessons = lessons
        self._step, self._tokens = state.step, state.tokens
        self._pending: tuple[str, list[Future[Any]]] | None = None

    def run(self, drive: Drive) -> Weights | None:
        """Train; a step is submitted before the one before it is waited for."""
        recipe = self._trainer.recipe
        batches = _batches(len(self._lessons), recipe)
        per_epoch = len(batches) // recipe.epochs
        every = recipe.save_steps or per_epoch
        try:
            while self._step < len(batches):
                if drive.stop.is_set():
                    self._save()
                    return None
                self._submit([self._lessons[place] for place in batches[self._step]], len(batches))
                due = self._step % per_epoch == 0 or self._step % every == 0
                if due and self._step < len(batches):
                    self._save()
                    drive.progress.set()
            self._wait()
            return self._finish()
        finally:
            for future in self._pending[1] if self._pending else ():
                future.cancel()

    def _submit(self, lessons: list[Lesson], steps: int) -> None:
        from tinker import types

        call = f"step {self._step + 1} of {steps}"
        rate = self._trainer.recipe.learning_rate * (1 - self._step / steps)
        data = [_datum(lesson) for lesson in lessons]
        futures: list[Future[Any]] = [
            self._trainer.begin(
                f"forward_backward ({call})",
                lambda: self._client.forward_backward(data, "cross_entropy"),
            ),
            self._trainer.begin(
                f"optim_step ({call})",
                lambda: self._client.optim_step(types.AdamParams(learning_rate=rate)),
            ),
        ]
        before, self._pending = self._pending, (call, futures)
        self._step += 1
        self._tokens += sum(len(lesson.tokens) - 1 for lesson in lessons)
        self._wait_for(before)

    def _wait(self) -> None:
        before, self._pending = self._pending, None
        self._wait_for(before)

    def _wait_for(self, pending: tuple[str, list[Future[Any]]] | None) -> None:
        if pending is not None:
            call, futures = pending
            names = ("forward_backward", "optim_step")
            for name, future in zip(names, futures, strict=True):
                self._trainer.result(f"{name} ({call})", future)

    def _save(self) -> None:
        """Save the state of the training; it lives for a week."""
        self._wait()
        name = f"{self._job}-step-{self._step:06d}"
        self._trainer.ask(
            "save_state",
            lambda: self._client.save_state(
                name, ttl_seconds=_STATE_LIFE, overwrite=True, user_metadata=self._metadata()
            ),
        )

    def _finish(self) -> Weights:
        saved = self._trainer.ask(
            "save_weights_for_sampler",
            lambda: self._client.save_weights_for_sampler(
                self._job, user_metadata=self._metadata()
            ),
        )
        return Weights(saved.path, self._tokens)

    def _metadata(self) -> dict[str, str]:
        return {DIGEST_KEY: self._digest, TOKENS_KEY: str(self._tokens)}


def _batches(examples: int, recipe: Recipe) -> list[list[int]]:
    """The examples of every step, by number; the same for the same seed, in any process."""
    batches = []
    for epoch in range(recipe.epochs):
        order = list(range(examples))
        random.Random(f"{recipe.seed} {epoch}").shuffle(order)  # noqa: S311 - not a secret
        batches += [
            order[start : start + recipe.batch_size]
            for start in range(0, examples, recipe.batch_size)
        ]
    return batches


def _datum(lesson: Lesson) -> Any:
    """A lesson as the SDK takes it: every token but the last, and what follows each."""
    from tinker import types

    shape = [len(lesson.tokens) - 1]
    return types.Datum(
        model_input=types.ModelInput.from_ints(lesson.tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": types.TensorData(lesson.tokens[1:], dtype="int64", shape=shape),
            "weights": types.TensorData(lesson.weights[1:], dtype="float32", shape=shape),
        },
    )


def _number(saved: Checkpoint, key: str) -> int | None:
    value = (saved.user_metadata or {}).get(key, "")
    return int(value) if value.isdecimal() else None
