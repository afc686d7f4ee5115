"""Line breaks in texts for a terminal: between words, but never within a command.

A terminal shows a longer line on several rows and still copies it as one; a command
that we break would be typed in parts.
"""

from __future__ import annotations

import re
import textwrap

_COMMAND = re.compile(
    r"(?<=: )(?:memleak|pytest|pip install) (?:(?!; |  \(|   #).)*",
)
_BLANK = "\ue000"  # isn't printable, so no text that is shown has it


def with_unbreakable_blanks(command: str) -> str:
    """Return a command that has no blank to break it at; see `with_plain_blanks`."""
    return command.replace(" ", _BLANK)


def with_unbroken_commands(text: str) -> str:
    """Return a text whose commands, which follow a colon, have no blanks."""
    return _COMMAND.sub(lambda match: with_unbreakable_blanks(match[0]), text)


def with_plain_blanks(line: str) -> str:
    """Return a line with the blanks of its commands."""
    return line.replace(_BLANK, " ")


def wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Break a text between words; commands and longer words, such as paths, stay whole.

    indent: blanks before every line but the first
    """
    lines = textwrap.wrap(
        with_unbroken_commands(text),
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*map(with_plain_blanks, lines)]
