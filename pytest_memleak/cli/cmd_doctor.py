"""`memleak doctor`: what suites need, and what their samples can detect.

No model is called without --calls.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.default_ledger import default_ledger, ledger_in_addopts
from pytest_memleak.cli.doctor_check import Check
from pytest_memleak.cli.model_checks import first_names_text
from pytest_memleak.cli.shared_options import LEDGER, add_command
from pytest_memleak.cli.suite_checks import (
    check_suite,
    check_syntax,
    invalid_suite_check,
    screens_of_unapproved,
)
from pytest_memleak.cli.terminal_output import (
    command_line,
    next_step,
    print_sentence,
    print_table,
)
from pytest_memleak.errors import (
    LedgerError,
    MemleakError,
    SettingsError,
    install_command,
)
from pytest_memleak.providers.provider_registry import PROVIDERS, ProviderNeeds
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.sampling.cost_plan import DetectionTable

PROBLEMS = 1


def add_doctor(commands: Commands) -> None:
    """Register `memleak doctor`."""
    add_command(
        commands,
        "doctor",
        _run_doctor,
        "check what suites need; show what they can detect, and at what cost",
        "Check the installation and everything the suites need, and that servers list "
        "the models. Show each suite's detection limit and maximum cost for several "
        "sample counts, and whether each limit can pass. Calls no model without "
        "--calls; prints no API keys; ignores stored generations. Exits with 1 if "
        "something needs a fix.",
        arguments={
            "suite SUITE": "suite files",
            **LEDGER,
            "--syntax-only": "check only the suite files' syntax, keys, and values; "
            "don't read books or API keys, or contact servers",
            "--calls": "send up to five neutral prompts to each model, and write what "
            "they show into the suites: max_tokens, served_names, temperature",
            "--json": "print JSON instead of tables",
        },
        suite={"nargs": "*"},
    )


def _run_doctor(parsed: argparse.Namespace) -> int:
    tables: dict[Path, DetectionTable] = {}
    screens: dict[Path, list[list[str]]] = {}
    if parsed.syntax_only and parsed.calls:
        raise SettingsError(
            "--calls calls models, but --syntax-only contacts no server",
            hint="remove one of them",
        )
    if parsed.syntax_only:
        checks = [check_syntax(path) for path in parsed.suite]
    else:
        checks = _check_installation(
            parsed.ledger or ledger_in_addopts(parsed.suite),
            parsed.suite,
        )
        for path in parsed.suite:
            suite_checks, table, screens[path] = _examine_suite(path)
            checks += suite_checks
            is_valid = table is not None
            if parsed.calls and is_valid:
                checks += _call_models(path, is_json=parsed.json)
            if table is not None:
                tables[path] = table
        if not parsed.suite:
            checks += _check_providers()
        checks = _merge_checks_of_same_state(checks)
    if parsed.json:
        print(json.dumps(_as_json(checks, tables), indent=2))
    else:
        _print_checks(checks)
        printed_fixes = {check.fix for check in checks}
        for path, table in tables.items():
            _print_detection_table(path, table, printed_fixes)
        for path, screens_of_suite in screens.items():
            _print_screens(path, screens_of_suite)
        _print_next(checks, parsed.suite)
    has_problems = any(check.fix for check in checks)
    return PROBLEMS if has_problems else 0


def _call_models(path: Path, *, is_json: bool) -> Iterable[Check]:
    """Call a suite's models, after a yes where someone can say no."""
    from pytest_memleak.cli.doctor_calls import call_models

    return call_models(path, asked=sys.stdin.isatty() and not is_json)


def _examine_suite(
    path: Path,
) -> tuple[list[Check], DetectionTable | None, list[list[str]]]:
    """Check what a suite needs.

    If it is valid, return what it can detect, too, and screens of unapproved books.
    """
    from pytest_memleak.pipeline.detection_table import build_detection_table
    from pytest_memleak.pipeline.run import open_suite

    with contextlib.ExitStack() as stack:
        try:
            suite_run = stack.enter_context(open_suite(path, offline=True))
        except MemleakError as error:
            return [invalid_suite_check(path, error)], None, []
        checks = check_suite(path, suite_run)
        return (
            checks,
            build_detection_table(suite_run),
            screens_of_unapproved(suite_run),
        )


# --- the installation


