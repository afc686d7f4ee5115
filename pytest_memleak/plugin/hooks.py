"""The plugin's hooks: options, collection of suites, outcomes; the rest: `end_of_run`.

PYTEST_DONT_REWRITE

An idle plugin costs nothing: heavy modules are imported when the first suite is
collected.
"""

from __future__ import annotations

import errno
import fnmatch
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.options import (
    add_options,
    copyright_key,
    report_paths,
    run_key,
    validate_measures,
    validate_option_spelling,
)
from pytest_memleak.reports.output_table import EVIDENCE, HTML

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_memleak.plugin.collect_suites import SuiteModule
    from pytest_memleak.records import Suite
    from pytest_memleak.verdict.evaluation import Evaluation

pytest_plugins = ("pytest_memleak.plugin.fixtures", "pytest_memleak.plugin.end_of_run")
_FILE_OPTIONS = ("memleak_signing_key", "memleak_baseline", "memleak_ledger")
# What `-p no:` could leave out: a run without one of them would hide a verdict or show
# protected text.
_PARTS = (
    *pytest_plugins,
    "memleak-end-of-run",
    "memleak-run-record",
    "memleak-redaction",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with --memleak-."""
    add_options(parser)


def pytest_load_initial_conftests(
    early_config: pytest.Config,
    parser: pytest.Parser,
    args: list[str],
) -> None:
    """Suggest the right name for a misspelt option; reject a disabled part."""
    validate_option_spelling(parser, args)
    _validate_no_part_is_disabled(early_config)


def _validate_no_part_is_disabled(config: pytest.Config) -> None:
    for part in _PARTS:
        if config.pluginmanager.is_blocked(part):
            raise pytest.UsageError(
                f"-p no:{part} disables a part of pytest-memleak; omit it, or disable "
                "the whole plugin with -p no:memleak",
            )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and validate options."""
    config.addinivalue_line(
        "markers",
        "copyright(suite=None): a memorization test. suite: path of a suite file, "
        "relative to the test's folder; the function runs once for each pair of that "
        "suite",
    )
    if config.getoption("memleak_max_increase") and not config.getoption(
        "memleak_baseline",
    ):
        raise pytest.UsageError("--memleak-max-increase needs --memleak-baseline")
    validate_measures(config)
    reports = report_paths(config)
    if config.getoption("memleak_signing_key") and EVIDENCE.name not in reports:
        raise pytest.UsageError(f"--memleak-signing-key needs {EVIDENCE.option}")
    if config.getoption("memleak_witness") and EVIDENCE.name not in reports:
        raise pytest.UsageError(f"--memleak-witness needs {EVIDENCE.option}")
    if config.getoption("memleak_timestamp_server") and not config.getoption(
        "memleak_witness",
    ):
        raise pytest.UsageError("--memleak-timestamp-server needs --memleak-witness")
    for name in ("release", "operator"):
        if config.getoption(f"memleak_{name}") and not reports:
            raise pytest.UsageError(
                f"--memleak-{name} needs {EVIDENCE.option} or {HTML.option}",
            )
    is_worker = hasattr(config, "workerinput")
    if not is_worker and (reports or any(map(config.getoption, _FILE_OPTIONS))):
        from pytest_memleak.plugin.validate_outputs import validate_outputs

        validate_outputs(config)


def pytest_collect_file(
    file_path: Path,
    parent: pytest.Collector,
) -> SuiteModule | None:
    """Collect a suite file as a test module."""
    named = parent.session.isinitpath(file_path)
    patterns = parent.config.getini("memleak_suites")
    if named:
        patterns = [*patterns, "*.toml"]
    if not any(fnmatch.fnmatch(file_path.name, pattern) for pattern in patterns):
        if named and file_path.suffix == ".epub":
            raise parent.CollectError(
                f"{file_path.name} is a book; pytest runs suites\n  to test this book, "
                f"run: memleak try {file_path.name} --model openai/NAME",
            )
        return None
    from pytest_memleak.plugin.collect_suites import SuiteModule

    # pytest prints node ids as they are, so control characters of a file's name would
    # act.
    nodeid = None if file_path.name.isprintable() else ascii(str(file_path))[1:-1]
    module = SuiteModule.from_parent(parent, path=file_path, nodeid=nodeid)
    module.load, module.test = _load_suite, test_memorization
    return module


def _load_suite(config: pytest.Config, path: Path) -> Suite:
    from pytest_memleak.plugin.session_run import load_suite

    return load_suite(config, path)


@pytest.mark.copyright
def test_memorization(
    memleak_evaluation: Evaluation,  # noqa: ARG001 - requested to be made
    request: pytest.FixtureRequest,
) -> None:
    """The model's memorization of the book is within its limits."""
    from pytest_memleak.plugin.pair_evaluation import check_limits

    check_limits(request.node)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """Make one test per pair of the suite."""
    marked = metafunc.definition.get_closest_marker("copyright") is not None
    if marked and "memleak_pair" in metafunc.fixturenames:
        from pytest_memleak.plugin.collect_suites import parametrize_pairs

        parametrize_pairs(metafunc, _load_suite)
    metafunc.config.stash[copyright_key] = marked
    yield
    metafunc.config.stash[copyright_key] = False


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Shorten ids made of text, since every reporter shows them."""
    if not isinstance(val, str) or not config.stash.get(copyright_key, False):
        return None
    from pytest_memleak.redaction.text import first_words

    short = first_words(val)
    return None if short == val else short.removesuffix(" …")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config,
    items: list[pytest.Item],
) -> None:
    """Group pairs by file; skip those with paid calls, unless they are selected."""
    if run_key in config.stash:
        from pytest_memleak.plugin.pair_selection import group_by_file, skip_paid_pairs
        from pytest_memleak.plugin.session_run import run_of

        group_by_file(items)
        skip_paid_pairs(config, items)
        if config.getoption("memleak_max_increase"):
            from pytest_memleak.plugin.baseline_gate import validate_baseline

            validate_baseline(config, items, run_of(config))


@pytest.hookimpl(tryfirst=True)  # a witness's seed goes into the run's record
def pytest_collection_finish(session: pytest.Session) -> None:
    """Announce the selected pairs, whose shared work is done once."""
    config = session.config
    if run_key in config.stash:
        from pytest_memleak.plugin.pair_selection import expect_pairs

        expect_pairs(session)
        if config.getoption("memleak_witness") and not config.getoption("collectonly"):
            from pytest_memleak.plugin.witnessed_run import announce_run

            announce_run(session)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Show plans instead of running tests with --memleak-dry-run."""
    if not session.config.getoption("memleak_dry_run") or session.testsfailed:
        return None
    from pytest_memleak.plugin.session_run import run_of
    from pytest_memleak.plugin.show_dry_run import show_plans

    show_plans(session, run_of(session.config))
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Delete the run's deployments, in the last process that uses them."""
    if run_key in session.config.stash:
        session.config.stash[run_key].remove_deployments()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, Any, Any]:
    """Attach the pair's result to the report."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if run_key in item.config.stash:
        try:
            from pytest_memleak.plugin.run_reports import attach_result

            attach_result(item, report, error)
        except OSError as failure:
            if failure.errno in _TOO_MANY_OPEN:
                pytest.exit(_RAISE_LIMIT, returncode=pytest.ExitCode.INTERNAL_ERROR)
            raise
    return report


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """End with a sentence after Ctrl-C at the run's end, or too many open files."""
    try:
        return (yield)
    except KeyboardInterrupt:  # while the run ended, which pytest doesn't expect
        if run_key not in config.stash:
            raise
        print(f"memleak: {_INTERRUPTED_AT_END}", file=sys.stderr)
        return pytest.ExitCode.INTERRUPTED
    except OSError as failure:
        if run_key not in config.stash or failure.errno not in _TOO_MANY_OPEN:
            raise
        print(f"memleak: {_RAISE_LIMIT}", file=sys.stderr)
        return pytest.ExitCode.INTERNAL_ERROR


_INTERRUPTED_AT_END = (
    "interrupted; generations that were received are in the ledger; rerun"
)
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
_RAISE_LIMIT = (
    "Too many open files: raise the limit (ulimit -n 1024) and rerun. Stored "
    "generations are reused"
)


def pytest_assertrepr_compare(
    config: pytest.Config,
    op: str,
    left: object,
    right: object,
) -> list[str] | None:
    """Explain an exceeded limit."""
    if run_key not in config.stash:
        return None
    from pytest_memleak.plugin.run_reports import explain_comparison

    return explain_comparison(config.stash[run_key], op, left, right)
