"""pytest in a process of its own, for `memleak try` and `memleak demo`."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from pytest_memleak.reports.next_command import TYPED

if TYPE_CHECKING:
    from pathlib import Path

INTERRUPTED = 130


def run_gate(
    suite: str | Path,
    *options: str,
    folder: Path,
    seconds: float | None = None,
    typed: str = "",
) -> int | None:
    """Run `pytest -m copyright SUITE` in a folder and return pytest's exit code.

    seconds: the time limit. A run over it ends after its calls in flight and returns
    None.
    typed: what its last line names to run it again (default: this command without its
    options)
    """
    # Not with -q, which also hides progress.
    pytest = [sys.executable, "-m", "pytest", "--no-header", "-m", "copyright"]
    typed = typed or shlex.join(["pytest", "-m", "copyright", str(suite)])
    environment = {**os.environ, TYPED: typed}
    sys.stdout.flush()
    with subprocess.Popen(  # noqa: S603 - no shell, our own pytest
        [*pytest, suite, *options],
        cwd=folder,
        env=environment,
    ) as gate:
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
