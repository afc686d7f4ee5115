"""`memleak demo`: the quickstart, from the installed package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.run_pytest import command_line, next_step, run_gate
from pytest_memleak.reports.output_table import HTML

if TYPE_CHECKING:
    import argparse

# In the wheel, and in a checkout.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent)
_SUITE = "suites/quickstart/quickstart.memleak.toml"
_STORIES = "fixtures/books"


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak demo`."""
    demo = commands.add_parser(
        "demo",
        help="run an offline example: one clean model, one that reproduces its books",
        description="Run the quickstart: two stories, a clean model, and one that reproduces them. "
        "It needs no key, no network, and no GPU.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        default=Path("memleak-demo"),
        help="the folder for suite, stories, and report (default: memleak-demo)",
    )
    demo.set_defaults(run=_demo)


def _demo(parsed: argparse.Namespace) -> int:
    folder: Path = parsed.folder
    suite = _copy_quickstart(folder)
    status = run_gate(suite.name, "--rootdir=.", f"{HTML.option}=report.html", folder=folder)
    if status:
        print(f"\nUnexpected exit code {status}. Was {suite} changed?")
        print(next_step(command_line("memleak", "demo", "another-folder"), "start with a new copy"))
        return status
    print(f"\n`reciter` leaks, as {suite} expects. Report: {folder / 'report.html'}")
    print('Remove its line expected = "leak", and the gate fails: pytest -m copyright', folder)
    print(next_step("memleak try BOOK.epub --model openai/NAME", "test your own model"))
    return 0


def _copy_quickstart(folder: Path) -> Path:
    """Copy suite and stories, keeping files that exist; return the suite's path."""
    from pytest_memleak.errors import SettingsError

    source = next((place for place in _PLACES if (place / _SUITE).is_file()), None)
    if source is None:
        raise SettingsError(
            "this installation lacks the quickstart's files",
            hint="reinstall pytest-memleak",
        )
    folder.mkdir(parents=True, exist_ok=True)
    suite = folder / Path(_SUITE).name
    if not suite.exists():
        text = (source / _SUITE).read_text(encoding="utf-8")
        suite.write_text(text.replace(f"../../{_STORIES}/", ""), encoding="utf-8")
    for story in (source / _STORIES).glob("*.*"):
        if story.suffix in {".epub", ".json"} and not (folder / story.name).exists():
            shutil.copyfile(story, folder / story.name)
    return suite
