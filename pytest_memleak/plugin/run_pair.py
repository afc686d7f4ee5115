"""What a pair's test does: open the endpoint, evaluate, and check the limits.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import Inconclusive, LedgerError, MemleakError, MissingExtra
from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.run import Run
from pytest_memleak.plugin.collect_suites import (
    LimitExceeded,
    PairInconclusive,
    UnexcusedPassage,
)
from pytest_memleak.plugin.internal_errors import internal_error_text
from pytest_memleak.plugin.options import (
    HOW_TO_RUN,
    baseline_error_key,
    display_key,
    evaluation_key,
    failure_key,
    pair_of,
    pairs_of,
    quoted_words,
    run_key,
)
from pytest_memleak.plugin.progress import display_for, ending_notice
from pytest_memleak.plugin.redacted_tests import RedactedTests, redaction_key
from pytest_memleak.plugin.text_views import report_read, views_of_completions
from pytest_memleak.providers.call_errors import stored_message
from pytest_memleak.records import Estimate, Verdict
from pytest_memleak.records.phases import Progress
from pytest_memleak.records.verdicts import is_recited
from pytest_memleak.redaction.log_records import safe_log_records
from pytest_memleak.redaction.text import first_words, inert, server_word_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Completion
    from pytest_memleak.parallel.processes import Processes
    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.verdict.evaluation import Evaluation


class SuiteEndpoint:
    """The suite's endpoint for a pair, opened by its first call."""

    def __init__(self, pair: Pair, config: pytest.Config) -> None:
        self._pair = pair
        self._config = config
        self._suite = config.stash[run_key].suite_run_for(pair.suite)

    @property
    def id(self) -> str | None:
        """The endpoint's id; None if nothing names its weights."""
        with hiding_tracebacks(self._config):
            return id_of(self._suite.endpoints.endpoint(self._pair.model))

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
            opened = self._suite.endpoints.endpoint(self._pair.model)
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


def run_of(config: pytest.Config) -> Run:
    """Return this run, created when the first suite is collected."""
    if run_key not in config.stash:
        display = config.stash[display_key] = display_for(config)
        show = display.update if display else ending_notice(config)
        run = config.stash[run_key] = Run(
            root=config.rootpath,
            resources=_resources_of(config, Progress(show)),
            plugins=config.pluginmanager.get_plugins(),
        )
        config.add_cleanup(run.close)
        _end_as_by_ctrl_c(config)
        _start_redaction(config)
    started: Run = config.stash[run_key]
    return started


def _end_as_by_ctrl_c(config: pytest.Config) -> None:
    """Let signals that end a process end the run as Ctrl-C does."""
    with contextlib.suppress(ValueError):  # outside the main thread
        for ending in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            before = signal.getsignal(ending)
            if before is not signal.SIG_IGN:  # as with nohup
                signal.signal(ending, signal.default_int_handler)
                config.add_cleanup(functools.partial(signal.signal, ending, before))  # type: ignore[arg-type]


def _start_redaction(config: pytest.Config) -> None:
    """Redact tests that read text, and log records, until the end of the run."""
    most = quoted_words(config)
    most_of_records: Callable[[], int | None] = _all_words
    if most is not None:
        redaction = config.stash[redaction_key] = RedactedTests(config, most=most)
        config.pluginmanager.register(redaction, "memleak-redaction")
        most_of_records = redaction.most_words
    stack = contextlib.ExitStack()
    config.add_cleanup(stack.close)
    stack.enter_context(safe_log_records(most_of_records))
    stack.enter_context(server_word_limit(most))


def _all_words() -> None:
    """Return that nothing limits the words of a log record."""


def _resources_of(config: pytest.Config, progress: Progress) -> Resources:
    worker = getattr(config, "workerinput", {})
    default_ledger = str(config.rootpath / ".memleak" / "ledger.db")
    offline = config.getoption("memleak_offline")
    hosts = None if offline else config.getoption("memleak_host")
    return Resources(
        config.getoption("memleak_ledger") or default_ledger,
        wait=not config.getoption("memleak_no_wait"),
        offline=offline or config.getoption("memleak_dry_run"),
        budget=config.getoption("memleak_budget"),
        run=worker.get("testrunuid"),
        pool=_process_pool_factory(config.getoption("memleak_jobs")),
        progress=progress,
        hosts=hosts,
    )


def _process_pool_factory(jobs: int) -> Callable[[], Processes] | None:
    if jobs == 1:
        return None
    from pytest_memleak.parallel.processes import Processes

    return functools.partial(Processes, jobs)


