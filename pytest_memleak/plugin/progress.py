"""Progress of a pair on a terminal: one line that redraws itself below pytest's own.

    display = display_for(config)
    with display.shown():
        display.tell(standing)

pytest leaves its line unfinished while a test runs (`suites/x.memleak.toml ..`) and goes on in it
afterwards. So the cursor goes down to a line of its own, and back up to where it was, in one
write. All movements are relative: at the bottom of the screen the first of them scrolls, and a
saved position would be a line too low.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from pytest_memleak.records.phases import Phase, ProgressEvent

_REDRAW_EVERY = 0.1
_FEWEST_ROWS = 3
_LET_GO = 1.0  # seconds that a terminal which takes nothing more is waited for
_GUESSED_AFTER = 3.0  # seconds of a phase after which its end is guessed

_DOWN = "\r\n\x1b[J"  # and nothing is left there, also of a line that a narrower window broke
_UP = "\r\x1b[A"


def display_for(config: pytest.Config) -> Display | None:
    """Where the run's progress is shown; None where nobody looks on, or others write meanwhile.

    Nobody looks on where the output is no terminal or a dumb one, under -q, and in xdist's
    workers. Others write where output is not captured (-s, tee-sys), and with a live log.
    """
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if (
        reporter is None
        or not reporter.isatty
        or config.get_verbosity() < 0
        or hasattr(config, "workerinput")
        or os.environ.get("TERM", "dumb") in {"", "dumb", "unknown"}
        or config.getoption("capture", "no") not in {"fd", "sys"}
        or config.getoption("log_cli_level", None) is not None
        or config.getini("log_cli")
    ):
        return None
    return Display(config)


class Display:
    """Shows what it was told last, by a thread of its own; a failure switches it off for good."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._phase: tuple[Phase, str] | None = None
        self._began = 0.0
        self._first = 0
        self._standing: ProgressEvent | None = None
        self._works = True

    def tell(self, standing: ProgressEvent) -> None:
        """Show this from now on."""
        if (phase := (standing.phase, standing.about)) != self._phase:
            self._phase, self._began, self._first = phase, time.monotonic(), standing.done
        self._standing = standing

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """On the screen meanwhile, and gone afterwards; whatever goes wrong with it is not told."""
        self._phase = self._standing = None
        stop = threading.Event()
        thread = None
        if self._works:
            with self._tried():
                place = self._terminal()
                thread = threading.Thread(target=self._draw, args=(*place, stop), daemon=True)
                thread.start()
        try:
            yield
        finally:
            stop.set()
            if thread is not None:
                with self._tried():
                    thread.join(_LET_GO)

    @contextlib.contextmanager
    def _tried(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # noqa: BLE001 - a terminal must not decide a verdict
            self._works = False

    def _terminal(self) -> tuple[int, int]:
        """A file descriptor that pytest's capture leaves alone, and the width of pytest's line."""
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        writer = self._config.get_terminal_writer()
        with capture.global_and_fixture_disabled():
            writer.flush()
            return os.dup(sys.stdout.fileno()), writer.width_of_current_line

    # --- in a thread -----------------------------------------------------------------------

    def _draw(self, terminal: int, column: int, stop: threading.Event) -> None:
        drawn: tuple[str, int] | None = None
        with self._tried():
            try:
                while not stop.wait(_REDRAW_EVERY):
                    columns, rows = self._size(terminal)
                    # In the last column a terminal has not gone to the next line yet, and cannot
                    # be brought back to that state.
                    at_edge = column > 0 and column % columns == 0
                    if self._standing is None or rows < _FEWEST_ROWS or at_edge:
                        continue
                    line = self._line(self._standing)[: columns - 1], columns
                    if line != drawn:
                        drawn = line
                        _write(terminal, _DOWN + line[0] + _back(column % columns))
            finally:
                with contextlib.suppress(OSError):
                    if drawn:
                        columns, _ = self._size(terminal)
                        _write(terminal, _DOWN + _back(column % columns))
                os.close(terminal)

    def _size(self, terminal: int) -> tuple[int, int]:
        columns, rows = os.get_terminal_size(terminal)
        # A terminal that does not know its size: what pytest takes it for.
        return columns or self._config.get_terminal_writer().fullwidth, rows or 24

    def _line(self, standing: ProgressEvent) -> str:
        """Phase, whose it is, how much of it, how long, what for; as much as is known."""
        seconds = time.monotonic() - self._began
        done = standing.done - self._first
        took = _clock(seconds)
        if done and seconds > _GUESSED_AFTER:
            took += f", {_clock(seconds / done * (standing.of - standing.done))} left"
        return "  ".join(
            [
                f"{standing.phase} {inert(standing.about)}",
                *([f"{standing.done:,}/{standing.of:,}"] if standing.of else []),
                took,
                *([f"{standing.tokens:,} tokens"] if standing.tokens else []),
                *([] if standing.cost is None else [f"US$ {standing.cost:.2f}"]),
            ]
        )


def _back(column: int) -> str:
    return _UP + (f"\x1b[{column}C" if column else "")


def _clock(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _write(terminal: int, text: str) -> None:
    left = text.encode("ascii", "replace")
    while left:
        left = left[os.write(terminal, left) :]
