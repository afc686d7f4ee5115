"""The log of a vLLM server: requests and responses in lines of text.

It has them with `--enable-log-requests --enable-log-outputs`: the prompt and the output
of a request are literals of Python, each in a line (`vllm/entrypoints/logger.py`).
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import RecordsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Row = dict[str, Any]

_LITERAL = r"""(?P<text>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")"""
# Later releases log the prompt in a line of its own, at level DEBUG.
_REQUEST = re.compile(
    rf"(?:Received request|Request) (?P<id>\S+?)(?: details)?: prompt: {_LITERAL}",
)
_RECEIVED = re.compile(r"Received request \S+: ")
_RESPONSE = re.compile(
    r"Generated response (?P<id>\S+?)(?P<part> \(streaming (?:delta|complete)\))?: "
    rf"output: {_LITERAL}(?:, .*?finish_reason: (?P<end>\w+))?",
)
_ENABLED = "start vLLM with --enable-log-requests --enable-log-outputs"


def responses_in(
    lines: Iterable[tuple[bytes | RecordsError, int]],
    path: Path,
) -> Iterator[Row | bytes | RecordsError]:
    """Yield a row per line: that of a response, or nothing (b"") for other lines.

    Raises RecordsError, at the end, for a log without responses.
    """
    prompts: dict[str, str] = {}
    pieces: dict[str, list[str]] = {}
    has_request = False
    has_response = False
    for line, _ in lines:
        if isinstance(line, RecordsError):
            yield line
            continue
        text = line.decode(errors="replace")
        has_request = has_request or bool(_RECEIVED.search(text))
        if request := _REQUEST.search(text):
            prompts[request["id"]] = _read(request["text"])
        response = _RESPONSE.search(text)
        if response is None:
            yield b""
            continue
        has_response = True
        if response["part"] == " (streaming delta)":
            pieces.setdefault(response["id"], []).append(_read(response["text"]))
            yield b""
            continue
        pieces.pop(response["id"], None)
        prompt = prompts.pop(response["id"], "")
        yield _row(response["id"], prompt, _read(response["text"]), response["end"])
    for request_id, parts in pieces.items():
        # The server ended before it logged the whole response.
        yield _row(request_id, prompts.get(request_id, ""), "".join(parts), None)
    if not has_response:
        cause = (
            "requests of vLLM, but no responses" if has_request else "no log of vLLM"
        )
        raise RecordsError(f"it has {cause}", location=str(path), hint=_ENABLED)


def _row(request_id: str, prompt: str, text: str, end: str | None) -> Row:
    choice = {"text": text, "finish_reason": end}
    return {"id": request_id, "prompt": prompt, "choices": [choice]}


def _read(literal: str) -> str:
    """Return the text of a literal."""
    text = ast.literal_eval(literal)
    return text if isinstance(text, str) else ""
