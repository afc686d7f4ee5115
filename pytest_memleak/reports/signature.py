"""Ed25519 signatures on evidence bundles, with keys as OpenSSL writes them.

openssl genpkey -algorithm ed25519 -out release.key
openssl pkey -in release.key -pubout -out release.pub
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError, MissingExtra
from pytest_memleak.findings.bundle import canonical

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_signature", "sign"]

ALGORITHM = "Ed25519"


def sign(made: dict[str, Any], key_file: Path) -> dict[str, Any]:
    """The bundle with a signature by the private key in `key_file` (PEM).

    Raises EvidenceError for a file that is no such key.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(key_file), password=None)
    except (ValueError, TypeError) as error:
        raise EvidenceError(
            f"not an unencrypted private key in PEM form ({type(error).__name__})",
            place=str(key_file),
            hint="openssl genpkey -algorithm ed25519 -out release.key",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError("not an Ed25519 key", place=str(key_file))
    signature = base64.b64encode(key.sign(canonical(made))).decode()
    return {**made, "signature": {"algorithm": ALGORITHM, "value": signature}}


def check_signature(made: dict[str, Any], key_file: Path) -> list[str]:
    """What is wrong with the bundle's signature by the public key in `key_file`.

    Raises EvidenceError for a file that is no such key.
    """
    _require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(key_file))
    except ValueError as error:
        raise EvidenceError(
            f"not a public key in PEM form ({type(error).__name__})",
            place=str(key_file),
            hint="openssl pkey -in release.key -pubout -out release.pub",
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceError("not an Ed25519 key", place=str(key_file))
    signature = made.get("signature")
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "value"}:
        return ["signature: there is none"]
    told = [f"signature: it is not by the key in {key_file}"]
    try:
        value = base64.b64decode(signature["value"], validate=True)
        key.verify(value, canonical(made))
    except (ValueError, TypeError, InvalidSignature):
        return told
    as_written = {"algorithm": ALGORITHM, "value": base64.b64encode(value).decode()}
    return [] if signature == as_written else told


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise MissingExtra("signature", package="cryptography", extra="sign") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
