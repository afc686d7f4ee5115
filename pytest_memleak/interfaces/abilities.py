"""What a provider or an endpoint can do beyond its protocol: one record.

    batches = abilities_of(endpoint).batches
    if batches is not None:
        batch_id = batches.start(requests, digest)

Providers and endpoints declare the record as their attribute `abilities`. Each call of
it is one exchange with the provider, and may raise what the protocols' methods may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_memleak.errors import SuiteError
from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    JobState,
    Provider,
    SampleRequest,
    TrainingSet,
)
from pytest_memleak.records import Book, Generation
from pytest_memleak.records.provenance import RecordedAs

Completions = Sequence[Completion | str]


@dataclass(frozen=True, slots=True)
class ParameterValues:
    """A parameter's requested values; rejected ones were omitted or replaced."""

    requested: tuple[Any, ...]
    rejected: tuple[Any, ...] = ()

    @property
    def accepted(self) -> tuple[Any, ...]:
        """The values that the server didn't reject; it may have ignored them."""
        return tuple(value for value in self.requested if value not in self.rejected)


@dataclass(frozen=True, slots=True)
class Recovery:
    """Responses that the provider keeps, so that a lost one isn't paid again.

    sample:  samples, and has the provider keep the request's key with the response
    recover: returns the response kept under a key; None if there is none
    """

    sample: Callable[[SampleRequest], Completions]
    recover: Callable[[str], Completions | None]


