"""The evidence bundle: one JSON file that stands on its own, without a word of any book.

    {"schema": ..., "result": ..., "release": ..., "program": ..., "platform": ...,
     "created": ..., "selection": ..., "uncollected": [...], "ledger": ..., "pairs": [...],
     "compared": ..., "limitations": [...], "sha256": ...}

`sha256` is over the canonical JSON (sorted keys, no spaces, ASCII) of all the rest. Signed, the
bundle is the predicate of an in-toto Statement, and the file a DSSE envelope around it
(reports/signature.py). Who has the ledger, the suite and its books can compute every number of
`pairs` again (`memleak verify`).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pytest_memleak.errors import EvidenceError
from pytest_memleak.redaction.atomic_write import write_whole

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "pytest-memleak evidence 3"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pytest-memleak:evidence:3"
_MOST = 200_000_000  # bytes of a file


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What stands in a file of evidence.

    made:      the bundle
    data:      the file's bytes
    envelope:  the DSSE envelope that it came in, None where it is not signed
    statement: the in-toto Statement in that envelope
    """

    made: dict[str, Any]
    data: bytes
    envelope: dict[str, Any] | None = None
    statement: dict[str, Any] | None = None


def sealed(made: dict[str, Any]) -> dict[str, Any]:
    """The bundle with its digest."""
    return made | {"sha256": _digest(made)}


def canonical(value: object) -> bytes:
    """The one way to write a value as JSON: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def check_digest(made: dict[str, Any]) -> list[str]:
    """What is wrong with the bundle's own digest; empty if nothing is."""
    digest = _digest(made)
    if made["sha256"] == digest:
        return []
    return [f"sha256: the bundle says {made['sha256']}, its content gives {digest}"]


def _digest(made: dict[str, Any]) -> str:
    return hashlib.sha256(
        canonical({key: value for key, value in made.items() if key != "sha256"})
    ).hexdigest()


# --- files ---------------------------------------------------------------------------------


