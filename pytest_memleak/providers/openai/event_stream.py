"""Responses that a server streams: its events, joined to the one response that they add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_memleak.providers.openai.choices import MOST_CHOICES, as_list, as_mapping


def read_body(content: bytes) -> object:
    """Return the JSON of a response; of a stream of events, the response that they add up to."""
    text = content.decode("utf-8")
    lines = text.lstrip("\ufeff \n\r").splitlines()
    if not lines or not lines[0].startswith(("data:", "event:", "id:", "retry:", ":")):
        return json.loads(text)
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data in {"", "[DONE]"}:
            continue
        event = json.loads(data)
        if not isinstance(event, Mapping):
            raise ValueError("an event isn't an object")  # noqa: TRY004 - as invalid JSON
        _join(answer, {key: value for key, value in event.items() if key != "choices"})
        for choice in as_list(event.get("choices"))[:MOST_CHOICES]:
            fields = dict(as_mapping(choice))
            if "delta" in fields:
                fields["message"] = fields.pop("delta")
            index = fields.get("index")
            index = index if isinstance(index, int) else 0
            _join(choices.setdefault(index, {}), fields)
    listed = [choices[index] for index in sorted(choices)]
    return answer | ({"choices": listed} if listed else {})


# They are repeated in each event.
_WHOLE = {"id", "object", "model", "system_fingerprint", "role", "finish_reason", "type", "name"}


def _join(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Append the texts and lists of `part` to those of `whole`; take over all other values."""
    for key, value in part.items():
        before = whole.get(key)
        if isinstance(value, Mapping) and isinstance(before, dict):
            _join(before, value)
        elif value is None:
            whole.setdefault(key, None)
        elif (
            key not in _WHOLE and isinstance(value, str | list) and isinstance(before, type(value))
        ):
            whole[key] = before + value  # type: ignore[operator]
        else:
            whole[key] = dict(value) if isinstance(value, Mapping) else value
