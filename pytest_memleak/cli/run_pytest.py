"""pytest on one suite file, as a command would be typed."""

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
    """Run `pytest -m copyright SUITE` in a folder; pytest's exit code.

    seconds: how long it may take; then it is stopped as by Ctrl-C, and None is returned. What was
    drawn is in its ledger.
    """
    # Not with -q, which hides progress too: somebody may look on for minutes.
    pytest = [sys.executable, "-m", "pytest", "--no-header"]
    command = [*pytest, "-m", "copyright", str(suite), *options]
    sys.stdout.flush()
    with subprocess.Popen(command, cwd=folder) as gate:  # noqa: S603 - no shell, our own pytest
        try:
            return gate.wait(seconds)
        except subprocess.TimeoutExpired:
            # A job in the background ignores Ctrl-C, and so would what it starts.
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            gate.send_signal(signal.SIGTERM if ignored else signal.SIGINT)
            gate.wait()
            return None
        except KeyboardInterrupt:  # pytest has had it too, and says what is kept
            gate.wait()
            return INTERRUPTED


def command_line(*parts: str | Path) -> str:
    """A command as it is typed."""
    return shlex.join(str(part) for part in parts)


def next_step(command: str, why: str) -> str:
    """The last line of a command: what to type next, and what for."""
    return f"next: {command}   # {why}"
