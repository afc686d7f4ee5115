"""The evidence bundle: one JSON file that stands on its own, without a word of any book.

    {"schema": ..., "program": ..., "platform": ..., "created": ..., "pairs": [...],
     "limitations": [...], "sha256": ..., "signature": ...}

`sha256` is over the canonical JSON (sorted keys, no spaces, ASCII) of all the rest but the
signature; the signature (Ed25519) is over the same bytes. Who has the ledger, the suite and its
books can compute every number of `pairs` again (`memleak verify`).
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.evaluation import Evaluation
    from pytest_memleak.records import Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.extraction import Extraction

__all__ = [
    "bundle",
    "canonical",
    "check_digest",
    "differences",
    "pair_evidence",
    "read_bundle",
    "settings_of",
    "write_bundle",
]

SCHEMA = "pytest-memleak evidence 1"
_PROGRAMS = ("pytest-memleak", "pytest", "numpy", "pyahocorasick", "ebooklib", "lxml")
_SEALS = ("sha256", "signature")

LIMITATIONS = """
A PASS says that this sampling brought back no more than the limits allow; it does not show that \
the model holds nothing of the book.
Only literal recall is measured (and near-verbatim recall where it has a limit): not paraphrase, \
not translation.
Intervals speak of the same experiment run again with the same number of rounds; they say nothing \
of other instructions, temperatures or prompts.
Long spans and blocks have no interval: more samples may find longer ones.
Short runs are shared by any two texts of a language; bmc alone does not tell recall from common \
phrases, bmc_excess does.
Generations that the provider withheld were not measured; they are counted by reason.
"""


# --- one pair ------------------------------------------------------------------------------


def pair_evidence(evaluation: Evaluation) -> dict[str, Any]:
    """What the bundle says of one pair; plain values, all of which can be computed again."""
    pair, model = evaluation.pair, evaluation.pair.model
    completeness, analysis = evaluation.completeness, evaluation.analysis
    return {
        "pair": pair.id,
        "suite": {
            "name": evaluation.suite,
            "path": _relative(pair.suite),
            "sha256": evaluation.suite_digest,
        },
        "book": {
            "id": pair.book.id,
            "sha256": evaluation.book.digest if evaluation.book else None,
            "words": analysis.measurement.words if analysis else None,
            "excerpts": len(evaluation.book.excerpts) if evaluation.book else None,
        },
        "model": {
            "id": model.id,
            "provider": model.provider,
            "base": model.base,
            "baseline": model.baseline,
            "endpoint": evaluation.endpoint,
            "finetune_books": list(model.finetune_books),
            "finetune": model.finetune,
            "job": evaluation.job,
            "options": model.options,
        },
        "settings": settings_of(pair),
        "counts": {
            "asked": completeness.asked,
            "got": completeness.got,
            "withheld": {why.value: count for why, count in completeness.withheld.items()},
            "generations_sha256": evaluation.generations_sha256,
            "greedy_sha256": evaluation.greedy_sha256,
        },
        "measures": _measures(analysis, evaluation.extraction),
        "windows": _windows(evaluation.extraction),
        "elsewhere": [dataclasses.asdict(one) for one in evaluation.elsewhere],
        "limits": {
            name: {"limit": limit, "set_by": pair.limit_origins.get(name)}
            for name, limit in pair.limits.given().items()
        },
        "expected": pair.expected,
        "verdict": evaluation.judgement.verdict.value,
        "reasons": list(evaluation.judgement.reasons),
        "stopped_early": evaluation.spared is not None,
    }


def settings_of(pair: Pair) -> dict[str, Any]:
    """How the pair was sampled, measured and judged: the suite's keys."""
    return {
        **dataclasses.asdict(pair.sampling),
        **dataclasses.asdict(pair.scoring),
        "confidence": pair.confidence,
        "probe": dataclasses.asdict(pair.probe),
    }


