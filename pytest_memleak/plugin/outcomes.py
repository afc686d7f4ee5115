"""What becomes of a pair in pytest: passed, failed, or an error; never with protected text.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak import __version__
from pytest_memleak.contracts.protocols import Recording
from pytest_memleak.errors import MemleakError
from pytest_memleak.findings.finding import finding
from pytest_memleak.plugin.collect import SuiteModule
from pytest_memleak.plugin.progress import display_for
from pytest_memleak.plugin.stash import baseline_key, display_key, evaluation_key, run_key
from pytest_memleak.records import Block, Span, Verdict
from pytest_memleak.records.finding import RunReport
from pytest_memleak.records.phases import Progress
from pytest_memleak.redaction.text import inert, without_quotes
from pytest_memleak.reports.junit import case_properties, suite_properties
from pytest_memleak.story.resources import Resources
from pytest_memleak.story.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.contracts.protocols import Completion
    from pytest_memleak.findings.baseline import Comparison
    from pytest_memleak.records import Book, Measurement, Pair
    from pytest_memleak.records.finding import Finding
    from pytest_memleak.story.suite_run import SuiteRun
    from pytest_memleak.verdict.evaluation import Evaluation

if TYPE_CHECKING:
    Failed = Exception
else:
    # What pytest.fail raises: shown by its message alone, and JUnit's <failure> or <error>.
    Failed = pytest.fail.Exception

__all__ = [
    "LimitExceeded",
    "PairInconclusive",
    "SuiteEndpoint",
    "complete_measurement",
    "conclude",
    "conclusive",
    "evaluate_for",
    "explain_comparison",
    "hold_limits",
    "plainly",
    "publish",
    "run_of",
    "show_plans",
    "skip_what_nobody_asked_for",
    "summary_text",
    "tell_junit",
]


class LimitExceeded(Failed):
    """FAIL: an observed value is over its limit."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.pytrace = False


class PairInconclusive(Failed):
    """INCONCLUSIVE: the evidence is not complete. Raised while fixtures are set up: an error."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.pytrace = False


# Named in pytest's short summary, as its own Failed is: without the module.
LimitExceeded.__module__ = PairInconclusive.__module__ = "builtins"


class SuiteEndpoint:
    """The suite's own endpoint for a pair, opened by its first call."""

    def __init__(self, pair: Pair, suite: SuiteRun) -> None:
        self._pair = pair
        self._suite = suite

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
    ) -> Sequence[Completion | str]:
        """As `Endpoint.sample`; what it answers is not kept in the ledger."""
        with plainly():
            opened = self._suite.endpoints.endpoint(self._pair.model)
        if isinstance(opened, Recording):
            raise PairInconclusive(
                f"{self._pair.model.id} is recorded: its generations cannot be drawn anew"
            )
        return opened.sample(
            instruction, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed
        )


# --- evaluating ----------------------------------------------------------------------------


def run_of(config: pytest.Config) -> Run:
    """This run, made when a suite is first met."""
    if run_key not in config.stash:
        display = config.stash[display_key] = display_for(config)
        resources = _resources_of(config, Progress(display.tell if display else None))
        run = config.stash[run_key] = Run(
            root=config.rootpath, resources=resources, plugins=config.pluginmanager.get_plugins()
        )
        config.add_cleanup(run.close)
    return config.stash[run_key]


def _resources_of(config: pytest.Config, progress: Progress) -> Resources:
    worker = getattr(config, "workerinput", {})
    return Resources(
        config.getoption("memleak_ledger")
        or f"sqlite:///{config.rootpath / '.memleak' / 'ledger.db'}",
        wait=not config.getoption("memleak_no_wait"),
        offline=config.getoption("memleak_offline") or config.getoption("memleak_plan"),
        budget=config.getoption("memleak_budget"),
        run=worker.get("testrunuid"),
        jobs=config.getoption("memleak_jobs"),
        executor=config.getoption("memleak_executor"),
        ray_address=config.getoption("memleak_ray_address"),
        shard_memory=config.getoption("memleak_shard_memory") * 1_000_000,
        progress=progress,
    )