@dataclass(frozen=True, slots=True)
class BatchCalls:
    """Batches of requests, answered within a day.

    find:  returns the id of a batch that carries a digest in its metadata or name, if
        any
    start: starts a batch that carries a digest, and returns its id
    poll:  returns a batch's state; an expired batch with partial results is SUCCEEDED
    read:  yields the key and completions of each answered request, in any order
    max_requests, max_bytes: the size of a batch
    request_bytes: counts a request's part of it
    """

    find: Callable[[str], str | None]
    start: Callable[[Sequence[SampleRequest], str], str]
    poll: Callable[[str], JobState]
    read: Callable[[str], Iterable[tuple[str, Sequence[Completion]]]]
    max_requests: int = 50_000
    max_bytes: float = math.inf
    request_bytes: Callable[[SampleRequest], int] = lambda _: 0


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in this process, which samples many requests together.

    sample_many: returns the completions of each request, in the requests' order
    most: how many completions one call of it may be asked for, except those of a single
        request; what an interrupted call had sampled is lost
    """

    sample_many: Callable[[Sequence[SampleRequest]], Sequence[Completions]]
    most: int = 4096


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded generations that only need to be read; the endpoint samples nothing.

    with_instructions: returns the book with the recorded instructions, if the recording
        has them
    generations: yields every generation for a book, grouped by excerpt, ordinals from 0
    described:   yields what each record states about its excerpt's book, if it states
        anything
    close:       frees what was read, at the end of each pair; the next use reads it
        again
    """

    with_instructions: Callable[[Book], Book]
    generations: Callable[[Book], Iterable[Generation]]
    described: Callable[[Book], Iterable[RecordedAs]] | None = None
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The tokens of a text, as a model reads it without a chat.

    Both are empty where the tokens can't be found in the text.

    starts: where each token begins in the text, in characters; never descending
    logprobs: the natural logarithm of each token's probability at temperature 1, after
        those before it; None where the model gives none, as for the first
    """

    starts: tuple[int, ...] = ()
    logprobs: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Finetuning:
    """Fine-tunes, each of which ends in an endpoint.

    find:  returns the id of a job that carries a digest in its metadata or name, if any
    start: starts a fine-tune that carries `training.digest`, and returns the job's id
    poll:  returns a job's state, with its `endpoint` once it succeeded
    weights_options: the options that identify a fine-tune and its location; None for
        all options
    epochs:          how often the training set is read, an int if the client knows it;
        None for `epochs` of the suite's recipe
    system:          the system messages that each example begins with; they shape the
        weights
    start_deadline:  the seconds that `start_finetune` may take, infinity for as long as
        it takes; None for the deadline of any call
    """

    find: Callable[[str], str | None]
    start: Callable[[TrainingSet], str]
    poll: Callable[[str], JobState]
    weights_options: frozenset[str] | None = None
    epochs: int | str | None = None
    system: tuple[str, ...] = field(default=(), repr=False)
    start_deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """The specification of a deployment.

    digest:  identifies the specification; part of the provider's display name
    options: enough to make a provider that can delete the deployment
    hours:   the longest time that it is used
    """

    digest: str
    weights: str
    options: Mapping[str, Any] = field(repr=False)
    hours: float


@dataclass(frozen=True, slots=True)
class DeploymentCalls:
    """Deployments on machines that are billed by the hour.

    The caller records each call first.

    needed:   returns the deployment that `open(weights)` needs; None if it needs none
    find:     returns the endpoint or operation that carries a digest, if any. Takes the
        time of a request whose response never arrived (seconds since 1970), or None.
        Raises ProviderBusy while pending operations may be this one
    start:    requests a deployment and returns the operation's name at once
    poll:     returns the state of an operation, with its `endpoint` once it is ready
    move_in:  uses an endpoint for the deployment's weights from now on, up to a time
    end:      deletes the next part of a deployment; returns True once nothing billed is
        left
    """

    provider: str
    needed: Callable[[str | None], Deployment | None]
    find: Callable[[str, float | None], str | None]
    start: Callable[[Deployment], str]
    poll: Callable[[str], JobState]
    move_in: Callable[[Deployment, str, float], object]
    end: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Abilities:
    """The abilities of a provider and of an endpoint; by default, there are none.

    Of a provider:
    finetuning:    None if it can't fine-tune
    count_tokens:  counts the tokens that a text is billed as, without a call; None for
        4/3 of the words
    close:         releases connections, processes, or memory, once at the end of the
        run
    deployments:   for weights that may need one before their endpoint can be called
    load:          loads what the first call needs, perhaps from the network, such as a
        tokenizer; raises MemleakError where it can't. None if nothing is to load
    models:        returns the names of the server's models, each with the date of its
        shutdown or ""; costs nothing. Empty if the server's list has another form

    Of an endpoint:
    fixed_weights: whether the endpoint's id identifies its weights, by their digest or
        a fine-tune's name; else they may change, and generations age (docs/method.md)
    weights_fingerprint: returns the fingerprint of weights on this machine, as each of
        their completions has it; makes no call. None for weights elsewhere
    samples_each:  whether weights on this machine sample each completion of a call by
        itself; a server's may be alike, and it may lose some (docs/method.md)
    model_name:    the name in requests, which responses should repeat; None if servers
        use none
    parameter_values: returns the parameters requested so far, by the server's own
        names; one that the server silently ignores counts as accepted
    continuing:    returns an endpoint of the same weights, with an id of its own, whose
        `sample` continues a text's beginning without chat; None if the model only
        answers instructions
    chats:         tells whether chats have the model's own format; costs nothing
    converses:     answers a request with the conversation before its instruction; None
        if it can't. An engine's requests have it, too
    engine:        samples many requests together, instead of call by call
    token_logprobs: returns the log-probabilities of the tokens of each of some texts;
        one text a call, unless the endpoint has an engine. Raises ProviderError where
        the server gives none. None if the endpoint has no way
    """

    finetuning: Finetuning | None = None
    count_tokens: Callable[[str], int] | None = None
    close: Callable[[], object] = lambda: None
    deployments: DeploymentCalls | None = None
    load: Callable[[], object] | None = None
    models: Callable[[], Mapping[str, str]] | None = None
    fixed_weights: bool = False
    weights_fingerprint: Callable[[], str | None] | None = None
    samples_each: bool = False
    model_name: str | None = None
    parameter_values: Callable[[], Mapping[str, ParameterValues]] = dict
    continuing: Callable[[], Endpoint | None] | None = None
    chats: Callable[[], bool] = lambda: True
    converses: Callable[[SampleRequest], Completions] | None = None
    recovery: Recovery | None = None
    batches: BatchCalls | None = None
    engine: Engine | None = None
    token_logprobs: Callable[[Sequence[str]], Sequence[TokenLogprobs]] | None = None
    recording: Recording | None = None


def abilities_of(owner: object) -> Abilities:
    """Return the record that a provider or an endpoint declares, or the defaults."""
    abilities: Abilities = getattr(owner, "abilities", Abilities())
    return abilities


def finetuning_of(provider: Provider, *, place: str | None = None) -> Finetuning:
    """Return the fine-tuning that a provider declares; SuiteError if it has none."""
    finetuning = abilities_of(provider).finetuning
    if finetuning is None:
        raise SuiteError(
            f"The provider {provider.name!r} can't fine-tune",
            location=place,
            hint="remove [model.finetune], and name a model that exists: base_model or "
            "endpoint",
        )
    return finetuning


def id_of(endpoint: object) -> str | None:
    """Return the endpoint's own id; None if nothing names its weights."""
    endpoint_id: str | None = getattr(endpoint, "id", None)
    return endpoint_id or None


def baseline_of(endpoint: object) -> Endpoint | None:
    """Return the baseline model (`uplift`) that a test's own endpoint has, if any."""
    baseline: Endpoint | None = getattr(endpoint, "baseline", None)
    return baseline
