"""The run of a pytest session: its resources, and the suites that it loads.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import functools
import signal
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.errors import Inconclusive, LedgerError, MemleakError, MissingExtra
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.run import Run
from pytest_memleak.plugin.options import (
    display_key,
    quoted_words,
    run_key,
)
from pytest_memleak.plugin.progress import display_for, ending_notice
from pytest_memleak.plugin.redacted_tests import RedactedTests, redaction_key
from pytest_memleak.providers.call_errors import stored_message
from pytest_memleak.records.phases import Progress
from pytest_memleak.redaction.log_records import safe_log_records
from pytest_memleak.redaction.text import first_words, inert, server_word_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_memleak.parallel.processes import Processes
    from pytest_memleak.records import Suite


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
