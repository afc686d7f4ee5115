"""The command `memleak`: first steps, scoring of files, books, ledgers and evidence.

Exit codes: 0 success; 1 `verify` found a difference or no PASS, `scan` a passage over a
limit, or `doctor` a problem, or the gate of `demo`, `try`, or `complaint` did not pass;
2 invalid input, with one error message; 3 `scan` couldn't read a row or a file; 70 an
internal error; 130 Ctrl-C.
Subcommands import heavy modules only when they run.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_memleak import __version__
from pytest_memleak.cli.cmd_catalog import add_catalog
from pytest_memleak.cli.cmd_compare import add_compare
from pytest_memleak.cli.cmd_complaint import add_complaint
from pytest_memleak.cli.cmd_completion import add_completion
from pytest_memleak.cli.cmd_demo import add_demo
from pytest_memleak.cli.cmd_disclose import add_disclose
from pytest_memleak.cli.cmd_doctor import add_doctor
from pytest_memleak.cli.cmd_guard import add_guard
from pytest_memleak.cli.cmd_init import add_init
from pytest_memleak.cli.cmd_ledger import add_ledger
from pytest_memleak.cli.cmd_prepare import add_prepare
from pytest_memleak.cli.cmd_scan import add_scan
from pytest_memleak.cli.cmd_score import add_score
from pytest_memleak.cli.cmd_suite_schema import add_suite_schema
from pytest_memleak.cli.cmd_table import add_table
from pytest_memleak.cli.cmd_trace import add_trace
from pytest_memleak.cli.cmd_try import add_try
from pytest_memleak.cli.cmd_verify import add_verify
from pytest_memleak.cli.cmd_view import add_view
from pytest_memleak.cli.default_ledger import FOLDER
from pytest_memleak.cli.shared_options import Parser
from pytest_memleak.cli.terminal_output import print_error
from pytest_memleak.errors import DISK_FULL, FREE_SPACE, NO_ROOM, MemleakError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COMMANDS = (
    add_demo,
    add_try,
    add_init,
    add_complaint,
    add_doctor,
    add_score,
    add_scan,
    add_guard,
    add_prepare,
    add_catalog,
    add_ledger,
    add_verify,
    add_disclose,
    add_view,
    add_compare,
    add_trace,
    add_table,
    add_suite_schema,
)
USAGE_ERROR = 2
INTERNAL_ERROR = 70  # not 1, which is a result; BSD's sysexits.h has it
INTERRUPTED = 130
HUNG_UP = 129  # a shell reports SIGHUP so
BROKEN_PIPE = 141  # not 0, since the output was lost; a shell reports SIGPIPE so


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    with _hangup_as_exit():
        return _run_and_report_errors(parsed)


@contextlib.contextmanager
def _hangup_as_exit() -> Iterator[None]:
    """Let a closed terminal end the command as Ctrl-C does: drafts are removed."""
    hangup = getattr(signal, "SIGHUP", None)  # which Windows doesn't have
    is_main = threading.current_thread() is threading.main_thread()
    if hangup is None or not is_main or signal.getsignal(hangup) != signal.SIG_DFL:
        yield  # nohup ignores it
        return

    def leave(*_: object) -> NoReturn:
        raise SystemExit(HUNG_UP)

    signal.signal(hangup, leave)
    try:
        yield
    finally:
        signal.signal(hangup, signal.SIG_DFL)


def _run_and_report_errors(parsed: argparse.Namespace) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # some terminals lack letters
    try:
        status = int(parsed.run(parsed))
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit, a failure could no longer be reported
    except BrokenPipeError:
        _discard_output()  # the reader is gone
        return BROKEN_PIPE
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)  # Ctrl-C, or Ctrl-D at a question, ends no line
        return INTERRUPTED
    except (MemleakError, OSError, UnicodeEncodeError, MemoryError) as error:
        if isinstance(error, OSError):
            _discard_output()
        print_error(f"memleak {parsed.command}: {_error_text(error, parsed.command)}")
        return USAGE_ERROR
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no result
        print_error(f"memleak {parsed.command}: {_internal_error_text(error)}")
        return INTERNAL_ERROR
    return status


def _internal_error_text(error: Exception) -> str:
    """Write an unexpected exception's traceback; return its kind, place, and file."""
    from pytest_memleak.redaction.unexpected_errors import (
        unexpected_error_sentence,
        write_traceback,
    )

    path = write_traceback(error, Path(FOLDER))
    where = "the traceback couldn't be written to a file"
    if path:
        where = f"the traceback, which may quote books, is in {path}"
    sentence = unexpected_error_sentence(error)
    return f"internal error, no result: {sentence}\n  {where}; please report it"


