"""What a request asks for that the guard doesn't send: it can't read it as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DROPPED = frozenset(
    {"logprobs", "top_logprobs", "prompt_logprobs", "bytes", "audio", "token_ids",
     "prompt_token_ids"},
)  # fmt: skip
"""The keys of answers that the guard never sends."""

# Options of requests for these. A completion's `logprobs = 0` asks for some.
_ASKING = ("logprobs", "top_logprobs", "prompt_logprobs", "audio", "return_token_ids")
_OFF = (None, False)
_INCLUDED = ("message.output_text.logprobs",)  # in the Responses API


def dropped_options(request: Mapping[str, Any]) -> list[str]:
    """Return the options of a request whose results the guard would drop."""
    options = [
        key for key in _ASKING if not any(request.get(key) is off for off in _OFF)
    ]
    modalities = request.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        options.append("modalities")
    included = request.get("include")
    if isinstance(included, list):
        options += [name for name in _INCLUDED if name in included]
    return options
