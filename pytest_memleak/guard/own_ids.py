"""The guard's own ids in place of a server's, which could be any text."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import Any

from pytest_memleak.formats.textless_values import is_id_key

_KEPT = 200_000
_DIGEST = 12  # bytes
_LONGEST_PREFIX = 12
# Some clients look at how an id begins.
_PREFIXES = (
    "chatcmpl",
    "cmpl",
    "call",
    "toolu",
    "msg",
    "resp",
    "req",
    "fc",
    "rs",
    "fp",
)


class OwnIds:
    """Own ids for those of a server, and back.

    The same id always has the same own one. The last 200,000 are known again in later
    requests.
    """

    def __init__(self) -> None:
        """Start with a secret, without which no id can be guessed from its digest."""
        self._secret = secrets.token_bytes(32)
        self._originals: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def own(self, original: str) -> str:
        """Return the own id for one of the server's; "" for ""."""
        if not original:
            return ""
        data = original.encode("utf-8", "surrogatepass")
        digest = blake2b(data, key=self._secret, digest_size=_DIGEST).hexdigest()
        own = f"{_prefix(original)}{digest}"
        with self._lock:
            self._originals[own] = original
            self._originals.move_to_end(own)
            if len(self._originals) > _KEPT:
                self._originals.popitem(last=False)
        return own

    def restored(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with the server's ids; the same object if it has none."""
        if not self._originals:
            return request
        restored: dict[str, Any] = self._restored("", request)
        return restored

    def _restored(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._originals.get(value, value) if is_id_key(key) else value
        if isinstance(value, dict):
            parts = {name: self._restored(name, part) for name, part in value.items()}
            changed = any(parts[name] is not value[name] for name in value)
            return parts if changed else value
        if isinstance(value, list):
            elements = [self._restored(key, element) for element in value]
            pairs = zip(elements, value, strict=True)
            return elements if any(new is not old for new, old in pairs) else value
        return value


def _prefix(original: str) -> str:
    head = original[:_LONGEST_PREFIX]
    for prefix in _PREFIXES:
        for mark in ("_", "-"):
            if head.startswith(prefix + mark):
                return prefix + mark
    return "id_"
