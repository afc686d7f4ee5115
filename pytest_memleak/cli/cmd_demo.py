"""`memleak demo`: the quickstart, copied to a folder and run there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.run_pytest import run_gate
from pytest_memleak.cli.shared_options import add_command
from pytest_memleak.cli.terminal_output import command_line, next_step, print_sentence
from pytest_memleak.errors import SettingsError
from pytest_memleak.reports.output_table import HTML

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.cli.shared_options import Commands

# In the wheel, and in a checkout.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent)
_SUITE = "suites/quickstart/quickstart.memleak.toml"
_STORIES = "fixtures/books"


def add_demo(commands: Commands) -> None:
    """Register `memleak demo`."""
    add_command(
        commands,
        "demo",
        _run_demo,
        "run an offline example: one clean model, one that reproduces its books",
        "Run the quickstart: a story, a clean model, and one that reproduces it. It "
        "needs no key, no network, and no GPU.",
        arguments={
            "folder FOLDER": "the folder for suite, story, and report (default: "
            "memleak-demo)",
        },
        folder={"nargs": "?", "default": Path("memleak-demo")},
    )


def _run_demo(parsed: argparse.Namespace) -> int:
    folder: Path = parsed.folder
    suite = _copy_quickstart(folder)
    page = f"{HTML.option}={folder / 'report.html'}"
    status = run_gate(suite, f"--rootdir={folder}", page, folder=Path.cwd())
    if status:
        print(f"\nUnexpected exit code {status}. Was {suite} changed?")
        again = command_line("memleak", "demo", "another-folder")
        print(next_step(again, "start with a new copy"))
        return status
    gate = command_line("pytest", "-m", "copyright", folder)
    print(f"\n`reciter` leaks, as {suite} expects.")
    print_sentence(
        f'To see the gate fail, delete the line expected = "leak" and run: {gate}'
    )
    print("To test your own model: memleak try BOOK.epub --model openai/NAME")
    return 0


def _copy_quickstart(folder: Path) -> Path:
    """Copy suite and story, except over files that exist; return the suite's path."""
    source = next((place for place in _PLACES if (place / _SUITE).is_file()), None)
    if source is None:
        raise SettingsError(
            "this installation lacks the quickstart's files",
            hint="reinstall pytest-memleak",
        )
    folder.mkdir(parents=True, exist_ok=True)
    suite = folder / Path(_SUITE).name
    text = (source / _SUITE).read_text(encoding="utf-8")
    if not suite.exists():
        suite.write_text(text.replace(f"../../{_STORIES}/", ""), encoding="utf-8")
    for story in (source / _STORIES).iterdir():
        if story.name in text and not (folder / story.name).exists():
            shutil.copyfile(story, folder / story.name)
    return suite
