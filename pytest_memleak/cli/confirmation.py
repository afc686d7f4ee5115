"""Questions at a terminal that only a yes or a no answers."""

from __future__ import annotations

import contextlib
import sys

from pytest_memleak.errors import SettingsError

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def ask_yes_or_no(question: str) -> bool:
    """Ask until the answer is yes or no; an empty one is a no.

    Raises SettingsError where no one can answer.
    """
    if not sys.stdin.isatty():
        raise SettingsError(
            "can't ask for confirmation without a terminal",
            hint="add --yes",
        )
    with contextlib.suppress(ImportError):  # on Windows
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # typed before it was asked
    while True:
        answer = input(f"{question} [y/N] ").strip().lower()
        if not answer:
            return False
        if answer in _ANSWERS:
            return _ANSWERS[answer]
        print("Answer y or n.")