def write_evidence_file(made: dict[str, Any], path: Path) -> None:
    """Write a bundle, or an envelope with one, whole or not at all. Raises EvidenceError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _written(made))
    except OSError as error:
        raise EvidenceError(
            f"cannot be written: {error.strerror or error}",
            location=str(path),
            hint="make room, or name another file, and run again with --memleak-offline",
        ) from None


def read_evidence(path: Path) -> EvidenceFile:
    """Evidence from its file, signed or not; no signature and no digest is checked here.

    Raises EvidenceError for anything that is no bundle of this schema, byte for byte as it was
    written, and for what is no plain file of at most 200 MB.
    """
    data = read_regular(path)
    found = _parsed(data, path)
    if "payload" in found:
        statement = _statement(found, path)
        told = EvidenceFile(_bundle(statement["predicate"], path), data, found, statement)
    else:
        told = EvidenceFile(_bundle(found, path), data)
    if data != _written(found).encode():
        raise EvidenceError("it is not as it was written", location=str(path))
    return told


def read_regular(path: Path, *, most: int = _MOST) -> bytes:
    """The bytes of a plain file; EvidenceError for a device, a pipe, or over `most` bytes."""
    try:
        # A pipe that nobody writes to is not waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise EvidenceError("not a plain file", location=str(path))
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise EvidenceError(f"cannot be read: {said}", location=str(path)) from None
    if len(data) > most:
        raise EvidenceError(f"it has over {most // 1_000_000:,} MB", location=str(path))
    return data


def _written(made: dict[str, Any]) -> str:
    return json.dumps(made, indent=1) + "\n"


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(
            data.decode(), object_pairs_hook=_no_key_twice, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not a bundle: {error}", location=str(path)) from None
    if not isinstance(found, dict):
        raise EvidenceError("not a bundle: it is no table", location=str(path))
    return found


def _statement(envelope: dict[str, Any], path: Path) -> dict[str, Any]:
    """The Statement in an envelope, which has one way to be written."""
    payload = envelope["payload"]
    if {*envelope} != {"payload", "payloadType", "signatures"}:
        raise EvidenceError("its keys are not those of a DSSE envelope", location=str(path))
    try:
        data = base64.b64decode(payload, validate=True)
    except (ValueError, TypeError, binascii.Error) as error:
        raise EvidenceError(f"not a DSSE envelope: {error}", location=str(path)) from None
    statement = _parsed(data, path)
    if (
        base64.b64encode(data).decode() != payload
        or not _is_canonical(data, statement)
        or envelope["payloadType"] != PAYLOAD_TYPE
        or {*statement} != {"_type", "subject", "predicateType", "predicate"}
        or statement["_type"] != STATEMENT_TYPE
        or statement["predicateType"] != PREDICATE_TYPE
        or not isinstance(statement["predicate"], dict)
    ):
        raise EvidenceError(
            f"not an envelope around an in-toto Statement of {PREDICATE_TYPE}", location=str(path)
        )
    return statement


def _is_canonical(data: bytes, value: object) -> bool:
    try:
        return data == canonical(value)
    except ValueError:  # a number beyond all
        return False


def _bundle(made: dict[str, Any], path: Path) -> dict[str, Any]:
    if made.get("schema") != SCHEMA:
        raise EvidenceError(f"not a bundle of the schema {SCHEMA!r}", location=str(path))
    if wrong := misshapen(made):
        raise EvidenceError(f"not a bundle: {wrong}", location=str(path))
    return made


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


# --- what differs --------------------------------------------------------------------------


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
    if isinstance(said, list) and isinstance(found, list) and len(said) == len(found):
        pairs = enumerate(zip(said, found, strict=True))
        return [line for n, pair in pairs for line in differences(*pair, f"{key}[{n}]")]
    if type(said) is type(found) and said == found:
        return []
    return [f"{key}: the bundle says {_shown(said)}, computed now {_shown(found)}"]


_MISSING = object()


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else json.dumps(value)[:120]


def _a_time(value: str) -> str:
    when = datetime.datetime.fromisoformat(value)
    if when.tzinfo is None:
        raise ValueError("it has no time zone")
    when.timestamp()
    return value


_Number = Annotated[int, Field(ge=0)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Suite(_Shape):
    name: str
    path: str
    sha256: str


class _Test(_Shape):
    test: str
    outcome: str
    reason: str


class _Model(_Shape):
    id: str
    provider: str
    base_model: str | None
    endpoint: str | None
    options: dict[str, Any]


class _Served(_Shape):
    model: str | None


class _Provenance(_Shape):
    requested: str | None
    served: list[_Served]
    first: str | None
    last: str | None
    imported: int


class _Ledger(_Shape):
    entries: Annotated[int, Field(ge=1)]
    link: str


class _Excerpt(_Shape):
    id: str
    start: _Number
    words: _Number
    covered: _Number
    longest_span: _Number


class _Span(_Shape):
    start: _Number
    end: _Number
    excerpt_id: str
    generation: _Number


class _Coverage(_Shape):
    rounds: _Number
    times: Annotated[str, Field(pattern=r"^\d{1,9}x\d{1,9}( \d{1,9}x\d{1,9})*$")]
    excerpts: list[_Excerpt]
    spans: list[_Span]
    curve: list[float]


class _Pair(_Shape):
    pair: str
    suite: _Suite
    book: dict[str, Any]
    model: _Model
    settings: dict[str, Any]
    measures: dict[str, dict[str, Any]]
    provenance: _Provenance | None
    as_of: Annotated[str, AfterValidator(_a_time)] | None = None
    coverage: _Coverage | None = None
    limits: dict[str, dict[str, Any]]
    control: bool
    expected: Literal["pass", "leak"]
    verdict: Annotated[str, Field(pattern=r"^(PASS|FAIL|INCONCLUSIVE|NOT RUN)(, .*)?$")]
    reasons: list[str]
    unexcused: list[str]
    leaked: bool
    stopped_early: bool
    tests: list[_Test]


class _Compared(_Shape):
    tolerances: dict[str, float]
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]


class _Bundle(_Shape):
    model_config = ConfigDict(strict=True, extra="forbid")

    schema_: Annotated[str, Field(alias="schema")]
    program: dict[str, str | None]
    platform: dict[str, str]
    limitations: list[str]
    created: Annotated[str, AfterValidator(_a_time)]
    result: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    release: str | None
    selection: dict[str, Any]
    uncollected: list[str]
    ledger: _Ledger | None
    pairs: list[_Pair]
    compared: _Compared | None
    suites: list[dict[str, Any]]
    sha256: str


def misshapen(made: dict[str, Any]) -> str | None:
    """The first thing that a bundle lacks or has in another form; None if it is a bundle."""
    try:
        _Bundle.model_validate(made)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except OverflowError:
        return "created: no time"
    return None
