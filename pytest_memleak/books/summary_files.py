"""Files with a summary for each excerpt of a book.

A JSON object by excerpt ids: `{"p_id1": {"summary": "...", "excerpt_sha256": "..."}}`, with the
SHA-256 of the excerpt's text in UTF-8 (hexadecimal). The digests ensure that summaries of other
excerpts are never used after a change of the book or its cutting. Keys that begin with `_` are
notes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_memleak.errors import BookError
from pytest_memleak.records import Excerpt
from pytest_memleak.redaction.atomic_write import write_whole
from pytest_memleak.redaction.text import short_name

_MAX_BYTES = 64 << 20
_FORM = 'expected {"p_id1": {"summary": "...", "excerpt_sha256": "..."}, ...}'
_REWRITE = "rewrite the summary of this excerpt: the book or its cutting has changed"


def excerpt_sha256(excerpt: Excerpt) -> str:
    """Return the SHA-256 of the excerpt's text in UTF-8, hexadecimal."""
    return hashlib.sha256(excerpt.text.encode("utf-8", "surrogatepass")).hexdigest()


def load_summaries(path: Path, excerpts: Iterable[Excerpt]) -> dict[str, str]:
    """Load the summaries of all excerpts, by id.

    Raises BookError, naming the file and the excerpt, for an unreadable or malformed file, a
    missing summary, a changed text, and a summary of an unknown excerpt.
    """
    entries = {key: value for key, value in _read(path).items() if not key.startswith("_")}
    by_id = {excerpt.id: excerpt for excerpt in excerpts}
    for excerpt_id in by_id:
        if excerpt_id not in entries:
            raise BookError(
                f"excerpt {excerpt_id!r} has no summary",
                location=str(path),
                hint=f"add it: the book has {len(by_id):,} excerpts, the file {len(entries):,}"
                " summaries",
            )
    return {
        excerpt_id: _summary(entry, excerpt_id, by_id, str(path))
        for excerpt_id, entry in entries.items()
    }


def write_summaries(path: Path, excerpts: Iterable[Excerpt], summaries: Mapping[str, str]) -> None:
    """Write a summary per excerpt with the excerpt's digest, atomically. Raises BookError."""
    entries = {}
    for excerpt in excerpts:
        if not summaries.get(excerpt.id, "").strip():
            raise BookError(f"excerpt {excerpt.id!r} has no summary", location=str(path))
        entries[excerpt.id] = {
            "summary": summaries[excerpt.id],
            "excerpt_sha256": excerpt_sha256(excerpt),
        }
    text = json.dumps(entries, ensure_ascii=False, indent=2) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise BookError(
            f"cannot be written: {error.strerror or error}", location=str(path)
        ) from None


# --- one file ------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    place = str(path)
    try:
        if path.exists() and not path.is_file():
            raise BookError(
                "is a directory or a device; expected a file", location=place, hint=_FORM
            )
        if path.stat().st_size > _MAX_BYTES:
            raise BookError(f"has more than {_MAX_BYTES:,} bytes", location=place, hint=_FORM)
        text = path.read_bytes().decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique_keys)
    except OSError as error:
        raise BookError(f"cannot be read: {error.strerror or error}", location=place) from None
    except UnicodeDecodeError:
        raise BookError("is not UTF-8", location=place, hint="save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise BookError(
            f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            location=place,
            hint=_FORM,
        ) from None
    except (RecursionError, ValueError) as error:
        raise BookError(f"is invalid JSON: {error}", location=place, hint=_FORM) from None
    if not isinstance(value, dict):
        raise BookError("is not a JSON object", location=place, hint=_FORM)
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {short_name(twice)!r} occurs twice")
    return members


def _summary(entry: object, excerpt_id: str, by_id: Mapping[str, Excerpt], place: str) -> str:
    if excerpt_id not in by_id:
        raise BookError(
            f"has a summary for {short_name(excerpt_id)!r}, which isn't an excerpt of the book",
            location=place,
            hint="check that the file belongs to this book and its cutting",
        )
    if not isinstance(entry, Mapping):
        raise BookError(f"the entry of {excerpt_id!r} isn't an object", location=place, hint=_FORM)
    summary, digest = entry.get("summary"), entry.get("excerpt_sha256")
    if not isinstance(summary, str) or not summary.strip():
        raise BookError(f"the entry of {excerpt_id!r} has no summary", location=place, hint=_FORM)
    if not isinstance(digest, str):
        raise BookError(
            f"the entry of {excerpt_id!r} has no excerpt_sha256", location=place, hint=_FORM
        )
    if digest.lower() != excerpt_sha256(by_id[excerpt_id]):
        raise BookError(
            f"the text of excerpt {excerpt_id!r} differs from the summarized one",
            location=place,
            hint=_REWRITE,
        )
    return summary
