"""How arguments are read, and options that several commands share."""

from __future__ import annotations

import argparse
import difflib
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors end in what to type."""

    def error(self, message: str) -> NoReturn:
        """Say what was wrong and what to type, and exit with 2."""
        super().error(f"{message}\n  {self._hint(message)}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Reject what is left over here, where the command's own options are known."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return parsed, left

    def _hint(self, message: str) -> str:
        given = message.partition("invalid choice: '")[2].partition("'")[0]
        choices = message.partition("(choose from ")[2].rstrip(")").replace("'", "").split(", ")
        if unknown := message.partition("unrecognized arguments: ")[2]:
            given = unknown.partition(" ")[0].partition("=")[0]
            choices = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(given, choices, n=1) if given else []
        return f"write {near[0]}" if near else f"{self.prog} --help says what it takes"


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """How generations are measured, and --json."""
    parser.add_argument(
        "--k", metavar="N", type=int, default=5, help="shortest match, in words (default: 5)"
    )
    parser.add_argument(
        "--trim",
        metavar="N",
        type=int,
        default=5,
        help="m of the m-grams that the instruction gives away; 0 trims nothing (default: 5)",
    )
    parser.add_argument(
        "--span-threshold",
        metavar="N",
        type=int,
        default=20,
        help="T of 'spans over T words' (default: 20)",
    )
    parser.add_argument(
        "--word-mode",
        choices=("paper", "unicode"),
        default="paper",
        help="what counts as a word: as in the paper, or in every script (default: paper)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
