"""What names a book: the digest of its excerpts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pytest_memleak.records.book import Excerpt


def book_digest(excerpts: Iterable[Excerpt]) -> str:
    """SHA-256 over ids, texts and instructions, in order (hexadecimal)."""
    digest = hashlib.sha256()
    for excerpt in excerpts:
        for part in (excerpt.id, excerpt.text, excerpt.instruction or ""):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return digest.hexdigest()
