"""`memleak doctor` and `memleak power`: what suites need and what they can detect; no calls."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pytest_memleak.cli.columns import command_line, next_step, print_table
from pytest_memleak.cli.shared_options import add_command, default_ledger
from pytest_memleak.errors import (
    LedgerError,
    MemleakError,
    ProviderBusy,
    ProviderError,
    SuiteError,
    install_command,
)
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.providers.provider_registry import PROVIDERS, ProviderNeeds, host_of
from pytest_memleak.records.book import PROMPT_FIXES
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import inert, server_word
from pytest_memleak.verdict.model_identity import is_requested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.interfaces.protocols import Provider
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import BookSource, Model, Suite

PROBLEMS = 1
_SECONDS = 5.0
_SHOWN = 8
_PORTS = {"http": 80, "https": 443}


class _Check(NamedTuple):
    """The state of one thing that suites need; fix: what to do if it has a problem."""

    subject: str
    state: str
    fix: str = ""

    @property
    def mark(self) -> str:
        return "-" if self.state.startswith("not installed") else "ok"


def add_doctor(commands: Commands) -> None:
    """Register `memleak doctor`."""
    add_command(
        commands,
        "doctor",
        _doctor,
        "check extras, keys, ledger, and a suite's books and endpoints",
        "Check the installation and everything the suites need, and that servers list "
        "the models. "
        "Calls no model; prints no API keys. Exits with 1 if something needs a fix.",
        arguments={
            "suite SUITE": "suite files",
            "--ledger URL": "the ledger "
            "(default: the nearest .memleak/ledger.db, in this folder or above)",
            "--syntax-only": "check only the suite files' syntax, keys, and values; don't "
            "read books or API keys, or contact servers",
        },
        suite={"nargs": "*"},
    )


def _doctor(parsed: argparse.Namespace) -> int:
    if parsed.syntax_only:
        return _print_checks(
            [_check_syntax(path) for path in parsed.suite], parsed.suite
        )
    from importlib.metadata import version

    checks = [_Check("Python", platform.python_version())]
    checks += [_Check(name, version(name)) for name in ("pytest-memleak", "pytest")]
    checks.append(_check_ledger(parsed.ledger))
    for path in parsed.suite:
        checks += _check_suite(path)
    if not parsed.suite:
        checks += [
            _check_provider(name, provider.needs)
            for name, provider in PROVIDERS.items()
            if provider.needs.extra
        ]
    return _print_checks(_merged(checks), parsed.suite)


def _merged(checks: list[_Check]) -> list[_Check]:
    """Return one check for all books or models of the same state."""
    names: dict[tuple[str, str, str], dict[str, None]] = {}
    for check in checks:
        kind, _, name = check.subject.rpartition(" ")
        if kind not in {"book", "model"}:
            kind, name = check.subject, ""
        names.setdefault((kind, check.state, check.fix), {})[name] = None
    return [
        _Check(f"{kind} {_first_of([*of_kind])}".rstrip(), state, fix)
        for (kind, state, fix), of_kind in names.items()
    ]


def _first_of(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _print_checks(checks: list[_Check], suites: list[Path]) -> int:
    print_table(
        ("", "check", "state"),
        [
            ("fix" if check.fix else check.mark, check.subject, check.state)
            for check in checks
        ],
    )
    failures = [check for check in checks if check.fix]
    for check in failures:
        print(f"{inert(check.subject)}: {check.fix}")
    if failures:
        if all(path.exists() for path in suites):
            print(next_step(command_line("memleak", "doctor", *suites), "check again"))
    elif suites:
        plan = command_line("pytest", "-m", "copyright", *suites, "--memleak-dry-run")
        print(next_step(plan, "show the calls and their maximum cost"))
    else:
        print(
            next_step(
                "memleak demo", "run an example; memleak init writes your own suite"
            )
        )
    return PROBLEMS if failures else 0


def _check_provider(name: str, needs: ProviderNeeds) -> _Check:
    """Report what a provider has; without a suite, a missing extra or key is no problem."""
    if needs.missing:
        command = install_command(needs.extra or "")
        return _Check(f"provider {name}", f"not installed ({command})")
    unset = f"; not set: {', '.join(needs.unset)}" if needs.unset else ""
    return _Check(f"provider {name}", f"installed{unset}")


def _check_ledger(url: str | None) -> _Check:
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.listing import list_endpoints

    default = default_ledger()
    if url is None and not default.exists():
        folder = next(folder for folder in default.parents if folder.exists())
        if not os.access(folder, os.W_OK):
            fix = f"add write permission for {folder}, or name one elsewhere: --memleak-ledger"
            return _Check("ledger", "can't be created", fix)
        return _Check("ledger", "none yet; the first run creates it")
    try:
        with Ledger(url or f"sqlite:///{default}", create=False) as ledger:
            endpoints = list_endpoints(ledger)
            content = (
                f"{amount(len(endpoints), 'set')} of generations"
                if endpoints
                else "empty"
            )
            return _Check("ledger", f"{ledger.place}: {content}")
    except LedgerError as error:
        return _Check(
            "ledger",
            error.message,
            error.hint or "name a different ledger with --ledger",
        )


def _check_syntax(path: Path) -> _Check:
    from pytest_memleak.suite.suite_file import read_suite_file

    try:
        tables = read_suite_file(path).tables
    except SuiteError as error:
        return _Check(str(path), "invalid suite", _fix_of(error))
    books = len(tables.book) + len(tables.collection)
    counts = f"{amount(len(tables.model), 'model')}, {amount(books, 'book')}"
    return _Check(str(path), f"valid keys and values: {counts}")


def _check_suite(path: Path) -> Iterator[_Check]:
    from pytest_memleak.pipeline.run import open_suite

    with ExitStack() as stack:
        try:
            suite_run = stack.enter_context(open_suite(path, offline=True))
        except MemleakError as error:
            yield _Check(str(path), "invalid suite", _fix_of(error))
            return
        suite = suite_run.suite
        counts = (amount(len(suite.pairs), "pair"), amount(len(suite.books), "book"))
        yield _Check(str(path), ", ".join(counts))
        checks = [_check_book(book, suite, suite_run) for book in suite.books]
        models = [
            *suite.models,
            *([suite.summarizer.model] if suite.summarizer else []),
        ]
        checks += [
            check for model in models for check in _check_model(model, suite_run)
        ]
        yield from checks
        if not any(check.fix for check in checks):  # a plan needs all books and models
            yield from _check_plan(suite, suite_run)


def _fix_of(error: MemleakError) -> str:
    """Return the error without its location, which the line begins with."""
    return f"{error.message}\n  {error.hint}" if error.hint else error.message


def _check_plan(suite: Suite, suite_run: SuiteRun) -> Iterator[_Check]:
    from pytest_memleak.pipeline.detection_power import limits_out_of_reach
    from pytest_memleak.pipeline.dry_run import plan_run

    plan = plan_run(suite.pairs, lambda _: suite_run)
    obstacles = map(str, plan.obstacles)
    for obstacle in (*obstacles, *limits_out_of_reach(suite.pairs, suite_run)):
        yield _Check("plan", "can't pass", obstacle)
    for step in plan.steps:
        rounds = step.rounds
        if rounds and rounds.needed is not None and rounds.needed > rounds.samples:
            yield _Check(
                f"pair {step.what}",
                f"samples = {rounds.samples} is too few for detection_limit = "
                f"{rounds.detection_limit:g}",
                f"set samples = {rounds.needed}, or a higher detection_limit",
            )


def _check_book(source: BookSource, suite: Suite, suite_run: SuiteRun) -> _Check:
    from pytest_memleak.scoring.book_layout import measurable_words

    subject = f"book {source.id}"
    try:
        book = suite_run.books.cut(source)
        words = measurable_words(book, suite.pairs[0].scoring)
    except MemleakError as error:
        return _Check(subject, "unusable", str(error))
    state = f"{amount(len(book.excerpts), 'excerpt')}, {words:,} words"
    unprompted = sum(not excerpt.instruction for excerpt in book.excerpts)
    prompted = any(
        pair.probe.kind == "instruction" and pair.book.id == source.id
        for pair in suite.pairs
    )
    if unprompted and prompted and suite.summarizer is None:
        return _Check(
            subject, f"{state}, {unprompted:,} without an instruction", PROMPT_FIXES
        )
    return _Check(subject, state)


def _check_model(model: Model, suite_run: SuiteRun) -> Iterable[_Check]:
    subject = f"model {model.id}"
    try:
        provider = suite_run.endpoints.provider(model)
    except MemleakError as error:
        return [_Check(subject, "unusable", error.line)]
    checks = [
        _Check(subject, f"{model.provider}, valid options"),
        *_check_access(model),
    ]
    needs = _needs(model)
    host = host_of(needs.address_of(model.options.get("base_url")) or "")
    try:
        needs.validate_host(model.options, frozenset({host}), place=model.id)
    except SuiteError as error:  # whoever trusts the host
        return [*checks, _Check(subject, "not contacted", error.line)]
    try:
        needs.validate_host(model.options, frozenset(), place=model.id)
    except SuiteError as error:
        return [*checks, _Check(subject, f"not contacted: {error.line}")]
    if not any(check.fix for check in checks):
        checks += _check_listed(model, provider)
    return checks


def _needs(model: Model) -> ProviderNeeds:
    built_in = PROVIDERS.get(model.provider)
    return built_in.needs if built_in else ProviderNeeds()


def _check_listed(model: Model, provider: Provider) -> Iterator[_Check]:
    """Check that the server's list of models has this one."""
    models = abilities_of(provider).models
    if models is None:
        return
    subject = f"model {model.id}"
    name = (
        model.base_model if model.finetune_books else model.endpoint or model.base_model
    )
    try:
        listed = models()
    except ProviderBusy as error:
        yield _Check(subject, f"no list of models: {error.cause}")
        return
    except ProviderError as error:
        yield _Check(subject, "no list of models", error.line)
        return
    names, wanted = (
        {other.casefold(): other for other in listed},
        (name or "").casefold(),
    )
    fitting = [other for other in names if _is_listed(other, wanted)]
    if fitting:
        ends = listed[names[wanted if wanted in fitting else fitting[0]]]
        yield _Check(subject, f"listed by the server{ends and f'; shutdown: {ends}'}")
    elif names:
        shown = _first_of([server_word(other) for other in sorted(listed)])
        yield _Check(
            subject,
            f"the server doesn't list {name}",
            f"name one that it lists: {shown}",
        )


