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
from pytest_memleak.library.log_scan import ScanResult
from pytest_memleak.redaction.file_writing import private_folder, write_private
from pytest_memleak.scoring.catalog_scan import numbering

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_memleak.formats.log_shards import Shard
    from pytest_memleak.records import WordMode

_FORM = 1
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
        try:
            fields = json.loads(self._path_of(shard).read_bytes())
            return ScanResult(**fields | {"counts": Counter(fields["counts"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, shard: Shard, result: ScanResult) -> None:
        """Keep a result. Raises OSError."""
        fields = {name: getattr(result, name) for name in _FIELDS}
        write_private(self._path_of(shard), json.dumps(fields))

    def _path_of(self, shard: Shard) -> Path:
        fields = dataclasses.asdict(shard)
        named = str(shard.path)
        identity = fields | {"path": [named, os.path.realpath(named)]}
        return self._folder / f"{_digest([self._settings, identity])}.json"


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
    program = [_FORM, __version__, numbering(word_mode)]
    return _digest([program, files, quotable, options])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
