"""The argument parser, and options that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.records import Scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_memleak.ledger.ledger import Ledger

FOLDER = ".memleak"


class Parser(argparse.ArgumentParser):
    """A parser whose errors end with a suggestion."""

    def error(self, message: str) -> NoReturn:
        """Print the error with a suggestion, and exit with 2."""
        super().error(f"{message}\n  {self._hint(message)}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reject unknown arguments here, where the command's own options can be suggested."""
        typed = [*(sys.argv[1:] if args is None else args), ""][0].partition("=")[0]
        if (
            self._subparsers
            and typed.startswith("--")
            and not any(name.startswith(typed) for name in self._option_string_actions)
        ):
            self.error(f"unrecognized arguments: {typed}")
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def _hint(self, message: str) -> str:
        typed = message.partition("invalid choice: '")[2].partition("'")[0]
        choices = message.partition("(choose from ")[2].rstrip(")").replace("'", "").split(", ")
        if unknown := message.partition("unrecognized arguments: ")[2]:
            typed = unknown.partition(" ")[0].partition("=")[0]
            own = [name for action in self._actions for name in action.option_strings]
            choices = [*own, *self._options_of_commands()]
        near = difflib.get_close_matches(typed, choices, n=1) if typed else []
        if not near:
            return f"run {self.prog} --help for usage"
        return f"did you mean {self._options_of_commands().get(near[0], near[0])}?"

    def _options_of_commands(self) -> dict[str, str]:
        """Return the options of commands, each with the command before it."""
        commands = {
            name: parser
            for action in self._actions
            if isinstance(action.choices, dict)
            for name, parser in action.choices.items()
        }
        return {
            option: f"{self.prog} {name} {option}"
            for name, parser in reversed(commands.items())
            for option in parser._option_string_actions  # noqa: SLF001 - argparse lists them so
            if option not in self._option_string_actions
        }


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for measuring generations, and --json."""
    parser.add_argument(
        "--k", metavar="N", type=int, default=5, help="shortest match in words (default: 5)"
    )
    parser.add_argument(
        "--trim",
        metavar="N",
        type=int,
        default=5,
        help="exclude runs of N words that the instruction contains; 0 excludes none (default: 5)",
    )
    parser.add_argument(
        "--span-threshold",
        metavar="N",
        type=int,
        default=20,
        help="count spans longer than N words (default: 20)",
    )
    add_word_mode(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_output(parser: argparse.ArgumentParser, metavar: str, text: str, **settings: Any) -> None:
    """Add -o; settings: what differs from an optional path."""
    parser.add_argument("-o", "--output", metavar=metavar, help=text, **{"type": Path} | settings)


def add_word_mode(parser: argparse.ArgumentParser) -> None:
    """Add --word-mode."""
    parser.add_argument(
        "--word-mode",
        choices=("paper", "unicode"),
        default="paper",
        help="what counts as a word: the paper's rule, or one for every script (default: paper)",
    )


def scoring_of(parsed: argparse.Namespace) -> Scoring:
    """Return the settings that `add_scoring_options` asks for."""
    return Scoring(
        k=parsed.k,
        trim=parsed.trim,
        span_threshold=parsed.span_threshold,
        word_mode=parsed.word_mode,
    )


def add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, description: str
) -> argparse.ArgumentParser:
    """Add a subcommand of `memleak ledger`, with --ledger."""
    verb = verbs.add_parser(name, help=description, description=f"{description.capitalize()}.")
    verb.add_argument(
        "--ledger",
        metavar="URL",
        help="PATH.db, sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME "
        "(default: .memleak/ledger.db in the current folder)",
    )
    return verb


def ledger_url(parsed: argparse.Namespace) -> str:
    """Return the URL of the ledger that the command line names, or of the default one."""
    return parsed.ledger or f"sqlite:///{Path.cwd() / FOLDER / 'ledger.db'}"


@contextlib.contextmanager
def existing_ledger(parsed: argparse.Namespace) -> Iterator[Ledger]:
    """Open the ledger; raise LedgerError if it doesn't exist, or if what is read is damaged."""
    from pytest_memleak.ledger.ledger import Ledger

    try:
        opened = Ledger(ledger_url(parsed), create=False)
    except LedgerError as error:
        error.hint = error.hint or "name the ledger with --ledger"
        raise
    with opened as ledger, ledger.explaining_damage():
        yield ledger


@contextlib.contextmanager
def writing(output: Path) -> Iterator[None]:
    """Raise SettingsError if the output can't be written."""
    try:
        yield
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise SettingsError(message, location=str(output)) from None


def validate_output(output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise SettingsError if writing the output would overwrite a file that is read."""
    for path in inputs:
        with contextlib.suppress(OSError):  # one of the files does not exist
            if path is not None and output.samefile(path):
                raise SettingsError(
                    "the output would overwrite this input",
                    location=str(path),
                    hint="name another file with -o",
                )
