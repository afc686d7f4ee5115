"""Servers that others wrote, each in an environment of its own, made once: `.foreign/` here."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

KEPT = Path(__file__).resolve().parents[2] / ".foreign"
TO_INSTALL = 1200.0  # seconds, at most
TO_BE_READY = 900.0
# Nothing is looked up, and nobody is told, while a server starts.
QUIETLY = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
QUIETLY |= {"NO_PROXY": "127.0.0.1,localhost", "PYTHONUNBUFFERED": "1"}


def environment(name, *packages, without_dependencies=(), removed=()):
    """The `bin` of the environment `name`; skips where the packages cannot be installed.

    removed: what the packages bring along and do not bear.
    """
    with _made_once(name, *packages, *without_dependencies) as folder:
        if folder is not None:
            _do(sys.executable, "-m", "venv", folder)
            pip = folder / "bin" / "pip"
            # What is never imported need not be compiled, which takes longer than to
            # unpack it.
            install = (pip, "install", "--quiet", "--no-compile")
            _do(*install, *packages)
            for package in without_dependencies:
                _do(*install, "--no-deps", package)
            if removed:
                _do(pip, "uninstall", "--quiet", "--yes", *removed)
    return KEPT / name / "bin"


def npm_environment(name, package):
    """The folder of commands of a package from npm; skips where it cannot be installed."""
    with _made_once(name, package) as folder:
        if folder is not None:
            _do("npm", "install", "--silent", "--prefix", folder, package)
    return KEPT / name / "node_modules" / ".bin"


@contextlib.contextmanager
def _made_once(name, *packages):
    """The folder that is to be filled; None where it has been, with these packages."""
    folder = KEPT / name
    KEPT.mkdir(exist_ok=True)
    with FileLock(KEPT / f"{name}.lock"):
        marker = folder / "made"
        wanted = "\n".join(packages)
        if marker.exists() and marker.read_text("utf-8") == wanted:
            yield None
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        marker.write_text(wanted, "utf-8")


def _do(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [*map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TO_INSTALL,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(
            f"cannot be installed here within {TO_INSTALL:.0f} seconds: {command[-1]}"
        )
    if done.returncode:
        output = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        pytest.skip(f"cannot be installed here: {output}")


@contextlib.contextmanager
def running(*command, ready, **settings):
    """Runs a server; what stands behind `ready` on the first line of its output that has it.

    settings: variables of its environment. Skips where it is not ready in time: what
    does not start says nothing about what is tested.
    """
    with subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **QUIETLY, **settings},
        start_new_session=True,
    ) as server:
        try:
            assert server.stdout is not None
            output = []
            patience = threading.Timer(TO_BE_READY, _end, [server])
            patience.start()
            for line in server.stdout:
                output.append(line)
                if ready in line:
                    break
            else:
                patience.cancel()
                if server.wait() == -signal.SIGKILL:
                    pytest.skip(
                        f"{command[0]} was not ready within {TO_BE_READY:.0f} seconds"
                    )
                pytest.fail(
                    f"{command[0]} ended before it was ready:\n{''.join(output[-10:])}"
                )
            patience.cancel()
            # What it goes on to say fills no pipe.
            with subprocess.Popen(
                ["cat"], stdin=server.stdout, stdout=subprocess.DEVNULL
            ):
                try:
                    yield line.partition(ready)[2].strip()
                finally:
                    _end(server)
        finally:
            _end(server)


def _end(server):
    """End it with all that it has started, which would keep its output open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
