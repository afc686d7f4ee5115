"""Summaries that a chat model writes, for the instructions of excerpts that have none.

    writer = SummaryWriter(suite.summarizer, endpoints, mode="paper")
    writer.write("held-out", excerpts)        -> the summaries, by excerpt id
    writer.plan_missing("held-out", excerpts)  -> what that would take, without a call

They go through the ledger as generations do, stored by the text they summarize: none is
paid for twice, however the suite changes.
"""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive, SettingsError, SuiteError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.ledger.prompts import (
    TOKENS_PER_WORD,
    PairPrompts,
    build_prompts,
    max_tokens_for_words,
)
from pytest_memleak.ledger.stored_summaries import keep_summary, stored_summaries
from pytest_memleak.pipeline.ledger_endpoint import build_ledger_endpoint
from pytest_memleak.records import (
    Book,
    Excerpt,
    Generation,
    Kind,
    Sampling,
    Summarizer,
    WordMode,
)
from pytest_memleak.scoring.keyed_texts import keyed
from pytest_memleak.scoring.words import (
    count_about_as_tokens,
    requested_words,
    words,
)
from pytest_memleak.verdict.generation_features import FeatureReader
from pytest_memleak.verdict.generation_kinds import canned
from pytest_memleak.verdict.prompt_overlap import FEWEST_WORDS
from pytest_memleak.verdict.prose import Prose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_memleak.pipeline.endpoints import Endpoints
    from pytest_memleak.sampling.cost_plan import Plan, PlannedOrdinals

# The template is part of a summary's key: after a change, all summaries are rewritten.
PROMPT = (
    "Summarize the passage below in about {words} words of plain prose. Name the "
    "characters who act or speak, keep the grammatical person in which the passage is "
    "told, and give the events in the order in which they happen there. Say everything "
    "in words of your own: do not quote the passage, not even a line of its dialogue. "
    "Answer with the summary and nothing else.\n\nPassage:\n\n{passage}"
)

_SHARE = 2  # an excerpt has this many times the words of its summary
_TRIES = 3  # completions requested until one is a summary
_NAMED = 20  # excerpts that an error names


