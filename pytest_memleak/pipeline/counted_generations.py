"""Generations that are counted as they are read: their number, kinds, and digest."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.pipeline.generation_request import generation_request
from pytest_memleak.pipeline.sample_readers import (
    RecordedSamples,
    with_reasoning_as_text,
)
from pytest_memleak.records import (
    Completeness,
    FinishReason,
    Generation,
    Issue,
    Kind,
)
from pytest_memleak.records.pair_result import SampledCount
from pytest_memleak.scoring.freed_memory import return_freed_memory
from pytest_memleak.scoring.text_batches import Batch, in_batches
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.delivery_outcome import DeliveryOutcome
from pytest_memleak.verdict.generation_kinds import KINDS, GenerationCensus
from pytest_memleak.verdict.prompt_overlap import prompt_overlap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.pipeline.sample_readers import SampledGenerations


class CountedGenerations:
    """Generations that are counted as they are read."""

    def __init__(self, answers: SampledGenerations) -> None:
        self.sampled = answers
        self.required = answers.required
        self.book = answers.book
        self._request = replace(
            generation_request(answers.required, answers.prompt_ids),
            recorded=isinstance(answers, RecordedSamples),
        )
        self._census = GenerationCensus(answers.book, self._request)
        self._digest = hashlib.sha256()
        self._texts: Counter[str] = Counter()
        self._rounds = 0

    def batches(self) -> Iterator[Batch]:
        """Yield the requested generations, with all that was written; count all.

        Read it once: the digest covers everything read. A batch has the words that the
        census reads if they are its own texts'.
        """
        for batch in in_batches(self.sampled.requested_and_surplus()):
            counted, words = self._census.read(batch.generations)
            self._count_rounds(batch.generations)
            written = [
                with_reasoning_as_text(generation)
                for generation in batch.generations
                if self._request.counts(generation.ordinal)
            ]
            if not written:
                continue
            self._digest.update(b"".join(map(_digest_input, written)))
            texts = [generation.text for generation in counted]
            are_own = texts == [generation.text for generation in written]
            yield Batch(written, words if are_own else None)
        return_freed_memory()

    def _count_rounds(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            if generation.finish_reason is not FinishReason.EMPTY:
                self._texts[generation.excerpt_id] += 1
            self._rounds = max(self._rounds, generation.ordinal + 1)

    def generations(self) -> Iterator[Generation]:
        """Yield the same, one by one."""
        return chain.from_iterable(batch.generations for batch in self.batches())

    def completeness(
        self,
        *,
        other_samples: Iterable[CountedGenerations] = (),
        over_limit: bool = False,
        issues: Iterable[Issue] = (),
        notes: Iterable[str] = (),
        delivery: DeliveryOutcome | None = None,
    ) -> Completeness:
        """Judge what was read (docs/method.md).

        other_samples: what else the pair's model wrote, where nothing may be withheld
            for recitation, either
        issues, notes: what else is known
        delivery: what servers or files lost
        """
        own = self._census.counted()
        recitation = own.recitation
        for part in other_samples:
            recitation += part.withheld_for_recitation
        delivery = delivery or DeliveryOutcome()
        judged = completeness(
            replace(own, recitation=recitation),
            prompt_overlap(self.book, self._request),
            over_limit=over_limit,
            issues=(*self.sampled.issues, *delivery.issues, *issues),
            notes=notes,
        )
        return replace(judged, delivery=delivery.delivery)

    @property
    def withheld_for_recitation(self) -> int:
        """The number of generations that the provider withheld since they recite."""
        return self._census.counted().recitation

    @property
    def not_withheld_by_excerpt(self) -> dict[str, int]:
        """The number of each excerpt's generations, without withheld ones."""
        counted = self._census.counted()
        kept = counted.kinds != KINDS.index(Kind.WITHHELD)
        each = np.bincount(
            counted.readings.excerpt[kept],
            minlength=len(counted.excerpts),
        )
        counts = dict(zip(counted.excerpts, each.tolist(), strict=True))
        return {name: counts[name] for name in self._prompted_ids}

    @property
    def _prompted_ids(self) -> tuple[str, ...]:
        """The IDs of the excerpts, or of the prompts that request none."""
        named = self._request.named
        return self._census.counted().excerpts if named is None else named

    @property
    def nonempty_by_excerpt(self) -> dict[str, int]:
        """The number of each excerpt's generations that aren't empty.

        Unrequested ones are among them.
        """
        excerpts = self._census.counted().excerpts
        return {excerpt: self._texts[excerpt] for excerpt in excerpts}

    @property
    def rounds(self) -> int:
        """The rounds of which any generation was read."""
        return self._rounds

    @property
    def counted(self) -> SampledCount:
        """The counts that evidence gives."""
        counted = self._census.counted()
        return SampledCount(
            purpose=self.required.purpose.value,
            pair=self.required.pair.id,
            endpoint=self.sampled.endpoint_id,
            requested=len(self._prompted_ids) * self._request.samples,
            received=len(counted.readings),
            refused=int((counted.kinds == KINDS.index(Kind.REFUSAL)).sum()),
            sha256=self._digest.hexdigest(),
        )


def _length_and_bytes(text: str) -> bytes:
    """Return the text's bytes after their number: no two rows of texts look alike."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data).to_bytes(8, "big") + data


_frame_short = functools.lru_cache(maxsize=1 << 12)(_length_and_bytes)


def _digest_input(generation: Generation) -> bytes:
    return b"".join(
        (
            _frame_short(generation.excerpt_id),
            _frame_short(str(generation.ordinal)),
            _frame_short(generation.finish_reason.value),
            _length_and_bytes(generation.text),
        ),
    )
