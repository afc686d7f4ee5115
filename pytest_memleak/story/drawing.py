"""Draws what is still missing for a pair through the ledger, or plans what that would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_memleak.contracts.protocols import Recording
from pytest_memleak.errors import Inconclusive
from pytest_memleak.story.channel import open_channel, terms_of
from pytest_memleak.story.probability import plan_windows
from pytest_memleak.story.probing import as_greedy, as_probed, text_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_memleak.contracts.protocols import Endpoint
    from pytest_memleak.ledger.questions import Questionnaire
    from pytest_memleak.records import Book, Generation, Pair
    from pytest_memleak.sampling.budget import Plan
    from pytest_memleak.sampling.loop import Progress
    from pytest_memleak.story.workshop import Workshop

    Enough = Callable[[Book, Iterable[Generation]], bool]

__all__ = [
    "Drawn",
    "PairPlan",
    "draw_pair",
    "pair_questionnaire",
    "plan_pair",
    "plan_summaries",
]

_FIRST_STAGE = 5


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to measure for a pair.

    book: as it was asked for and is measured; generations: fresh with every call; gaps: why
    some are missing; spared: what an early stop left undrawn; greedy: the likeliest
    continuations, one an excerpt, where the probe asks for them.
    """

    book: Book
    generations: Callable[[], Iterable[Generation]]
    endpoint_id: str | None
    gaps: tuple[str, ...] = ()
    spared: str | None = None
    greedy: Callable[[], Iterable[Generation]] | None = None


def draw_pair(
    pair: Pair,
    book: Book,
    workshop: Workshop,
    *,
    endpoint: Endpoint | Recording | None = None,
    progress: Progress | None = None,
    enough: Enough | None = None,
) -> Drawn:
    """Everything there is for the pair, after drawing what was missing.

    `endpoint` takes the place of the suite's. What could not be drawn is told as a gap. With
    `enough`, rounds are drawn in stages, whole across the excerpts, until it is content.
    """
    try:
        opened = workshop.endpoint(pair.model) if endpoint is None else endpoint
    except Inconclusive as missing:
        return Drawn(book, tuple, None, (missing.line,))
    if isinstance(opened, Recording):
        if pair.probe.kind != "instruction":
            return Drawn(book, tuple, None, (_not_asked_to_continue(pair),))
        recorded = opened.asked(book)
        return Drawn(recorded, lambda: opened.generations(recorded), None)
    return _draw_through_ledger(
        pair,
        as_probed(pair, book, opened),
        workshop,
        text_side(pair, opened) or opened,
        own=endpoint is not None,
        progress=progress,
        enough=enough,
    )


def _draw_through_ledger(
    pair: Pair,
    book: Book,
    workshop: Workshop,
    endpoint: Endpoint,
    *,
    own: bool,
    progress: Progress | None,
    enough: Enough | None,
) -> Drawn:
    channel = open_channel(pair, workshop, endpoint, own=own, progress=progress)
    asked, greedy = pair_questionnaire(pair, book), _greedy_questionnaire(pair, book)
    gaps, spared = [], None
    drawn_so_far = partial(channel.drawn, asked)
    in_stages = enough and not channel.terms.sampler.batch and not workshop.means.offline
    try:
        if greedy:
            channel.draw(greedy)
        for samples in _stages(asked.samples, in_stages=in_stages):
            channel.draw(replace(asked, samples=samples))
            if enough and samples < asked.samples and enough(book, drawn_so_far()):
                spared = _spared(channel.left(asked), samples, asked.samples)
                break
    except Inconclusive as missing:
        gaps.append(missing.line)
    likeliest = None if greedy is None else partial(channel.drawn, greedy)
    return Drawn(book, drawn_so_far, channel.endpoint_id, tuple(gaps), spared, likeliest)


def _not_asked_to_continue(pair: Pair) -> str:
    return (
        f"{pair.model.id} is recorded: it cannot be asked by the probe {pair.probe.kind!r}; "
        'set probe = "instruction" for it'
    )


def _stages(samples: int, *, in_stages: object) -> list[int]:
    """Numbers of rounds to draw up to, one after the other; the last is `samples`."""
    if not in_stages:
        return [samples]
    stages = [_FIRST_STAGE]
    while stages[-1] < samples:
        stages.append(stages[-1] * 2)
    return [*(stage for stage in stages if stage < samples), samples]


def _spared(left: Plan, samples: int, asked: int) -> str:
    cost = "" if left.cost is None else f", at most US$ {left.cost:,.2f},"
    return (
        f"stopped after {samples} of {asked} rounds, since a limit is broken: "
        f"{left.calls:,} calls for {left.generations:,} generations{cost} were spared"
    )


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
    from pytest_memleak.ledger.jobs import finetuned

    book = workshop.book_of(pair)
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
    sampling = (
        plan_windows(pair, book, workshop, opened)
        if pair.probe.kind == "probability"
        else _plan_generations(pair, book, workshop, opened)
    )
    price = pair.model.price
    cost = price and training_tokens * price[2] / 1e6
    return PairPlan(pair.id, sampling, training_tokens, cost)


def _plan_generations(pair: Pair, book: Book, workshop: Workshop, opened: Endpoint | None) -> Plan:
    from pytest_memleak.sampling.budget import in_all, plan

    asked = as_probed(pair, book, opened)
    questionnaires = pair_questionnaire(pair, asked), _greedy_questionnaire(pair, asked)
    endpoint_id = getattr(text_side(pair, opened) or opened, "id", None)
    terms = terms_of(pair, workshop, own=False)
    return in_all(
        [plan(workshop.means.ledger, endpoint_id, one, terms) for one in questionnaires if one]
    )


def plan_summaries(pair: Pair, workshop: Workshop) -> list[PairPlan]:
    """What the summaries that the pair's books lack would take: a plan for each such book.

    A pair whose books lack some cannot be planned itself: its instructions are not there yet.
    """
    trained = (workshop.suite.book(book_id) for book_id in pair.model.finetune_books)
    tested = (pair.book,) if pair.probe.kind == "instruction" else ()
    found = [workshop.outstanding_summaries(source) for source in (*tested, *trained)]
    return [PairPlan(one.pair, one, 0, None) for one in found if one is not None]


def pair_questionnaire(pair: Pair, book: Book) -> Questionnaire:
    """What the pair asks of its endpoint."""
    from pytest_memleak.ledger.questions import questionnaire
    from pytest_memleak.scoring.words import words

    return questionnaire(
        pair.id, book, pair.sampling, words=lambda text: len(words(text, pair.scoring.words))
    )


def _greedy_questionnaire(pair: Pair, book: Book) -> Questionnaire | None:
    """What a pair asks for the likeliest continuations; None if its probe wants none."""
    if pair.probe.kind != "continuation":
        return None
    return pair_questionnaire(replace(pair, sampling=as_greedy(pair.sampling)), book)
