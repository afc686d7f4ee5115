"""The kept results of a scan's shards: what `memleak scan --state FOLDER` goes on from.

A result is kept under a digest of everything that it depends on, so several scans may
share a folder, and a changed file, book, or option finds nothing there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_memleak import __version__
from pytest_memleak.books.archive import sha256_of
from pytest_memleak.errors import RecordsError, file_errors
from pytest_memleak.library.log_scan import ScanResult
from pytest_memleak.redaction.file_writing import private_folder, write_private
from pytest_memleak.scoring.catalog_scan import digest_of_word_keys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_memleak.formats.log_shards import Shard
    from pytest_memleak.records import WordMode

_FORM = 3
_FIELDS = [field.name for field in dataclasses.fields(ScanResult)]


class ScanState:
    """A folder of results.

    settings: a digest of the books and options of a scan
    """

    def __init__(self, folder: Path, settings: str) -> None:
        """Create the folder if it is missing. Raises OSError."""
        self._folder = folder
        self._settings = settings
        private_folder(folder)

    def result_of(self, shard: Shard) -> ScanResult | None:
        """Return the result that was kept for a shard; None for a damaged one, too."""
        path = self._path_of(shard)
        if not path.is_file():
            return None
        try:
            digest, _, kept = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, ValueError):
            return None
        if digest != _digest_of_text(kept):
            return None
        fields = json.loads(kept)
        return ScanResult(**fields | {"counts": Counter(fields["counts"])})

    def keep(self, shard: Shard, result: ScanResult) -> None:
        """Keep a result behind its digest. Raises RecordsError."""
        fields = {name: getattr(result, name) for name in _FIELDS}
        kept = json.dumps(fields)
        path = self._path_of(shard)
        with file_errors(RecordsError, path, "the result can't be kept"):
            write_private(path, f"{_digest_of_text(kept)}\n{kept}")

    def _path_of(self, shard: Shard) -> Path:
        fields = dataclasses.asdict(shard)
        named = str(shard.path)
        identity = fields | {"path": [named, os.path.realpath(named)]}
        return self._folder / f"{_json_digest([self._settings, identity])}.json"


def digest_of_settings(
    books: Iterable[Path],
    common: Iterable[Path],
    *,
    word_mode: WordMode,
    **options: Any,
) -> str:
    """Return a digest of what else than its shard a result depends on."""
    files = [[str(path), sha256_of(path)] for path in books]
    quotable = [[str(path), sha256_of(path)] for path in common]
    program = [_FORM, __version__, digest_of_word_keys(word_mode)]
    return _json_digest([program, files, quotable, options])


def _json_digest(value: object) -> str:
    return _digest_of_text(json.dumps(value, sort_keys=True))


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
