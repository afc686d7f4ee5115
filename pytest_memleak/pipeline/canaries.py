"""Canaries: five short prompts at temperature 0 that show whether the weights changed.

Each endpoint gets them before its first generation; an endpoint that is only a name
gets them before every run that reuses generations (docs/suite.md). A canary without an
answer is an issue. Servers aren't exact even at temperature 0, so most canaries have to
begin alike, not all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_memleak.ledger.prompts import CANARY_TOKENS
from pytest_memleak.pipeline.prompted_book import pair_prompts
from pytest_memleak.records import Book, Generation, Issue, Pair
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.ledger.sampling_history import SamplingHistory

CANARIES = 5
_WORDS_ALIKE = 12


def canary_book(book: Book) -> Book:
    """Return five excerpts, spread over the book; or its first five prompts."""
    if book.prompts:
        return replace(book, prompts=book.prompts[:CANARIES])
    prompted = [excerpt for excerpt in book.excerpts if excerpt.instruction]
    step = max(1, len(prompted) // CANARIES)
    spread = prompted[::step]
    return replace(book, excerpts=tuple(spread[:CANARIES]))


def canary_prompts(
    pair: Pair,
    book: Book,
    rounds: int,
) -> PairPrompts:
    """Return the instructions of the canary book's excerpts as prompts."""
    sampling = replace(
        pair.sampling,
        samples=rounds,
        temperature=0.0,
        seed=0,
        max_tokens=CANARY_TOKENS,
    )
    return pair_prompts(replace(pair, sampling=sampling), canary_book(book))


