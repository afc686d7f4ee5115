"""The command `memleak`: first steps, measure files, prepare books, look into ledgers.

Exit codes: 0 done, 1 where `verify` found a difference or no PASS, `doctor` something to mend or
a gate did not pass (`demo`, `try`), 2 for anything that must be mended first (said in one plain
error), 130 after Ctrl-C. Nothing heavy is imported before a subcommand needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak import __version__
from pytest_memleak.cli.cmd_catalog import add_catalog
from pytest_memleak.cli.cmd_compare import add_compare, add_cross
from pytest_memleak.cli.cmd_demo import add_demo
from pytest_memleak.cli.cmd_doctor import add_doctor
from pytest_memleak.cli.cmd_figures import add_figures
from pytest_memleak.cli.cmd_init import add_init
from pytest_memleak.cli.cmd_ledger import add_ledger
from pytest_memleak.cli.cmd_power import add_power
from pytest_memleak.cli.cmd_prepare import add_prepare
from pytest_memleak.cli.cmd_score import add_score
from pytest_memleak.cli.cmd_table import add_table
from pytest_memleak.cli.cmd_try import add_try
from pytest_memleak.cli.cmd_verify import add_verify
from pytest_memleak.cli.completion import PrintCompletion
from pytest_memleak.cli.shared_options import Parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.errors import MemleakError

USAGE_ERROR = 2
INTERRUPTED = 130
NOBODY_READ = 141  # what was found is not known, so that it is no 0; as SIGPIPE in a shell


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parsed = _parser().parse_args(arguments)
    from pytest_memleak.errors import MemleakError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    try:
        status = int(parsed.run(parsed))
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit it would be too late to tell that it failed
    except MemleakError as error:
        error.hint = error.hint or _what_to_type(error, parsed.command)
        _complain(parsed.command, str(error))
    except BrokenPipeError:
        _drop_output()  # the reader has gone: nothing more to say
        return NOBODY_READ
    except OSError as error:
        _drop_output()
        place = error.filename or "standard output"
        full = error.errno == errno.ENOSPC
        hint = "make room, or write it elsewhere" if full else _usage(parsed.command)
        _complain(parsed.command, f"{place}: {error.strerror or error}\n  {hint}")
    except UnicodeEncodeError as error:  # Python's stand-in for a byte of a name that is no text
        _complain(
            parsed.command,
            f"UTF-8 cannot write {error.object[error.start]!r}\n"
            "  is there a file whose name is not UTF-8? rename it",
        )
    except MemoryError:
        hint = _usage(parsed.command)
        _complain(parsed.command, f"there is not enough memory for what it was given\n  {hint}")
    except KeyboardInterrupt:
        return INTERRUPTED
    else:
        return status
    return USAGE_ERROR


def _what_to_type(error: MemleakError, command: str) -> str:
    """The hint of an error that brings none: of a name that is no file's, one that is like it."""
    if os.strerror(errno.ENOENT) in error.message and error.location:
        wanted = Path(error.location)
        with contextlib.suppress(OSError):
            names = {one.stem: one for one in wanted.parent.iterdir() if one.is_file()}
            if near := difflib.get_close_matches(wanted.stem, names, n=1):
                return f"write {names[near[0]]}"
            return f"check the name: there is none like it in {wanted.parent.resolve()}"
        return f"check the name: there is no folder {wanted.parent}"
    return _usage(command)


def _usage(command: str) -> str:
    return f"memleak {command} --help says what it takes"


def _complain(command: str, text: str) -> None:
    """Write an error or a warning to stderr; file names and ids in it may hold anything."""
    for number, line in enumerate(text.splitlines()):
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        print(shown if number else f"memleak {command}: {shown}", file=sys.stderr)


def _drop_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's exit is quiet."""
    with contextlib.suppress(OSError, ValueError):  # a stand-in for stdout may have no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="memleak", description="Measure how much of a book a language model recites."
    )
    parser.add_argument("--version", action="version", version=f"memleak {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes a shell complete commands, options and files",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_demo(commands)
    add_try(commands)
    add_init(commands)
    add_doctor(commands)
    add_score(commands)
    add_prepare(commands)
    add_catalog(commands)
    add_power(commands)
    add_ledger(commands)
    add_verify(commands)
    add_compare(commands)
    add_cross(commands)
    add_table(commands)
    add_figures(commands)
    return parser
