"""The options, all of which begin with --memleak-, and what their values must be.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

DEFAULT_SUITES = "*.memleak.toml"
TO_RUN_IT = "run it with -m copyright or --memleak-allow-paid"
"""What the reason of a pair that was skipped, since nobody asked for paid calls, ends with."""
_LONGEST_NAME = 100


def parse_quote(value: str) -> str:
    """A number of words, or `full`."""
    if value != "full" and not (value.isascii() and value.isdecimal()):
        raise pytest.UsageError(
            f"--memleak-quote: expected a number of words or 'full', got {value!r}"
        )
    return value


def quoted_words(config: pytest.Config) -> int | None:
    """How many words of a passage may be shown; None for all of them."""
    value = config.getoption("memleak_quote")
    return None if value == "full" else int(value)


def parse_budget(value: str) -> float:
    """A number of US$."""
    try:
        usd = float(value)
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise pytest.UsageError(f"--memleak-budget: expected a number of US$, got {value!r}")
    return usd


def parse_jobs(value: str) -> int:
    """A number of processes; `auto` for one a core."""
    if value == "auto":
        affinity = getattr(os, "sched_getaffinity", None)  # not on every system
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not (value.isascii() and value.isdecimal() and int(value)):
        raise pytest.UsageError(
            f"--memleak-jobs: expected a number of processes or 'auto', got {value!r}"
        )
    return int(value)


def parse_release(value: str) -> str:
    """A name on one line."""
    if not (value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME):
        raise pytest.UsageError(
            f"--memleak-release: expected a name of at most {_LONGEST_NAME} characters on one "
            f"line, got {value[:_LONGEST_NAME]!r}"
        )
    return value.strip()


def parse_tolerances(value: str) -> dict[str, float]:
    """`bmc=0.01,longest_span=10`."""
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.results.comparable import parse_tolerances

    try:
        return parse_tolerances(value)
    except MemleakError as error:
        raise pytest.UsageError(f"--memleak-max-increase: {error}") from None


def given(option: str) -> Callable[[str], str]:
    """Takes any value but none: a variable that is not set would turn the option off unseen."""

    def parse(value: str) -> str:
        if not value.strip():
            raise pytest.UsageError(
                f"{option}: expected a value, got {value!r}; is a variable not set?"
            )
        return value

    return parse


def refuse_unknown_measures(config: pytest.Config) -> None:
    """Raise UsageError for a measure that --memleak-max-increase cannot be held against."""
    tolerances = config.getoption("memleak_max_increase")
    if not tolerances:
        return
    from pytest_memleak.errors import MemleakError
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.results.comparable import validate_tolerances

    brought = Extensions(config.pluginmanager.get_plugins()).measures()
    try:
        validate_tolerances(tolerances, brought)
    except MemleakError as error:
        raise pytest.UsageError(f"--memleak-max-increase: {error}") from None


def add_options(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with --memleak-."""
    group = parser.getgroup("memleak", "memorization of books by language models")
    group.addoption(
        "--memleak-quote",
        metavar="WORDS",
        default="12",
        type=parse_quote,
        help="words of a recited passage to show: a number, 0 for none, or 'full' "
        "(default: %(default)s)",
    )
    group.addoption(
        "--memleak-allow-paid",
        action="store_true",
        help="make paid calls although -m copyright was not given",
    )
    group.addoption(
        "--memleak-ledger",
        metavar="URL",
        default=None,
        type=given("--memleak-ledger"),
        help="where generations are kept: PATH.db, sqlite:///PATH or "
        "postgresql+psycopg://USER@HOST/NAME (default: .memleak/ledger.db below the rootdir)",
    )
    group.addoption(
        "--memleak-dry-run",
        action="store_true",
        help="show what is outstanding and what it costs at most; run and call nothing",
    )
    group.addoption(
        "--memleak-offline",
        action="store_true",
        help="score what the ledger has; call nobody",
    )
    group.addoption(
        "--memleak-no-wait",
        action="store_true",
        help="submit fine-tunes and batches, but do not wait: their pairs are INCONCLUSIVE",
    )
    group.addoption(
        "--memleak-budget",
        metavar="USD",
        default=None,
        type=parse_budget,
        help="stop before the next call could exceed so many US$ (default: no limit)",
    )
    group.addoption(
        "--memleak-jobs",
        metavar="N",
        default="1",
        type=parse_jobs,
        help="match generations with a book in so many processes, 'auto' for one a core "
        "(default: %(default)s)",
    )
    group.addoption(
        "--memleak-executor",
        metavar="EXECUTOR",
        choices=("local", "ray"),
        default="local",
        help="where generations are matched: on this machine, or on a Ray cluster "
        "(default: %(default)s)",
    )
    group.addoption(
        "--memleak-ray-address",
        metavar="ADDRESS",
        default=None,
        type=given("--memleak-ray-address"),
        help="the Ray cluster: HOST:PORT, or 'auto' for the one that this machine is part of "
        "(default: start one on this machine)",
    )
    group.addoption(
        "--memleak-html",
        metavar="PATH",
        default=None,
        type=given("--memleak-html"),
        help="write a report with maps and charts there: one HTML file that works offline",
    )
    group.addoption(
        "--memleak-evidence",
        metavar="PATH",
        default=None,
        type=given("--memleak-evidence"),
        help="write an evidence bundle (JSON, without text) there",
    )
    group.addoption(
        "--memleak-signing-key",
        metavar="KEYFILE",
        default=None,
        type=given("--memleak-signing-key"),
        help="sign the evidence bundle with this Ed25519 private key (PEM)",
    )
    group.addoption(
        "--memleak-release",
        metavar="NAME",
        default=None,
        type=parse_release,
        help="what the release is called, for the evidence bundle and the HTML report",
    )
    group.addoption(
        "--memleak-baseline",
        metavar="EVIDENCE",
        default=None,
        type=given("--memleak-baseline"),
        help="show what changed since this evidence bundle",
    )
    group.addoption(
        "--memleak-max-increase",
        metavar="MEASURE=BY,...",
        default=None,
        type=parse_tolerances,
        help="fail pairs that rose by more than this since the baseline, as in "
        "bmc=0.01,longest_span=10",
    )
    parser.addini(
        "memleak_suites",
        type="args",
        default=[DEFAULT_SUITES],
        help=f"names of suite files, as patterns (default: {DEFAULT_SUITES})",
    )
