r"""Signatures and time stamps of evidence files.

A signed bundle is an in-toto Statement in a DSSE envelope, signed by an Ed25519 key:

    openssl genpkey -algorithm ed25519 -out release.key
    openssl pkey -in release.key -pubout -out release.pub

Any DSSE tool can check it: the signature covers DSSE's encoding of the payload, and the key id is
the one that securesystemslib computes. An RFC 3161 time stamp shows that the file existed by then:

    openssl ts -query -data evidence.json -sha256 -cert -out evidence.tsq
    curl -H "Content-Type: application/timestamp-query" --data-binary @evidence.tsq URL \
        > evidence.tsr
"""

from __future__ import annotations

import copy
import datetime
import importlib
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError, MissingExtra
from pytest_memleak.records.pair_result import PairResult
from pytest_memleak.results.evidence_file import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    canonical_json,
    read_regular,
    write_evidence_file,
)
from pytest_memleak.results.result_codec import decode
from pytest_memleak.results.run_evidence import run_evidence, subjects

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509 import Certificate

    from pytest_memleak.records.pair_result import RunReport
    from pytest_memleak.results.evidence_file import EvidenceFile

_MOST_OF_A_KEY = 100_000  # bytes


def write_evidence(run: RunReport, path: Path) -> None:
    """Write a run's evidence bundle, signed if a key is given."""
    bundle = run_evidence(run)
    if key_file := run.outputs.get("signing_key"):
        bundle = sign_bundle(bundle, key_file)
    write_evidence_file(bundle, path)


def sign_bundle(bundle: dict[str, Any], key_file: Path) -> dict[str, Any]:
    """Sign a bundle with the private key in `key_file` (PEM) and return the envelope.

    Raises EvidenceError for a file that isn't such a key.
    """
    require("securesystemslib", "in_toto_attestation", "cryptography")
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(canonical_json(_statement(bundle)), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(_private_key(key_file)))
    signed_envelope = envelope.to_dict()
    return {key: signed_envelope[key] for key in ("payloadType", "payload", "signatures")}


def check_signature(evidence: EvidenceFile, key_file: Path) -> list[str]:
    """List what is wrong with the signature, checked with the public key in `key_file`.

    Raises EvidenceError for a file that isn't such a key.
    """
    require("securesystemslib", "in_toto_attestation", "cryptography")
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = SSlibKey.from_crypto(_public_key(key_file))
    if evidence.envelope is None or evidence.statement is None:
        return ["signature: missing"]
    by_another = [f"signature: it wasn't made with the key in {key_file}"]
    try:
        envelope = Envelope.from_dict(copy.deepcopy(evidence.envelope))
        envelope.verify([key], 1)
    except (VerificationError, ValueError, TypeError, LookupError, AttributeError):
        return by_another
    [signature, *more] = evidence.envelope["signatures"]
    if more or {*signature} != {"keyid", "sig"} or envelope.to_dict()["signatures"] != [signature]:
        return by_another
    return []


def _statement(bundle: dict[str, Any]) -> dict[str, Any]:
    """Build the Statement as JSON, since protobuf would change the bundle's numbers."""
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    pairs = [decode(PairResult, pair) for pair in bundle["pairs"]]
    subject_list = [ResourceDescriptor(**subject).pb for subject in subjects(pairs)]
    statement = Statement(subject_list, PREDICATE_TYPE, {"schema": bundle["schema"]})
    statement.validate()
    return {
        "_type": statement.pb.type,
        "subject": [
            {"name": subject.name, "digest": dict(subject.digest)}
            for subject in statement.pb.subject
        ],
        "predicateType": statement.pb.predicate_type,
        "predicate": bundle,
    }


def _private_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise EvidenceError(
            f"cannot be read: {error.strerror or error}", location=str(path)
        ) from None
    except (ValueError, TypeError) as error:
        raise EvidenceError(
            f"not an unencrypted private key in PEM form ({type(error).__name__})",
            location=str(path),
            hint="openssl genpkey -algorithm ed25519 -out release.key",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError("not an Ed25519 key", location=str(path))
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
            hint="openssl pkey -in release.key -pubout -out release.pub",
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceError("not an Ed25519 key", location=str(path))
    return key


def require(*modules: str) -> None:
    """Raise MissingExtra where a module of the extra `sign` isn't installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            package = module.replace("_", "-")
            raise MissingExtra("signature", package=package, extra="sign") from None


# --- time stamps ---------------------------------------------------------------------------------


_MOST = 1_000_000  # bytes of a time stamp, or of certificates


def check_time_stamp(
    evidence: EvidenceFile, stamp_file: Path, roots_file: Path
) -> tuple[datetime.datetime, list[str]]:
    """Return when an authority stamped the file, and what is wrong with the stamp.

    roots_file: certificates (PEM) of trusted authorities

    Raises EvidenceError for files that aren't a time stamp or certificates.
    """
    require("rfc3161_client", "cryptography")
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        stamp = decode_timestamp_response(read_regular(stamp_file, most=_MOST))
        when = stamp.tst_info.gen_time
    except ValueError:
        raise EvidenceError(
            "not a response of a time stamp authority (RFC 3161)", location=str(stamp_file)
        ) from None
    builder = VerifierBuilder()
    for root in _certificates(roots_file):
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(stamp, evidence.data)
    except (VerificationError, ValueError) as error:
        return when, [f"time stamp: {_stamp_error(error)}"]
    created = datetime.datetime.fromtimestamp(evidence.content.created, datetime.UTC)
    # Bundles record whole seconds, and clocks differ a little.
    if when < created - datetime.timedelta(minutes=1):
        return when, [
            f"created: the bundle says {evidence.bundle['created']}, which is after its time stamp"
        ]
    return when, []


def _stamp_error(error: Exception) -> str:
    if "Mismatch between messages" in str(error):
        return "it was made for another file"
    return f"the trusted certificates don't confirm it ({type(error).__name__})"


def _certificates(path: Path) -> Sequence[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_regular(path, most=_MOST))
    except ValueError:
        raise EvidenceError(
            "no certificates in PEM form",
            location=str(path),
            hint="use the authority's certificates",
        ) from None
