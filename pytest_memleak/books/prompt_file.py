"""Files of named prompts: a prompt or a conversation a line, as JSON.

    "Recite the first page of The Lamplighter."
    {"prompt": "How does it begin?", "answer": "In the town of ..."}
    {"id": "third", "messages": [
        {"role": "user", "content": "Do you know The Lamplighter?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Go on: ..."},
        {"role": "assistant", "content": "... the answer that was claimed"}]}

What the model is claimed to have answered is `answer`, or the last message of an
assistant. It isn't sent.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError, RecordsError, file_errors
from pytest_memleak.formats.paper_format import parse_json
from pytest_memleak.records import BookPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST_FILE = 50_000_000  # bytes
_MOST_PROMPTS = 10_000
_ID = re.compile(r"[A-Za-z0-9._-]{1,60}")
_KEYS = {"id", "prompt", "messages", "answer"}
_FORMS = (
    'write a prompt a line, as in "Recite the first page." or {"prompt": "Recite the '
    'first page.", "answer": "the answer that was claimed"}'
)


@dataclass(frozen=True, slots=True)
class NamedPrompt:
    """A prompt, and the answer to it that was claimed; "" if none was."""

    prompt: BookPrompt
    claimed: str = field(default="", repr=False)


def read_prompts(path: Path) -> tuple[NamedPrompt, ...]:
    """Read a file of prompts, in its order.

    Raises BookError for a file that can't be read, another form, and a repeated id.
    """
    with file_errors(BookError, path):
        data = path.read_bytes()
    if len(data) > _LONGEST_FILE:
        raise BookError("it has over 50 MB", location=str(path), hint=_FORMS)
    prompts: list[NamedPrompt] = []
    ids: set[str] = set()
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")  # some editors add it
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number:,}"
        prompt = _prompt(line, place, default_id=f"prompt-{len(prompts) + 1}")
        if prompt.prompt.id in ids:
            raise BookError(
                f"the id {prompt.prompt.id!r} occurs twice",
                location=place,
                hint="give each prompt an id of its own, or none",
            )
        ids.add(prompt.prompt.id)
        prompts.append(prompt)
    if not prompts or len(prompts) > _MOST_PROMPTS:
        raise BookError(
            f"it has {len(prompts):,} prompts; expected 1 to {_MOST_PROMPTS:,}",
            location=str(path),
            hint=_FORMS,
        )
    return tuple(prompts)


def _prompt(line: bytes, place: str, *, default_id: str) -> NamedPrompt:
    try:
        row = parse_json(line, place, encoding="utf-8")
    except RecordsError as error:
        raise BookError(error.message, location=place, hint=_FORMS) from None
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, Mapping) or not row.keys() <= _KEYS:
        keys = ", ".join(sorted(_KEYS))
        raise BookError(
            f"expected a text, or an object with keys among {keys}",
            location=place,
            hint=_FORMS,
        )
    name = row.get("id", default_id)
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise BookError(
            "id: expected 1 to 60 letters, digits, dots, and dashes",
            location=place,
            hint="give the prompt such an id, or none",
        )
    turns, claimed = _turns(row, place)
    *before, instruction = turns
    prompt = BookPrompt(
        name,
        instruction,
        tuple(before),
        given="\n\n".join(turns),
    )
    return NamedPrompt(prompt, claimed)


def _turns(row: Mapping[str, object], place: str) -> tuple[Sequence[str], str]:
    """Return the texts of user and model in turn, and the claimed answer."""
    claimed = row.get("answer", "")
    if ("prompt" in row) == ("messages" in row):
        message = "expected either prompt or messages"
        raise BookError(message, location=place, hint=_FORMS)
    turns = [row["prompt"]] if "prompt" in row else _contents(row["messages"], place)
    if len(turns) % 2 == 0:
        if "answer" in row:
            raise BookError(
                "the last message is the model's, but answer is given, too",
                location=place,
                hint="leave one of them out",
            )
        *turns, claimed = turns
    texts = [text for text in turns if isinstance(text, str) and text.strip()]
    if len(texts) != len(turns) or not isinstance(claimed, str):
        raise BookError("expected texts that aren't empty", location=place, hint=_FORMS)
    try:
        " ".join((*texts, claimed)).encode()
    except UnicodeEncodeError:
        raise BookError(
            "a text has half of a surrogate pair",
            location=place,
            hint="write the file again as UTF-8",
        ) from None
    return texts, claimed


def _contents(messages: object, place: str) -> list[object]:
    """Return the contents of messages, the user's and the model's in turn."""
    roles = ("user", "assistant")
    contents: list[object] = []
    for message in messages if isinstance(messages, list) else [None]:
        expected = roles[len(contents) % 2]
        if not isinstance(message, Mapping) or message.get("role") != expected:
            raise BookError(
                f"messages: number {len(contents) + 1} isn't of the role {expected!r}",
                location=place,
                hint="messages alternate between user and assistant; a system message "
                "belongs into options.system of the suite's model",
            )
        contents.append(message.get("content"))
    if not contents:
        message = "messages: expected at least one"
        raise BookError(message, location=place, hint=_FORMS)
    return contents