def _measures(analysis: Analysis | None, extraction: Extraction | None) -> dict[str, Any]:
    if analysis is None:
        return _estimated(extraction) if extraction else {}
    found = _estimated(analysis)
    block, span = analysis.measurement.longest_block, analysis.measurement.longest_span
    found["longest_block"] |= {"start": block.start, "end": block.end}
    found["longest_span"] |= {
        "start": span.start,
        "end": span.end,
        "excerpt_id": span.excerpt_id,
        "generation": span.generation,
    }
    found["self_agreement"] = {"value": analysis.agreement}
    found["cross_excerpt"] = {
        "spans": analysis.cross.count,
        "cross": analysis.cross.cross,
        "ratio": analysis.cross.ratio,
    }
    if analysis.null:
        found["null"] = dataclasses.asdict(analysis.null)
    return found


def _estimated(known: Analysis | Extraction) -> dict[str, Any]:
    from pytest_memleak.scoring.analysis import estimates  # with numpy: not needed to collect

    return {
        name: {"value": one.value, "low": one.low, "high": one.high}
        for name, one in estimates(known).items()
    }


def _windows(extraction: Extraction | None) -> dict[str, Any] | None:
    """The map along the book: p_z of every window, and what it makes of it; no text."""
    if extraction is None:
        return None
    settings = extraction.settings
    return {
        "tokens": extraction.tokens,
        "windows": extraction.windows,
        "p_z": f"top-k {settings.top_k}, temperature {settings.temperature:g}"
        if extraction.top_k
        else "plain product",
        "n": settings.n,
        "p": settings.p,
        "discoverable": extraction.discoverable_share,
        # In order, from token 0 by the stride; "zero" where p_z is 0, null where it is not known.
        "ln_p_z": ["zero" if one == -math.inf else one for one in extraction.log_p],
        "discoverable_windows": [place for place, one in enumerate(extraction.discoverable) if one],
        "chapters": [start for _, start in extraction.chapters],
    }


def _relative(path: Path) -> str:
    """The suite's path from here, so that the bundle names no folder of its author's."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name


# --- the bundle ----------------------------------------------------------------------------


def bundle(pairs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The bundle of a run, with its digest and without a signature."""
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "program": {name: _version(name) for name in _PROGRAMS},
        "platform": {"python": platform.python_version(), "system": platform.platform()},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "pairs": sorted(pairs, key=lambda pair: (pair["suite"]["name"], pair["pair"])),
        "limitations": LIMITATIONS.strip().splitlines(),
    }
    made["sha256"] = hashlib.sha256(canonical(made)).hexdigest()
    return made


def canonical(made: dict[str, Any]) -> bytes:
    """The bytes that digest and signature are over: everything but these two."""
    sealed = {key: value for key, value in made.items() if key not in _SEALS}
    return json.dumps(sealed, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_bundle(made: dict[str, Any], path: Path) -> None:
    """Write it, whole or not at all. Raises EvidenceError."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise EvidenceError(
            f"cannot be written: {error.strerror or error}", place=str(path)
        ) from None


def read_bundle(path: Path) -> dict[str, Any]:
    """A bundle from its file. Raises EvidenceError for anything that is none of this schema."""
    try:
        text = path.read_text(encoding="utf-8")
        made = json.loads(text, object_pairs_hook=_no_key_twice)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not a bundle: {error}", place=str(path)) from None
    if not isinstance(made, dict) or made.get("schema") != SCHEMA:
        raise EvidenceError(f"not a bundle of the schema {SCHEMA!r}", place=str(path))
    if text != json.dumps(made, indent=1) + "\n":
        raise EvidenceError("it is not as it was written", place=str(path))
    return made


def check_digest(made: dict[str, Any]) -> list[str]:
    """What is wrong with the bundle's own digest; empty if nothing is."""
    digest = hashlib.sha256(canonical(made)).hexdigest()
    if made.get("sha256") == digest:
        return []
    return [f"sha256: the bundle says {made.get('sha256')}, its content gives {digest}"]


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
    if type(said) is type(found) and said == found:
        return []
    return [f"{key}: the bundle says {_shown(said)}, computed now {_shown(found)}"]


_MISSING = object()


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else json.dumps(value)[:120]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
