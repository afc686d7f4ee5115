r"""Signatures and time stamps of evidence files.

A signed bundle is an in-toto Statement in a DSSE envelope, signed by an Ed25519 key:

    openssl genpkey -algorithm ed25519 -out release.key
    openssl pkey -in release.key -pubout -out release.pub

Any DSSE tool can check it: the signature covers DSSE's encoding of the payload, and the
key id is the one that securesystemslib computes. An RFC 3161 time stamp shows that the
file existed by then:

    openssl ts -query -data evidence.json -sha256 -cert -out evidence.tsq
    curl -H "Content-Type: application/timestamp-query" --data-binary @evidence.tsq URL
    \
        > evidence.tsr
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError, MissingExtra, file_errors
from pytest_memleak.records import Verdict
from pytest_memleak.reports.output_table import test_result_path
from pytest_memleak.results.evidence_file import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    canonical_json,
    read_regular,
    write_evidence_file,
)
from pytest_memleak.results.run_evidence import collect_pairs, run_evidence, subjects
from pytest_memleak.results.run_verdict import passes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509 import Certificate

    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.results.evidence_file import EvidenceFile

TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
_MOST_OF_A_KEY = 100_000  # bytes
_CREATE_KEY = "create one: openssl genpkey -algorithm ed25519 -out release.key"


def write_evidence(run: RunReport, path: Path) -> None:
    """Write a run's evidence bundle; with a key, signed and with a signed test result.

    Raises EvidenceError.
    """
    bundle = run_evidence(run)
    if key_file := run.outputs.get("signing_key"):
        key, pairs = read_signing_key(key_file), collect_pairs(run)
        write_evidence_file(
            _signed_envelope(_statement_json(pairs, PREDICATE_TYPE, bundle), key), path
        )
        result = _test_result_predicate(pairs, Verdict(bundle["result"]), path)
        statement = _statement_json(pairs, TEST_RESULT_TYPE, result)
        write_evidence_file(_signed_envelope(statement, key), test_result_path(path))
    else:
        write_evidence_file(bundle, path)
        test_result_path(path).unlink(
            missing_ok=True,
        )  # of an earlier run, which was signed


def _signed_envelope(statement: dict[str, Any], key: Any) -> dict[str, Any]:
    """Sign a Statement and return its envelope."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(canonical_json(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    signed_envelope = envelope.to_dict()
    return {
        key: signed_envelope[key] for key in ("payloadType", "payload", "signatures")
    }


def check_signature(evidence: EvidenceFile, key_file: Path) -> list[str]:
    """List what is wrong with the signature, checked with the public key in `key_file`.

    One valid signature by the key is enough; key ids and signatures by other keys say
    nothing.

    Raises EvidenceError for a file that isn't such a key.
    """
    require_signing_packages("securesystemslib", "cryptography")
    from cryptography.exceptions import InvalidSignature
    from securesystemslib.dsse import Envelope

    key = _public_key(key_file)
    if evidence.payload is None:
        return ["signature: missing"]
    message = Envelope(evidence.payload, PAYLOAD_TYPE, {}).pae()
    for signature in evidence.signatures:
        with contextlib.suppress(InvalidSignature):
            key.verify(signature, message)
            return []
    return [f"signature: none matches the key in {key_file}"]


def _statement_json(
    pairs: Sequence[PairResult],
    predicate_type: str,
    predicate: dict[str, Any],
) -> dict[str, Any]:
    """Build a Statement as JSON, since protobuf would change the bundle's numbers."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects(pairs),
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def _test_result_predicate(
    pairs: Sequence[PairResult],
    result: Verdict,
    path: Path,
) -> dict[str, Any]:
    """Summarize a run as in-toto's test-result, version 0.1: what is no PASS failed.

    path: the evidence file, which is written
    """
    tests: dict[bool, list[str]] = {True: [], False: []}
    for pair in pairs:
        tests[passes(pair)].append(f"{pair.suite.name}::{pair.pair}")
    files = {pair.suite.name: pair.suite.sha256 for pair in pairs}
    files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "result": "PASSED" if result is Verdict.PASS else "FAILED",
        "configuration": [
            {"name": name, "digest": {"sha256": digest}}
            for name, digest in files.items()
        ],
        "passedTests": tests[True],
        "warnedTests": [],
        "failedTests": tests[False],
    }


def read_signing_key(path: Path) -> Any:
    """Read an Ed25519 private key (PEM).

    Raises EvidenceError, and MissingExtra without `sign`.
    """
    require_signing_packages("securesystemslib", "cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with file_errors(EvidenceError, path, hint=_CREATE_KEY):
            key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise EvidenceError(
            f"not an unencrypted private key in PEM form ({type(error).__name__})",
            location=str(path),
            hint=_CREATE_KEY,
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError("not an Ed25519 key", location=str(path), hint=_CREATE_KEY)
    return key


def _public_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_regular(path, most=_MOST_OF_A_KEY))
    except ValueError as error:
        raise EvidenceError(
            f"not a public key in PEM form ({type(error).__name__})",
            location=str(path),
            hint="extract it: openssl pkey -in release.key -pubout -out release.pub",
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceError("not an Ed25519 key", location=str(path))
    return key


def require_signing_packages(*modules: str) -> None:
    """Raise MissingExtra where a module of the extra `sign` isn't installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            package = module.replace("_", "-")
            raise MissingExtra("a signature", package=package, extra="sign") from None


