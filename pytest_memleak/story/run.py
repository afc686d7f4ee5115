"""The gate: one run's suites, each loaded once, and its pairs, each evaluated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.contracts.extensions import Extensions
from pytest_memleak.story.workshop import Workshop
from pytest_memleak.suite.load import load_suite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_memleak.contracts.protocols import Endpoint, Recording
    from pytest_memleak.records import Block, Pair, Suite
    from pytest_memleak.sampling.loop import Progress
    from pytest_memleak.story.resources import Means
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["Gate"]


class Gate:
    """What the pairs of a run share.

    `root` is the folder for what is kept between runs (`.memleak` below it); `plugins` are
    objects that may hold hooks.
    """

    def __init__(self, *, root: Path, means: Means, plugins: Iterable[object] = ()) -> None:
        self._state = root / ".memleak"
        self._means = means
        self.extensions = Extensions(plugins)
        self._workshops: dict[Path, Workshop] = {}
        # With their endpoints: an id is another object's once its own is gone.
        self._evaluations: dict[tuple[Path, str, int | None], tuple[object, Evaluation]] = {}

    def close(self) -> None:
        """Let go of connections and ledgers."""
        for workshop in self._workshops.values():
            workshop.close()
        self._means.close()

    def suite(self, path: Path) -> Suite:
        """The suite in a file; SuiteError where it cannot be run as written."""
        return self.workshop(path).suite

    def workshop(self, path: Path) -> Workshop:
        """Where the suite's books and endpoints are opened."""
        if path not in self._workshops:
            suite = load_suite(path, self.extensions.measures())
            for model in suite.models:
                self.extensions.provider(model.provider, place=f"{path}: model {model.id!r}")
            if suite.summarizer:
                model = suite.summarizer.model
                self.extensions.provider(model.provider, place=f"{path}: {model.id}")
            self._workshops[path] = Workshop(
                suite, self.extensions, state=self._state, means=self._means
            )
        return self._workshops[path]

    def paid_provider(self, pair: Pair) -> str | None:
        """A provider whose paid calls evaluating the pair may need; None where all are free."""
        suite = self.suite(pair.suite)
        models = [one for one in suite.models if one.id in {pair.model.id, pair.model.baseline}]
        if suite.summarizer:
            models.append(suite.summarizer.model)
        names = (model.provider for model in models)
        return next((name for name in names if not self.extensions.is_free(name)), None)

    def evaluate(
        self,
        pair: Pair,
        *,
        endpoint: Endpoint | Recording | None = None,
        progress: Progress | None = None,
    ) -> Evaluation:
        """The pair's evaluation, made when first asked for; see `pytest_memleak.story.evaluate`."""
        key = (pair.suite, pair.id, None if endpoint is None else id(endpoint))
        if key not in self._evaluations:
            from pytest_memleak.story.evaluate import evaluate  # with numpy: not needed to collect

            made = evaluate(pair, self.workshop(pair.suite), endpoint=endpoint, progress=progress)
            self._evaluations[key] = endpoint, made
        return self._evaluations[key][1]

    def evaluated(self, pair: Pair) -> Evaluation | None:
        """The pair's evaluation, if it was made in this process."""
        asked = (pair.suite, pair.id)
        return next((one for key, (_, one) in self._evaluations.items() if key[:2] == asked), None)

    def evaluated_with(self, run: Block) -> Evaluation | None:
        """The evaluation whose measurement holds this very block or span."""
        for _, one in self._evaluations.values():
            measured = one.measurement
            if measured and any(
                run is known
                for known in (measured.longest_block, measured.longest_span, *measured.spans)
            ):
                return one
        return None
