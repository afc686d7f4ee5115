"""One suite of a run: its books, its endpoints, and the resources they share."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive, MemleakError, SuiteError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.pipeline.endpoints import Endpoints
from pytest_memleak.pipeline.prepared_books import PreparedBooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.catalog import Catalog
    from pytest_memleak.pipeline.cut_books import CutBooks
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.required_samples import Samples
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sample_readers import PairSamples
    from pytest_memleak.pipeline.sampling_plan import SamplingPlan
    from pytest_memleak.pipeline.summary_writer import SummaryWriter
    from pytest_memleak.records import Model, Pair, Suite


class SuiteRun:
    """What the pairs of one suite share in a run, each part opened when first used.

    cut_books: the run's, which its suites share
    state: the folder where providers may keep weights
    """

    def __init__(
        self,
        suite: Suite,
        extensions: Extensions,
        *,
        cut_books: CutBooks,
        state: Path,
        resources: Resources,
    ) -> None:
        self.suite = suite
        self.extensions = extensions
        self.resources = resources
        self._evaluated: tuple[Pair, ...] | None = None
        self._announced: frozenset[str] | None = None
        self._seed: int | None = None
        # A summarizer's endpoint writes summaries; others are fine-tuned on books.
        self.books = PreparedBooks(suite, cut_books, lambda: self._summary_writer)
        self.endpoints = Endpoints(
            suite,
            extensions,
            self.books,
            resources,
            state=state,
        )

    def validate_preregistration(self) -> None:
        """Raise SuiteError where another suite than this was preregistered."""
        expected, digest = self.suite.preregistered, self.suite.content_digest
        if expected not in (None, digest):
            raise SuiteError(
                f"not the preregistered suite: expected SHA-256 {expected}, got "
                f"{digest}",
                location=self.suite.name,
                hint="undo the later changes, or set "
                f'preregistered = "{digest}" and announce it before sampling',
            )

    def use_seed(self, seed: int) -> None:
        """Sample with this seed, which a witness's log gave, instead of the suite's."""
        self._seed = seed
        self.suite = self.suite.with_seed(seed)
        if self._evaluated is not None:
            self._evaluated = tuple(map(self.seeded, self._evaluated))

    def allow_announced_alone(self, pair_ids: Iterable[str]) -> None:
        """Let no other pairs than these call a model: a witness knows only these."""
        self._announced = frozenset(pair_ids)

    def seeded(self, pair: Pair) -> Pair:
        """Return the pair with the seed that a witness's log gave, if any."""
        return pair if self._seed is None else pair.with_seed(self._seed)

    def validate_announced(self, pair: Pair, *, brings_endpoint: bool) -> None:
        """Raise Inconclusive for a pair that calls what no witness was told of."""
        if self._announced is None:
            return
        if brings_endpoint:
            raise Inconclusive(
                "a test's own endpoint can't be announced to a witness",
                location=pair.id,
                hint="omit --memleak-witness, or name the model in the suite",
            )
        if pair.id not in self._announced and not self._is_recording(pair.model):
            raise Inconclusive(
                "it wasn't announced to the witness, since its model or book couldn't "
                "be opened",
                location=pair.id,
                hint="memleak doctor shows why; then rerun",
            )

    def _is_recording(self, model: Model) -> bool:
        if model.finetune_books:
            return False
        return abilities_of(self.endpoints.open_endpoint(model)).recording is not None

    def close(self) -> None:
        """Close the providers' connections."""
        self.endpoints.close()

    @functools.cached_property
    def protected(self) -> ProtectedBooks:
        """The suite's protected books, indexed."""
        from pytest_memleak.pipeline.protected_index import ProtectedBooks  # with numpy

        return ProtectedBooks(self.suite, self.books)

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The suite's catalog."""
        from pytest_memleak.pipeline.catalog import Catalog  # with numpy

        return Catalog(
            self.suite,
            self.extensions,
            self.protected.test_books,
            self._stored_samples_of_pairs,
        )

    def note_evaluated_pairs(self, pairs: Iterable[Pair]) -> None:
        """Note which pairs the run evaluates.

        Their shared work is done once, and only they take other attempts away.
        """
        self._evaluated = tuple(pairs)

    @property
    def ids_in_this_run(self) -> frozenset[str]:
        """The ids of the pairs that the run evaluates; all, unless they were noted."""
        pairs = self.suite.pairs if self._evaluated is None else self._evaluated
        return frozenset(pair.id for pair in pairs)

    def plan_pair(
        self,
        pair: Pair,
        *,
        endpoint: Endpoint | None = None,
        for_dry_run: bool = False,
    ) -> SamplingPlan:
        """Plan the samples of a pair; see `sampling_plan.plan_pair`."""
        from pytest_memleak.pipeline.sampling_plan import plan_pair

        return plan_pair(
            pair,
            self.suite,
            self.endpoints,
            ids_in_this_run=self.ids_in_this_run,
            endpoint=endpoint,
            for_dry_run=for_dry_run,
        )

    def _stored_samples_of_pairs(
        self, parts: Sequence[Samples]
    ) -> Iterator[PairSamples]:
        """Yield the stored samples of the run's other pairs, without any call.

        They count up to now, whenever the run was: books that match only later
        generations do no harm.
        """
        from pytest_memleak.pipeline.sample_pair import sample_pair
        from pytest_memleak.pipeline.sample_readers import RecordedSamples

        own = parts[0].required.pair
        is_recorded = isinstance(parts[0], RecordedSamples)
        calls_nothing = is_recorded and self.suite.summarizer is None
        for pair in self._evaluated or ():
            is_alike = calls_nothing and pair.model.provider == own.model.provider
            is_stored = self.resources.offline or is_alike
            if pair.id == own.id or not is_stored:
                continue
            with contextlib.suppress(MemleakError):  # raises again in its turn
                yield sample_pair(self.plan_pair(pair), until=math.inf)
            self.endpoints.close_recordings(but=own.model)

    @functools.cached_property
    def _summary_writer(self) -> SummaryWriter:
        from pytest_memleak.pipeline.summary_writer import SummaryWriter

        assert self.suite.summarizer is not None  # noqa: S101 - asked before by PreparedBooks
        mode = self.suite.pairs[0].scoring.word_mode
        return SummaryWriter(self.suite.summarizer, self.endpoints, mode=mode)
