"""`memleak doctor`: is everything there that a suite needs? Nothing is asked of a model."""

from __future__ import annotations

import argparse
import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_memleak.cli.columns import print_table
from pytest_memleak.cli.run_pytest import command_line, next_step
from pytest_memleak.providers.provider_registry import PROVIDERS, Needs
from pytest_memleak.records.book import WAYS_TO_ASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import BookSource, Model, Suite

TO_MEND = 1
_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class _Checked:
    """One thing that was looked at; mend: what to type or do, where it is not as it should be."""

    what: str
    state: str
    mend: str = ""


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="check extras, keys, ledger, and a suite's books and endpoints",
        description="Look at what is installed and set, and at what a suite needs. No model is "
        "asked, and no key is shown. Exit code 1 where something is to be mended.",
    )
    doctor.add_argument("suite", metavar="SUITE", type=Path, nargs="*", help="suite files")
    doctor.add_argument(
        "--ledger",
        metavar="URL",
        help="the ledger (default: .memleak/ledger.db below the current folder)",
    )
    doctor.add_argument(
        "--syntax-only",
        action="store_true",
        help="of the suites their keys and values alone: no book, extra, key or server",
    )
    doctor.set_defaults(run=_doctor)


def _doctor(parsed: argparse.Namespace) -> int:
    if parsed.syntax_only:
        return _told([_file(path) for path in parsed.suite], parsed.suite)
    checked = [*_installation(), _ledger(parsed.ledger)]
    for path in parsed.suite:
        checked += _of_suite(path)
    if not parsed.suite:
        needs = {name: one.needs for name, one in PROVIDERS.items()}
        checked += [_provider(name, its) for name, its in needs.items() if its.extra]
    return _told(checked, parsed.suite)


def _told(checked: list[_Checked], suites: list[Path]) -> int:
    print_table(
        ("", "checked", "found"),
        [("mend" if one.mend else "ok", one.what, one.state) for one in checked],
    )
    to_mend = [one for one in checked if one.mend]
    for one in to_mend:
        print(f"{one.what}: {one.mend}")
    print(_next(suites, to_mend))
    return TO_MEND if to_mend else 0


def _next(suites: list[Path], to_mend: list[_Checked]) -> str:
    if to_mend:
        return next_step(command_line("memleak", "doctor", *suites), "once that is mended")
    if suites:
        plan = command_line("pytest", "-m", "copyright", *suites, "--memleak-dry-run")
        return next_step(plan, "what it would ask, and cost at most")
    return next_step("memleak demo", "see the gate work; or memleak init, for a suite of your own")


# --- this machine --------------------------------------------------------------------------


def _installation() -> Iterator[_Checked]:
    from importlib.metadata import version

    yield _Checked("Python", platform.python_version())
    for name in ("pytest-memleak", "pytest"):
        yield _Checked(name, version(name))


def _provider(name: str, needs: Needs) -> _Checked:
    """What there is for a provider; that it could not be used now is no fault without a suite."""
    if needs.missing:
        return _Checked(f"provider {name}", f"not installed (pip install '{needs.requirement}')")
    unset = f"; not set: {', '.join(needs.unset)}" if needs.unset else ""
    return _Checked(f"provider {name}", f"installed{unset}")


def _ledger(url: str | None) -> _Checked:
    from pytest_memleak.errors import LedgerError
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.ledger.listing import list_endpoints
    from pytest_memleak.records.number_format import amount

    default = Path.cwd() / ".memleak" / "ledger.db"
    if url is None and not default.exists():
        return _Checked("ledger", "none yet: the first run makes it")
    try:
        with Ledger(url or f"sqlite:///{default}", create=False) as ledger:
            endpoints = list_endpoints(ledger)
            return _Checked("ledger", f"{ledger.place}: {amount(len(endpoints), 'setting')} drawn")
    except LedgerError as error:
        return _Checked("ledger", error.message, error.hint or "name another with --ledger")


# --- a suite -------------------------------------------------------------------------------


