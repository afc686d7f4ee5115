"""The ledger of pytest's rootdir, as `pytest` typed in this folder would use it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

FOLDER = ".memleak"


def default_ledger(suites: Iterable[Path] = ()) -> Path:
    """Return the path of the ledger that `pytest SUITE ...` uses here by default."""
    return pytest_rootdir(suites) / FOLDER / "ledger.db"


def ledger_url(parsed: argparse.Namespace, suites: Iterable[Path] = ()) -> str:
    """Return the URL of the ledger that an option names, or of the default one.

    suites: that pytest is run with, beside those that the command names
    """
    named = [*getattr(parsed, "suite", ()), *suites]
    return parsed.ledger or f"sqlite:///{default_ledger(named)}"


def pytest_rootdir(suites: Iterable[Path] = ()) -> Path:
    """Return the rootdir of `pytest SUITE ...`, as pytest finds it from this folder.

    Raises SettingsError where pytest can't read its own settings.
    """
    import pytest
    from _pytest.config.findpaths import determine_setup

    arguments: dict[str, Any] = {
        "inifile": None,
        "args": [str(path) for path in suites],
        "rootdir_cmd_arg": None,
        "invocation_dir": Path.cwd(),
    }
    if "override_ini" in inspect.signature(determine_setup).parameters:
        arguments["override_ini"] = None  # since pytest 9
    try:
        return Path(determine_setup(**arguments)[0])
    except pytest.UsageError as error:
        raise SettingsError(
            f"pytest can't read its settings: {error}",
            hint="correct that file, or name the ledger with --ledger",
        ) from error
