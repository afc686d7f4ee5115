"""`memleak completion`: a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_memleak.cli.shared_options import add_command
from pytest_memleak.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_memleak.cli.shared_options import Commands

_SHELLS = ("bash", "zsh", "tcsh", "fish")


def add_completion(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Register `memleak completion`. parser: of all commands."""

    def print_script(parsed: argparse.Namespace) -> int:
        complete = _complete_function_of_shtab()
        print(complete(parser, shell=parsed.shell))
        return 0

    add_command(  # noqa: S604 - `shell` is an argument's name
        commands,
        "completion",
        print_script,
        "print a script by which a shell completes commands and options",
        "Print a script by which a shell completes commands and options. For bash: "
        'eval "$(memleak completion bash)"',
        arguments={"shell SHELL": "bash, zsh, tcsh, or fish"},
        shell={"type": str, "choices": _SHELLS},
    )


def _complete_function_of_shtab() -> Callable[..., str]:
    try:
        import shtab
    except ImportError:
        raise SettingsError(
            "the package shtab isn't installed",
            hint="pip install 'pytest-memleak[completion]'",
        ) from None
    script: Callable[..., str] = shtab.complete
    return script
