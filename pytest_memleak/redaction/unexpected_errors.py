"""What may be shown of an unexpected exception, and the file with the rest.

PYTEST_DONT_REWRITE

Its message may quote a book, so a terminal names its kind and place, and a private file
has all.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from pathlib import Path

from pytest_memleak.redaction.credentials import masked
from pytest_memleak.redaction.file_writing import write_private
from pytest_memleak.redaction.text import QUOTED_WORDS

# Kinds whose messages name files, positions, and versions. Others may quote their data.
_SAFE_KINDS = (OSError, ImportError, json.JSONDecodeError, UnicodeError)
_NO_THREAD = "can't start new thread"  # Python's words for a limit of the machine
_LIBRARIES = ("lxml", "sqlalchemy", "zipfile", "ebooklib")
_MEANINGS = {
    MemoryError: "not enough memory",
    RecursionError: "input is nested too deeply",
    TimeoutError: "timed out",
}


def unexpected_error_sentence(error: BaseException) -> str:
    """Return an exception's kind and place, with what of its message quotes no book."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
    return f"{_error_sentence(error)}, at {place}"


def _error_sentence(error: BaseException) -> str:
    """Return an exception's kind, and its message if that can't quote a book.

    Messages of the system and of known libraries are kept: the first QUOTED_WORDS words
    of their first line.
    """
    kind = type(error).__name__
    for error_kind, meaning in _MEANINGS.items():
        if isinstance(error, error_kind):
            return f"{kind}: {meaning}"
    message = ""
    if _is_safe(error):
        # A database's own error has no statement and no parameters.
        text = str(getattr(error, "orig", None) or error).partition("\n")[0]
        words = masked(text).split()
        message = " ".join(words[:QUOTED_WORDS])
        if len(words) > QUOTED_WORDS:
            message += " …"
    if not message:
        return f"{kind} (its message may quote a book)"
    return f"{kind}: {message}"


def _is_safe(error: BaseException) -> bool:
    """Tell whether an exception's message can't quote a book or a model."""
    library = type(error).__module__.partition(".")[0]
    return (
        isinstance(error, _SAFE_KINDS)
        or library in _LIBRARIES
        or str(error) == _NO_THREAD
    )


def write_traceback(error: BaseException, folder: Path) -> Path | None:
    """Write the traceback, which may quote books, to a file for its owner only.

    Returns None if the file can't be written.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{id(error):x}"
    path = folder / f"error-{name}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        write_private(path, text.encode(errors="replace").decode())
    except OSError:
        return None
    return path
