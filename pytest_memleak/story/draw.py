"""Draws opened: the book as it is asked for, the endpoint, and its answers through the ledger.

answers = draw(draws, suite_run)
answers.generations()          -> those of the rounds that were asked for, fresh each time
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.contracts.capabilities import id_of
from pytest_memleak.contracts.protocols import Recording
from pytest_memleak.errors import Inconclusive
from pytest_memleak.records import Gap, Kind
from pytest_memleak.records.finding import CountedDraws
from pytest_memleak.story.canaries import canary_questions, canary_rounds
from pytest_memleak.story.draws import Purpose
from pytest_memleak.story.probes import as_probed, questions_of, text_side
from pytest_memleak.story.who_answered import weights_named
from pytest_memleak.verdict.answer_census import AnswerCensus
from pytest_memleak.verdict.asked import Asked
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.given_away import given_away
from pytest_memleak.verdict.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.contracts.protocols import Endpoint
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prices import Terms
    from pytest_memleak.ledger.questions import Questionnaire
    from pytest_memleak.records import Book, Completeness, Generation, Pair
    from pytest_memleak.sampling.budget import Plan
    from pytest_memleak.story.draws import Draws
    from pytest_memleak.story.resources import Resources
    from pytest_memleak.story.suite_run import SuiteRun

    Enough = Callable[[Book, Iterable[Generation]], bool]

__all__ = ["Answers", "Channel", "CountedAnswers", "draw", "open_channel", "terms_of"]

_FIRST_STAGE = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """What there is of some draws.

    book: as it was asked for and is measured; all_there: every generation there is, those that
    nobody ever asked for too, fresh with every call; gaps: why some are missing, with what they
    were wanted for; spared: what an early stop left undrawn; channel, asked: through which they
    were drawn, or else the recording that they were read from
    """

    draws: Draws
    book: Book
    all_there: Callable[[], Iterable[Generation]]
    endpoint_id: str | None = None
    gaps: tuple[str, ...] = ()
    spared: str | None = None
    channel: Channel | None = None
    asked: Questionnaire | None = None
    recording: Recording | None = None

    def generations(self) -> Iterator[Generation]:
        """Those of the rounds that were asked for, with all that was written for each."""
        samples = self.draws.pair.sampling.samples
        asked_for = (one for one in self.all_there() if one.ordinal < samples)
        return (replace(one, text=one.written) if one.reasoning else one for one in asked_for)


class CountedAnswers:
    """Answers that are counted as they are read: how many, of what kind, and their digest."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._asked = replace(_asked_of(answers.draws), recorded=answers.recording is not None)
        self._census = AnswerCensus(answers.book, self._asked)
        self._digest = hashlib.sha256()

    @property
    def draws(self) -> Draws:
        """What the answers were wanted for."""
        return self.answers.draws

    @property
    def book(self) -> Book:
        """As it was asked for and is measured."""
        return self.answers.book

    def generations(self) -> Iterator[Generation]:
        """Those that were asked for, with all that was written for each; all that is there counts.

        To be read once, since the digest is of all that went by.
        """
        for one in self._census.watch(self.answers.all_there()):
            if one.ordinal < self._asked.samples:
                for part in (one.excerpt_id, one.ordinal, one.finish_reason, one.written):
                    data = str(part).encode("utf-8", "surrogatepass")
                    self._digest.update(len(data).to_bytes(8, "big") + data)
                yield replace(one, text=one.written) if one.reasoning else one

    def completeness(
        self, *, over_limit: bool = False, gaps: Iterable[Gap] = (), notes: Iterable[str] = ()
    ) -> Completeness:
        """What was read, judged (METRICS section 10); gaps, notes: what else is known."""
        told = (Gap("drawn", gap) for gap in self.answers.gaps)
        return completeness(
            self._census.counted(),
            given_away(self.book, self._asked),
            over_limit=over_limit,
            gaps=(*told, *gaps),
            notes=notes,
        )

    @property
    def fewest(self) -> int:
        """How many generations the excerpt has that has fewest, withheld ones left out."""
        counted = self._census.counted()
        kept = counted.kinds != KINDS.index(Kind.WITHHELD)
        each = np.bincount(counted.readings.excerpt[kept], minlength=len(counted.excerpts))
        return int(each.min()) if len(each) else 0

    @property
    def counted(self) -> CountedDraws:
        """What evidence says of them."""
        counted = self._census.counted()
        return CountedDraws(
            purpose=self.draws.purpose.value,
            pair=self.draws.pair.id,
            endpoint=self.answers.endpoint_id,
            asked=len(counted.excerpts) * self._asked.samples,
            got=len(counted.readings),
            refused=int((counted.kinds == KINDS.index(Kind.REFUSAL)).sum()),
            sha256=self._digest.hexdigest(),
        )