class SummaryWriter:
    """The suite's summarizer; mode: how words are counted.

    Raises SuiteError where the summarizer's provider can't write anything.
    """

    def __init__(
        self,
        summarizer: Summarizer,
        endpoints: Endpoints,
        *,
        mode: WordMode,
    ) -> None:
        model = summarizer.model
        endpoint = endpoints.open_endpoint(model)
        if abilities_of(endpoint).recording is not None:
            raise SuiteError(
                f"the provider {model.provider!r} reads recordings: it can't write "
                "summaries",
                location=endpoints.model_place(model),
                hint="name a chat model, or give the books files of summaries",
            )
        self._source = build_ledger_endpoint(model, endpoints, endpoint, own=False)
        self._temperature = summarizer.temperature
        self._template = summarizer.prompt or PROMPT
        self._name = json.dumps(
            [self._source.endpoint_id, summarizer.temperature, self._template],
        )
        self._mode = mode

    def write(self, book_id: str, excerpts: Sequence[Excerpt]) -> dict[str, str]:
        """Return each excerpt's summary by its id; samples those that the ledger lacks.

        Raises Inconclusive where some aren't available now (offline, over budget, a
        provider that fails) or aren't summaries, SettingsError for a budget without a
        price.
        """
        kept = self._stored_summaries(excerpts)
        faults: dict[str, str] = {}
        for times in range(1, _TRIES + 1):
            left = [excerpt for excerpt in excerpts if excerpt.text not in kept]
            if not left:
                break
            self._sample(book_id, self._summary_prompts(book_id, left, times))
            # Judge all of them: a few alone don't show that they are canned.
            summary_prompts = self._summary_prompts(book_id, excerpts, times)
            faults = self._store_summaries(summary_prompts, excerpts, kept)
        left = [excerpt for excerpt in excerpts if excerpt.text not in kept]
        if left:
            raise self._missing_summaries_error(book_id, left, faults, len(excerpts))
        return {excerpt.id: kept[excerpt.text] for excerpt in excerpts}

    def plan_missing(
        self,
        book_id: str,
        excerpts: Sequence[Excerpt],
        counted: PlannedOrdinals | None = None,
    ) -> Plan | None:
        """Plan the first try that `write` would make; None where there is none.

        counted: what is planned already, and not counted again
        """
        kept = self._stored_summaries(excerpts)
        left = [excerpt for excerpt in excerpts if excerpt.text not in kept]
        planned = self._source.plan_missing(
            self._summary_prompts(book_id, left, 1), counted
        )
        return planned if planned.generations or planned.pending else None

    def planned_summaries(self, excerpts: Sequence[Excerpt]) -> dict[str, str]:
        """Return each excerpt's summary by its id, or as many words as it may have."""
        kept = self._stored_summaries(excerpts)
        return {
            excerpt.id: kept.get(excerpt.text) or self._longest_summary(excerpt.text)
            for excerpt in excerpts
        }

    def _longest_summary(self, text: str) -> str:
        tokens = max_tokens_for_words(count_about_as_tokens(text, self._mode))
        return " ".join(["word"] * math.ceil(tokens / TOKENS_PER_WORD))

    def _stored_summaries(self, excerpts: Sequence[Excerpt]) -> dict[str, str]:
        return stored_summaries(
            self._source.ledger,
            self._name,
            [excerpt.text for excerpt in excerpts],
        )

    def _summary_prompts(
        self,
        book_id: str,
        left: Sequence[Excerpt],
        times: int,
    ) -> PairPrompts:
        """Return the prompts: each text once, with room for a summary of its length."""
        by_text = {excerpt.text: excerpt for excerpt in reversed(left)}
        excerpts = tuple(
            Excerpt(
                excerpt.id, excerpt.text, instruction=self._prompt_text(excerpt.text)
            )
            for excerpt in reversed(by_text.values())
        )
        # No suite can use this name, so the book's own generations stand apart.
        name = f"summaries of {book_id}"
        book = Book(
            id=name,
            title=name,
            author="",
            excerpts=excerpts,
            digest="",
        )
        # Summaries don't depend on the suite's seed.
        sampling = Sampling(samples=times, temperature=self._temperature)
        count = functools.partial(count_about_as_tokens, mode=self._mode)
        return build_prompts(name, book, sampling, words=count)

    def _prompt_text(self, text: str) -> str:
        count = requested_words(text, self._mode) // _SHARE + 1
        return self._template.format(words=max(2 * FEWEST_WORDS, count), passage=text)

    def _sample(self, book_id: str, prompts: PairPrompts) -> None:
        resources = self._source.resources
        if resources.offline:
            return
        if resources.budget is not None and self._source.terms.price is None:
            raise SettingsError(
                "a budget needs a price for the summarizer",
                location=prompts.pair,
                hint="add price = { input = ..., output = ... } (US$ per million "
                "tokens) to [suite.summarizer]; 0 if the model is free",
            )
        try:
            self._source.sample_missing(prompts)
        except Inconclusive as missing:
            place = f"{missing.location}: " if missing.location else ""
            raise Inconclusive(
                f"some summaries are missing: {place}{missing.message}",
                location=f"book {book_id!r}",
                hint=missing.fix,
            ) from None

    def _store_summaries(
        self,
        prompts: PairPrompts,
        excerpts: Sequence[Excerpt],
        kept: dict[str, str],
    ) -> dict[str, str]:
        """Keep each text's first summary; return why the others have none, by text."""
        texts = {excerpt.id: excerpt.text for excerpt in excerpts}
        summaries = list(self._source.generations(prompts))
        reasons = self._summary_faults(excerpts, summaries)
        faults = {}
        for generation, fault in zip(summaries, reasons, strict=True):
            text = texts[generation.excerpt_id]
            if fault:
                faults[text] = fault
            elif text not in kept:
                kept[text] = generation.text.strip()
                keep_summary(self._source.ledger, self._name, text, kept[text])
        return faults

    def _summary_faults(
        self,
        excerpts: Sequence[Excerpt],
        summaries: Sequence[Generation],
    ) -> Iterator[str]:
        """Yield why each generation is no summary, "" for a summary."""
        book = Book(
            id="",
            title="",
            author="",
            excerpts=tuple(excerpts),
            digest="",
        )
        numbers = {excerpt.id: number for number, excerpt in enumerate(excerpts)}
        reader = FeatureReader(book, self._mode, Prose.of(book, self._mode))
        keyed_texts = keyed([generation.text for generation in summaries], self._mode)
        readings, runs = reader.read(
            summaries,
            [numbers[generation.excerpt_id] for generation in summaries],
            keyed_texts,
        )
        same = canned(readings, runs, ~readings.blank)
        for at, generation in enumerate(summaries):
            if generation.finish_reason.withheld:
                yield generation.finish_reason.value
            elif readings.blank[at]:
                yield Kind.EMPTY
            elif readings.few[at] and readings.listed[at]:
                yield Kind.REFUSAL
            elif same[at]:
                yield Kind.CANNED
            elif len(words(generation.text, "unicode")) < FEWEST_WORDS:
                yield Kind.SHORT
            else:
                yield ""

    def _missing_summaries_error(
        self,
        book_id: str,
        left: Sequence[Excerpt],
        faults: Mapping[str, str],
        all_: int,
    ) -> Inconclusive:
        refused = [
            f"{excerpt.id} ({faults[excerpt.text]})"
            for excerpt in left
            if excerpt.text in faults
        ]
        if not refused or self._source.resources.offline:
            number = f"{len(left):,} of {all_:,}"
            return Inconclusive(
                f"{number} summaries of its excerpts aren't written yet",
                location=f"book {book_id!r}",
                hint="rerun without --memleak-offline: [suite.summarizer] writes them",
            )
        names = ", ".join(refused[:_NAMED])
        if len(refused) > _NAMED:
            names += f" and {len(refused) - _NAMED:,} more"
        return Inconclusive(
            f"[suite.summarizer] returned no summary for {len(refused):,} of {all_:,} "
            f"excerpts in {_TRIES} tries: {names}",
            location=f"book {book_id!r}",
            hint="set a different model there, or add a file of summaries to the book",
        )
