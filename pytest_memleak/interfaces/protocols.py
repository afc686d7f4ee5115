"""What a provider and its endpoint must be able to do, and the records they exchange.

A provider has three verbs (fine-tune, wait, sample). It never decides whether to spend money:
the sampling room records the intent in the ledger first and then calls one of these verbs once.
So every verb is one exchange with the provider, and may raise `ProviderError` (final) or
`ProviderBusy` (worth another try).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from pytest_memleak.records import Book, BookPart, FinishReason, Generation, Model

# --- books ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter's paragraphs, in order; `title` is its heading, if it has one."""

    title: str | None
    paragraphs: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Manuscript:
    """What a book reader returns: a book before it is cut into excerpts.

    `warnings` name what was left out because it could not be read; `parts` say of each document
    of the file whether it is text, in reading order.
    """

    title: str | None
    author: str | None
    chapters: tuple[Chapter, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()
    parts: tuple[BookPart, ...] = field(default=(), repr=False)


# --- sampling ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """Who answered a call, in the server's own words; None where it does not say.

    model:       the name of what answered, which need not be the one that was asked
    fingerprint: the version or fingerprint of it; of weights on this machine "sha256:" and the
        digest of them (fingerprint_of_weights)
    response_id: the server's id of the answer
    refused:     the settings that it would not take, and that were left out
    """

    model: str | None = None
    fingerprint: str | None = None
    response_id: str | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of an endpoint. Token counts are None where the provider does not say.

    finish_word: the server's own word for why it ended; None where it gave none.
    served: who answered; None where the endpoint cannot say. It is no part of what is compared:
        no two calls have the same response id.
    reasoning: what a model that thinks wrote before its answer, where the server shows it.
    """

    text: str = field(repr=False)
    finish_reason: FinishReason = FinishReason.STOP
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_word: str | None = None
    served: Served | None = field(default=None, compare=False)
    reasoning: str = field(default="", repr=False)

    @property
    def written(self) -> str:
        """All that the model wrote, to be searched for passages: thoughts, blank line, answer.

        A passage in the thoughts is a passage. What kind of answer it is, and whether there is
        one, is judged by `text` alone.
        """
        return f"{self.reasoning}\n\n{self.text}" if self.reasoning else self.text


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """`n` completions of one instruction. `key` is unique within a batch.

    temperature: None sends none.
    """

    key: str
    instruction: str = field(repr=False)
    n: int
    temperature: float | None
    max_tokens: int
    seed: int | None = None


@runtime_checkable
class Endpoint(Protocol):
    """A model that answers instructions.

    A class of your own needs `sample` only; plain strings are taken as complete answers.
    An `id: str` beside it names the weights behind it: what is drawn from an endpoint with an
    id stays in the ledger and is not drawn again; without one it is kept for this run only.
    """

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion | str]:
        """Up to `n` completions of `instruction`; fewer means: ask again for the rest.

        temperature: None leaves it to the model.
        """
        ...


@runtime_checkable
class BaselinedEndpoint(Endpoint, Protocol):
    """An endpoint of one's own that brings the one it is to be compared with (`uplift`)."""

    baseline: Endpoint


@runtime_checkable
class ContinuingEndpoint(Endpoint, Protocol):
    """An endpoint whose weights can also go on with a text as it stands, without any chat."""

    def continuing(self) -> Endpoint | None:
        """The same weights, whose `sample` takes the beginning of a text and gives what follows.

        It has an `id` of its own, where it has one at all. None: it only answers instructions.
        """
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens of a text, and those that follow them: numbers, or the tokens' own texts."""

    prefix: tuple[int | str, ...] = field(repr=False)
    suffix: tuple[int | str, ...] = field(repr=False)


@runtime_checkable
class LogProbabilityEndpoint(Endpoint, Protocol):
    """An endpoint that tells how probable a given text is.

    tokenizes_here: whether `text_tokens` is done on this machine and costs nothing.
    windows_per_call: how many windows to ask about at once; 1 where each is paid for.
    """

    tokenizes_here: bool
    windows_per_call: int

    def text_tokens(self, text: str) -> Sequence[int | str]:
        """The tokens of a text as it stands, without any that mark its beginning or end."""
        ...

    def log_probabilities(self, windows: Sequence[Window]) -> Sequence[Sequence[float]]:
        """Per window the natural logarithms of its suffix tokens' probabilities, in order.

        Each is that of the token after the prefix and the suffix up to it, no chat around them,
        among all tokens and at temperature 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class WindowLogs:
    """Natural logarithms of the probabilities of a window's suffix tokens, -inf for 0.

    plain: among all tokens, at temperature 1
    top_k: where only the likeliest may be drawn, at some temperature
    """

    plain: Sequence[float]
    top_k: Sequence[float]


@runtime_checkable
class TopKEndpoint(LogProbabilityEndpoint, Protocol):
    """One that can tell the probabilities of the likeliest tokens beside those of a text's own."""

    def top_k_log_probabilities(
        self, windows: Sequence[Window], *, top_k: int, temperature: float
    ) -> Sequence[WindowLogs]:
        """Per window as `log_probabilities`, and where the likeliest `top_k` alone may be drawn.

        These share the whole probability, at `temperature`; top_k 0 means all tokens. One that is
        as likely as the last of them is inside. Raises TopKUnavailable where it cannot tell so
        many.
        """
        ...