def _asked_of(draws: Draws) -> Asked:
    """How the draws ask, as their completeness is judged: a baseline may refuse."""
    pair = draws.pair
    limits = pair.answers
    if draws.purpose is Purpose.BASELINE:
        limits = replace(limits, accept_refusals=True)
    return Asked(
        samples=pair.sampling.samples,
        temperature=pair.sampling.temperature,
        trim=pair.scoring.trim,
        words=pair.scoring.words,
        continuation=pair.probe.kind == "continuation",
        limits=limits,
    )


def draw(draws: Draws, suite: SuiteRun, *, enough: Enough | None = None) -> Answers:
    """Everything there is of the draws, after drawing what was missing.

    What could not be drawn is told as a gap. With `enough`, rounds are drawn in stages, whole
    across the excerpts, until it is content. Raises MemleakError for a book that cannot be used.
    """
    pair = draws.pair
    book = suite.books.book_of(pair)
    if draws.missing is not None:
        return Answers(draws, book, tuple, gaps=(draws.told(draws.missing),))
    try:
        opened = draws.endpoint
        if opened is None:
            opened = suite.endpoints.endpoint(pair.model)
    except Inconclusive as missing:
        return Answers(draws, book, tuple, gaps=(draws.told(missing.line),))
    if isinstance(opened, Recording):
        return _recorded(draws, book, opened)
    return _through_ledger(draws, as_probed(pair, book, opened), suite, opened, enough)


def _recorded(draws: Draws, book: Book, recording: Recording) -> Answers:
    pair = draws.pair
    if pair.probe.kind != "instruction":
        gap = (
            f"{pair.model.id} is recorded: it cannot be asked by the probe {pair.probe.kind!r}; "
            'set probe = "instruction" for it'
        )
        return Answers(draws, book, tuple, gaps=(draws.told(gap),))
    asked = recording.asked(book)
    return Answers(draws, asked, partial(recording.generations, asked), recording=recording)


def _through_ledger(
    draws: Draws, book: Book, suite: SuiteRun, opened: Endpoint, enough: Enough | None
) -> Answers:
    pair = draws.pair
    side = text_side(pair, opened) or opened
    channel = open_channel(pair, suite, side, own=draws.endpoint is not None)
    asked = questions_of(pair, book)
    gaps, spared = [], None
    in_stages = enough and not channel.terms.sampler.batch and not suite.resources.offline
    drawn_so_far = partial(channel.drawn, asked)
    try:
        if draws.purpose is Purpose.OWN:
            channel = channel.of_today(pair, asked, may_draw=not suite.resources.offline)
            if (canaries := channel.canaries(pair, book, asked)) is not None:
                channel.draw(canaries)
            drawn_so_far = partial(channel.drawn, asked)
        for samples in _stages(asked.samples, in_stages=in_stages):
            channel.draw(replace(asked, samples=samples))
            if enough and samples < asked.samples and enough(book, drawn_so_far()):
                spared = _spared(channel.left(asked), samples, asked.samples)
                break
    except Inconclusive as missing:
        gaps.append(draws.told(missing.line))
    all_there = partial(channel.all_there, asked)
    return Answers(draws, book, all_there, channel.endpoint_id, tuple(gaps), spared, channel, asked)


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


