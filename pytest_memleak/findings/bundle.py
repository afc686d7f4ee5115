"""The evidence bundle: one JSON file that stands on its own, without a word of any book.

    {"schema": ..., "result": ..., "release": ..., "program": ..., "platform": ...,
     "created": ..., "selection": ..., "broken": [...], "pairs": [...], "limitations": [...],
     "sha256": ..., "signature": ...}

`sha256` is over the canonical JSON (sorted keys, no spaces, ASCII) of all the rest but the
signature; the signature (Ed25519) is over the same bytes. Who has the ledger, the suite and its
books can compute every number of `pairs` again (`memleak verify`).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError
from pytest_memleak.findings.bundle_shape import misshapen

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "SCHEMA",
    "canonical",
    "check_digest",
    "differences",
    "read_bundle",
    "sealed",
    "write_bundle",
]

SCHEMA = "pytest-memleak evidence 2"
_SEALS = ("sha256", "signature")


def sealed(made: dict[str, Any]) -> dict[str, Any]:
    """The bundle with its digest, and without a signature."""
    return made | {"sha256": hashlib.sha256(canonical(made)).hexdigest()}


def canonical(made: dict[str, Any]) -> bytes:
    """The bytes that digest and signature are over: everything but these two."""
    sealed = {key: value for key, value in made.items() if key not in _SEALS}
    return json.dumps(sealed, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_bundle(made: dict[str, Any], path: Path) -> None:
    """Write it, whole or not at all. Raises EvidenceError."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise EvidenceError(
            f"cannot be written: {error.strerror or error}", place=str(path)
        ) from None


def read_bundle(path: Path) -> dict[str, Any]:
    """A bundle from its file. Raises EvidenceError for anything that is none of this schema."""
    try:
        text = path.read_text(encoding="utf-8")
        made = json.loads(text, object_pairs_hook=_no_key_twice)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not a bundle: {error}", place=str(path)) from None
    if not isinstance(made, dict) or made.get("schema") != SCHEMA:
        raise EvidenceError(f"not a bundle of the schema {SCHEMA!r}", place=str(path))
    if text != json.dumps(made, indent=1) + "\n":
        raise EvidenceError("it is not as it was written", place=str(path))
    if wrong := misshapen(made):
        raise EvidenceError(f"not a bundle: {wrong}", place=str(path))
    return made


def check_digest(made: dict[str, Any]) -> list[str]:
    """What is wrong with the bundle's own digest; empty if nothing is."""
    digest = hashlib.sha256(canonical(made)).hexdigest()
    if made.get("sha256") == digest:
        return []
    return [f"sha256: the bundle says {made.get('sha256')}, its content gives {digest}"]


def differences(said: object, found: object, key: str = "") -> list[str]:
    """Where two JSON values differ: the key, what the bundle says, what was computed."""
    if isinstance(said, dict) and isinstance(found, dict):
        keys = sorted(said.keys() | found.keys())
        return [
            line
            for one in keys
            for line in differences(
                said.get(one, _MISSING), found.get(one, _MISSING), f"{key}.{one}".lstrip(".")
            )
        ]
    if type(said) is type(found) and said == found:
        return []
    return [f"{key}: the bundle says {_shown(said)}, computed now {_shown(found)}"]


_MISSING = object()


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else json.dumps(value)[:120]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made
