"""The evidence bundle's file: JSON without a word of any book.

Its keys are the fields of `Bundle`. `sha256` covers the canonical JSON (sorted keys, no
spaces, ASCII) of everything else. A signed bundle is the predicate of an in-toto
Statement in a DSSE envelope (reports/signature.py). With the ledger, the suite and its
books, `memleak verify` recomputes every number of `pairs`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from pytest_memleak.errors import EvidenceError, file_errors
from pytest_memleak.formats.distinct_keys import distinct_keys
from pytest_memleak.records import Verdict
from pytest_memleak.records.made_by import MadeBy
from pytest_memleak.records.number_format import MOMENT, amount
from pytest_memleak.records.pair_result import PairResult, Selection
from pytest_memleak.records.verdicts import ReleaseComparison
from pytest_memleak.records.witness_records import Witnessed
from pytest_memleak.redaction.file_writing import whole_file
from pytest_memleak.results.impossible_numbers import impossible_numbers
from pytest_memleak.results.result_codec import decode
from pytest_memleak.results.tried_prompts import TriedPrompts

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "pytest-memleak evidence 3"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:pytest-memleak:evidence:3"
# Of a file: ten thousand pairs of small books, or a thousand of novels, are less.
_MAX_BYTES = 100_000_000
_MAX_VALUES = 10_000_000  # each takes about 100 bytes of memory
_MAX_DIGITS = 20  # of a whole number
_MOST = 1e18  # of any other


@dataclass(frozen=True, slots=True)
class LedgerEnd:
    """The end of a ledger's hash chain: its number of entries, and the last link."""

    entries: Annotated[int, Field(ge=1)]
    link: str


@dataclass(frozen=True, slots=True)
class FalsePositives:
    """How many of the measured negative controls exceed a limit by their own books."""

    over: int
    measured: int


@dataclass(frozen=True, slots=True)
class SuiteControls:
    """What a suite's controls showed in a run.

    controls: number of negative controls
    false_alarms: false positives of each limit
    leak_seen: whether a positive control leaked its own book
    gates:     whether the verdict of any pair counts
    """

    suite: str
    controls: int
    false_alarms: dict[str, FalsePositives]
    leak_seen: bool
    gates: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """An evidence bundle, written and read by its types; it has no other keys.

    suites: what the controls of each suite showed
    made_by: who made it, and where, as its author says
    tried: what was tried on each model and book
    witness: what a witness was told of the run; a bundle of any other run has no such
        key
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - not a field

    schema: str
    result: Verdict
    release: str | None
    program: dict[str, str | None]
    platform: dict[str, str]
    created: Annotated[float, MOMENT]
    selection: Selection
    uncollected: tuple[str, ...]
    exit_status: int
    ledger: LedgerEnd | None
    pairs: tuple[PairResult, ...]
    compared: ReleaseComparison | None
    suites: tuple[SuiteControls, ...]
    limitations: tuple[str, ...]
    made_by: MadeBy = field(default_factory=MadeBy)
    tried: tuple[TriedPrompts, ...] = ()
    witness: Witnessed | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a result that no run has."""
        if self.result is Verdict.NOT_RUN:
            raise ValueError("result: NOT RUN")


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """Content of an evidence file.

    bundle:     the bundle as it is written
    content:    the bundle without unknown keys of its pairs
    data:       the file's bytes
    payload:    the signed bytes in its DSSE envelope, None if unsigned
    signatures: of the payload, by any keys
    subject:    of the in-toto Statement that is the payload
    """

    bundle: dict[str, Any]
    content: Bundle
    data: bytes
    payload: bytes | None = None
    signatures: tuple[bytes, ...] = ()
    subject: object = None


def seal_bundle(bundle: dict[str, Any]) -> dict[str, Any]:
    """Add the digest to a bundle."""
    return bundle | {"sha256": _digest(bundle)}


def canonical_json(value: object) -> bytes:
    """Encode a value as canonical JSON: sorted keys, no blanks, ASCII."""
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return text.encode()


def digest_errors(bundle: dict[str, Any]) -> list[str]:
    """Return what is wrong with the bundle's digest; empty if nothing is."""
    digest = _digest(bundle)
    if bundle["sha256"] == digest:
        return []
    return [
        f"sha256: the bundle says {bundle['sha256']}, but its content gives {digest}",
    ]


