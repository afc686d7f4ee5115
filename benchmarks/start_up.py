"""What the installed plugin, the command and a large suite cost before any work.

    python benchmarks/start_up.py

Processor time of whole processes, the least of some; what Python itself and pytest need
is taken off where that is said.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

BOOKS, MODELS = 81, 4
_RUNS = 9
_ALONE = os.environ | {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # other plugins take longer
    "PYTHONDONTWRITEBYTECODE": "",  # what is installed has been compiled
}
_COMMAND = "from pytest_memleak.cli.main import main; main(['--help'])"


class StartUp(NamedTuple):
    """Milliseconds of processor time.

    plugin:  what the installed plugin adds to a run of pytest that has no suite
    command: `memleak --help`, Python's own start with it
    collect: a suite of 81 books and 4 models, beyond pytest's own start
    """

    plugin: float
    command: float
    collect: float


def start_up() -> StartUp:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as folder:
        empty, suite = Path(folder, "empty"), Path(folder, "suite")
        empty.mkdir()
        (empty / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        _write_suite(suite)
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        without, with_plugin, command, collect = _least(
            Path(folder, "compiled"),
            (pytest, empty),
            ([*pytest, "-p", "pytest_memleak.plugin.hooks"], empty),
            ([sys.executable, "-c", _COMMAND], empty),
            (
                [*pytest, "-p", "pytest_memleak.plugin.hooks", "large.memleak.toml"],
                suite,
            ),
        )
    return StartUp(with_plugin - without, command, collect - with_plugin)


def _write_suite(folder: Path) -> None:
    """A suite of unreadable books: it is collected without looking into them."""
    folder.mkdir()
    lines = ["[limits]", "bmc = 0.1"]
    for number in range(BOOKS):
        (folder / f"book{number}.epub").write_bytes(b"not a book")
        lines += ["[[book]]", f'id = "book-{number}"', f'source = "book{number}.epub"']
    for number in range(MODELS):
        lines += ["[[model]]", f'id = "model-{number}"', 'provider = "ngram"']
        lines += ['options = { pretraining = ["book-0"] }']
    (folder / "large.memleak.toml").write_text("\n".join(lines) + "\n")


def _least(cache: Path, *works: tuple[list[str], Path]) -> list[float]:
    """The least processor time of each command in its folder; they take turns."""
    times = [float("inf")] * len(works)
    for _ in range(_RUNS):
        for number, (command, folder) in enumerate(works):
            times[number] = min(times[number], _milliseconds(command, folder, cache))
    return times


def _milliseconds(command: list[str], folder: Path, cache: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=_ALONE | {"PYTHONPYCACHEPREFIX": str(cache)},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3


if __name__ == "__main__":
    print(start_up())
