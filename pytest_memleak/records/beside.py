"""What stands beside an answer: thoughts and calls of tools, under the names servers give them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["THOUGHTS", "texts_in"]

THOUGHTS = (
    *("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks"),
    *("thoughts", "tool_calls", "function_call", "audio"),
)
"""The names under which servers and their clients keep what a model wrote beside its answer."""

_DEEPEST = 6


def texts_in(said: object, depth: int = 0) -> list[str]:
    """Every string of more than a word in it, however it is wrapped."""
    if isinstance(said, str):
        return [said] if " " in said.strip() else []
    inner = said.values() if isinstance(said, Mapping) else said if isinstance(said, list) else ()
    return [text for one in inner for text in texts_in(one, depth + 1)] if depth < _DEEPEST else []