def _check_installation(
    ledger_url: str | None,
    suites: Sequence[Path],
) -> list[Check]:
    from importlib.metadata import version

    packages = [Check(name, version(name)) for name in ("pytest-memleak", "pytest")]
    python = Check("Python", platform.python_version())
    return [python, *packages, _check_ledger(ledger_url, suites)]


def _check_providers() -> list[Check]:
    return [
        _check_provider(name, provider.needs)
        for name, provider in PROVIDERS.items()
        if provider.needs.extra
    ]


def _check_provider(name: str, needs: ProviderNeeds) -> Check:
    """Report what a provider has; without a suite, a missing key is no problem."""
    if needs.missing:
        command = install_command(needs.extra or "")
        return Check(f"provider {name}", f"not installed ({command})")
    state = "installed"
    if needs.unset:
        state += f"; not set: {', '.join(needs.unset)}"
    return Check(f"provider {name}", state)


def _check_ledger(url: str | None, suites: Sequence[Path]) -> Check:
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.listing import list_endpoints

    default = default_ledger(suites)
    if url is None and not default.exists():
        folder = next(folder for folder in default.parents if folder.exists())
        if os.access(folder, os.W_OK):
            return Check("ledger", "none yet; the first run creates it")
        fix = (
            f"add write permission for {folder}, or name one elsewhere: "
            "--memleak-ledger"
        )
        return Check("ledger", "can't be created", fix)
    try:
        with Ledger(url or f"sqlite:///{default}", create=False) as ledger:
            endpoints = list_endpoints(ledger)
            content = "empty"
            if endpoints:
                content = f"{amount(len(endpoints), 'set')} of generations"
            return Check("ledger", f"{ledger.place}: {content}")
    except LedgerError as error:
        fix = error.hint or "name a different ledger with --ledger"
        return Check("ledger", error.message, fix)


# --- the screen


def _merge_checks_of_same_state(checks: Sequence[Check]) -> list[Check]:
    """Return one check for all books or models of the same state."""
    names: dict[tuple[str, str, str], dict[str, None]] = {}
    for check in checks:
        kind, _, name = check.subject.rpartition(" ")
        if kind not in {"book", "model"}:
            kind = check.subject
            name = ""
        same_state = (kind, check.state, check.fix)
        names.setdefault(same_state, {})[name] = None
    merged = []
    for (kind, state, fix), of_kind in names.items():
        subject = f"{kind} {first_names_text([*of_kind])}".rstrip()
        merged.append(Check(subject, state, fix))
    return merged


def _print_checks(checks: Sequence[Check]) -> None:
    rows = [(check.mark, check.subject, check.state) for check in checks]
    print_table(("", "check", "state"), rows)
    for check in checks:
        if check.fix:
            for line in f"{inert(check.subject)}: {check.fix}".splitlines():
                print_sentence(line, indent=2)


def _print_detection_table(
    path: Path,
    table: DetectionTable,
    printed: set[str],
) -> None:
    """Print what a suite's samples can detect, less the fixes `printed` already."""
    from pytest_memleak.reports.plan_tables import detection_table

    unsaid = tuple(limit for limit in table.limits if limit not in printed)
    table = dataclasses.replace(table, limits=unsaid)
    if not table.rows and not unsaid:
        return
    width, color = shutil.get_terminal_size().columns, sys.stdout.isatty()
    print(f"\n{inert(str(path))}, by the number of samples:")
    print(detection_table(table, width=width, color=color))


def _print_screens(path: Path, screens: Sequence[Sequence[str]]) -> None:
    """Print what is read of books that no one approved."""
    for lines in screens:
        print(f"\n{inert(str(path))}: is this your book? Then its table has this line:")
        for line in lines:
            print(line)


def _print_next(checks: Sequence[Check], suites: Sequence[Path]) -> None:
    if any(check.fix for check in checks):
        if all(path.exists() for path in suites):
            print(next_step(command_line("memleak", "doctor", *suites), "check again"))
    elif suites:
        plan = command_line("pytest", "-m", "copyright", *suites, "--memleak-dry-run")
        print(next_step(plan, "show the calls and their maximum cost"))
    else:
        purpose = "run an example; memleak init writes your own suite"
        print(next_step("memleak demo", purpose))


def _as_json(
    checks: Sequence[Check], tables: Mapping[Path, DetectionTable]
) -> dict[str, Any]:
    return {
        "checks": [check._asdict() for check in checks],
        "detection": {
            str(path): dataclasses.asdict(table) for path, table in tables.items()
        },
    }
