"""The argument parser, and options that several commands share."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_memleak.cli.default_ledger import ledger_url
from pytest_memleak.cli.terminal_output import print_error
from pytest_memleak.errors import LedgerError, SettingsError
from pytest_memleak.records import Scoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_memleak.ledger.ledger import Ledger

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name


_TYPED = "options_typed"


class _StoreOnce(argparse._StoreAction):  # noqa: SLF001 - has no other name
    """An option with one value, or one list: a second one would hide the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        typed = namespace.__dict__.setdefault(_TYPED, set())
        if option_string and self.dest in typed:
            what = "one list of values" if self.nargs else "one value"
            raise argparse.ArgumentError(self, f"given twice; it takes {what}")
        typed.add(self.dest)
        super().__call__(parser, namespace, values, option_string)


class Parser(argparse.ArgumentParser):
    """A parser whose errors end with a suggestion."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)
        # `--price -1,10` is a wrong price, not a missing one.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        """Print the error with a suggestion, and exit with 2."""
        self.print_usage(sys.stderr)
        hint = self._nearest_choice_or_option(message)
        print_error(f"{self.prog}: error: {message}\n  {hint}")
        self.exit(2)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reject unknown arguments here, where the command's options can be named."""
        typed = list(sys.argv[1:] if args is None else args)
        if self._subparsers:
            typed = typed[:1]  # the rest is the command's
        for argument in typed:
            if argument == "--":
                break
            option = argument.partition("=")[0]
            if option.startswith("--") and not self._has_option_beginning_with(option):
                self.error(f"unrecognized arguments: {option}")
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def _has_option_beginning_with(self, beginning: str) -> bool:
        return any(name.startswith(beginning) for name in self._option_string_actions)

    def _nearest_choice_or_option(self, message: str) -> str:
        """Suggest what is nearest to the wrong choice or option of the message."""
        if "given twice; it takes one list" in message:
            return "write it once, with all its values behind it"
        if "given twice" in message:
            return "write it once"
        options_of_commands = self._options_of_commands()
        unknown = message.partition("unrecognized arguments: ")[2]
        if unknown:
            typed = unknown.partition(" ")[0].partition("=")[0]
            choices = [*self._option_string_actions, *options_of_commands]
        else:
            typed = message.partition("invalid choice: '")[2].partition("'")[0]
            listed = message.partition("(choose from ")[2].rstrip(")")
            choices = listed.replace("'", "").split(", ")
        near = difflib.get_close_matches(typed, choices, n=1) if typed else []
        if not near:
            return f"run {self.prog} --help for usage"
        return f"did you mean {options_of_commands.get(near[0], near[0])}?"

    def _options_of_commands(self) -> dict[str, str]:
        """Return the options of commands, each with the first command that has it."""
        full: dict[str, str] = {}
        for action in self._actions:
            if not isinstance(action.choices, dict):
                continue
            for name, parser in action.choices.items():
                for option in parser._option_string_actions:  # noqa: SLF001 - argparse lists them so
                    if option not in self._option_string_actions:
                        full.setdefault(option, f"{self.prog} {name} {option}")
        return full


_PATHS = ("FILE", "DIR", "SUITE", "BOOK.json")
_TYPES: Mapping[str, Any] = {"N": int, "T": float, **dict.fromkeys(_PATHS, Path)}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "k": {"default": 5},
    "trim": {"default": 5},
    "span_threshold": {"default": 20},
    "word_mode": {"choices": ("paper", "unicode"), "default": "paper"},
}
LEDGER = {
    "--ledger URL": "PATH.db, sqlite:///PATH, or postgresql+psycopg://USER@HOST/NAME "
    "(default: .memleak/ledger.db in pytest's rootdir)",
}
REPEATED: Mapping[str, Any] = {"action": "append", "default": []}

WORD_MODE = {
    "--word-mode": "what counts as a word: the paper's rule, or a rule that covers all "
    "scripts (default: paper)",
}
ENCODING = {
    "--encoding NAME": "the encoding of plain text that isn't UTF-8, such as "
    "windows-1251 or shift_jis",
}
SCORING = {
    "--k N": "shortest match in words (default: 5)",
    "--trim "
    "N": "exclude runs of N words that the instruction contains; 0 excludes none "
    "(default: 5)",
    "--span-threshold N": "count spans longer than N words (default: 20)",
    **WORD_MODE,
    "--json": "print JSON instead of a table",
}
"""The options for measuring generations."""


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *texts: str,
    arguments: Mapping[str, str],
    **settings: Mapping[str, Any],
) -> None:
    """Add a command. texts: its help and its description."""
    parser = commands.add_parser(name, help=texts[0], description=texts[-1])
    add_arguments(parser, arguments, **settings)
    parser.set_defaults(run=run)


def add_arguments(
    parser: argparse.ArgumentParser,
    arguments: Mapping[str, str],
    **settings: Mapping[str, Any],
) -> None:
    """Add arguments, by their usage: `book BOOK.json`, `-o/--output FILE`.

    One without a metavar is a switch; `FILE+` takes several.

    arguments: the help of each
    settings:  what else argparse must know, by name
    """
    for usage, text in arguments.items():
        names, _, metavar = usage.partition(" ")
        flags = names.split("/")
        name = flags[-1].lstrip("-").replace("-", "_")
        own = settings.get(name) or _SETTINGS.get(name, {})
        if metavar.endswith("+"):
            metavar = metavar.rstrip("+")
            own = {"nargs": "+", "default": [], **own}
        if metavar:
            kind = _TYPES.get(metavar) if names.startswith("-") else Path
            own = {"metavar": metavar, "type": kind, **own}
        if own.get("nargs") == "*":  # else its absence is called an error
            own = {"default": [], **own}
        parser.add_argument(*flags, help=text, **own or {"action": "store_true"})


def scoring_from_options(parsed: argparse.Namespace) -> Scoring:
    """Return the settings of SCORING's options."""
    return Scoring(parsed.k, parsed.trim, parsed.span_threshold, parsed.word_mode)


@contextlib.contextmanager
def existing_ledger(parsed: argparse.Namespace) -> Iterator[Ledger]:
    """Open the ledger; raise LedgerError if it doesn't exist or is damaged."""
    from pytest_memleak.ledger.ledger import Ledger

    try:
        opened = Ledger(ledger_url(parsed), create=False)
    except LedgerError as error:
        error.hint = error.hint or "name the ledger with --ledger"
        raise
    with opened as ledger, ledger.damage_as_ledger_error():
        yield ledger


def validate_output(output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise SettingsError if writing the output would overwrite a file that is read."""
    for path in inputs:
        with contextlib.suppress(OSError):  # one of the files does not exist
            if path is not None and output.samefile(path):
                raise SettingsError(
                    "the output would overwrite this input",
                    location=str(path),
                    hint="name a different file with -o",
                )