def _file(path: Path) -> _Checked:
    from pytest_memleak.errors import SuiteError
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.suite.suite_file import read_suite_file

    try:
        written = read_suite_file(path).tables
    except SuiteError as error:
        return _Checked(str(path), "cannot be run as written", str(error))
    books = len(written.book) + len(written.collection)
    told = f"{amount(len(written.model), 'model')}, {amount(books, 'book')}"
    return _Checked(str(path), f"keys and values as they should be: {told}")


def _of_suite(path: Path) -> Iterator[_Checked]:
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.number_format import amount

    run = Run(root=Path.cwd(), resources=Resources("sqlite://", offline=True))
    try:
        opened = run.of_suite(Path(os.path.realpath(path)))
    except MemleakError as error:
        yield _Checked(str(path), "cannot be run as written", str(error))
        return
    suite = opened.suite
    holds = (amount(len(suite.pairs), "pair"), amount(len(suite.books), "book"))
    yield _Checked(str(path), ", ".join(holds))
    try:
        checked = [_book(book, suite, opened) for book in suite.books]
        models = [*suite.models, *([suite.summarizer.model] if suite.summarizer else [])]
        checked += [one for model in models for one in _model(model, opened)]
        yield from checked
        if not any(one.mend for one in checked):  # what lacks those cannot be planned either
            yield from _plan(suite, opened)
    finally:
        run.close()


def _plan(suite: Suite, opened: SuiteRun) -> Iterator[_Checked]:
    from pytest_memleak.pipeline.dry_run import plan_run

    planned = plan_run(suite.pairs, lambda _: opened)
    for obstacle in planned.obstacles:
        yield _Checked("plan", "cannot earn a PASS", obstacle)
    for step in planned.steps:
        rounds = step.rounds
        if rounds and rounds.needed is not None and rounds.needed > rounds.samples:
            yield _Checked(
                f"pair {step.what}",
                f"{rounds.samples:,} samples are too few for detection_limit = "
                f"{rounds.detection_limit:g}",
                f"set samples = {rounds.needed}, or a larger detect",
            )


def _book(source: BookSource, suite: Suite, opened: SuiteRun) -> _Checked:
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.scoring.index import measurable_words

    what = f"book {source.id}"
    try:
        book = opened.books.cut(source)
        words = measurable_words(book, suite.pairs[0].scoring)
    except MemleakError as error:
        return _Checked(what, "cannot be used", str(error))
    state = f"{amount(len(book.excerpts), 'excerpt')}, {words:,} words"
    unasked = sum(not one.instruction for one in book.excerpts)
    asked = any(
        pair.probe.kind == "instruction" and pair.book.id == source.id for pair in suite.pairs
    )
    if unasked and asked and suite.summarizer is None:
        return _Checked(
            what,
            f"{state}, {unasked:,} without an instruction",
            WAYS_TO_ASK,
        )
    return _Checked(what, state)


def _model(model: Model, opened: SuiteRun) -> Iterable[_Checked]:
    from pytest_memleak.errors import MemleakError

    what = f"model {model.id}"
    try:
        opened.endpoints.provider(model)
    except MemleakError as error:
        return [_Checked(what, "cannot be used", error.line)]
    return [_Checked(what, f"{model.provider}, options as they should be"), *_reach(model)]


def _reach(model: Model) -> Iterator[_Checked]:
    """Its key, and whether anybody listens at its address."""
    built_in = PROVIDERS.get(model.provider)
    needs = built_in.needs if built_in else Needs()
    url = model.options.get("base_url") or (needs.address and os.environ.get(needs.address))
    if not url:  # a server of one's own needs none
        keys = (model.options.get("api_key_env", one) for one in needs.keys)
        settings = (name for name, key in needs.settings.items() if key not in model.options)
        for name in (*keys, *settings):
            there = bool(os.environ.get(str(name)))
            yield _Checked(
                str(name),
                "set" if there else "not set",
                "" if there else f"export {name}=...",
            )
    if isinstance(url, str):
        yield _server(url)


def _server(url: str) -> _Checked:
    from pytest_memleak.redaction.credentials import without_credentials

    parts = urlsplit(url)
    what = f"server {without_credentials(url)}"
    try:
        address = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        socket.create_connection(address, timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        return _Checked(what, f"nobody answers: {said}", "start it, or mend options.base_url")
    return _Checked(what, "somebody listens")
