"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_scoring_options"]


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
        "--words",
        choices=("paper", "unicode"),
        default="paper",
        help="what counts as a word: as in the paper, or in every script (default: paper)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
