"""Optional capabilities of providers and endpoints, as protocols.

    if isinstance(provider, Closing):
        provider.close()

`isinstance` tests whether the names exist. All are optional; each docstring gives the default.
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
    """A factory whose providers cost nothing, so that their pairs run without -m copyright."""

    free: bool


@runtime_checkable
class ShapedByOptions(Protocol):
    """The options that determine a fine-tune's weights or their location.

    Only these identify a fine-tune; by default, all options do.
    """

    weights_options: frozenset[str]


@runtime_checkable
class CountsEpochs(Protocol):
    """The epochs of a fine-tune, an int if the client knows it.

    Plans use it; by default, they use `epochs` of the suite's recipe.
    """

    @property
    def epochs(self) -> int | str | None:
        """The number of epochs, "auto", or None."""
        ...


@runtime_checkable
class StartsWithin(Protocol):
    """The deadline of `start_finetune` in seconds, None for no deadline.

    By default, the deadline of any call.
    """

    start_deadline: float | None


@runtime_checkable
class CountsTokens(Protocol):
    """A count of the tokens that a text is billed as, without a call, for plans and budgets.

    By default, 4/3 of the words.
    """

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of `text`."""
        ...


@runtime_checkable
class Closing(Protocol):
    """An object with connections, processes, or memory to release."""

    def close(self) -> None:
        """Release them; called once, at the end of the run."""
        ...


# --- of an endpoint ------------------------------------------------------------------------


@runtime_checkable
class Identified(Protocol):
    """An endpoint whose `id` names its weights and every fixed parameter of its requests.

    Its generations stay in the ledger; by default, they are kept for this run only.
    """

    id: str


@runtime_checkable
class FixedWeights(Protocol):
    """An endpoint whose `id` identifies its weights, by their digest or a fine-tune's name.

    fixed_weights: whether it does; if not, and by default, the id is a name whose weights may
        change, so that its generations age (METRICS section 10).
    """

    @property
    def fixed_weights(self) -> bool:
        """Whether the id identifies weights."""
        ...


@runtime_checkable
class DescribedRecording(Protocol):
    """A recording whose records name their book."""

    def described(self, book: Book) -> Iterable[RecordedAs]:
        """Yield what each record states about its excerpt's book."""
        ...


@runtime_checkable
class AsksByName(Protocol):
    """An endpoint that requests a model by a name, which the responses should repeat.

    model_name: None if the server uses no such names.
    """

    @property
    def model_name(self) -> str | None:
        """The name."""
        ...


@runtime_checkable
class SaysWhoServed(Protocol):
    """A LogProbabilityEndpoint that knows which model returned the probabilities."""

    @property
    def served(self) -> Served | None:
        """The model that served this thread's last request; None if the server names none."""
        ...


def id_of(endpoint: object) -> str | None:
    """Return the endpoint's own id; None if nothing names its weights."""
    return (endpoint.id or None) if isinstance(endpoint, Identified) else None


@runtime_checkable
class Portable(Protocol):
    """An endpoint that also works in another process."""

    def portable(self) -> Any:
        """Return a picklable function without arguments that opens it there."""
        ...


@runtime_checkable
class CountedBatches(Protocol):
    """A BatchEndpoint with its own limit of requests per batch; by default, 50,000."""

    max_batch_requests: int


@runtime_checkable
class SizedBatches(Protocol):
    """A BatchEndpoint with a limit of bytes per batch."""

    max_batch_bytes: int

    def request_bytes(self, request: SampleRequest) -> int:
        """Return how many bytes of a batch a request takes."""
        ...


@dataclass(frozen=True, slots=True)
class Obeyed:
    """One request parameter: its requested values, and those that the server rejected.

    A rejected value was omitted from the request, or replaced by an equivalent.
    """

    asked: tuple[Any, ...]
    refused: tuple[Any, ...] = ()

    @property
    def taken(self) -> tuple[Any, ...]:
        """The values that the server didn't reject; it may still have ignored them."""
        return tuple(value for value in self.asked if value not in self.refused)


@runtime_checkable
class ObeyingEndpoint(Protocol):
    """An endpoint that reports which request parameters its server accepts.

    A server may reject a parameter or a value ("only the default (1) is supported"); a parameter
    that it silently ignores counts as accepted.
    """

    @property
    def obeyed(self) -> Mapping[str, Obeyed]:
        """The parameters requested so far, by the server's own names."""
        ...
