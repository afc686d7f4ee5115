"""What a pair's test does: open the endpoint, evaluate, and check the limits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.plugin.collect_suites import (
    LimitExceeded,
    PairInconclusive,
    UnexcusedPassage,
)
from pytest_memleak.plugin.hidden_tracebacks import hiding_tracebacks
from pytest_memleak.plugin.options import (
    baseline_error_key,
    display_key,
    evaluation_key,
    failure_key,
    pair_of,
    run_key,
)
from pytest_memleak.plugin.reporting_views import report_read, views_of_completions
from pytest_memleak.plugin.session_run import run_of
from pytest_memleak.records import Estimate, Verdict
from pytest_memleak.records.verdicts import is_recited
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.interfaces.protocols import Completion
    from pytest_memleak.records import Pair
    from pytest_memleak.verdict.evaluation import Evaluation


class SuiteEndpoint:
    """The suite's endpoint for a pair, opened by its first call."""

    def __init__(self, pair: Pair, config: pytest.Config) -> None:
        self._pair = pair
        self._config = config
        self._suite = config.stash[run_key].suite_run_for(pair.suite)

    @property
    def id(self) -> str | None:
        """The endpoint's id; None if nothing names its weights.

        Opens the endpoint, which waits for the suite's fine-tune, or starts it.
        """
        with hiding_tracebacks(self._config):
            return id_of(self._suite.endpoints.open_endpoint(self._pair.model))

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int | None,
        seed: int | None,
    ) -> Sequence[Completion | str]:
        """Sample as `Endpoint.sample` does; store no generation in the ledger."""
        with hiding_tracebacks(self._config):
            opened = self._suite.endpoints.open_endpoint(self._pair.model)
            self._suite.endpoints.deploy(self._pair.model)
        if abilities_of(opened).recording is not None:
            raise PairInconclusive(
                f"{self._pair.model.id} is a recording: it can't generate new samples; "
                "use a model that can be sampled",
            )
        with hiding_tracebacks(self._config):
            completions = opened.sample(
                instruction,
                n=n,
                temperature=temperature,
                max_tokens=max_tokens,
                seed=seed,
            )
        return views_of_completions(completions)


class Memorization:
    """A pair's measures as attributes, and the fields of its Measurement.

    A measure that the run didn't compute is INCONCLUSIVE, whatever the test does with
    it.
    """

    def __init__(self, evaluation: Evaluation, item: pytest.Item) -> None:
        self._evaluation, self._item = evaluation, item

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name.startswith("_"):
            raise AttributeError(name)
        from pytest_memleak.scoring.measure_table import (
            MEASURES,
            unknown_name_hint,
            why_unmeasured,
        )

        evaluation = self._evaluation
        analysis = evaluation.analysis
        if analysis and name in analysis.further:
            return analysis.further[name]
        if name not in MEASURES and evaluation.measurement is not None:
            if not hasattr(evaluation.measurement, name):
                raise AttributeError(
                    f"no measure {name!r}: {unknown_name_hint(name, MEASURES)}"
                )
            return getattr(evaluation.measurement, name)
        value = None
        if name in MEASURES:
            value = MEASURES[name].value(analysis and analysis.without_excused_words)
        if value is None:
            with recording_failure(self._item):
                raise PairInconclusive(
                    f"{name} couldn't be measured: {why_unmeasured(name)}. This test "
                    f"is INCONCLUSIVE; the pair itself is {evaluation.verdict}.",
                )
        if isinstance(value, Estimate):
            return value.value
        return value


def evaluate_for(
    item: pytest.Item,
    pair: Pair,
    endpoint: object,
) -> Evaluation:
    """Return the pair's evaluation with the item's endpoint, made on first use."""
    config = item.config
    if pair_of(item) not in (None, pair):
        raise PairInconclusive(
            "INCONCLUSIVE: the pair wasn't evaluated, since your fixture memleak_pair "
            "overrides this package's; rename that fixture",
        )
    if config.getoption("setuponly", default=False):
        raise PairInconclusive("INCONCLUSIVE: --setup-only evaluates no pair; omit it")
    if baseline_error_key in config.stash:
        raise PairInconclusive(config.stash[baseline_error_key])
    own: Any = None if isinstance(endpoint, SuiteEndpoint) else endpoint
    if own is not None:
        report_read()  # the test's own code gets prompts and answers
    display = config.stash.get(display_key, None)
    with (
        hiding_tracebacks(config),
        display.shown() if display else contextlib.nullcontext(),
    ):
        evaluation = run_of(config).evaluate(pair, endpoint=own)
    item.stash[evaluation_key] = evaluation
    return evaluation


def require_conclusive(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation; raise PairInconclusive if its verdict is INCONCLUSIVE."""
    verdict_result = evaluation.verdict_result
    is_recited_control = is_recited(evaluation.completeness.issues)
    if evaluation.pair.control and evaluation.measurement and not is_recited_control:
        return evaluation  # a control's own limits gate nothing
    if verdict_result.verdict is Verdict.INCONCLUSIVE:
        raise PairInconclusive(
            _inconclusive_text(verdict_result.reasons),
            summarized=True,
        )
    return evaluation


def require_complete(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation; raise PairInconclusive if its evidence isn't complete."""
    missing = tuple(map(str, evaluation.completeness.issues))
    if missing or evaluation.measurement is None:
        raise PairInconclusive(_inconclusive_text(missing))
    return evaluation


def check_limits(item: pytest.Item) -> None:
    """Fail the test if a limit is exceeded.

    A control's own book gates nothing. The item's evaluation counts, even if a conftest
    overrides its fixture.
    """
    evaluation = item.stash.get(evaluation_key, None)
    if evaluation is None:
        raise PairInconclusive(
            "INCONCLUSIVE: the pair wasn't evaluated, since your fixture "
            "memleak_evaluation overrides this package's; rename that fixture",
        )
    if evaluation.verdict_result.unexcused:
        raise UnexcusedPassage(
            "; ".join(evaluation.verdict_result.unexcused),
            summarized=True,
        )
    if evaluation.pair.control:
        return
    if evaluation.verdict is Verdict.FAIL:
        raise LimitExceeded(
            "; ".join(evaluation.verdict_result.reasons),
            summarized=True,
        )


@contextlib.contextmanager
def recording_failure(item: pytest.Item) -> Iterator[None]:
    """Remember an INCONCLUSIVE, so that the test can't ignore it."""
    try:
        yield
    except PairInconclusive as doubt:
        item.stash[failure_key] = str(doubt)
        raise


def _inconclusive_text(reasons: Iterable[str]) -> str:
    return "INCONCLUSIVE: " + "\n".join(map(inert, reasons))
