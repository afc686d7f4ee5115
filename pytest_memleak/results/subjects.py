"""Which models a bundle is about, each by a digest, as in-toto has subjects."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pytest_memleak.records.provenance import weights_in
from pytest_memleak.results.evidence_file import canonical
from pytest_memleak.results.run_verdict import gates

if TYPE_CHECKING:
    from collections.abc import Mapping


def subjects(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of pairs that gate, each once: `{"name": ..., "digest": {"sha256": ...}}`.

    The digest is that of the weights where they were on the machine and gave all of the answers;
    else of the canonical JSON of provider, server, endpoint and the names that the server gave.
    """
    gating = filter(gates, made["pairs"])
    found = {(pair["model"]["id"], _weights(pair) or _digest(pair)): None for pair in gating}
    if not found:
        found[("no model", hashlib.sha256(canonical(None)).hexdigest())] = None
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(found)]


def names_of(pair: Mapping[str, Any]) -> set[str]:
    """By what a pair's model goes: the server's word, else the name asked, else the suite's."""
    model, answerer = pair["model"], pair["provenance"] or {}
    served = {one["model"] for one in answerer.get("served", ()) if one.get("model")}
    asked = answerer.get("requested") or model["endpoint"] or model["base_model"] or model["id"]
    return served or {asked}


def _weights(pair: Mapping[str, Any]) -> str | None:
    """The SHA-256 of the weights that gave a pair's answers, where they were here."""
    answerer = pair["provenance"] or {}
    served = answerer.get("served", ())
    if len(served) != 1 or served[0]["model"] or answerer["imported"]:
        return None
    fingerprint = served[0].get("fingerprint")
    return weights_in(fingerprint) if isinstance(fingerprint, str) else None


def _digest(pair: Mapping[str, Any]) -> str:
    model = pair["model"]
    said = {
        "provider": model["provider"],
        "server": model["options"].get("base_url"),
        "endpoint": model["endpoint"],
        "served": sorted(names_of(pair)),
    }
    return hashlib.sha256(canonical(said)).hexdigest()
