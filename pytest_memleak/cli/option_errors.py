"""Errors of a suite that `try` or `init` writes, in the words of their options.

No one has seen that suite, which is removed again: its path and keys would lead
nowhere.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_memleak.cli.suite_template import Draft

_OPTIONS = (
    (re.compile("the model's keys in the suite"), "--model and --base-url"),
    (re.compile(r"\(base_model, or endpoint\)"), "(--model)"),
    (re.compile(r"\b(?:options\.)?base_url\b"), "--base-url"),
    (re.compile(r"\bbase_model = \"[^\"]*\"(?: or endpoint = \"[^\"]*\")?"), "--model"),
)
_EDIT = "; memleak init writes a suite in which you can set it"
_KEY = re.compile(r"\boptions\.\w+|\[(?:sampling|model\.\w+)\]|\bmax_tokens\b")


@contextlib.contextmanager
def errors_of_options(path: Path, draft: Draft) -> Iterator[None]:
    """Name the option, not the suite's file, in errors about it."""
    try:
        yield
    except MemleakError as error:
        location = error.location or ""
        if {str(path), os.path.realpath(path)} & {location, _file_of(location)}:
            error.location = f"--model {draft.provider}/{draft.base}"
        error.message = _with_option_names(error.message)
        if error.fix:
            hint = _with_option_names(error.fix)
            error.hint = hint + _EDIT if _KEY.search(hint) else hint
        raise


def _file_of(location: str) -> str:
    """Return the file of a place such as `FILE:12` or `FILE: model 'm'`."""
    return re.split(r":\d+$|: model |, model ", location)[0]


def _with_option_names(text: str) -> str:
    for pattern, option in _OPTIONS:
        text = pattern.sub(option, text)
    return text
