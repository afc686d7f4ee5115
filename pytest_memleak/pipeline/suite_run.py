"""One suite of a run: its books, its endpoints, and what of the run they may use."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, SuiteError
from pytest_memleak.pipeline.endpoints import Endpoints
from pytest_memleak.pipeline.prepared_books import PreparedBooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.pipeline.catalog import Catalog
    from pytest_memleak.pipeline.protected_index import ProtectedBooks
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.sampled_generations import PairSamples
    from pytest_memleak.pipeline.summary_writer import SummaryWriter
    from pytest_memleak.records import Pair, Suite


class SuiteRun:
    """What the pairs of one suite share in a run, each thing opened when it is first asked for.

    `state` is the folder that providers may keep weights in.
    """

    def __init__(
        self, suite: Suite, extensions: Extensions, *, state: Path, resources: Resources
    ) -> None:
        self.suite = suite
        self.extensions = extensions
        self.resources = resources
        self._expected: tuple[Pair, ...] = ()
        # A summarizer's endpoint writes what books lack, and other endpoints are tuned on books.
        self.books = PreparedBooks(suite, extensions, lambda: self._summary_writer)
        self.endpoints = Endpoints(suite, extensions, self.books, resources, state=state)

    def validate_preregistration(self) -> None:
        """Raise SuiteError where another suite than this was preregistered."""
        expected, digest = self.suite.preregistered, self.suite.content_digest
        if expected not in (None, digest):
            raise SuiteError(
                f"not the suite that was preregistered: that one's SHA-256 is {expected}, "
                f"this one's is {digest}",
                location=self.suite.name,
                hint="take back what was changed since; or write "
                f'preregistered = "{digest}", and announce it, before anything is drawn',
            )

    def close(self) -> None:
        """Let go of the providers' connections, where they have any."""
        self.endpoints.close()

    @functools.cached_property
    def protected(self) -> ProtectedBooks:
        """The suite's books that no generation may recite."""
        from pytest_memleak.pipeline.protected_index import ProtectedBooks  # with numpy

        return ProtectedBooks(self.suite, self.books)

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The books that nobody asks for."""
        from pytest_memleak.pipeline.catalog import (
            Catalog,  # with numpy
            CatalogReader,
        )

        return Catalog(
            self.suite,
            CatalogReader(self.suite.pairs[0].scoring, self.extensions),
            own_books=self.protected.test_books,
            stored_samples=self._at_hand,
            scan=lambda: self.resources.scan,
        )

    def expect(self, pairs: Iterable[Pair]) -> None:
        """Note which pairs the run comes to, so that what they share is done once."""
        self._expected = tuple(pairs)

    def _at_hand(self, parts: PairSamples) -> Iterator[PairSamples]:
        """What was written for the other pairs of the run and is there without any call.

        Until now, whenever the run was: books that only later texts share words with do no harm.
        """
        from pytest_memleak.pipeline.required_samples import required_samples
        from pytest_memleak.pipeline.sampled_generations import sample_all

        offline = self.resources.offline
        recorded = parts[0].recording is not None and self.suite.summarizer is None
        own = parts[0].required.pair
        for pair in self._expected:
            alike = recorded and pair.model.provider == own.model.provider
            asked = pair.probe.kind != "probability" and pair.id != own.id
            if asked and (offline or alike):
                with contextlib.suppress(MemleakError):  # it says so where its turn comes
                    yield sample_all(
                        required_samples(pair, self.suite), self.endpoints, until=time.time()
                    )

    @functools.cached_property
    def _summary_writer(self) -> SummaryWriter:
        from pytest_memleak.pipeline.summary_writer import SummaryWriter

        assert self.suite.summarizer is not None  # noqa: S101 - asked before by PreparedBooks
        mode = self.suite.pairs[0].scoring.word_mode
        return SummaryWriter(self.suite.summarizer, self.endpoints, self.resources, mode=mode)
