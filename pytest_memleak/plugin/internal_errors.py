"""What went wrong inside an evaluation: a sentence for the reader, all of it for who mends it.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
import os
import time
import traceback
from typing import TYPE_CHECKING

from pytest_memleak.redaction.credentials import masked
from pytest_memleak.redaction.private_files import private_folder
from pytest_memleak.redaction.text import QUOTED_WORDS

if TYPE_CHECKING:
    from pathlib import Path

# Kinds whose messages speak of files, places and versions. Others may hold what they were about.
_PLAIN = (OSError, ImportError, json.JSONDecodeError, UnicodeError)
_LIBRARIES = ("lxml", "sqlalchemy", "zipfile", "ebooklib")
_MEANINGS = {
    MemoryError: "there is not enough memory",
    RecursionError: "something is nested too deeply",
    TimeoutError: "something took too long",
}


def sentence_of(error: BaseException) -> str:
    """The kind of an exception, with its message where that can hold no text of book or model.

    Messages of the system and of known libraries are kept: their first line, without statements
    and parameters, and at most QUOTED_WORDS words of it.
    """
    kind = type(error).__name__
    message = next((meaning for one, meaning in _MEANINGS.items() if isinstance(error, one)), "")
    if not message and _speaks_plainly(error):
        # A database's own error has no statement behind it, and no parameters.
        told = str(getattr(error, "orig", None) or error).partition("\n")[0]
        words = masked(told).split()
        message = " ".join(words[:QUOTED_WORDS]) + (" …" if len(words) > QUOTED_WORDS else "")
    return f"{kind}: {message}" if message else f"{kind} (its message may quote a book)"


def _speaks_plainly(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, _PLAIN) or library in _LIBRARIES


def write_account(error: BaseException, folder: Path) -> Path | None:
    """Write the exception with its history to a file that only its owner may read.

    None where it cannot be written. It may quote books and answers.
    """
    path = folder / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{id(error):x}.txt"
    try:
        private_folder(folder)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return path