def skip_what_nobody_asked_for(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip pairs with paid calls unless -m names the marker, or an option asks for them."""
    asked = any(map(config.getoption, ("memleak_run", "memleak_plan", "memleak_offline")))
    if asked or "copyright" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        pair = _pair_of(item)
        provider = pair and run_of(config).paid_provider(pair)
        if provider:
            reason = f"calls {provider}: run it with -m copyright or --memleak-run"
            item.add_marker(pytest.mark.skip(reason=reason))


def show_plans(session: pytest.Session) -> None:
    """Write the plans of the session's pairs to the terminal."""
    from pytest_memleak.reports.terminal import plans
    from pytest_memleak.story.plan import plan_run

    config = session.config
    if config.getoption("numprocesses", None):
        raise pytest.UsageError("--memleak-plan runs in one process: leave -n out")
    pairs = {(pair.suite, pair.id): pair for pair in map(_pair_of, session.items) if pair}
    planned = plan_run(pairs.values(), lambda pair: run_of(config).of_suite(pair.suite))
    writer = config.get_terminal_writer()
    writer.line()
    writer.write(plans(planned, width=writer.fullwidth, color=writer.hasmarkup))
    if planned.obstacles:
        session.testsfailed = len(planned.obstacles)


def evaluate_for(item: pytest.Item, pair: Pair, endpoint: object) -> Evaluation:
    """The pair's evaluation by the item's endpoint, made now if it was not yet."""
    config = item.config
    own: Any = None if isinstance(endpoint, SuiteEndpoint) else endpoint
    display = config.stash.get(display_key, None)
    with plainly(), display.shown() if display else contextlib.nullcontext():
        evaluation = run_of(config).evaluate(pair, endpoint=own)
    item.stash[evaluation_key] = evaluation
    return evaluation


def conclusive(evaluation: Evaluation, config: pytest.Config) -> Evaluation:
    """The evaluation, or the error that stands for INCONCLUSIVE."""
    judgement = evaluation.judgement
    if judgement.verdict is Verdict.INCONCLUSIVE:
        raise PairInconclusive(_told(judgement.reasons))
    if tolerances := config.getoption("memleak_fail_if_worse"):
        uncompared = _comparison(config, evaluation).uncompared(tolerances)
        if uncompared:
            raise PairInconclusive(_told(uncompared))
    return evaluation


def _comparison(config: pytest.Config, evaluation: Evaluation) -> Comparison:
    """The pair against --memleak-baseline; empty without one."""
    from pytest_memleak.findings.baseline import Baseline, Comparison

    path = config.getoption("memleak_baseline")
    if path is None:
        return Comparison()
    if baseline_key not in config.stash:
        with plainly():
            config.stash[baseline_key] = Baseline(Path(path))
    return config.stash[baseline_key].compare(evaluation)


def complete_measurement(evaluation: Evaluation) -> Measurement:
    """The measurement, for a test that sets limits of its own."""
    missing = tuple(map(str, evaluation.completeness.gaps))
    if not missing and evaluation.extraction is not None:
        missing = ('the probe "probability" makes no Measurement: ask for `evaluation`',)
    if missing or evaluation.measurement is None:
        raise PairInconclusive(_told(missing))
    return evaluation.measurement


def hold_limits(evaluation: Evaluation, config: pytest.Config) -> None:
    """Fail the test if a limit does not hold, or if it is worse than the baseline may be."""
    if evaluation.judgement.verdict is Verdict.FAIL:
        raise LimitExceeded("; ".join(evaluation.judgement.reasons))
    worse = _comparison(config, evaluation).worse(config.getoption("memleak_fail_if_worse") or {})
    if worse:
        raise LimitExceeded("worse than the baseline: " + "; ".join(map(str, worse)))


def _told(reasons: Iterable[str]) -> str:
    return "INCONCLUSIVE: " + "\n".join(map(inert, reasons))


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """What goes wrong inside is told without a traceback, whose lines and locals quote books."""
    try:
        yield
    except MemleakError as error:
        raise PairInconclusive(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its frames hold protected text
        raise PairInconclusive(_where_it_broke(error)) from None


def _where_it_broke(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([f"INCONCLUSIVE: {type(error).__name__} while evaluating the pair:", *places])


# --- reporting -----------------------------------------------------------------------------


def publish(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach the pair's finding to the report, and take out what would quote the book.

    What a provider or a test printed may be a copy of it, and so may an assertion's diff.
    """
    quoted = _quoted_words(item.config)
    evaluation = item.stash.get(evaluation_key, None)
    if quoted is not None:
        _withhold_captured(report)
        if evaluation and evaluation.book and report.failed:
            _withhold_quotes(report, evaluation.book)
    if evaluation and report.when == "setup":
        found = finding(evaluation, quoted=quoted, changes=_changes(item.config, evaluation))
        report.memleak = found.to_json()  # type: ignore[attr-defined]
        item.user_properties += case_properties(found, own=item.getparent(SuiteModule) is None)


def _changes(config: pytest.Config, evaluation: Evaluation) -> tuple[str, ...]:
    try:
        comparison = _comparison(config, evaluation)
    except PairInconclusive as error:
        return (f"against the baseline: {error}",)
    told = [comparison.obstacle] if comparison.obstacle else map(str, comparison.changes)
    return tuple(f"against the baseline: {one}" for one in told)


def _withhold_captured(report: pytest.TestReport) -> None:
    length = sum(len(text) for _, text in report.sections)
    if length:
        note = f"{length:,} characters withheld, since they may quote the book"
        report.sections[:] = [("Captured output", note)]


def _withhold_quotes(report: pytest.TestReport, book: Book) -> None:
    text = str(report.longrepr)
    plain = without_quotes(text, book)
    if plain != text:
        report.longrepr = plain


def tell_junit(config: pytest.Config, findings: tuple[Finding, ...]) -> None:
    """Add the run's properties to the JUnit report, before its file is written."""
    for plugin in config.pluginmanager.get_plugins():
        # The fixture record_testsuite_property does the same, but not from xdist's workers.
        if type(plugin).__name__ == "LogXML":
            for name, value in suite_properties(findings, version=__version__):
                plugin.add_global_property(name, value)


def conclude(config: pytest.Config, findings: tuple[Finding, ...]) -> None:
    """Hand the run's findings to the report sinks; one that fails, fails the run."""
    outputs = {
        name: Path(value)
        for name in ("html", "evidence", "sign")
        if (value := config.getoption(f"memleak_{name}", None))
    }
    if step_summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        outputs["step_summary"] = Path(step_summary)
    try:
        run_of(config).extensions.report(RunReport(__version__, findings, outputs))
    except MemleakError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def summary_text(config: pytest.Config, findings: tuple[Finding, ...]) -> str:
    """The terminal summary of the findings."""
    from pytest_memleak.reports.terminal import summary

    writer = config.get_terminal_writer()
    return summary(
        findings,
        width=writer.fullwidth,
        color=writer.hasmarkup,
        verbose=config.get_verbosity() > 0,
    )


def explain_comparison(run: Run, op: str, left: object, right: object) -> list[str] | None:
    """`assert memorization.longest_block <= 50` in words: value, limit, place in the book."""
    block, bound = (left, right) if isinstance(left, Block) else (right, left)
    if not isinstance(block, Block):
        return None
    limit = f"{bound.words} words" if isinstance(bound, Block) else str(bound)
    kind = "longest span" if isinstance(block, Span) else "longest block"
    lines = [f"{kind} of {block.words} words {op} {limit}"]
    evaluation = run.evaluated_with(block)
    if evaluation and evaluation.measurement and evaluation.book and block.start is not None:
        excerpt = evaluation.book.excerpts[evaluation.measurement.excerpt_at(block.start)]
        chapter = f"{inert(excerpt.chapter)}, " if excerpt.chapter else ""
        lines.append(
            f"{evaluation.pair.id}: {chapter}{excerpt.id}, words {block.start}-{block.end}"
        )
    return lines


def _pair_of(item: pytest.Item) -> Pair | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("pair") if callspec else None


def _quoted_words(config: pytest.Config) -> int | None:
    value = config.getoption("memleak_quote")
    return None if value == "full" else int(value)
