"""What the evidence bundle says of one pair; plain values, all of which can be computed again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.records.number_format import day, moment

if TYPE_CHECKING:
    from pytest_memleak.records import Completeness, WorkVerdict
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.provenance import Provenance


def pair_evidence(found: PairResult) -> dict[str, Any]:
    """What the bundle says of one pair; plain values, all of which can be computed again."""
    return {
        "pair": found.pair,
        "suite": suite_evidence(Path(found.suite_path)) | {"sha256": found.suite_digest},
        "book": {
            "id": found.book,
            "title": found.title or None,
            "author": found.author or None,
            "file_sha256": found.book_file,
            "sha256": found.book_digest or None,
            "words": found.word_count or None,
            "excerpts": found.excerpts or None,
            "parts": [dataclasses.asdict(one) for one in found.parts],
        },
        "model": {"id": found.model, "endpoint": found.endpoint or None, **found.model_settings},
        "settings": found.settings,
        "counts": {
            "requested": found.requested,
            "received": found.received,
            "surplus": found.completeness.surplus,
        },
        "completeness": _answers(found.completeness),
        "provenance": _answerer(found.provenance) if found.provenance else None,
        "as_of": moment(found.as_of),
        "sampled": [dataclasses.asdict(one) for one in found.sampled],
        "detection": found.detection.to_json() if found.detection else None,
        "second_opinion": found.second_opinion,
        "measures": _measures(found),
        "works": [_work(one, found) for one in found.works],
        "rounds": found.rounds and found.rounds.to_json(),
        "coverage": found.coverage,
        "windows": found.windows,
        "scan_scope": dataclasses.asdict(found.scan_scope) if found.scan_scope else None,
        "catalog": found.catalog,
        "limits": {
            name: {"limit": limit, "set_by": found.limit_origins.get(name)}
            for name, limit in found.limits.items()
        },
        "control": found.control,
        "expected": found.expected,
        "verdict": found.verdict_words,
        "reasons": list(found.reasons),
        "unexcused": list(found.unexcused),
        "leaked": found.leaked,
        "stopped_early": found.spared is not None,
    }


def _work(one: WorkVerdict, found: PairResult) -> dict[str, Any]:
    told = {"id": one.id, "title": one.title, "words": one.words, "verdict": one.verdict.value}
    over = {name: found.limits[name] for name in one.over}
    return told | {"measures": dict(one.measures), "over": over, "reason": one.reason}


def _answers(completeness: Completeness) -> dict[str, Any]:
    counted = ("requested", "received", "surplus")
    told = completeness.to_json().items()
    return {name: value for name, value in told if name not in counted}


def _answerer(answerer: Provenance) -> dict[str, Any]:
    days = {"first": day(answerer.first), "last": day(answerer.last)}
    return dataclasses.asdict(answerer) | days


def _measures(found: PairResult) -> dict[str, Any]:
    told: dict[str, Any] = {name: dict(one) for name, one in found.details.items()}
    for name, value in found.measures.items():
        low, high = found.intervals.get(name, (value, value))
        chance = {"p": found.chances[name]} if name in found.chances else {}
        told[name] = {"value": value, "low": low, "high": high} | chance | told.get(name, {})
    return told


def suite_evidence(path: Path) -> dict[str, str]:
    """A suite's name, and its path from here: the bundle names no folder of its author's."""
    here = Path.cwd()
    from_here = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    return {"name": path.name, "path": from_here}
