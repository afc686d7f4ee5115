"""The message of an error, wherever a server puts it, and the settings that it names.

{"error": {"message": "..."}}                                     OpenAI, vLLM
{"error": "..."}                                                  xAI, TGI
{"message": {"detail": [{"loc": ["body", "seed"], "msg": "..."}]}}     Mistral
[{"error": {"message": "..."}}]                                   Gemini
{"detail": "..."}, {"detail": {"error": "..."}}                   FastAPI
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_memleak.providers.response_fields import as_mapping

_LONGEST = 2000
_DEEPEST = 6
_MOST_ENTRIES = 20
# Other keys may repeat the request.
_MESSAGE_KEYS = re.compile(
    r"\w*message|msg|details?|errors?|\w*description|reason|title|raw|metadata",
    re.ASCII | re.IGNORECASE,
)
_TITLE = re.compile(r"<title>([^<]*)<", re.IGNORECASE)
# Some servers have names of their own for `n`.
_ALIASES = {"n_cmpl": "n", "n_choices": "n"}


def error_message(body: object) -> str:
    """Return the texts of an error's message; of a web page, its title alone."""
    if isinstance(body, str) and body.lstrip().startswith("<"):
        body = " ".join(_TITLE.findall(body[:_LONGEST]))
    messages = dict.fromkeys(_messages_at_any_depth(body, _DEEPEST))
    return "; ".join(messages)[:_LONGEST]


def error_fields(body: object) -> Mapping[str, Any]:
    """Return the object that describes an error: `error`, or else the whole body."""
    fields = as_mapping(body)
    return as_mapping(fields.get("error")) or fields


def error_code(body: object) -> str | None:
    """Return the server's name of an error, if it has one.

    A number is none: some servers repeat the status as `code`.
    """
    error = error_fields(body)
    for key in ("code", "type"):
        name = error.get(key)
        if isinstance(name, str) and name and not name.isdecimal():
            return name
    return None


def _messages_at_any_depth(body: object, depth: int) -> Iterator[str]:
    if isinstance(body, str) and body.strip():
        yield body.strip()[:_LONGEST]
    if depth == 0:
        return
    if isinstance(body, list):
        for entry in body[:_MOST_ENTRIES]:
            yield from _messages_at_any_depth(entry, depth - 1)
    elif isinstance(body, Mapping):
        field = ""
        where = body.get("loc")
        if isinstance(where, list) and where:
            field = f"{where[-1]}: "
        entries = [*body.items()]
        for key, value in entries[:_MOST_ENTRIES]:
            if not _MESSAGE_KEYS.fullmatch(f"{key}"[:_LONGEST]):
                continue
            for text in _messages_at_any_depth(value, depth - 1):
                yield f"{field}{text}"


def parameters_in(message: str, sent: Iterable[str]) -> tuple[str, ...]:
    """Return the sent settings that a message names, as in topP, "top p", or top_p."""
    names = {name.replace("_", ""): name for name in (*sent, *_ALIASES)}
    spellings = [re.escape(name).replace("_", "[_ -]?") for name in names.values()]
    spelled = "|".join(spellings)
    pattern = re.compile(
        rf"(?<![A-Za-z0-9_\\])(?:{spelled})(?!\w|\.\w)",
        re.ASCII | re.IGNORECASE,
    )
    mentioned: dict[str, None] = {}
    for spelling in pattern.findall(message):
        word = re.sub("[_ -]", "", spelling).lower()
        if word in names:
            name = names[word]
            mentioned[_ALIASES.get(name, name)] = None
    return tuple(mentioned)