# --- an endpoint through a ledger ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Channel:
    """Draws from one endpoint, and reads what was drawn.

    endpoint: what is called, perhaps `opened` in other processes; endpoint_id: the ledger's name;
    kept: whether the ledger outlives the run; stand_up: sees to it that there is one to call
    """

    endpoint: Endpoint
    opened: Endpoint
    endpoint_id: str
    ledger: Ledger
    terms: Terms
    resources: Resources
    kept: bool
    stand_up: Callable[[], object] | None = None

    def draw(self, asked: Questionnaire) -> None:
        """Draw what the ledger lacks; nothing where the run is offline. Raises Inconclusive."""
        from pytest_memleak.sampling.loop import draw as draw_missing

        if self.resources.offline:
            return
        if self.stand_up is not None and self.left(asked).generations:
            self.stand_up()
        draw_missing(
            self.ledger,
            self.endpoint,
            endpoint_id=self.endpoint_id,
            questionnaire=asked,
            terms=self.terms,
            budget=self.resources.budget,
            progress=self.resources.progress,
            retry=self.resources.retry,
            wait=self.resources.wait,
        )

    def drawn(self, asked: Questionnaire) -> Iterable[Generation]:
        """Every generation that is there, of the rounds that are asked for."""
        from pytest_memleak.ledger.reading import generations

        return generations(self.ledger, self.endpoint_id, asked)

    def all_there(self, asked: Questionnaire) -> Iterator[Generation]:
        """The same, and then what the server sent over what it was asked for."""
        from pytest_memleak.ledger.surplus import unasked

        yield from self.drawn(asked)
        yield from unasked(self.ledger, self.endpoint_id, asked, until=self.resources.now)

    def of_today(self, pair: Pair, asked: Questionnaire, *, may_draw: bool) -> Channel:
        """Itself, or the series after it where its answers have aged and only a name holds them.

        may_draw: whether a series may be begun; else one is taken only where it has answers.
        """
        from pytest_memleak.ledger.attempts import drawn_anew, provenance

        if not self.kept or weights_named(pair, self.opened):
            return self
        first = provenance(self.ledger, self.endpoint_id, asked).first
        if first is None or not self.resources.aged(first, pair.sampling.max_age):
            return self
        again = replace(self, endpoint_id=drawn_anew(self.endpoint_id))
        if may_draw or again.has_answers(asked):
            return again.of_today(pair, asked, may_draw=may_draw)
        return self

    def canaries(self, pair: Pair, book: Book, asked: Questionnaire) -> Questionnaire | None:
        """The canaries to ask before the pair's answers are drawn, or taken from earlier runs."""
        from pytest_memleak.ledger.attempts import provenance

        if not self.kept or weights_named(pair, self.opened):
            return None
        told = provenance(self.ledger, self.endpoint_id, asked)
        rounds = canary_rounds(self, pair, book)
        if rounds and told.calls <= told.calls_this_run:
            return None
        return canary_questions(pair, book, rounds=rounds + 1)

    def has_answers(self, asked: Questionnaire) -> bool:
        """Whether any were drawn by now."""
        from pytest_memleak.ledger.attempts import provenance

        first = provenance(self.ledger, self.endpoint_id, asked).first
        return first is not None and first <= self.resources.now

    def left(self, asked: Questionnaire) -> Plan:
        """What is still to be drawn."""
        from pytest_memleak.sampling.budget import plan

        return plan(self.ledger, self.endpoint_id, asked, self.terms)


def open_channel(pair: Pair, suite: SuiteRun, endpoint: Endpoint, *, own: bool) -> Channel:
    """The channel to an endpoint; `own` where no provider of the suite made it.

    One without an id is kept for this run only.
    """
    resources = suite.resources
    kept_as = ledger_name(pair, endpoint)
    terms = terms_of(pair, suite, own=own)
    actors = resources.actors_of(endpoint)
    if actors is not None:
        from pytest_memleak.parallel.actors import ActorSampler

        sampler = ActorSampler(terms.sampler.name, terms.sampler.completions_per_call, actors)
        terms = replace(terms, sampler=sampler)
    return Channel(
        actors or endpoint,
        endpoint,
        kept_as or resources.name_of_unkept(endpoint),
        resources.ledger if kept_as else resources.unkept,
        terms,
        resources,
        kept=bool(kept_as),
        stand_up=None if own else partial(suite.endpoints.stand_up, pair.model),
    )


def ledger_name(pair: Pair, endpoint: object) -> str | None:
    """What the ledger calls the endpoint; None where nothing names it from run to run."""
    from pytest_memleak.ledger.attempts import of_release

    named = id_of(endpoint)
    return of_release(named, pair.model.release) if named else None


def terms_of(pair: Pair, suite: SuiteRun, *, own: bool) -> Terms:
    """How the pair's endpoint is called, and for what price."""
    from pytest_memleak.ledger.prices import OwnEndpoint, Terms

    sampler = OwnEndpoint() if own else suite.endpoints.provider(pair.model)
    return Terms(sampler, pair.model.price and pair.model.price[:2])