@runtime_checkable
class RecoverableEndpoint(Endpoint, Protocol):
    """An endpoint whose provider keeps answers, so that one cut off on its way is found again."""

    def sample_as(
        self,
        request_id: str,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion | str]:
        """As `sample`, with `request_id` left at the provider beside the answer."""
        ...

    def recover(self, request_id: str) -> Sequence[Completion] | None:
        """The answer that the provider kept under `request_id`; None if it never gave one."""
        ...


@runtime_checkable
class Recording(Protocol):
    """An endpoint whose generations are there already and only need to be read."""

    def asked(self, book: Book) -> Book:
        """The book with the instructions that were asked, where the recording knows them."""
        ...

    def generations(self, book: Book) -> Iterable[Generation]:
        """Every generation for `book`, grouped by excerpt, ordinals from 0."""
        ...


class JobStatus(StrEnum):
    """Where a fine-tune or a batch stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """The provider's word on a job; `endpoint` once it succeeded, `detail` if it failed.

    `tokens` are the trained tokens that were billed, if the provider says.
    """

    status: JobStatus
    endpoint: str | None = None
    detail: str | None = None
    tokens: int | None = None


@runtime_checkable
class BatchEndpoint(Endpoint, Protocol):
    """An endpoint that also takes many requests at once and answers within a day.

    One that is a `CountedBatches` or a `SizedBatches` too says how much one batch holds.
    """

    def find_batch(self, digest: str) -> str | None:
        """The id of a batch that carries `digest` in its metadata or name, if there is one."""
        ...

    def start_batch(self, requests: Sequence[SampleRequest], *, digest: str) -> str:
        """Start a batch that carries `digest`; returns the provider's id of it."""
        ...

    def poll_batch(self, batch_id: str) -> JobState:
        """Where the batch stands. An expired batch with partial results is SUCCEEDED."""
        ...

    def read_batch(self, batch_id: str) -> Iterable[tuple[str, Sequence[Completion]]]:
        """Per answered request its key and completions, in any order; failed ones are absent."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One pair to fine-tune on."""

    instruction: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a model is fine-tuned on. `digest` (hexadecimal) names examples and recipe."""

    examples: tuple[TrainingExample, ...] = field(repr=False)
    digest: str


class Provider(Protocol):
    """A place where models are fine-tuned and sampled; made for one model of a suite.

    concurrency: how many calls of `Endpoint.sample` may run at once; None for as many as turns
        out well: from 8 on, more while that is faster, fewer where the server has no room.
    completions_per_call: the most completions to ask for in one call.
    batch: whether the suite asks for batches (then `open` returns a BatchEndpoint).

    What else it can do it says by the protocols of interfaces/capabilities.py.
    """

    name: str
    concurrency: int | None
    completions_per_call: int
    batch: bool

    def find_finetune(self, digest: str) -> str | None:
        """The id of a job that carries `digest` in its metadata or name, if there is one."""
        ...

    def start_finetune(self, training: TrainingSet) -> str:
        """Start a fine-tune that carries `training.digest`; returns the job's id."""
        ...

    def poll_finetune(self, job_id: str) -> JobState:
        """Where the job stands; its `endpoint` once it succeeded."""
        ...

    def open(self, endpoint: str | None) -> Endpoint | Recording:
        """The endpoint of that id; None means the model itself, without fine-tuning."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """What a provider is made from.

    model:  the suite's entry; the provider validates `options` and `finetune` itself.
    place:  the suite file and key, for error messages.
    root:   the folder that relative paths in the suite start from.
    state:  a folder of the provider's own, for weights it makes; it may not exist yet.
    read_book: a book of the suite by its id (SuiteError where there is none).
    """

    model: Model
    place: str
    root: Path
    state: Path
    read_book: Callable[[str], Book] = field(repr=False)


class ProviderFactory(Protocol):
    """Makes a provider; raises SuiteError for bad options, MissingExtra for a missing SDK."""

    def __call__(self, setup: ProviderSetup) -> Provider:
        """Make the provider of one model."""
        ...


class MeasureFunction(Protocol):
    """A measure of your own: a number per book and its generations, held against a limit."""

    def __call__(self, book: Book, generations: Iterable[Generation]) -> float:
        """Measure one pair."""
        ...