@dataclass(frozen=True, slots=True)
class Canaries:
    """The canaries of an endpoint that is prompted for a pair's book.

    endpoint_id: the name that the ledger gives it
    """

    ledger: Ledger
    endpoint_id: str
    pair: Pair
    book: Book

    def to_request(
        self,
        prompts: PairPrompts,
        *,
        only_name_identifies_weights: bool,
        after_sampling: bool = False,
    ) -> PairPrompts | None:
        """Return the canaries to request before the pair's prompts, or after them.

        Before: unless each has an answer; always, if generations of other runs are
        reused and only a name identifies the weights. One round a run is enough,
        whichever pair and model requested it. After: only if another run sampled at the
        same time and no round followed the first call.
        """
        history = self._history(prompts)
        answers = self._answers_by_canary()
        is_due = only_name_identifies_weights and history.is_reused
        if after_sampling:
            is_due = is_due and self.answers_unchanged(history.first_call) is None
        elif self._has_round_of_this_run(answers):
            is_due = False
        elif not all(map(_any_answered, answers)):
            is_due = True
        if not is_due:
            return None
        return self._prompts(_count_full_rounds(answers) + 1)

    def _has_round_of_this_run(self, answers: Sequence[Sequence[Generation]]) -> bool:
        complete = self._prompts(_count_full_rounds(answers))
        return self._history(complete).calls_this_run > 0

    def most_after_sampling(
        self,
        prompts: PairPrompts,
        before: PairPrompts | None,
        *,
        only_name_identifies_weights: bool,
    ) -> PairPrompts | None:
        """Return the most canaries behind the prompts, if those before are answered.

        Reused generations are older than the first round: it needs a second. Calls of
        an earlier run that this run will read need a round behind them, which comes
        after any that they bring themselves.
        """
        from pytest_memleak.ledger.sampling_history import first_open_call

        if not only_name_identifies_weights:
            return None
        if first_open_call(self.ledger, self.endpoint_id, prompts) is not None:
            rounds = (
                _count_full_rounds(self._answers_by_canary())
                if before is None
                else before.samples
            )
            every = self._prompts(1 << 30)
            if first_open_call(self.ledger, self.endpoint_id, every) is not None:
                rounds += 1
            return self._prompts(rounds + 1)
        if before is not None and before.samples == 1:
            is_reused = self._history(prompts).is_reused
            return self._prompts(2) if is_reused else None
        return None

    def prompts_of_stored_rounds(self) -> PairPrompts | None:
        """Return the canaries with their stored rounds; None without any."""
        rounds = max(map(len, self._answers_by_canary()), default=0)
        return self._prompts(rounds) if rounds else None

    def answers_unchanged(self, since: int, until: float = math.inf) -> bool | None:
        """Tell whether the last round begins as the first; None without two rounds.

        since: the pair's first call; a round before it doesn't show what answered after
        until: the end of the time in which the last round counts
        """
        rounds = self._count_rounds_before(until)
        history = self._history(self._prompts(rounds))
        if history.last_call <= since:
            return None
        return last_begins_like_first(self._texts_of_rounds(rounds))

    def lack_words(self, until: float) -> bool:
        """Tell whether most have no words in the first round and in the last.

        The reasoning of such a model takes all their tokens, so they don't show whether
        it changed. Shown reasoning isn't compared: it is stored with what else the
        server wrote, such as an id of each response.
        """
        texts = self._texts_of_rounds(self._count_rounds_before(until))
        wordless = [
            canary
            for canary in texts
            if canary and not _first_words(canary[0]) and not _first_words(canary[-1])
        ]
        return 2 * len(wordless) > len(texts)

    def _count_rounds_before(self, until: float) -> int:
        rounds = _count_full_rounds(self._answers_by_canary())
        while rounds and self._round_ended_after(until, rounds):
            rounds -= 1
        return rounds

    def _texts_of_rounds(self, rounds: int) -> list[list[str]]:
        return [
            [generation.text for generation in canaries[:rounds]]
            for canaries in self._answers_by_canary()
        ]

    def _round_ended_after(self, until: float, rounds: int) -> bool:
        last = self._history(self._prompts(rounds)).last
        return last is not None and last > until

    def stored_generations(self, until: float) -> list[Generation]:
        """Return all canaries of the ledger up to a time, round by round."""
        from pytest_memleak.ledger.ledger_queries import surplus_generations

        every = surplus_generations(
            self.ledger, self.endpoint_id, self._prompts(0), until=until
        )
        return sorted(every, key=lambda generation: generation.ordinal)

    def unanswered_issues(self, until: float) -> Iterator[Issue]:
        """Yield an issue if a canary has no answer: they alone show temperature 0."""
        stored = self.stored_generations(until)
        answered = {canary.excerpt_id for canary in stored if canary.answered}
        every = len(self._prompts(0).specs)
        if len(answered) < every:
            yield Issue(
                "canaries",
                f"{every - len(answered)} of {every} canaries are missing or withheld",
                "rerun where the endpoint can be called, without output filters",
            )

    def rejected_temperature_notes(self, until: float) -> Iterator[str]:
        """Yield a note if the server rejects the canaries' temperature."""
        ordinals = [canary.ordinal for canary in self.stored_generations(until)]
        rounds = max(ordinals, default=-1) + 1
        if "temperature" in self._history(self._prompts(rounds)).refused:
            yield (
                "the server doesn't accept temperature 0: canaries were sampled at its "
                "default"
            )

    def _history(self, prompts: PairPrompts) -> SamplingHistory:
        from pytest_memleak.ledger.sampling_history import summarize_history

        return summarize_history(self.ledger, self.endpoint_id, prompts)

    def _prompts(self, rounds: int) -> PairPrompts:
        return canary_prompts(self.pair, self.book, rounds)

    def _answers_by_canary(self) -> list[list[Generation]]:
        """Return each canary's answers, in the order of the rounds."""
        from pytest_memleak.ledger.ledger_queries import generations

        prompts = self._prompts(1 << 30)
        answers: dict[str, list[Generation]] = {
            prompt.excerpt_id: [] for prompt in prompts.specs
        }
        for generation in generations(self.ledger, self.endpoint_id, prompts):
            answers[generation.excerpt_id].append(generation)
        return list(answers.values())


def _any_answered(rounds: Sequence[Generation]) -> bool:
    return any(canary.answered for canary in rounds)


def _count_full_rounds(answers: Sequence[Sequence[Generation]]) -> int:
    """Count the rounds in which all canaries answered."""
    return min(map(len, answers), default=0)


def last_begins_like_first(answers: Collection[Sequence[str]]) -> bool | None:
    """Tell whether most prompts' last answers begin as their first.

    Answers without words show nothing, so they aren't alike. None unless each prompt
    has two.
    """
    if not answers or min(map(len, answers)) <= 1:
        return None
    alike = 0
    for texts in answers:
        first, last = _first_words(texts[0]), _first_words(texts[-1])
        if first and first == last:
            alike += 1
    return 2 * alike > len(answers)


def _first_words(text: str) -> list[str]:
    return words(text, "unicode")[:_WORDS_ALIKE]
