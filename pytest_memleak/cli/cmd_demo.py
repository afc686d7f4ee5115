"""`memleak demo`: the quickstart, from what is installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.run_pytest import command_line, next_step, run_gate

if TYPE_CHECKING:
    import argparse

# In the wheel, and in a copy of the repository.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent)
_SUITE = "suites/quickstart/quickstart.memleak.toml"
_STORIES = "fixtures/books"


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak demo`."""
    demo = commands.add_parser(
        "demo",
        help="see the gate work: two stories, two models, offline",
        description="Run the quickstart: two stories, a model that forgets them and one that knows "
        "them by heart. It needs no key, no network and no GPU.",
    )
    demo.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        default=Path("memleak-demo"),
        help="where suite, stories and report are put (default: memleak-demo)",
    )
    demo.set_defaults(run=_demo)


def _demo(parsed: argparse.Namespace) -> int:
    folder: Path = parsed.folder
    suite = _lay_out(folder)
    status = run_gate(suite.name, "--rootdir=.", "--memleak-html=report.html", folder=folder)
    if status:
        print(f"\nIt went otherwise than it should (exit code {status}): is {suite} changed?")
        print(next_step(command_line("memleak", "demo", "another-folder"), "a fresh copy"))
        return status
    print(f"\n`reciter` leaks, as {suite} says it must. Written: {folder / 'report.html'}")
    print('Take its line expected = "leak" out, and the gate fails: pytest -m copyright', folder)
    print(next_step("memleak try BOOK.epub --model openai/NAME", "a book and a model of your own"))
    return 0


def _lay_out(folder: Path) -> Path:
    """Put suite and stories there, as they came; what is there already stays. The suite's path."""
    from pytest_memleak.errors import SettingsError

    source = next((one for one in _PLACES if (one / _SUITE).is_file()), None)
    if source is None:
        raise SettingsError(
            "the quickstart is not in this installation",
            hint="install it anew, from the checkout or the wheel that it came from",
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
