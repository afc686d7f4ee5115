"""A time stamp (RFC 3161) of some bytes, requested from an authority's server."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from pytest_memleak.errors import EvidenceError
from pytest_memleak.reports.signature import read_stamp, require_signing_packages

_SECONDS = 60
_MOST = 1_000_000  # bytes
_QUERY = "application/timestamp-query"
_HINT = (
    "make sure that the server is reachable, or omit --memleak-timestamp-server; the "
    "witness works without"
)


def request_time_stamp(url: str, data: bytes) -> bytes:
    """Return an authority's response for these bytes.

    Raises EvidenceError where it can't be reached or sends something else.
    """
    require_signing_packages("rfc3161_client")
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    sha256 = HashAlgorithm.SHA256  # which every authority takes
    query = TimestampRequestBuilder().data(data).hash_algorithm(sha256).build()
    if urlsplit(url).scheme not in ("http", "https"):
        raise EvidenceError(
            "not an address of http or https",
            location=url,
            hint="write the authority's URL, as in https://stamps.example",
        )
    request = urllib.request.Request(  # noqa: S310 - http or https
        url, data=query.as_bytes(), headers={"Content-Type": _QUERY}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            stamp: bytes = response.read(_MOST)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise EvidenceError(
            f"The time stamp authority can't be reached: {reason}",
            location=url,
            hint=_HINT,
        ) from None
    imprint = read_stamp(stamp, place=url).tst_info.message_imprint.message
    if imprint != query.message_imprint.message:
        raise EvidenceError(
            "The time stamp authority stamped something else", location=url, hint=_HINT
        )
    return stamp
