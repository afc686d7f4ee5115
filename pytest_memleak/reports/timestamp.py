"""RFC 3161 time stamps on evidence: that a file was there by then, by an authority's word.

openssl ts -query -data evidence.json -sha256 -cert -out evidence.tsq
curl -H "Content-Type: application/timestamp-query" --data-binary @evidence.tsq URL > evidence.tsr
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from pytest_memleak.errors import EvidenceError
from pytest_memleak.reports.signature import require
from pytest_memleak.results.evidence_file import read_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509 import Certificate

    from pytest_memleak.results.evidence_file import EvidenceFile

_MOST = 1_000_000  # bytes of a time stamp, or of certificates


def check_time_stamp(
    evidence: EvidenceFile, stamp_file: Path, roots_file: Path
) -> tuple[datetime.datetime, list[str]]:
    """When an authority saw the file, and what is wrong with that; nothing is if the list is empty.

    roots_file: certificates (PEM) of authorities that are trusted. Raises EvidenceError for files
    that are no time stamp, or no certificates.
    """
    require("rfc3161_client", "cryptography")
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        stamp = decode_timestamp_response(read_regular(stamp_file, most=_MOST))
        when = stamp.tst_info.gen_time
    except ValueError:
        raise EvidenceError(
            "not the answer of a time stamp authority (RFC 3161)", location=str(stamp_file)
        ) from None
    builder = VerifierBuilder()
    for root in _certificates(roots_file):
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(stamp, evidence.data)
    except (VerificationError, ValueError) as error:
        return when, [f"time stamp: {_said(error)}"]
    created = datetime.datetime.fromisoformat(evidence.made["created"])
    # The bundle says whole seconds, and clocks are a little apart.
    if when < created - datetime.timedelta(minutes=1):
        return when, [f"created: the bundle says {evidence.made['created']}, after it was stamped"]
    return when, []


def _said(error: Exception) -> str:
    if "Mismatch between messages" in str(error):
        return "it is of another file"
    return f"it does not hold by the certificates that are trusted ({type(error).__name__})"


def _certificates(path: Path) -> Sequence[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_regular(path, most=_MOST))
    except ValueError:
        raise EvidenceError(
            "no certificates in PEM form", location=str(path), hint="those of the authority"
        ) from None
