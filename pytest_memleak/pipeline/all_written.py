"""Everything that a pair's model wrote for it, in one list (METRICS section 11).

    written = all_written(draws_of(pair, suite), suite_run.endpoints)
    written                 -> sampled, greedy, canary and unrequested generations, by purpose
    all_texts(written)      -> each of them with its origin, to be searched for passages

Null books' generations belong to other pairs, and a baseline's to another model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.canaries import canary_book, canary_questions
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.sampled_generations import SampledGenerations, draw
from pytest_memleak.records import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.pipeline.sampled_generations import CountedAnswers
    from pytest_memleak.records import Book, Generation

    Written = Sequence[SampledGenerations]
    Stop = Callable[[Written], bool]

_ORIGINS = {
    Purpose.OWN: Origin.SAMPLED,
    Purpose.GREEDY: Origin.GREEDY,
    Purpose.CANARY: Origin.CANARY,
    Purpose.UNREQUESTED: Origin.UNREQUESTED,
}


def all_written(
    wanted: Sequence[RequiredSamples],
    endpoints: Endpoints,
    *,
    stop: Stop | None = None,
    until: float | None = None,
) -> tuple[SampledGenerations, ...]:
    """The pair's sampled generations first, then all others that its model wrote.

    stop: whether what there is after some rounds is enough; until: a later moment than the
    run's, up to which canaries and unrequested generations count.
    """
    own, *others = wanted
    greedy = [draw(one, endpoints) for one in others if one.purpose is Purpose.GREEDY]

    def together(sampled: SampledGenerations) -> tuple[SampledGenerations, ...]:
        return sampled, *greedy, *_from_ledger_or_record(sampled, greedy, until)

    enough = (lambda so_far: stop(together(so_far))) if stop else None
    return together(draw(own, endpoints, enough=enough))


def all_texts(written: Iterable[SampledGenerations | CountedAnswers]) -> Iterator[Generation]:
    """Every generation with its origin, and with all that the model wrote for it."""
    for part in written:
        origin = _ORIGINS[part.draws.purpose]
        for number, generation in enumerate(part.generations()):
            if origin is Origin.SAMPLED:
                yield generation
            else:
                ordinal = number if origin is Origin.CANARY else generation.ordinal
                yield replace(generation, origin=origin, ordinal=ordinal)


def _from_ledger_or_record(
    own: SampledGenerations, greedy: Sequence[SampledGenerations], until: float | None
) -> Iterator[SampledGenerations]:
    """The canaries and the unrequested generations, where there are any."""
    until = until or own.until
    if canaries := _canaries(own, until):
        rounds = canaries[-1].ordinal + 1
        few = canary_book(own.book)
        yield _part(own, Purpose.CANARY, few, lambda: canaries, samples=rounds)
    unrequested = partial(_unrequested, (own, *greedy), until)
    if any(True for _ in unrequested()):
        yield _part(own, Purpose.UNREQUESTED, own.book, unrequested, samples=0)


def _canaries(own: SampledGenerations, until: float | None) -> list[Generation]:
    """All that the ledger has, round by round."""
    if own.source is None or until is None:
        return []
    from pytest_memleak.ledger.surplus_generations import surplus

    asked = canary_questions(own.draws.pair, own.book, 0)
    every = surplus(own.source.ledger, own.source.endpoint_id, asked, until=until)
    return sorted(every, key=lambda generation: generation.ordinal)


def _unrequested(parts: Iterable[SampledGenerations], until: float | None) -> Iterator[Generation]:
    """What is there beside the requested rounds: late, of more samples, or sent unasked."""
    numbers: Counter[str] = Counter()
    for part in parts:
        for generation in _beside(part, until):
            excerpt_id = generation.excerpt_id
            yield replace(generation, ordinal=numbers[excerpt_id])
            numbers[excerpt_id] += 1


def _beside(part: SampledGenerations, until: float | None) -> Iterator[Generation]:
    if part.source is not None and part.asked is not None and until is not None:
        from pytest_memleak.ledger.surplus_generations import surplus

        yield from surplus(part.source.ledger, part.source.endpoint_id, part.asked, until=until)
    elif part.recording is not None:
        samples = part.draws.pair.sampling.samples
        yield from (one for one in part.all_there() if one.ordinal >= samples)


def _part(
    own: SampledGenerations,
    purpose: Purpose,
    book: Book,
    there: Callable[[], Iterable[Generation]],
    *,
    samples: int,
) -> SampledGenerations:
    sampling = replace(own.draws.pair.sampling, samples=samples)
    draws = RequiredSamples(purpose, replace(own.draws.pair, sampling=sampling), own.draws.endpoint)
    return SampledGenerations(draws, book, there, own.endpoint_id)
