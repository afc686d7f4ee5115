"""A run: its suites, each loaded once, and its pairs, each evaluated once."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import LedgerError, MemleakError
from pytest_memleak.interfaces.abilities import id_of
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.endpoints import remove_deployment
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.suite.load import load_suite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.records import Block, Pair, Suite
    from pytest_memleak.verdict.evaluation import Evaluation


class Run:
    """The suites and evaluations of a run.

    root: the folder for what is kept between runs (`.memleak` below it); plugins:
    objects that may have hooks
    """

    def __init__(
        self,
        *,
        root: Path,
        resources: Resources,
        plugins: Iterable[object] = (),
    ) -> None:
        self._state = root / ".memleak"
        self.resources = resources
        self._looked_for_debts = False
        self.extensions = Extensions(plugins)
        self._cut_books = CutBooks(self.extensions)
        self._suites: dict[Path, SuiteRun] = {}
        # Keep the endpoints: Python reuses the id of a deleted object.
        self._evaluations: dict[
            tuple[Path, str, object],
            tuple[object, Evaluation],
        ] = {}

    def close(self) -> None:
        """Remove deployments; close connections and ledgers."""
        for suite in self._suites.values():
            suite.close()
        self.resources.close()

    def remove_deployments(self) -> None:
        """Remove this run's deployments; after an evaluation, also abandoned ones."""
        for suite in self._suites.values():
            suite.endpoints.deployments.remove_if_unused()
        if self._looked_for_debts:
            self._remove_unused_deployments(kept=set())

    def _remove_unused_deployments(self, kept: set[str]) -> None:
        """Remove unused deployments, except those kept or awaited.

        The ledger keeps those that can't be removed now.
        """
        try:
            ledger = None if self.resources.offline else self.resources.existing_ledger
            if ledger is None:
                return
            from pytest_memleak.ledger.deployments import possibly_active_deployments

            standing = possibly_active_deployments(ledger)
        except LedgerError:
            return  # the run reports it; an unreadable ledger lists no deployments
        for suite in self._suites.values():
            kept |= suite.endpoints.deployments.held_digests
        for debt in standing:
            if not debt.in_use and debt.digest not in kept:
                with contextlib.suppress(MemleakError):
                    remove_deployment(
                        debt,
                        self.extensions,
                        ledger=ledger,
                        state=self._state,
                        retry=self.resources.retry,
                    )

    def _remove_abandoned_deployments(self) -> None:
        """Remove, once and before any call, the deployments that a killed run left."""
        if not self._looked_for_debts:
            self._looked_for_debts = True
            needed = set()
            for suite in self._suites.values():
                for model in suite.suite.models:
                    with contextlib.suppress(MemleakError):
                        deployment = suite.endpoints.required_deployment(model)
                        if deployment is not None:
                            needed.add(deployment.digest)
            self._remove_unused_deployments(needed)

    def validate_ledger(self) -> None:
        """Raise LedgerError where the run's ledger is damaged or was replaced."""
        self.resources.validate_ledger()

    @property
    def suites(self) -> list[Suite]:
        """The suites loaded so far."""
        return [suite_run.suite for suite_run in self._suites.values()]

    def suite_run_for(self, path: Path) -> SuiteRun:
        """Return the suite's run, which opens its books and endpoints."""
        if path not in self._suites:
            suite = load_suite(path, self.extensions.measures())
            for model in suite.models:
                self.extensions.provider(
                    model.provider,
                    place=f"{path}: model {model.id!r}",
                )
            if suite.summarizer:
                model = suite.summarizer.model
                self.extensions.provider(model.provider, place=f"{path}: {model.id}")
            self._suites[path] = SuiteRun(
                suite,
                self.extensions,
                cut_books=self._cut_books,
                state=self._state,
                resources=self.resources,
            )
        return self._suites[path]

    def paid_provider(self, pair: Pair) -> str | None:
        """Return a provider whose paid calls the pair may need, if any."""
        suite = self.suite_run_for(pair.suite).suite
        called = {pair.model.id, pair.model.baseline_model}
        models = [model for model in suite.models if model.id in called]
        if suite.summarizer:
            models.append(suite.summarizer.model)
        for model in models:
            if not self.extensions.is_free(model.provider):
                return model.provider
        return None

    def evaluate(self, pair: Pair, *, endpoint: Endpoint | None = None) -> Evaluation:
        """Return the pair's evaluation by this endpoint, which is made once."""
        key = (pair.suite, pair.id, _evaluation_key(endpoint))
        if key not in self._evaluations:
            self._remove_abandoned_deployments()
            # With numpy, which no one needs to collect tests.
            from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
            from pytest_memleak.scoring.freed_memory import return_freed_memory

            suite_run = self.suite_run_for(pair.suite)
            seeded = suite_run.seeded(pair)
            evaluation = evaluate_pair(seeded, suite_run, endpoint=endpoint)
            suite_run.endpoints.close_recordings()
            return_freed_memory()
            self._evaluations[key] = endpoint, evaluation
        return self._evaluations[key][1]

    def evaluation_with_block(self, block: Block) -> Evaluation | None:
        """Return the evaluation that holds this very block, span, or passage."""
        for _, evaluation in self._evaluations.values():
            if any(block is other for other in _blocks(evaluation)):
                return evaluation
        return None


def _blocks(evaluation: Evaluation) -> Iterator[Block]:
    """Yield an evaluation's blocks, spans, and longest passages."""
    measured, analysis = evaluation.measurement, evaluation.analysis
    if measured is None:
        return
    yield measured.longest_block
    yield measured.longest_span
    yield from measured.spans
    if analysis is not None and analysis.passages is not None:
        yield from analysis.passages.longest.values()


@contextlib.contextmanager
def open_suite(
    path: Path,
    *,
    ledger: str = "sqlite://",
    offline: bool = False,
    hosts: Iterable[str] = (),
) -> Iterator[SuiteRun]:
    """Open a suite's books and endpoints, by default with a ledger in memory.

    hosts: that may receive a key, beside the providers' own
    """
    resources = Resources(ledger, offline=offline, hosts=None if offline else hosts)
    with contextlib.closing(Run(root=Path.cwd(), resources=resources)) as run:
        yield run.suite_run_for(Path(os.path.realpath(path)))


def _evaluation_key(endpoint: Endpoint | None) -> object:
    """Return the key of an evaluation: the endpoint's id, or else the object itself."""
    return None if endpoint is None else id_of(endpoint) or id(endpoint)