_MOST = 1_000_000  # bytes of a time stamp, or of certificates
_CERTIFICATES = 0xA0  # the tag, within SignedData
_LONG_FORM = 0x80  # from here, a length byte is the number of bytes of the length


def check_time_stamp(
    evidence: EvidenceFile,
    stamp_file: Path,
    roots_file: Path,
) -> tuple[datetime.datetime, list[str]]:
    """Return when an authority stamped the file, and what is wrong with the stamp.

    roots_file: certificates (PEM) of trusted authorities

    Raises EvidenceError for files that aren't a time stamp or certificates.
    """
    response = read_regular(stamp_file, most=_MOST)
    place = str(stamp_file)
    when, wrong = check_stamp_of_bytes(evidence.data, response, roots_file, place=place)
    # Bundles record whole seconds, and clocks differ a little.
    created = datetime.datetime.fromtimestamp(evidence.content.created, datetime.UTC)
    if not wrong and when < created - datetime.timedelta(minutes=1):
        stated = evidence.bundle["created"]
        doubt = f"created: the bundle says {stated}, which is after its time stamp"
        return when, [doubt]
    return when, wrong


def check_stamp_of_bytes(
    data: bytes,
    response: bytes,
    roots_file: Path,
    *,
    place: str,
) -> tuple[datetime.datetime, list[str]]:
    """Return when an authority stamped these bytes, and what is wrong with the stamp.

    response: the authority's (RFC 3161)
    place:    names the response in errors

    Raises EvidenceError for what isn't a time stamp, or certificates.
    """
    from rfc3161_client import VerificationError, VerifierBuilder

    stamp = read_stamp(response, place=place)
    when = stamp.tst_info.gen_time
    trusted = [*dict.fromkeys(_read_certificates(roots_file))]
    signer = None
    if not stamp.signed_data.certificates:
        signer = next((trust for trust in trusted if _is_signer(trust, stamp)), None)
    builder = VerifierBuilder(roots=trusted, tsa_certificate=signer)
    try:
        builder.build().verify_message(stamp, data)
    except (VerificationError, ValueError) as error:
        return when, [f"time stamp: {_stamp_error(error)}"]
    return when, []


def read_stamp(response: bytes, *, place: str) -> Any:
    """Read a time stamp authority's response.

    place: names it in errors

    Raises EvidenceError for anything else, and MissingExtra without `sign`.
    """
    require_signing_packages("rfc3161_client", "cryptography")
    from rfc3161_client import decode_timestamp_response

    try:
        stamp = decode_timestamp_response(_sort_certificates(response))
        stamp.tst_info  # noqa: B018 - a rejection has none
    except (ValueError, LookupError):
        raise EvidenceError(
            "not a response of a time stamp authority (RFC 3161)",
            location=place,
        ) from None
    return stamp


def _sort_certificates(response: bytes) -> bytes:
    """Sort the certificates of a DER time stamp response, which no signature covers.

    DER's order of a set, on which the decoder insists, isn't that of most authorities.
    Raises IndexError for bytes that end within an element.
    """
    [(_, start, _, end)] = _der_elements(response, 0, len(response))
    _, (_, start, _, end) = _der_elements(response, start, end)  # status, token
    _, (_, start, _, end) = _der_elements(response, start, end)  # type, content
    [(_, start, _, end)] = _der_elements(response, start, end)  # SignedData
    for tag, first, _, last in _der_elements(response, start, end):
        if tag == _CERTIFICATES:
            certificates = _der_elements(response, first, last)
            ordered = sorted(response[begin:stop] for _, _, begin, stop in certificates)
            return response[:first] + b"".join(ordered) + response[last:]
    return response


def _der_elements(
    data: bytes,
    start: int,
    end: int,
) -> list[tuple[int, int, int, int]]:
    """Return each DER element's tag, content start, start, and end."""
    elements = []
    while start < end:
        content, length = start + 2, data[start + 1]
        if length >= _LONG_FORM:
            content += length - _LONG_FORM
            length = int.from_bytes(data[start + 2 : content])
        elements.append((data[start], content, start, content + length))
        start = content + length
    if start != end:
        raise IndexError(start)
    return elements


def _is_signer(certificate: Certificate, stamp: Any) -> bool:
    return any(
        (certificate.issuer, certificate.serial_number)
        == (info.issuer, info.serial_number)
        for info in stamp.signed_data.signer_infos
    )


def _stamp_error(error: Exception) -> str:
    if "Mismatch between messages" in str(error):
        return "it was made for a different file"
    return f"the trusted certificates don't confirm it ({type(error).__name__})"


def _read_certificates(path: Path) -> Sequence[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_regular(path, most=_MOST))
    except ValueError:
        raise EvidenceError(
            "no certificates in PEM form",
            location=str(path),
            hint="use the authority's certificates",
        ) from None
