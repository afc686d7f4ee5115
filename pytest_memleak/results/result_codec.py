"""JSON of records, written and read by their types.

    encode(result)              plain lists and dicts, as another process gets them
    encode_pair(result)         a pair of the evidence bundle
    decode(PairResult, data)    the record again; ValueError for other types

Keys are the names of a record's fields, in their order. Unknown keys of a pair are
ignored.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from pytest_memleak.records.pair_result import RUN_ONLY, PairResult

if TYPE_CHECKING:
    from collections.abc import Callable

_Record = TypeVar("_Record")


def encode(record: object, *, exclude: Any = None) -> dict[str, Any]:
    """Return a record's plain lists and dicts.

    Raises ValueError for values of other types.

    exclude: keys to leave out, as for pydantic
    """
    adapter = _adapter(type(record))
    plain: dict[str, Any] = adapter.dump_python(
        record,
        mode="json",
        exclude=exclude,
        warnings="error",
    )
    return plain


def encode_pair(result: PairResult) -> dict[str, Any]:
    """Return a pair's part of the evidence bundle, in plain values."""
    return encode(localize(result), exclude=RUN_ONLY)


def localize(result: PairResult) -> PairResult:
    """Name the suite as a bundle does: by a path from here.

    That names no folder of the author.
    """
    here = Path.cwd()
    path = Path(result.suite.path)
    from_here = path.name
    if path.is_relative_to(here):
        from_here = path.relative_to(here).as_posix()
    suite = dataclasses.replace(result.suite, name=path.name, path=from_here)
    return dataclasses.replace(result, suite=suite)


def decode(kind: type[_Record], data: object) -> _Record:
    """Read a record from its plain lists and dicts, also if they went through JSON."""
    # A lone surrogate, which JSON text can't have, becomes a question mark.
    text = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    record: _Record = _adapter(kind).validate_json(text, strict=True)
    return record


_adapter: Callable[[type], TypeAdapter[Any]] = functools.cache(TypeAdapter)
