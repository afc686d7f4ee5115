"""pytest in a real terminal: a pseudo-terminal, and a screen that shows what comes out of it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass

import pyte

ROWS = 160
SIZE = ("COLUMNS", "LINES")
SILENCE = 300  # seconds, after which a program waits for an answer


@dataclass(frozen=True, slots=True)
class Seen:
    """code: the exit status; lines: of the last screen; screens: all, whenever one changed."""

    code: int
    lines: list[str]
    screens: list[list[str]]

    def line(self, beginning):
        """The one line of the last screen that begins so."""
        (result,) = [line for line in self.lines if line.startswith(beginning)]
        return result

    def progress(self, phase):
        """Each line that told of the phase, and the line above it."""
        return [
            (screen[place], screen[place - 1])
            for screen in self.screens
            for place, line in enumerate(screen)
            if line.startswith(f"{phase} ")
        ]


def run_in_terminal(
    arguments,
    *,
    folder,
    columns=80,
    at_bottom=False,
    environment=None,
    program=("-m", "pytest"),
    typed="",
    answer="",
    asks="[y/N]",
):
    """Run pytest with these arguments; `at_bottom` where the screen was full before.

    program: what Python runs in its place; typed: on the keyboard, before it asks;
    answer: then; asks: what it is an answer to.
    """
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    if at_bottom:
        stream.feed(b"\r\n" * ROWS)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    # A size in the environment would count for more than the terminal's own.
    inherited = {name: value for name, value in os.environ.items() if name not in SIZE}
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=inherited | {"TERM": "xterm"} | dict(environment or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    if typed:
        os.write(ours, typed.encode())
    screens = []
    try:
        while written := _read(ours, process):
            stream.feed(written)
            screens.append([line.rstrip() for line in screen.display])
            if answer and any(asks in line for line in screens[-1]):
                os.write(ours, answer.encode())
                answer = ""
    finally:
        os.close(ours)
        code = process.wait(timeout=30)
    return Seen(code, screens[-1], screens)


def _read(terminal, process):
    """Return what is written next, and end a program that waits for an answer."""
    ready, _, _ = select.select([terminal], [], [], SILENCE)
    if not ready:
        process.kill()
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody has it open any more
        return b""
