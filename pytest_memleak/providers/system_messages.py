"""The system messages of a model: texts in the suite, or a file beside it.

    options.system = "Answer in prose."
    options.system = ["Answer in prose.", "Keep to the word count."]
    options.system = { file = "system.json" }    # a JSON list of texts

The file is one that you supply: while it is missing, pairs are INCONCLUSIVE.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field

from pytest_memleak.errors import Inconclusive, SuiteError, file_errors
from pytest_memleak.interfaces.protocols import ProviderSetup

_FORM = 'expected a JSON list of texts, as in ["Answer in prose."]'


_Texts = Annotated[list[str], Field(min_length=1)]
_File = Annotated[dict[Literal["file"], str], Field(min_length=1)]

SystemOption = str | _Texts | _File | None
"""`options.system`; the path of a file is relative to the suite file."""


def system_messages(option: SystemOption, setup: ProviderSetup) -> tuple[str, ...]:
    """Return the system messages, in order.

    Raises Inconclusive for a missing file, SuiteError for one of another form.
    """
    if option is None:
        return ()
    if isinstance(option, str):
        return (option,)
    if isinstance(option, dict):
        return _read_message_file(option["file"], setup)
    return tuple(option)


def trained_messages(
    messages: tuple[str, ...],
    setup: ProviderSetup,
    *,
    trains: bool,
) -> tuple[str, ...]:
    """Return the messages before each training example: `finetune.system`.

    Raises SuiteError where there are none to train with.
    """
    if trains and not messages:
        raise setup.error(
            "finetune.system is true, but there is no system message",
            "set options.system, or remove finetune.system",
        )
    return messages if trains else ()


def _read_message_file(name: str, setup: ProviderSetup) -> tuple[str, ...]:
    path = setup.root / name
    if not path.exists():
        raise Inconclusive(
            f"no such file: {path}",
            location="options.system",
            hint="put the file there; the suite expects you to provide it",
        )
    with file_errors(SuiteError, path):
        content = path.read_bytes()
    try:
        texts = json.loads(content)
    except (ValueError, RecursionError):
        texts = None
    is_list = isinstance(texts, list) and bool(texts)
    if not is_list or not all(isinstance(text, str) for text in texts):
        raise SuiteError(
            "isn't a list of system messages",
            location=str(path),
            hint=_FORM,
        )
    return tuple(texts)