def _is_listed(listed: str, wanted: str) -> bool:
    """Tell whether a listed name, perhaps with publisher, version, or tag, is the wanted one."""
    is_part = listed.startswith(f"{wanted}:") or listed.endswith(f"/{wanted}")
    return is_part or is_requested(listed, wanted, ())


def _check_access(model: Model) -> Iterator[_Check]:
    """Check the model's keys, or that its server is reachable."""
    needs = _needs(model)
    for name in needs.variables_of(model.options):
        is_set = bool(os.environ.get(name, "").strip())
        yield _Check(
            name, "set" if is_set else "not set", "" if is_set else f"export {name}=..."
        )
    url = needs.address_of(model.options.get("base_url"))
    if isinstance(url, str):
        yield _check_server(url)


def _check_server(url: str) -> _Check:
    from pytest_memleak.redaction.credentials import without_credentials

    subject = f"server {without_credentials(url)}"
    try:
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        socket.create_connection(address, timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return _Check(
            subject, f"unreachable: {reason}", "start it, or correct options.base_url"
        )
    return _Check(subject, "reachable")


def add_power(commands: Commands) -> None:
    """Register `memleak power`."""
    add_command(
        commands,
        "power",
        _power,
        "show the detection limit and maximum cost for several sample counts",
        "Show the detection limit and maximum cost for several sample counts, and "
        "whether each "
        "limit can pass. Ignores stored generations. Makes no API calls. Exits with 1 "
        "if something "
        "can't be planned.",
        arguments={
            "suite SUITE": "the suite file",
            "--json": "print JSON instead of a table",
        },
    )


def _power(parsed: argparse.Namespace) -> int:
    from pytest_memleak.pipeline.detection_power import suite_power
    from pytest_memleak.pipeline.run import open_suite
    from pytest_memleak.reports.plan_tables import power_table

    with open_suite(parsed.suite, offline=True) as suite_run:
        power = suite_power(suite_run)
    if parsed.json:
        print(json.dumps(dataclasses.asdict(power), indent=2))
    else:
        width, color = shutil.get_terminal_size().columns, sys.stdout.isatty()
        print(power_table(power, width=width, color=color), end="")
    return PROBLEMS if power.obstacles else 0
