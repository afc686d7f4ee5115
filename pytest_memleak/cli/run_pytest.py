"""pytest in a process of its own, for `memleak try` and `memleak demo`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INTERRUPTED = 130


def run_gate(
    suite: str | Path,
    *options: str,
    folder: Path,
    seconds: float | None = None,
) -> int | None:
    """Run `pytest -m copyright SUITE` in a folder and return pytest's exit code.

    seconds: the time limit. A run over it ends after its calls in flight and returns
    None.
    """
    # Not with -q, which also hides progress.
    pytest = [sys.executable, "-m", "pytest", "--no-header", "-m", "copyright"]
    sys.stdout.flush()
    with subprocess.Popen([*pytest, suite, *options], cwd=folder) as gate:  # noqa: S603 - no shell, our own pytest
        try:
            return gate.wait(seconds)
        except subprocess.TimeoutExpired:
            gate.terminate()
            print("\nTime is up. Waiting for the calls in flight ...")
            status = None
        except KeyboardInterrupt:  # pytest received it too
            status = INTERRUPTED
        while gate.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                gate.wait()
        return status
