"""A pair's progress on a terminal: one line that redraws itself below pytest's own.

    display = display_for(config)
    with display.shown():
        display.update(event)

pytest leaves its line unfinished while a test runs (`suites/x.memleak.toml ..`) and
continues it afterwards. So each write moves the cursor down to a line of its own and
back up. All movements are relative: at the bottom of the screen the first one scrolls,
and a saved position would be wrong.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_memleak.records.phases import Phase, ProgressEvent
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

_REDRAW_EVERY = 0.1
_FEWEST_ROWS = 3
_JOIN_TIMEOUT = 1.0  # seconds to wait for a terminal that accepts no output
_ESTIMATE_AFTER = 3.0  # seconds of a phase until its end is estimated

_DOWN = "\r\n\x1b[J"  # also clears what a narrower window wrapped
_UP = "\r\x1b[A"


def display_for(config: pytest.Config) -> Display | None:
    """Return the run's display; None without a terminal, or while others write to it.

    Others write without capture (-s, tee-sys) and with a live log.
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


def ending_notice(config: pytest.Config) -> Callable[[ProgressEvent], None]:
    """Return what writes to stderr, once, that an interrupted run waits: no display."""
    notes: list[str] = []

    def show(event: ProgressEvent) -> None:
        if event.phase is Phase.ENDING and not notes:
            notes.append(event.note)
            capture: Any = config.pluginmanager.get_plugin("capturemanager")
            with capture.global_and_fixture_disabled():
                print(f"\n{event.note}", file=sys.stderr, flush=True)

    return show


class Display:
    """A thread that shows the last event, until its first failure."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._phase: tuple[Phase, str] | None = None
        self._began = 0.0
        self._first = 0
        self._event: ProgressEvent | None = None
        self._works = True

    def update(self, event: ProgressEvent) -> None:
        """Show this event from now on."""
        phase = (event.phase, event.about)
        if phase != self._phase:
            self._phase = phase
            self._began = time.monotonic()
            self._first = event.done
        self._event = event

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the display until the context ends; its errors are ignored."""
        self._phase = self._event = None
        stop = threading.Event()
        thread = None
        if self._works:
            with self._stopping_display_on_error():
                place = self._descriptor_and_width()
                thread = threading.Thread(
                    target=self._draw_until_stopped,
                    args=(*place, stop),
                    daemon=True,
                )
                thread.start()
        try:
            yield
        finally:
            stop.set()
            if thread is not None:
                with self._stopping_display_on_error():
                    thread.join(_JOIN_TIMEOUT)

    @contextlib.contextmanager
    def _stopping_display_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:  # noqa: BLE001 - a terminal error must not change a verdict
            self._works = False

    def _descriptor_and_width(self) -> tuple[int, int]:
        """Return a file descriptor outside pytest's capture, and its line's width."""
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        writer = self._config.get_terminal_writer()
        with capture.global_and_fixture_disabled():
            writer.flush()
            return os.dup(sys.stdout.fileno()), writer.width_of_current_line

    def _draw_until_stopped(
        self,
        terminal: int,
        column: int,
        stop: threading.Event,
    ) -> None:
        drawn: tuple[str, int] | None = None
        with self._stopping_display_on_error():
            try:
                while not stop.wait(_REDRAW_EVERY):
                    columns, rows = self._size(terminal)
                    # In the last column a terminal delays the line break, which can't
                    # be undone.
                    at_edge = column > 0 and column % columns == 0
                    if self._event is None or rows < _FEWEST_ROWS or at_edge:
                        continue
                    line = self._event_line(self._event, columns)[: columns - 1]
                    if (line, columns) != drawn:
                        drawn = line, columns
                        _write(
                            terminal, _DOWN + line + _cursor_back_text(column % columns)
                        )
            finally:
                with contextlib.suppress(OSError):
                    if drawn:
                        columns, _ = self._size(terminal)
                        _write(terminal, _DOWN + _cursor_back_text(column % columns))
                os.close(terminal)

    def _size(self, terminal: int) -> tuple[int, int]:
        columns, rows = os.get_terminal_size(terminal)
        # For a terminal of unknown size, pytest's assumption.
        return columns or self._config.get_terminal_writer().fullwidth, rows or 24

    def _event_line(self, event: ProgressEvent, columns: int) -> str:
        """Return what is known of the event, as much as fits."""
        seconds = time.monotonic() - self._began
        done = event.done - self._first
        took = _hours_minutes_seconds(seconds)
        if done > 0 and seconds > _ESTIMATE_AFTER:
            left = seconds / done * (event.of - event.done)
            took += f", {_hours_minutes_seconds(left)} left"
        about = inert(event.about)
        parts = [f"{event.phase} {about}"]
        if event.note:
            parts = [f"{inert(event.note)} ({about})"]
        if event.of:
            parts.append(f"{event.done:,}/{event.of:,}")
        parts.append(took)
        if event.cost is not None:
            parts.append(_cost_text(event.cost, event.lost))
        if event.tokens:
            parts.append(f"{event.tokens:,} tokens")
        while len(parts) > 1 and len("  ".join(parts)) >= columns:
            parts.pop()
        return "  ".join(parts)


def _cost_text(at_most: float, lost: float) -> str:
    """Return what was billed, and what it may be with the calls that were lost."""
    billed = f"US${at_most - lost:,.2f}"
    highest = f"US${at_most:,.2f}"
    return billed if billed == highest else f"{billed}, at most {highest}"


def _cursor_back_text(column: int) -> str:
    if not column:
        return _UP
    return f"{_UP}\x1b[{column}C"


def _hours_minutes_seconds(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{left:02}"
    return f"{minutes}:{left:02}"


def _write(terminal: int, text: str) -> None:
    left = text.encode("ascii", "replace")
    while left:
        left = left[os.write(terminal, left) :]
