"""The evidence bundle's content: the run, its release and selection, and every pair.

run_evidence(run)       the bundle, with its digest
pair_evidence(result)   its part for one pair
subjects(bundle)        the models it is about, each by a digest, as in-toto has subjects
unmet(expected, bundle) the expectations that a bundle doesn't meet
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.records.number_format import day, moment
from pytest_memleak.records.provenance import weights_in
from pytest_memleak.results.evidence_file import SCHEMA, canonical, sealed
from pytest_memleak.results.run_verdict import controls_in, gates, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.records import Completeness, WorkVerdict
    from pytest_memleak.records.pair_result import PairResult, PairTest, RunReport
    from pytest_memleak.records.provenance import Provenance

_PROGRAMS = ("pytest-memleak", "pytest", "numpy", "pyahocorasick", "ebooklib", "lxml")

LIMITATIONS = """
A PASS says that this sampling brought back no more than the limits allow; it does not show that \
the model holds nothing of the book.
Only literal and near-verbatim recall is measured: not paraphrase, not translation, and no passage \
that is changed at every fifth word or closer, or whose letters are parted.
Intervals speak of the coverage to expect of so many rounds, not of the figure that a second run \
would show; they say nothing of other instructions, temperatures or prompts.
A passage that comes more rarely than `sensitivity.detection` may be there and not have been seen.
Limits on long spans, blocks and passages hold at the observed value; `sensitivity.ranges` says \
what another such run may have.
Short runs are shared by any two texts of a language; bmc alone does not tell recall from common \
phrases, bmc_excess does.
Generations that the provider withheld were not measured; they are counted by reason.
The answers are those of the maker's ledger: only the provider of the model can rule out that they \
were made up.
"""


def run_evidence(run: RunReport) -> dict[str, Any]:
    """The bundle of a run, with its digest: every pair of every suite, looked at or not."""
    pairs = pairs_of(run)
    return sealed(
        {
            "schema": SCHEMA,
            "result": result_of(
                pairs,
                uncollected=run.uncollected,
                compared=run.compared.verdict if run.compared else None,
            ),
            "release": run.release,
            "program": versions(),
            "platform": {"python": platform.python_version(), "system": platform.platform()},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "selection": {
                name: list(said) if isinstance(said, tuple) else said
                for name, said in dataclasses.asdict(run.selection).items()
            },
            "uncollected": list(run.uncollected),
            "ledger": run.ledger,
            "pairs": pairs,
            "compared": run.compared and run.compared.to_json(),
            "suites": [one.to_json() for one in controls_in(pairs)],
            "limitations": limitations(),
        }
    )


def limitations() -> list[str]:
    """What a reader may not conclude, a sentence each."""
    return LIMITATIONS.strip().splitlines()


def versions() -> dict[str, str | None]:
    """Of this program, and of what computes its numbers; None of what is not installed."""
    return {name: _version(name) for name in _PROGRAMS}


def pairs_of(run: RunReport) -> list[dict[str, Any]]:
    """Every pair of the run with its tests, in order."""
    return sorted([*_evaluated(run.results, run.tests), *_unrun(run)], key=_order)


def _evaluated(findings: Iterable[PairResult], tests: Iterable[PairTest]) -> list[dict[str, Any]]:
    by_key: dict[tuple[str, str, str | None], list[PairTest]] = {}
    for one in tests:
        by_key.setdefault((one.suite_path, one.pair, one.endpoint), []).append(one)
    return [
        pair_evidence(found)
        | {"tests": _told(by_key.get((found.suite_path, found.pair, found.endpoint), []))}
        for found in findings
    ]


def _unrun(run: RunReport) -> list[dict[str, Any]]:
    return [
        pair_evidence(found)
        | {
            "tests": _told(
                one
                for one in run.tests
                if (one.suite_path, one.pair, one.endpoint) == (found.suite_path, found.pair, None)
            )
        }
        for found in run.unrun
    ]


def _told(tests: Iterable[PairTest]) -> list[dict[str, str]]:
    return [{"test": one.test, "outcome": one.outcome, "reason": one.reason} for one in tests]


def _order(pair: dict[str, Any]) -> tuple[str, str, str, str]:
    suite = pair["suite"]
    return suite["name"], suite["path"], pair["pair"], pair["model"]["endpoint"] or ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


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


@dataclass(frozen=True, slots=True)
class Expected:
    """Which release a bundle has to be of; what is empty or None is left open.

    release: its name; models: by which its models go; suites: SHA-256 of its suite files;
    not_before: when the bundle may have been made, and its answers drawn, at the earliest
    """

    release: str | None = None
    models: frozenset[str] = frozenset()
    suites: frozenset[str] = frozenset()
    not_before: datetime.datetime | None = None


def unmet(expected: Expected, made: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each expectation that a bundle does not meet."""
    if expected.release not in (None, made["release"]):
        yield f"release: expected {expected.release!r}, the bundle says {made['release']!r}"
    pairs = made["pairs"]
    if expected.suites:
        told = {one["suite"]["sha256"] for one in pairs}
        yield from _apart("suite", expected.suites, told)
    if expected.models:
        yield from _apart("model", expected.models, {n for one in pairs for n in names_of(one)})
    if expected.not_before is not None:
        yield from _too_early(expected.not_before, made)


def _apart(what: str, expected: frozenset[str], told: set[str]) -> Iterator[str]:
    for one in sorted(told - expected):
        yield f"{what}: the bundle has {one!r}, which was not expected"
    for one in sorted(expected - told):
        yield f"{what}: expected {one!r}, which the bundle does not have"


def _too_early(not_before: datetime.datetime, made: Mapping[str, Any]) -> Iterator[str]:
    if datetime.datetime.fromisoformat(made["created"]) < not_before:
        yield f"created: the bundle was made on {made['created']}, before {not_before.isoformat()}"
    day = not_before.date().isoformat()
    for pair in made["pairs"]:
        if pair["verdict"] == "NOT RUN":
            continue
        drawn = (pair["provenance"] or {}).get("first")
        if drawn is None:
            yield f"{pair['pair']}: nothing says when its answers were drawn"
        elif drawn < day:
            yield f"{pair['pair']}: its first answer was drawn on {drawn}, before {day}"
