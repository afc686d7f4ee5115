"""JSON of a chat in one cell of a row, whose turns have writers of their own."""

from __future__ import annotations

from typing import Any

from pytest_memleak.errors import RecordsError
from pytest_memleak.formats.log_messages import is_prompt_turn
from pytest_memleak.formats.paper_format import parse_json


def may_be_chat(cell: str) -> bool:
    """Return whether a cell's text may be JSON of messages."""
    return cell.startswith(("[", "{")) and '"role"' in cell


def chat_in_cell(cell: str) -> Any:
    """Return the messages that a cell has as JSON, or its object with a list of them.

    None for any other text: a prompt may be JSON, too.
    """
    if not may_be_chat(cell):
        return None
    try:
        value = parse_json(cell.encode("utf-8", "surrogatepass"), "", encoding="utf-8")
    except RecordsError:
        return None
    turns = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(turns, list):
        return None
    has_roles = all(isinstance(turn, dict) and "role" in turn for turn in turns)
    return value if has_roles and any(map(is_prompt_turn, turns)) else None
