"""What a pair's error says about an unexpected exception.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.redaction.unexpected_errors import (
    unexpected_error_sentence,
    write_traceback,
)

if TYPE_CHECKING:
    import pytest


def internal_error_text(error: BaseException, config: pytest.Config) -> str:
    """Write the error's traceback; return its kind, place, and the traceback's file."""
    text = f"INCONCLUSIVE: {unexpected_error_sentence(error)}"
    path = write_traceback(error, config.rootpath / ".memleak")
    if path is None:
        return text
    if config.get_verbosity() <= 0:
        return f"{text}\n  the traceback is in a file in .memleak; -v shows its name"
    return f"{text}\n  the traceback, which may quote books, is in {path}"
