"""Third-party parsers in a subprocess with caps on time and memory.

parse_in_subprocess("pdf", data, budget=budget, of="characters of text") -> the texts of its pages
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pytest_memleak.books import parser_worker
from pytest_memleak.books.archive import Amount, Budget, unreadable
from pytest_memleak.books.parser_worker import MOST_MEBIBYTES, MOST_SECONDS
from pytest_memleak.errors import BookError

Format = Literal["pdf", "docx", "markdown", "verse"]

# Wall-clock seconds, for systems without CPU limits and busy machines.
_DEADLINE = 30 * MOST_SECONDS


class ParserFailure(Exception):
    """A parser's failure: "locked", "pages" (`number` of them), or its own error."""

    def __init__(self, why: str, number: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.number = number


def parse_in_subprocess(name: Format, data: bytes, *, budget: Budget, of: Amount) -> list[str]:
    """Parse the bytes of a file in a subprocess and return its texts.

    of: the amount of the budget that caps them; nothing is spent.

    Raises ParserFailure; and BookError, naming the budget's place, for more than the budget has
    left, for over 20 s of processor time or 480 MiB, and for a crash.
    """
    most = budget.left(of)
    lines = _lines(name, data, str(budget.place), most)
    last = json.loads(lines.pop()) if lines else {}
    if not isinstance(last, dict) or not last:
        raise _cap_error(str(budget.place))
    if last.get("failed") == "long":
        budget.allow(most + 1, of)
    if "failed" in last:
        raise ParserFailure(last["failed"], last["number"])
    return [json.loads(line) for line in lines]


def _lines(name: str, data: bytes, place: str, most: int) -> list[str]:
    command = [sys.executable, "-P", str(Path(parser_worker.__file__)), name, str(most)]
    # The subprocess must import the same packages.
    paths = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(  # noqa: S603 - our own file
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
            timeout=_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _cap_error(place) from None
    except OSError as error:
        raise unreadable(error, place) from None
    return done.stdout.decode("utf-8", "surrogatepass").split("\n")[:-1]


def _cap_error(place: str) -> BookError:
    return BookError(
        f"cannot be read within {MOST_SECONDS} s of CPU time and {MOST_MEBIBYTES} MiB",
        location=place,
        hint="the file is damaged or hostile: use another edition, an EPUB or plain text",
    )
