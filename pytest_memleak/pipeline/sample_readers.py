"""Samples for a requirement: from the ledger, from a recording, or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import Recording
from pytest_memleak.pipeline.generation_request import generation_request
from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
from pytest_memleak.pipeline.required_samples import RequiredSamples
from pytest_memleak.records import Book, Generation, Issue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pytest_memleak.ledger.book_attempts import FindRequests
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.canaries import Canaries
    from pytest_memleak.pipeline.extraction_conversation import Conversation


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class _Samples(ABC):
    """What all samples have, wherever they are from.

    book: as it was prompted for and is measured
    issues: why some are missing
    """

    required: RequiredSamples
    book: Book
    issues: tuple[Issue, ...] = ()

    @abstractmethod
    def requested_and_surplus(self) -> Iterable[Generation]:
        """Read every generation, unrequested ones too, afresh with each call."""

    @property
    def endpoint_id(self) -> str | None:
        """The endpoint's name in the ledger; None without any."""
        return None

    def generations(self) -> Iterator[Generation]:
        """Yield the requested generations, with all that was written for each."""
        return map(with_reasoning_as_text, self.requested())

    def requested(self) -> Iterator[Generation]:
        """Yield the requested generations, each with its text and reasoning apart."""
        return self._only_requested(self.requested_and_surplus())

    def of_excerpts(self, excerpts: Collection[str]) -> Iterator[Generation]:
        """Yield only some excerpts' generations."""
        for generation in self.generations():
            if generation.excerpt_id in excerpts:
                yield generation

    @property
    def prompt_ids(self) -> tuple[str, ...]:
        """The IDs of the prompts that request no excerpt."""
        return tuple(prompt.id for prompt in self.book.prompts)

    def _only_requested(
        self, generations: Iterable[Generation]
    ) -> Iterator[Generation]:
        request = generation_request(self.required)
        for generation in generations:
            if request.counts(generation.ordinal):
                yield generation


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class LedgerSamples(_Samples):
    """Samples of an endpoint, as the ledger holds them.

    prompts: of all steps that were walked
    until: the time up to which the ledger is read, in seconds since 1970
    spared: what an early stop didn't sample; None without one
    conversation: an extraction's; None for other probes
    find_requests: finds the prompts for the book that the suite's other pairs request
    """

    source: LedgerEndpoint
    prompts: PairPrompts
    until: float
    spared: str | None = None
    conversation: Conversation | None = None
    find_requests: FindRequests = dict

    @property
    def prompt_ids(self) -> tuple[str, ...]:
        """The IDs of the prompts that were sent, or are to be."""
        return tuple(prompt.excerpt_id for prompt in self.prompts.specs)

    def requested_and_surplus(self) -> Iterable[Generation]:
        """Read the generations from the ledger."""
        return self.source.requested_and_surplus(self.prompts, self.until)

    @property
    def endpoint_id(self) -> str:
        """The endpoint's name in the ledger."""
        return self.source.endpoint_id

    @property
    def canaries(self) -> Canaries:
        """The canaries of the endpoint for the pair's book."""
        return self.source.canaries(self.required.pair, self.book)

    def of_excerpts(self, excerpts: Collection[str]) -> Iterator[Generation]:
        """Read only some excerpts' generations from the ledger."""
        few = tuple(
            prompt for prompt in self.prompts.specs if prompt.excerpt_id in excerpts
        )
        stored = self.source.generations(replace(self.prompts, specs=few))
        return map(with_reasoning_as_text, self._only_requested(stored))


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class RecordedSamples(_Samples):
    """Samples that someone recorded; the book has the recorded instructions."""

    recording: Recording

    def requested_and_surplus(self) -> Iterable[Generation]:
        """Read the generations from the recording."""
        return self.recording.generations(self.book)


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class NoSamples(_Samples):
    """No samples: their endpoint isn't available."""

    def requested_and_surplus(self) -> Iterable[Generation]:
        """Return nothing."""
        return ()


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class FurtherSamples(_Samples):
    """What the pair's model wrote beyond the samples that the pair requires.

    read: reads it
    named: the endpoint's name in the ledger; None for a recording's
    attempt: the number of another attempt that it is from; 0 for the pair's own
    """

    read: Callable[[], Iterable[Generation]]
    named: str | None
    attempt: int = 0

    def requested_and_surplus(self) -> Iterable[Generation]:
        """Read the generations."""
        return self.read()

    @property
    def endpoint_id(self) -> str | None:
        """The endpoint's name in the ledger; None for a recording's."""
        return self.named


SampledGenerations = LedgerSamples | RecordedSamples | NoSamples | FurtherSamples
PairSamples = Sequence[SampledGenerations]
StopRule = Callable[[PairSamples], bool]


def all_rounds_reader(
    samples: Iterable[SampledGenerations],
) -> Callable[[], Iterator[Generation]]:
    """Return a function that reads all generations again, so that none is kept."""
    return lambda: chain.from_iterable(part.generations() for part in samples)


def with_reasoning_as_text(generation: Generation) -> Generation:
    """Return the generation with all that was written, as its text."""
    if not generation.reasoning:
        return generation
    return replace(generation, text=generation.written)
