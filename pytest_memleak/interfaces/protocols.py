"""Protocols of providers and endpoints, and the records they exchange.

A provider samples, and may fine-tune. It never decides whether to spend money: the
sampling package records the intent in the ledger first and then calls one method once.
So every method is one exchange with the provider, and may raise `ProviderError` (final)
or `ProviderBusy` (worth another try).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pytest_memleak.errors import SuiteError
from pytest_memleak.records import Book, BookPart, FinishReason, Generation, Model

# --- books


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter's paragraphs, in order; `title` is its heading, if it has one.

    documents: the names of those that it stands in, if its reader reports them
    """

    title: str | None
    paragraphs: tuple[str, ...] = field(repr=False)
    documents: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """Text of a document that isn't measured.

    label: the document's title in the table of contents, or its first heading
    rule:  why it isn't measured
    words: of every script; begins: its first words
    inside: how many of the words stand between text of their document
    """

    document: str
    label: str | None
    rule: str
    words: int
    begins: str = field(repr=False)
    inside: int = 0


@dataclass(frozen=True, slots=True)
class Manuscript:
    """A book before it is cut into excerpts, as a book reader returns it.

    `warnings` name unreadable parts that were left out; `parts` list the file's
    documents in reading order, and whether each is text; `excluded` has the text, by
    document, that isn't measured but in which passages are looked for; `cuts` list all
    text that isn't measured, except notes.
    """

    title: str | None
    author: str | None
    chapters: tuple[Chapter, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()
    parts: tuple[BookPart, ...] = field(default=(), repr=False)
    excluded: tuple[Chapter, ...] = field(default=(), repr=False)
    cuts: tuple[Cut, ...] = field(default=(), repr=False)

    def paragraphs(self) -> list[str]:
        """Return the paragraphs of all chapters, in order."""
        texts: list[str] = []
        for chapter in self.chapters:
            texts += chapter.paragraphs
        return texts


# --- sampling


@dataclass(frozen=True, slots=True)
class Served:
    """The model that served a call; None for what the server doesn't state.

    model:       its name, which may differ from the requested one
    fingerprint: its version or fingerprint; for weights on this machine "sha256:" and
        their digest (fingerprint_of_weights)
    response_id: the server's id of the response
    refused:     parameters that the server rejected and that were omitted
    """

    model: str | None = None
    fingerprint: str | None = None
    response_id: str | None = None
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion of an endpoint; token counts are None if none are reported.

    finish_word: the server's own finish reason; None if it gave none.
    served: the model that served the call; None if unknown. Not compared, since no two
        calls share their response id.
    reasoning: a reasoning model's text before its answer, if the server returns it.
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
        """All text to search for passages: reasoning, blank line, answer.

        A passage in the reasoning is a passage. The kind of generation depends on
        `text` alone.
        """
        return f"{self.reasoning}\n\n{self.text}" if self.reasoning else self.text


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """`n` completions of one instruction. `key` identifies it.

    temperature, max_tokens, seed: None sends none.
    before: the conversation before the instruction: the user's texts and the answers,
        in turn; only endpoints that converse get one (`Abilities.converses`)
    """

    key: str
    instruction: str = field(repr=False)
    n: int
    temperature: float | None
    max_tokens: int | None
    seed: int | None = None
    before: tuple[str, ...] = field(default=(), repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """The whole prompt: the conversation, then the instruction."""
        return (*self.before, self.instruction)


class Endpoint(Protocol):
    """A model that answers instructions.

    Your own class needs only `sample`; plain strings count as complete answers. An
    optional `id: str` identifies the weights: generations of an endpoint with an id
    stay in the ledger and are reused; without one, they are kept for this run only.
    What else it can do is its `abilities` (interfaces/abilities.py).
    """

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int | None,
        seed: int | None,
    ) -> Sequence[Completion | str]:
        """Return up to `n` completions; after fewer, the rest is requested again.

        temperature, max_tokens, seed: None leaves them to the model.
        """
        ...


class RequestEndpoint(ABC):
    """An endpoint that takes a call as one record; `id`: of weights and settings."""

    id: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int | None,
        seed: int | None,
    ) -> Sequence[Completion]:
        """Return up to `n` completions; see `answer`."""
        return self.answer(
            SampleRequest("", instruction, n, temperature, max_tokens, seed),
        )

    @abstractmethod
    def answer(self, request: SampleRequest) -> Sequence[Completion]:
        """Return the completions of a request, whose key may be empty."""


class JobStatus(StrEnum):
    """The state of a fine-tune or a batch."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """The provider's state of a job.

    endpoint: once it succeeded
    detail:   what went wrong if it failed
    tokens:   the billed training tokens, if the provider reports them
    """

    status: JobStatus
    endpoint: str | None = None
    detail: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One pair to fine-tune on."""

    instruction: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The examples of a fine-tune; `digest` identifies examples and recipe."""

    examples: tuple[TrainingExample, ...] = field(repr=False)
    digest: str


OWN_PROVIDER = "own"
"""The provider's name for an endpoint that a test created itself."""


class Provider(Protocol):
    """A service that samples one model of a suite.

    concurrency: how many calls of `Endpoint.sample` may run at once; None to adapt:
        from 8 on, more while that is faster, fewer while the server is overloaded.
    completions_per_call: the most completions per call; lowered where a server returns
        fewer.
    batch: whether the suite requests batches.

    What else it can do, such as fine-tuning, is its `abilities`
    (interfaces/abilities.py).
    """

    name: str
    concurrency: int | None
    completions_per_call: int
    batch: bool

    def open(self, endpoint: str | None) -> Endpoint:
        """Return the endpoint of that id; None means the model without fine-tuning."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSetup:
    """The arguments of a provider.

    model:  the suite's entry; the provider validates `options` and `finetune` itself.
    place:  the suite file and key, for error messages.
    root:   the folder of relative paths in the suite.
    state:  the provider's own folder, for weights it makes; it may not exist yet.
    read_book: reads a book of the suite by its id (SuiteError for an unknown one).
    hosts:  that may receive a key, beside the provider's own; None: no call is made.
    deadline: the seconds that one call may take.
    """

    model: Model
    place: str
    root: Path
    state: Path
    read_book: Callable[[str], Book] = field(repr=False)
    hosts: frozenset[str] | None = frozenset()
    deadline: float = 600.0

    def untuned(self, example: str) -> str:
        """Return the untuned model's name. Raises SuiteError if there is none."""
        name = self.model.endpoint or self.model.base_model
        if name is None:
            hint = f"name the model, as in {example}"
            raise self.error("Neither base_model nor endpoint is set", hint)
        return name

    def error(self, message: str, hint: str) -> SuiteError:
        """Return the error of a wrong entry, with its place."""
        return SuiteError(message, location=self.place, hint=hint)


class ProviderFactory(Protocol):
    """A function or class that makes a provider; free ones have `free = True`.

    Raises SuiteError for invalid options, MissingExtra for a missing SDK.
    """

    def __call__(self, setup: ProviderSetup) -> Provider:
        """Make the provider of one model."""
        ...


class MeasureFunction(Protocol):
    """Your own measure: a number for a book and its generations."""

    def __call__(self, book: Book, generations: Iterable[Generation]) -> float:
        """Measure one pair."""
        ...
