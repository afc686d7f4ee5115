"""What would go wrong at the end of a run, found before anything runs or is paid.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.errors import Inconclusive, MemleakError, MissingExtra

if TYPE_CHECKING:
    from pytest_memleak.pipeline.suite_run import SuiteRun

# What each report has near its beginning, by which an earlier one may be written over.
# Signed evidence begins with its payload, base64 of a Statement whose predicate is a bundle.
_SIGNS = {
    "html": (b"<html",),
    "evidence": (
        b'"schema": "pytest-memleak evidence',
        base64.b64encode(b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"com'),
    ),
}
_LOOKED_AT = 10_000


def refuse_bad_options(config: pytest.Config) -> None:
    """Raise UsageError for a file that an option names and that cannot be read or written."""
    asked = [
        (f"--memleak-{name}", Path(value))
        for name in _SIGNS
        if (value := config.getoption(f"memleak_{name}"))
    ]
    for option, path in asked:
        _refuse_unwritable(option, path)
        _refuse_what_is_no_report(option, path)
    if len({path.absolute() for _, path in asked}) < len(asked):
        raise pytest.UsageError(f"{' and '.join(one for one, _ in asked)}: name two files")
    try:
        if value := config.getoption("memleak_baseline"):
            from pytest_memleak.results.release_comparison import Baseline

            try:
                Baseline(Path(value))
            except MemleakError as error:
                raise pytest.UsageError(f"--memleak-baseline: {error}") from None
        if value := config.getoption("memleak_signing_key"):
            from pytest_memleak.reports.signature import sign_bundle
            from pytest_memleak.results.evidence_file import SCHEMA

            sign_bundle({"schema": SCHEMA, "pairs": []}, Path(value))
        if value := config.getoption("memleak_ledger"):
            from pytest_memleak.ledger.engines import parse_url

            parse_url(value)
    except MemleakError as error:
        raise pytest.UsageError(str(error)) from None


def refuse_bad_suite(suite_run: SuiteRun, config: pytest.Config) -> None:
    """Raise MemleakError for options that a provider has not, a bad catalog, a missing ledger.

    No provider is called. What is not installed is a matter of the pairs that need it.
    """
    suite = suite_run.suite
    models = [*suite.models, *([suite.summarizer.model] if suite.summarizer else [])]
    for model in models:
        with contextlib.suppress(Inconclusive, MissingExtra):
            suite_run.endpoints.provider(model)
    if suite.catalog:
        from pytest_memleak.pipeline.catalog import validate_catalog  # with numpy

        validate_catalog(suite)
    if config.getoption("memleak_ledger") and not config.getoption("collectonly"):
        suite_run.resources.ledger  # noqa: B018 - opened by asking for it


def _refuse_what_is_no_report(option: str, path: Path) -> None:
    """A forgotten file name makes the suite, or a book, the option's value."""
    signs = _SIGNS[option.removeprefix("--memleak-")]
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            begins = file.read(_LOOKED_AT)
        if begins.strip() and not any(one in begins for one in signs):
            raise pytest.UsageError(
                f"{option}: {path} is there and is no earlier report; name another file, or "
                "delete it"
            )


def _refuse_unwritable(option: str, path: Path) -> None:
    if path.is_dir():
        raise pytest.UsageError(f"{option}: {path} is a folder; name a file in it")
    # A link that leads nowhere is there: no folder can be made in its place.
    folder = next(one for one in path.absolute().parents if os.path.lexists(one))
    try:
        with contextlib.suppress(FileNotFoundError):  # the file is still to be made
            path.open("r+b").close()
        if path.exists() and not path.is_file():
            return
        # What is written is written beside it first, and its folder may have to be made.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"{option}: {path} cannot be written: {error.strerror or error}"
        ) from None
