"""Validation of options and output paths before any paid call.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.options import report_paths, usage_errors
from pytest_memleak.reports.output_table import EVIDENCE, REPORTS, test_result_path

if TYPE_CHECKING:
    from pytest_memleak.reports.output_table import Output

_PREFIX_BYTES = 10_000


def validate_outputs(config: pytest.Config) -> None:
    """Raise UsageError for an option's file that can't be read or written."""
    paths = report_paths(config)
    files = [(output, paths[output.name]) for output in REPORTS if output.name in paths]
    if EVIDENCE.name in paths:
        files.append((EVIDENCE, test_result_path(paths[EVIDENCE.name])))
    for output, path in files:
        _validate_writable(output.option, path)
        _validate_overwrite(output, path)
    if len({path.absolute() for path in paths.values()}) < len(paths):
        options = " and ".join(
            output.option for output in REPORTS if output.name in paths
        )
        raise pytest.UsageError(
            f"{options} name the same file; name a different file for each",
        )
    try:
        if value := config.getoption("memleak_baseline"):
            from pytest_memleak.results.release_comparison import BaselineBundle

            with usage_errors("--memleak-baseline"):
                BaselineBundle(Path(value))
        if value := config.getoption("memleak_signing_key"):
            from pytest_memleak.reports.signature import read_signing_key

            with usage_errors("--memleak-signing-key"):
                read_signing_key(Path(value))
        if value := config.getoption("memleak_ledger"):
            from pytest_memleak.ledger.engines import parse_url

            parse_url(value)
        if config.getoption("memleak_witness"):
            from pytest_memleak.plugin.witnessed_run import validate_witness

            validate_witness(config)
    except MemleakError as error:
        raise pytest.UsageError(str(error)) from None


def _validate_overwrite(output: Output, path: Path) -> None:
    """Raise UsageError for a file that is no report, such as a suite or a book.

    A forgotten value of an option makes it one.
    """
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            beginning = file.read(_PREFIX_BYTES)
        if beginning.strip() and not any(sign in beginning for sign in output.signs):
            raise pytest.UsageError(
                f"{output.option}: {path} exists and isn't a report; name a different "
                "file, or delete it",
            )


def _validate_writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise pytest.UsageError(f"{option}: {path} is a folder; name a file in it")
    # A dangling link counts as existing, since no folder can be created in its place.
    folder = next(
        parent for parent in path.absolute().parents if os.path.lexists(parent)
    )
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
            f"{option}: {path} can't be written: {error.strerror or error}",
        ) from None
