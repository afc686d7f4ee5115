"""Draws what is still missing for a pair through the ledger, or plans what that would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive
from pytest_memleak.protocols import Recording

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.protocols import Endpoint
    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.sampling.budget import Plan, Terms
    from pytest_memleak.sampling.questions import Questionnaire
    from pytest_memleak.sampling.run import Progress
    from pytest_memleak.workshop import Workshop

__all__ = ["Drawn", "PairPlan", "draw_pair", "plan_pair"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to measure for a pair.

    book: with the instructions that were asked; gaps: why some generations are missing.
    """

    book: Book
    generations: Iterable[Generation]
    endpoint_id: str | None
    gaps: tuple[str, ...] = ()


def draw_pair(
    pair: Pair,
    book: Book,
    workshop: Workshop,
    *,
    endpoint: Endpoint | Recording | None = None,
    progress: Progress | None = None,
) -> Drawn:
    """Everything there is for the pair, after drawing what was missing.

    `endpoint` takes the place of the suite's. What could not be drawn is told as a gap.
    """
    try:
        opened = endpoint or workshop.endpoint(pair.model)
    except Inconclusive as missing:
        return Drawn(book, (), None, (missing.line,))
    if isinstance(opened, Recording):
        asked = opened.asked(book)
        return Drawn(asked, opened.generations(asked), None)
    return _draw_through_ledger(
        pair, book, workshop, opened, own=endpoint is not None, progress=progress
    )


def _draw_through_ledger(
    pair: Pair,
    book: Book,
    workshop: Workshop,
    endpoint: Endpoint,
    *,
    own: bool,
    progress: Progress | None,
) -> Drawn:
    from pytest_memleak.sampling.reading import generations
    from pytest_memleak.sampling.run import draw

    means = workshop.means
    kept_as: str | None = getattr(endpoint, "id", None)
    ledger = means.ledger if kept_as else means.unkept
    endpoint_id = kept_as or f"{pair.model.id} (not kept)"
    asked = _questionnaire(pair, book)
    gaps = []
    if not means.offline:
        try:
            draw(
                ledger,
                endpoint,
                endpoint_id=endpoint_id,
                questionnaire=asked,
                terms=_terms(pair, workshop, own=own),
                budget=means.budget,
                progress=progress,
                wait=means.wait,
            )
        except Inconclusive as missing:
            gaps.append(missing.line)
    return Drawn(book, generations(ledger, endpoint_id, asked), endpoint_id, tuple(gaps))


# --- plans ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairPlan:
    """What a run would still do for a pair, and at most pay; costs in US$, None without a price.

    sampling: None where nothing has to be drawn through the ledger (recorded generations);
    training_tokens: of the fine-tune that is still to be made, 0 if none is.
    """

    pair: str
    sampling: Plan | None
    training_tokens: int
    training_cost: float | None


def plan_pair(pair: Pair, workshop: Workshop) -> PairPlan:
    """The pair's plan, from book, suite and ledger alone: no call leaves the machine.

    Raises MemleakError for what must be mended first.
    """
    from pytest_memleak.sampling.budget import plan
    from pytest_memleak.sampling.finetune import finetuned

    book = workshop.book(pair.book)
    provider = workshop.provider(pair.model)
    name, training_tokens = pair.model.endpoint, 0
    if pair.model.finetune_books:
        training = workshop.training_set(pair.model)
        name = finetuned(workshop.means.ledger, provider.name, training.digest)
        training_tokens = 0 if name else workshop.training_tokens(pair.model)
    known = not training_tokens
    opened = provider.open(name) if known else None
    if isinstance(opened, Recording):
        return PairPlan(pair.id, None, 0, None)
    sampling = plan(
        workshop.means.ledger,
        getattr(opened, "id", None),
        _questionnaire(pair, book),
        _terms(pair, workshop, own=False),
    )
    price = pair.model.price
    cost = price and training_tokens * price[2] / 1e6
    return PairPlan(pair.id, sampling, training_tokens, cost)


def _questionnaire(pair: Pair, book: Book) -> Questionnaire:
    from pytest_memleak.sampling.questions import questionnaire
    from pytest_memleak.scoring.words import words

    return questionnaire(
        pair.id, book, pair.sampling, words=lambda text: len(words(text, pair.scoring.words))
    )


def _terms(pair: Pair, workshop: Workshop, *, own: bool) -> Terms:
    from pytest_memleak.sampling.budget import OwnEndpoint, Terms

    sampler = OwnEndpoint() if own else workshop.provider(pair.model)
    return Terms(sampler, pair.model.price and pair.model.price[:2])