def _error_text(error: Exception, command: str) -> str:
    """Return what an error's screen says: its place, what is wrong, and what to do."""
    if isinstance(error, MemleakError):
        hint = error.hint or error.default_hint or _default_hint(error, command)
        error.hint = hint
        return str(error)
    if isinstance(error, OSError):
        place = error.filename2 or error.filename or "standard output"
        if error.errno in NO_ROOM:
            return f"{place}: {DISK_FULL}\n  {FREE_SPACE}"
        hint = _hint_of_system_error(error) or _usage_line(command)
        return f"{place}: {error.strerror or error}\n  {hint}"
    if isinstance(error, UnicodeEncodeError):  # from a file name that is not UTF-8
        return (
            f"UTF-8 can't encode {error.object[error.start]!r}\n  rename the file "
            "whose name isn't UTF-8"
        )
    return f"not enough memory for this input\n  {_usage_line(command)}"


def _hint_of_system_error(error: OSError) -> str:
    """Return what to do where a file may not be read or written; "" for others."""
    if not isinstance(error, PermissionError) or not error.filename:
        return ""
    path = Path(error.filename)
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a denied folder
        return f"allow it, as in: chmod u+rw {shlex.quote(str(path))}"
    folder = path.absolute().parent
    return f"choose a folder that you may read and write; {folder} isn't one"


def _default_hint(error: MemleakError, command: str) -> str:
    """Return a hint for an error without one: for a missing file, a similar name."""
    location = error.location or ""
    if location and os.strerror(errno.EACCES) in error.message:
        return _hint_of_system_error(PermissionError(errno.EACCES, "", location))
    if location and os.strerror(errno.EISDIR) in error.message:
        return f"name a file, such as one in {location}"
    if location and os.strerror(errno.ENOENT) in error.message:
        return _hint_of_missing_file(Path(location))
    return _usage_line(command)


def _hint_of_missing_file(missing: Path) -> str:
    """Return the name of a similar file, if there is one."""
    try:
        siblings = [path for path in missing.parent.iterdir() if path.is_file()]
    except OSError:
        return f"No such folder: {missing.parent}"
    names = {}
    for path in siblings:
        if path.suffix == missing.suffix or path.stem == missing.stem:
            names[path.stem] = path
    nearest = difflib.get_close_matches(missing.stem, names, n=1)
    if not nearest:
        longer = [name for name in sorted(names) if missing.stem in name]
        nearest = longer[:1]
    if nearest:
        return f"did you mean {names[nearest[0]]}?"
    return f"{missing.parent.resolve()} has no file of a similar name"


def _usage_line(command: str) -> str:
    return f"run memleak {command} --help for usage"


def _discard_output() -> None:
    """Send buffered output to the null device, for the interpreter to exit quietly."""
    with contextlib.suppress(OSError, ValueError):  # a replaced stdout may have no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="memleak",
        description="Measure how much of a book a language model reproduces.",
    )
    parser.add_argument("--version", action="version", version=f"memleak {__version__}")
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
    )
    for add_command in _COMMANDS:
        add_command(commands)
    add_completion(commands, parser)
    return parser
