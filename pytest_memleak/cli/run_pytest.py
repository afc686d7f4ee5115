"""pytest runs of one suite file, and command lines for the user."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INTERRUPTED = 130


def run_gate(
    suite: str | Path, *options: str, folder: Path, seconds: float | None = None
) -> int | None:
    """Run `pytest -m copyright SUITE` in a folder and return pytest's exit code.

    seconds: the time limit. A run over it is stopped as by Ctrl-C and returns None; its
    generations stay in the ledger.
    """
    # Not with -q, which also hides progress.
    pytest = [sys.executable, "-m", "pytest", "--no-header"]
    command = [*pytest, "-m", "copyright", str(suite), *options]
    sys.stdout.flush()
    with subprocess.Popen(command, cwd=folder) as gate:  # noqa: S603 - no shell, our own pytest
        try:
            return gate.wait(seconds)
        except subprocess.TimeoutExpired:
            # A background job and its children ignore Ctrl-C.
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            gate.send_signal(signal.SIGTERM if ignored else signal.SIGINT)
            gate.wait()
            return None
        except KeyboardInterrupt:  # pytest received it too
            gate.wait()
            return INTERRUPTED


def command_line(*parts: str | Path) -> str:
    """Quote a command for the shell."""
    return shlex.join(str(part) for part in parts)


def next_step(command: str, why: str) -> str:
    """Return the last line of a command's output: the next command and its purpose."""
    return f"Next: {command}   # {why}"
