"""What a provider or an endpoint may be able to do beside its verbs, as protocols.

    if isinstance(provider, Closing):
        provider.close()

`isinstance` sees whether the names are there. None of them is needed: each says what holds
without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pytest_memleak.interfaces.protocols import SampleRequest, Served
from pytest_memleak.records import Book
from pytest_memleak.records.provenance import RecordedAs

__all__ = [
    "AsksByName",
    "Closing",
    "CountedBatches",
    "CountsEpochs",
    "CountsTokens",
    "DescribedRecording",
    "FixedWeights",
    "Free",
    "Identified",
    "Obeyed",
    "ObeyingEndpoint",
    "Portable",
    "SaysWhoServed",
    "ShapedByOptions",
    "SizedBatches",
    "StartsWithin",
    "id_of",
]


# --- of a provider -------------------------------------------------------------------------


@runtime_checkable
class Free(Protocol):
    """A factory whose providers cost nothing, so that their pairs run without being asked for."""

    free: bool


@runtime_checkable
class ShapedByOptions(Protocol):
    """Names the options that shape a fine-tune's weights, or say where they are.

    A fine-tune is named by these alone; without it, by all of them.
    """

    weights_options: frozenset[str]


@runtime_checkable
class CountsEpochs(Protocol):
    """How often a fine-tune reads its training set, an int if the client knows it.

    Plans count by it; without it, by `epochs` of the suite's recipe.
    """

    @property
    def epochs(self) -> int | str | None:
        """The number of epochs, "auto", or None."""
        ...


@runtime_checkable
class StartsWithin(Protocol):
    """Seconds that `start_finetune` may take, None for as long as it takes.

    Without it, as long as any call may.
    """

    start_deadline: float | None


@runtime_checkable
class CountsTokens(Protocol):
    """The tokens that a text is billed as, without a call; plans and budgets count by it.

    Without it they take 4/3 of the words.
    """

    def count_tokens(self, text: str) -> int:
        """The number of tokens of `text`."""
        ...


@runtime_checkable
class Closing(Protocol):
    """What has connections, processes or memory to let go of."""

    def close(self) -> None:
        """Called once, at the end of the run."""
        ...


# --- of an endpoint ------------------------------------------------------------------------


@runtime_checkable
class Identified(Protocol):
    """An endpoint whose `id` names the weights behind it, and all that is said beside a request.

    What is drawn from it stays in the ledger; without it, it is kept for this run only.
    """

    id: str


@runtime_checkable
class FixedWeights(Protocol):
    """An endpoint whose `id` says which weights answer, by their digest or by a fine-tune's name.

    fixed_weights: whether it does; else, and without it, the id is a name behind which others may
        come to stand, and what was drawn from it ages (METRICS section 10).
    """

    @property
    def fixed_weights(self) -> bool:
        """Whether the id names weights."""
        ...


@runtime_checkable
class DescribedRecording(Protocol):
    """A recording whose records say of which book they are."""

    def described(self, book: Book) -> Iterable[RecordedAs]:
        """What each record says of its excerpt's book."""
        ...


@runtime_checkable
class AsksByName(Protocol):
    """An endpoint that asks its server for a model by a name, which the answers should bear.

    model_name: None where what answers has no name of that kind.
    """

    @property
    def model_name(self) -> str | None:
        """The name."""
        ...


@runtime_checkable
class SaysWhoServed(Protocol):
    """A LogProbabilityEndpoint that knows who told it the probabilities of a text."""

    @property
    def served(self) -> Served | None:
        """Who gave what this thread asked for last; None where the server did not say."""
        ...


def id_of(endpoint: object) -> str | None:
    """The endpoint's own id; None where nothing names its weights."""
    return (endpoint.id or None) if isinstance(endpoint, Identified) else None


@runtime_checkable
class Portable(Protocol):
    """An endpoint that works in another process, too."""

    def portable(self) -> Any:
        """A function without arguments that opens it there; it can be pickled."""
        ...


@runtime_checkable
class CountedBatches(Protocol):
    """A BatchEndpoint that says how many requests one batch holds; else it is 50,000."""

    max_batch_requests: int


@runtime_checkable
class SizedBatches(Protocol):
    """A BatchEndpoint that says how many bytes one batch holds."""

    max_batch_bytes: int

    def request_bytes(self, request: SampleRequest) -> int:
        """How many bytes of a batch a request takes."""
        ...


@dataclass(frozen=True, slots=True)
class Obeyed:
    """One parameter of requests: the values that were asked for, and those that were refused.

    A refused value was left out of the request, or said in another way that stands beside it.
    """

    asked: tuple[Any, ...]
    refused: tuple[Any, ...] = ()

    @property
    def taken(self) -> tuple[Any, ...]:
        """The values that the server did not refuse. It may still not have followed them."""
        return tuple(one for one in self.asked if one not in self.refused)


@runtime_checkable
class ObeyingEndpoint(Protocol):
    """An endpoint that tells what of a request its server has taken.

    A server refuses a parameter, or a value of it ("only the default (1) is supported"); what it
    ignores without a word nobody sees.
    """

    @property
    def obeyed(self) -> Mapping[str, Obeyed]:
        """By the parameter's name in the server's own words, as far as has been asked yet."""
        ...
