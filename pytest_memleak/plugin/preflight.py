"""Validation of options and output paths before any paid call.

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

# Only files with one of these near their beginning may be overwritten.
# Signed evidence begins with its payload, the base64 of a Statement whose predicate is a bundle.
_MARKERS = {
    "html": (b"<html",),
    "evidence": (
        b'"schema": "pytest-memleak evidence',
        base64.b64encode(b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"com'),
    ),
}
_PREFIX_BYTES = 10_000


def validate_outputs(config: pytest.Config) -> None:
    """Raise UsageError for a file that an option names and that can't be read or written."""
    outputs = [
        (f"--memleak-{name}", Path(value))
        for name in _MARKERS
        if (value := config.getoption(f"memleak_{name}"))
    ]
    for option, path in outputs:
        _validate_writable(option, path)
        _validate_overwrite(option, path)
    if len({path.absolute() for _, path in outputs}) < len(outputs):
        options = " and ".join(option for option, _ in outputs)
        raise pytest.UsageError(f"{options} need different files")
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


def validate_suite(suite_run: SuiteRun, config: pytest.Config) -> None:
    """Raise MemleakError for an unknown provider option, an invalid catalog, or a missing ledger.

    Makes no API calls. A missing extra is an error only of the pairs that need it.
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


def _validate_overwrite(option: str, path: Path) -> None:
    """Raise UsageError if the file is no report: a forgotten value makes it a suite or a book."""
    signs = _MARKERS[option.removeprefix("--memleak-")]
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            beginning = file.read(_PREFIX_BYTES)
        if beginning.strip() and not any(sign in beginning for sign in signs):
            raise pytest.UsageError(
                f"{option}: {path} exists and isn't a report; name another file, or delete it"
            )


def _validate_writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise pytest.UsageError(f"{option}: {path} is a folder; name a file in it")
    # A dangling link counts as existing, since no folder can be created in its place.
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    try:
        with contextlib.suppress(FileNotFoundError):
            path.open("r+b").close()
        if path.exists() and not path.is_file():
            return
        # Reports are written to a temporary file in the same folder first.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"{option}: {path} cannot be written: {error.strerror or error}"
        ) from None