def _digest(bundle: dict[str, Any]) -> str:
    content = {key: value for key, value in bundle.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(content)).hexdigest()


# --- files


def write_evidence_file(content: dict[str, Any], path: Path) -> None:
    """Write a bundle or its envelope atomically. Raises EvidenceError."""
    hint = (
        "free space or name a different file, then rerun; stored generations are reused"
    )
    with file_errors(EvidenceError, path, "can't be written", hint=hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            size = file.tell()
            if size > _MAX_BYTES:
                raise EvidenceError(
                    f"{_too_large(_MAX_BYTES)}, which no program would read",
                    location=str(path),
                    hint="run fewer suites or pairs at a time; stored generations are "
                    "reused",
                )


def read_evidence(path: Path) -> EvidenceFile:
    """Read evidence, signed or not, without checking signature or digest.

    Raises EvidenceError unless it is a regular file of at most 100 MB that holds a
    bundle of this schema: formatted byte for byte as this program writes it, or so in
    any DSSE envelope.
    """
    data = read_regular(path)
    content = _parsed(data, path)
    if "payload" in content:
        return _read_envelope(content, data, path)
    evidence = EvidenceFile(
        bundle=content,
        content=_content(content, path),
        data=data,
    )
    rewritten = json.dumps(content, indent=1) + "\n"
    if data != rewritten.encode():
        raise EvidenceError(
            "its formatting was changed",
            location=str(path),
            hint="restore the original file",
        )
    return evidence


def read_unchanged(path: Path) -> EvidenceFile:
    """Read evidence; EvidenceError, also if it was changed after it was created."""
    evidence = read_evidence(path)
    wrong = digest_errors(evidence.bundle)
    if wrong:
        raise EvidenceError(
            wrong[0],
            location=str(path),
            hint="restore the original file: it was changed after it was created "
            f"(memleak verify {path} shows what differs)",
        )
    return evidence


def read_regular(path: Path, *, most: int = _MAX_BYTES) -> bytes:
    """Read a regular file. Raises EvidenceError for others, and for too many bytes.

    most: the most bytes
    """
    with file_errors(EvidenceError, path, causes=(OSError, ValueError)):
        # Opening a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise EvidenceError("not a regular file", location=str(path))
            is_larger = os.fstat(descriptor).st_size > most
            data = b"" if is_larger else file.read(most + 1)
    if is_larger or len(data) > most:
        raise EvidenceError(
            _too_large(most),
            location=str(path),
            hint="name the file that pytest or memleak wrote",
        )
    return data


def _too_large(most: int) -> str:
    return f"larger than {most // 1_000_000:,} MB"


def _parsed(data: bytes, path: Path) -> dict[str, Any]:
    values = sum(map(data.count, (b",", b"{", b"[")))
    if values > _MAX_VALUES:
        raise _not_a_bundle_error(f"it has over {_MAX_VALUES:,} values", path)
    try:
        content = json.loads(
            data.decode(),
            object_pairs_hook=distinct_keys,
            parse_constant=_whole_number,
            parse_int=_whole_number,
            parse_float=_bounded_float,
        )
    except UnicodeDecodeError:
        raise _not_a_bundle_error("it isn't UTF-8 text", path) from None
    except json.JSONDecodeError as error:
        raise _not_a_bundle_error(
            f"it isn't JSON (line {error.lineno}, column {error.colno})",
            path,
        ) from None
    except (ValueError, RecursionError) as error:
        raise _not_a_bundle_error(str(error), path) from None
    if not isinstance(content, dict):
        raise _not_a_bundle_error("expected a JSON object", path)
    return content


def _not_a_bundle_error(reason: str, path: Path) -> EvidenceError:
    return EvidenceError(
        f"not a bundle: {reason}",
        location=str(path),
        hint="name a bundle that pytest wrote with --memleak-evidence FILE",
    )


def _read_envelope(
    envelope: dict[str, Any],
    data: bytes,
    path: Path,
) -> EvidenceFile:
    """Decode a DSSE envelope, of any tool, around a Statement in canonical form."""
    try:
        payload = _decode_base64(envelope["payload"])
        signatures = tuple(
            _decode_base64(entry["sig"]) for entry in envelope["signatures"]
        )
        payload_type = envelope["payloadType"]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        message = f"not a DSSE envelope: {error}"
        raise EvidenceError(message, location=str(path)) from None
    statement = _parsed(payload, path)
    is_canonical = payload_type == PAYLOAD_TYPE and _is_canonical(payload, statement)
    if not is_canonical or not _is_statement(statement):
        raise EvidenceError(
            f"not an envelope around an in-toto Statement of {PREDICATE_TYPE}",
            location=str(path),
        )
    bundle = statement["predicate"]
    return EvidenceFile(
        bundle,
        _content(bundle, path),
        data,
        payload,
        signatures,
        statement["subject"],
    )


def _is_statement(value: dict[str, Any]) -> bool:
    """Tell whether it is an in-toto Statement about a bundle."""
    return (
        value.keys() == {"_type", "subject", "predicateType", "predicate"}
        and value["_type"] == STATEMENT_TYPE
        and value["predicateType"] == PREDICATE_TYPE
        and isinstance(value["predicate"], dict)
    )


def _decode_base64(text: str) -> bytes:
    """Decode base64, in the standard or the URL-safe alphabet: DSSE allows both."""
    standard = text.replace("-", "+").replace("_", "/")
    return base64.b64decode(standard, validate=True)


def _is_canonical(data: bytes, value: object) -> bool:
    try:
        return data == canonical_json(value)
    except ValueError:  # infinite numbers
        return False


def _content(bundle: dict[str, Any], path: Path) -> Bundle:
    if bundle.get("schema") != SCHEMA:
        raise _not_a_bundle_error(f"its schema isn't {SCHEMA!r}", path)
    try:
        content = decode(Bundle, bundle)
    except ValidationError as error:
        first, *_ = error.errors(
            include_url=False,
            include_context=False,
            include_input=False,
        )
        place = ".".join(map(str, first["loc"]))
        raise _not_a_bundle_error(f"{place}: {first['msg']}", path) from None
    for number, pair in enumerate(content.pairs):
        for fault in impossible_numbers(pair):
            raise _not_a_bundle_error(f"pairs.{number}.{fault}", path)
    return content


def _whole_number(text: str) -> int:
    if len(text) > _MAX_DIGITS or not text[-1].isdigit():
        raise ValueError(f"{text:.30} isn't a number of up to {_MAX_DIGITS} digits")
    return int(text)


def _bounded_float(text: str) -> float:
    number = float(text)
    if abs(number) > _MOST:
        raise ValueError(f"{text:.30} is larger than any number of a bundle")
    return number


# --- what differs


def json_differences(
    claimed: object,
    computed: object,
    key: str = "",
) -> list[str]:
    """List where two JSON values differ: key, value in the bundle, value computed."""
    lines: list[str] = []
    if isinstance(claimed, dict) and isinstance(computed, dict):
        for name in sorted(claimed.keys() | computed.keys()):
            own = claimed.get(name, _MISSING)
            other = computed.get(name, _MISSING)
            lines += json_differences(own, other, f"{key}.{name}".lstrip("."))
        return lines
    if (
        isinstance(claimed, list)
        and isinstance(computed, list)
        and len(claimed) == len(computed)
    ):
        for nth, (own, other) in enumerate(zip(claimed, computed, strict=True)):
            lines += json_differences(own, other, f"{key}[{nth}]")
        return lines
    if type(claimed) is type(computed) and claimed == computed:
        return []
    return [f"{key}: the bundle says {_shown(claimed)}; recomputed: {_shown(computed)}"]


def causes_of_differences(claimed: object, computed: object) -> list[str]:
    """List where two pairs differ.

    Where their sources differ, these, the verdict, and the number of others.
    """
    lines = json_differences(claimed, computed)

    def beginning(*keys: str) -> list[str]:
        return [line for line in lines if line.startswith(keys)]

    causes = beginning("suite.")
    if causes:
        causes += beginning("model.", "settings.", "limits.")
    causes += beginning("book.file", "book.sha256")
    causes = causes or beginning("sampled")
    if not causes:
        return lines
    named = [*causes, *beginning("verdict:")]
    others = len(lines) - len(named)
    if others:
        more = amount(others, "more difference")
        named.append(f"{more}, which may follow from these")
    return named


_MISSING = object()


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else json.dumps(value)[:120]