def skip_paid_pairs(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip pairs with paid calls unless the marker or an option selects them."""
    selecting = ("memleak_allow_paid", "memleak_dry_run", "memleak_offline")
    if any(config.getoption(name) for name in selecting):
        return
    if "copyright" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        pair = pair_of(item)
        if pair is None:
            continue
        provider = run_of(config).paid_provider(pair)
        if provider:
            item.add_marker(pytest.mark.skip(reason=f"calls {provider}: {HOW_TO_RUN}"))


def group_by_file(items: list[pytest.Item]) -> None:
    """Order pairs by file, each with a line of progress; pytest mixes them."""
    places = [place for place, item in enumerate(items) if pair_of(item)]
    by_file: dict[Path, list[pytest.Item]] = {}
    for place in places:
        by_file.setdefault(items[place].path, []).append(items[place])
    grouped = itertools.chain.from_iterable(by_file.values())
    for place, item in zip(places, list(grouped), strict=True):
        items[place] = item


def expect_pairs(session: pytest.Session) -> None:
    """Tell each suite which of its pairs the session runs.

    Raises UsageError for a budget without prices, or without caps.
    """
    pairs = pairs_of(session.items)
    config = session.config
    unpriced = dict.fromkeys(
        pair.model.id for pair in pairs.values() if pair.model.price is None
    )
    calls_none = any(map(config.getoption, ("memleak_offline", "memleak_dry_run")))
    has_budget = config.getoption("memleak_budget") is not None and not calls_none
    # In a worker of xdist, which can't end a run, each pair says so.
    if unpriced and has_budget and not hasattr(config, "workerinput"):
        raise pytest.UsageError(
            f"--memleak-budget needs a price for {', '.join(unpriced)}; add price = "
            "{ input = ..., output = ... } (US$ per million tokens) to the [[model]]; "
            "0 if the model is free",
        )
    uncapped = dict.fromkeys(
        pair.model.id
        for pair in pairs.values()
        if pair.sampling.max_tokens == "default"
    )
    if uncapped and has_budget and not hasattr(config, "workerinput"):
        raise pytest.UsageError(
            "--memleak-budget needs a cap on the generations of "
            f"{', '.join(uncapped)}, "
            'but max_tokens = "default" sends none; set max_tokens to a number',
        )
    by_suite: dict[Path, list[Pair]] = {}
    for (suite, _), pair in pairs.items():
        by_suite.setdefault(suite, []).append(pair)
    for suite, its_pairs in by_suite.items():
        run_of(config).suite_run_for(suite).note_evaluated_pairs(its_pairs)


def deployment_lines(config: pytest.Config) -> Iterator[str]:
    """Yield the name of a new ledger, and each deployment that is still billed."""
    resources = run_of(config).resources
    if resources.new_ledger:
        yield f"New ledger: {inert(resources.new_ledger)}"
        yield "  --memleak-ledger names another"
    try:
        ledger = None if resources.offline else resources.existing_ledger
        if ledger is None:
            return
        from pytest_memleak.ledger.deployments import possibly_active_deployments

        with ledger.damage_as_ledger_error():
            open_deployments = possibly_active_deployments(ledger)
        for debt in open_deployments:
            text = debt.endpoint or debt.job_id or "one being created"
            if debt.an_hour is not None:
                text += f", US${debt.an_hour:,.2f} an hour"
            if debt.cause:
                text += f" ({stored_message(debt.cause)})"
            yield inert(f"still deployed: {text}; run memleak ledger cleanup")
    except LedgerError:
        return  # reported by the pairs


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


@contextlib.contextmanager
def hiding_tracebacks(config: pytest.Config) -> Iterator[None]:
    """Report errors without a traceback, whose lines and locals may quote books."""
    redaction = config.stash.get(redaction_key, None)
    try:
        with redaction.shortening_output() if redaction else contextlib.nullcontext():
            yield
    except (Exception, pytest.skip.Exception, pytest.xfail.Exception) as error:  # noqa: BLE001
        # Its frames may hold protected text. A provider that skips leaves no evidence
        # either.
        if interrupt := _interrupt_behind(error):
            raise interrupt from None
        if isinstance(error, MemleakError):
            raise PairInconclusive(str(error)) from None
        raise PairInconclusive(internal_error_text(error, config)) from None


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the Ctrl-C that an error came from; SQLAlchemy's commit hides it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def load_suite(config: pytest.Config, path: Path) -> Suite:
    """Read a suite and validate what can be checked before a call.

    Raises MemleakError for an unknown provider option, an invalid catalog, or a missing
    ledger. A missing extra is an error only of the pairs that need it.
    """
    try:
        suite_run = run_of(config).suite_run_for(path)
        suite = suite_run.suite
        models = [*suite.models]
        if suite.summarizer:
            models.append(suite.summarizer.model)
        for model in models:
            with contextlib.suppress(Inconclusive, MissingExtra):
                suite_run.endpoints.provider(model)
    except pytest.skip.Exception as error:  # pytest would leave the suite out
        raise MemleakError(
            f"an extension skipped the suite: {first_words(str(error))}",
            location=str(path),
            hint="let the extension raise an error, or name only the suites to run",
        ) from None
    if suite.catalog:
        suite_run.catalog.validate()
    if config.getoption("memleak_ledger") and not config.getoption("collectonly"):
        suite_run.resources.ledger  # noqa: B018 - opened by asking for it
    return suite
