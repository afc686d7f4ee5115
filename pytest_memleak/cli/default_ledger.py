"""The ledger of pytest's rootdir, as `pytest` typed in this folder would use it."""

from __future__ import annotations

import argparse
import inspect
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.errors import SettingsError

if TYPE_CHECKING:
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
    added = ledger_in_addopts(named)
    return parsed.ledger or added or f"sqlite:///{default_ledger(named)}"


def ledger_in_addopts(suites: Iterable[Path] = ()) -> str | None:
    """Return the --memleak-ledger of pytest's own settings here, if there is one."""
    ledger: str | None = _pytest_setup(suites).options.memleak_ledger
    return ledger


def pytest_rootdir(suites: Iterable[Path] = ()) -> Path:
    """Return the rootdir of `pytest SUITE ...`, as pytest finds it from this folder.

    Raises SettingsError where pytest can't read its own settings.
    """
    return _pytest_setup(suites).rootdir


class _PytestSettings(NamedTuple):
    """pytest's rootdir, and its options that this package follows."""

    rootdir: Path
    options: argparse.Namespace


def _pytest_setup(suites: Iterable[Path]) -> _PytestSettings:
    """Read what pytest reads before its tests: its file, and PYTEST_ADDOPTS."""
    import pytest

    paths = [str(path) for path in suites]
    environment = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    try:
        rootdir, added = _rootdir_and_addopts(paths, None)
        options = _parse_followed_options([*added, *environment])
        if options.rootdir:
            rootdir, _ = _rootdir_and_addopts(paths, options.rootdir)
    except pytest.UsageError as error:
        raise SettingsError(
            f"pytest can't read its settings: {error}",
            hint="correct that file, or name the ledger with --ledger",
        ) from error
    return _PytestSettings(rootdir, options)


def _rootdir_and_addopts(
    paths: list[str],
    rootdir: str | None,
) -> tuple[Path, list[str]]:
    from _pytest.config.findpaths import determine_setup

    arguments: dict[str, Any] = {
        "inifile": None,
        "args": paths,
        "rootdir_cmd_arg": rootdir,
        "invocation_dir": Path.cwd(),
    }
    if "override_ini" in inspect.signature(determine_setup).parameters:
        arguments["override_ini"] = None  # since pytest 9
    rootpath, _, settings, *_ = determine_setup(**arguments)
    added: Any = settings.get("addopts", "")
    added = getattr(added, "value", added)  # since pytest 9
    return Path(rootpath), shlex.split(added) if isinstance(added, str) else list(added)


def _parse_followed_options(added: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--rootdir")
    parser.add_argument("--memleak-ledger")
    return parser.parse_known_args(added)[0]
