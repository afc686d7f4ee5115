"""`memleak --print-completion SHELL`: commands, options and files, completed by the shell."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class PrintCompletion(argparse.Action):
    """Print a shell's script and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        """Print it; without shtab, say what to install and end with 2."""
        try:
            import shtab
        except ImportError:
            parser.exit(
                2,
                "memleak --print-completion needs the package shtab\n"
                "  install it with: pip install 'pytest-memleak[completion]'\n",
            )
        for action in _actions(parser):
            if action.type is Path:
                setattr(action, "complete", shtab.FILE)  # noqa: B010 - shtab's own attribute
        print(shtab.complete(parser, values))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its subcommands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield action
        if isinstance(action.choices, Mapping):
            for inner in action.choices.values():
                yield from _actions(inner)
