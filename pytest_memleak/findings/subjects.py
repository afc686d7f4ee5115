"""Which models a bundle is about, each by a digest, as in-toto has subjects."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pytest_memleak.findings.bundle import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["names_of", "subjects"]


def subjects(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of a bundle, each once: `{"name": ..., "digest": {"sha256": ...}}`.

    The digest is that of the canonical JSON of provider, server, endpoint and the names that the
    server gave. Of weights that were on the machine, the endpoint's name has their own digest.
    """
    found = {
        (model["id"], _digest(pair)): None for pair in made["pairs"] for model in [pair["model"]]
    }
    if not found:
        found[("no model", hashlib.sha256(canonical(None)).hexdigest())] = None
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(found)]


def names_of(pair: Mapping[str, Any]) -> set[str]:
    """By what a pair's model goes: the server's word, else the name asked, else the suite's."""
    model, answerer = pair["model"], pair["answerer"] or {}
    served = {one["model"] for one in answerer.get("served", ()) if one.get("model")}
    asked = answerer.get("asked") or model["endpoint"] or model["base"] or model["id"]
    return served or {asked}


def _digest(pair: Mapping[str, Any]) -> str:
    model = pair["model"]
    said = {
        "provider": model["provider"],
        "server": model["options"].get("base_url"),
        "endpoint": model["endpoint"],
        "served": sorted(names_of(pair)),
    }
    return hashlib.sha256(canonical(said)).hexdigest()
