"""The evidence bundle's content: the run, its release and selection, and every pair.

    run_evidence(run)         the bundle, with its digest
    suite_controls(results)   what each suite's controls show of the gate itself
    subjects(pairs)           the models that they are about, as in-toto has subjects
    unmet_expectations(expected, bundle)

Its pairs hold plain values that anyone with the suite, its books and the ledger can
recompute.
"""

from __future__ import annotations

import datetime
import hashlib
import platform
import time
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import day, moment
from pytest_memleak.records.pair_result import RUN_ONLY
from pytest_memleak.records.provenance import Provenance, weights_digest
from pytest_memleak.results.evidence_file import (
    SCHEMA,
    Bundle,
    FalsePositives,
    LedgerEnd,
    SuiteControls,
    canonical_json,
    seal_bundle,
)
from pytest_memleak.results.result_codec import encode, localize
from pytest_memleak.results.run_verdict import result_of_run
from pytest_memleak.results.tried_prompts import tried_prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records.pair_result import PairResult, RunReport

    KindAndDigest = tuple[str, str]

_PROGRAMS = ("pytest-memleak", "pytest", "numpy", "pyahocorasick", "ebooklib", "lxml")

LIMITATIONS = (
    (
        "A PASS means that the sampled generations stay within the limits. It doesn't "
        "prove that the model hasn't memorized the book."
    ),
    (
        "Only verbatim and near-verbatim recall is measured. Paraphrases, translations,"
        " passages with at least every fifth word changed, and words with spaced-out "
        "letters aren't measured."
    ),
    (
        "Intervals describe the coverage expected from this number of rounds, not the "
        "result of a second run. They don't apply to other instructions, temperatures, "
        "or prompts."
    ),
    (
        "A passage that the model generates less often than the detection limit per "
        "prompt may be missing from these samples. docs/validation.md has the error "
        "rates of verdicts on models whose training is known."
    ),
    (
        "Limits on long spans, blocks, and passages apply to the observed values. The "
        "expected range of a second run may exceed them."
    ),
    (
        "Any two texts in the same language share short runs of words, so the share of "
        "words in such runs (bmc) alone doesn't separate recall from common phrases; "
        "bmc_excess does."
    ),
    (
        "Generations that the provider withheld weren't measured. They are counted by "
        "reason."
    ),
    (
        "The generations come from the ledger of whoever made this bundle. Only the "
        "model's provider can rule out that they were invented."
    ),
)
"""What a reader must not conclude, a sentence each."""


def run_evidence(run: RunReport) -> dict[str, Any]:
    """Build the bundle of a run, with its digest, of all pairs, evaluated or not."""
    pairs = collect_pairs(run)
    # A ledger's times may be ahead of this machine's.
    ledger_times = [pair.as_of or 0.0 for pair in pairs]
    latest = max([time.time(), *ledger_times])
    ledger = LedgerEnd(**run.ledger) if run.ledger else None
    bundle = Bundle(
        schema=SCHEMA,
        result=result_of_run(run, pairs),
        release=run.release,
        program=versions(),
        platform={
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        created=float(int(latest)),
        selection=run.selection,
        uncollected=run.uncollected,
        exit_status=run.exit_status,
        ledger=ledger,
        pairs=pairs,
        compared=run.compared,
        suites=suite_controls(pairs, by="path"),
        limitations=LIMITATIONS,
        made_by=run.made_by,
        tried=tried_prompts(pairs),
        witness=run.witness,
    )
    exclude: dict[str, Any] = {"pairs": {"__all__": RUN_ONLY}}
    if run.witness is None:
        exclude["witness"] = True
    plain = encode(bundle, exclude=exclude)
    return seal_bundle(plain)


def versions() -> dict[str, str | None]:
    """Return the versions of this program and its libraries; None if not installed."""
    return {name: _version(name) for name in _PROGRAMS}


def collect_pairs(run: RunReport) -> tuple[PairResult, ...]:
    """Return every pair of the run as a bundle has it, in order."""
    pairs = map(localize, (*run.results, *run.unrun))
    return tuple(sorted(pairs, key=_order))


def _order(pair: PairResult) -> tuple[str, ...]:
    suite = pair.suite
    return (suite.name, suite.path, pair.pair, pair.model.endpoint or "")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# --- controls


def suite_controls(
    pairs: Iterable[PairResult],
    *,
    by: str = "name",
) -> tuple[SuiteControls, ...]:
    """Summarize the controls of each suite, in order.

    by: "name", or "path" as in a bundle
    """
    suites: defaultdict[str, list[PairResult]] = defaultdict(list)
    for pair in pairs:
        suite = getattr(pair.suite, by)
        suites[suite].append(pair)
    return tuple(
        _summarize_suite(suite, its_pairs) for suite, its_pairs in suites.items()
    )


def _summarize_suite(suite: str, pairs: Sequence[PairResult]) -> SuiteControls:
    controls = [pair for pair in pairs if pair.control]
    exceeded: defaultdict[str, list[bool]] = defaultdict(list)
    for pair in controls:
        values = pair.values
        for name, limit in pair.limit_by_measure.items():
            if name not in values:
                continue
            # Passages of other books are no false positive.
            own = pair.measures[name].get("of_own", values[name])
            exceeded[name].append(own > limit)
    false_positives = {}
    for name, over in exceeded.items():
        false_positives[name] = FalsePositives(sum(over), len(over))
    return SuiteControls(
        suite=suite,
        controls=len(controls),
        false_alarms=false_positives,
        leak_seen=any(pair.expected == "leak" and pair.leaked for pair in pairs),
        gates=any(pair.gates for pair in pairs),
    )


# --- subjects and expectations


def subjects(pairs: Iterable[PairResult]) -> list[dict[str, Any]]:
    """List the models of pairs that gate, by name and digest.

    The digest is `sha256`, that of the weights, if they were on this machine and wrote
    all generations; else `modelNames`, the SHA-256 of the canonical JSON of provider,
    server, endpoint and the names that the server gave: no artifact's.
    """
    models = {(pair.model.id, *_digest_of_model(pair)) for pair in pairs if pair.gates}
    if not models:
        models.add(("no model", "modelNames", _sha256(None)))
    return [
        {"name": name, "digest": {kind: digest}}
        for name, kind, digest in sorted(models)
    ]


def model_names(pair: PairResult) -> set[str]:
    """Return a model's names: the server's, the requested one, or the suite's."""
    model = pair.model
    provenance = pair.provenance or Provenance()
    served = {server.model for server in provenance.served if server.model}
    name = provenance.requested or model.endpoint or model.base_model or model.id
    return served or {name}


def _digest_of_model(pair: PairResult) -> KindAndDigest:
    model = pair.model
    served = pair.provenance.served if pair.provenance else ()
    if len(served) == 1 and not served[0].model:
        weights = weights_digest(served[0].fingerprint)
        if weights:
            return "sha256", weights
    identity = {
        "provider": model.provider,
        "server": model.options.get("base_url"),
        "endpoint": model.endpoint,
        "served": sorted(model_names(pair)),
    }
    return "modelNames", _sha256(identity)


def _sha256(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON (hexadecimal)."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a bundle must contain; empty and None leave it open.

    release:    its name
    models:     the names of its models
    suites:     SHA-256 of its suite files
    not_before: the earliest time of the bundle and of its generations
    """

    release: str | None = None
    models: frozenset[str] = frozenset()
    suites: frozenset[str] = frozenset()
    not_before: datetime.datetime | None = None


def unmet_expectations(expected: Expected, bundle: Bundle) -> Iterator[str]:
    """Yield a sentence for each expectation that a bundle doesn't meet."""
    if expected.release not in (None, bundle.release):
        release = bundle.release
        yield f"release: expected {expected.release!r}, but the bundle says {release!r}"
    if expected.suites:
        digests = {pair.suite.sha256 for pair in bundle.pairs}
        yield from _set_differences("suite", expected.suites, digests)
    if expected.models:
        names: set[str] = set()
        for pair in bundle.pairs:
            names |= model_names(pair)
        yield from _set_differences("model", expected.models, names)
    if expected.not_before is not None:
        yield from _too_early(expected.not_before, bundle)


def _set_differences(
    what: str,
    expected: frozenset[str],
    present: set[str],
) -> Iterator[str]:
    for name in sorted(present - expected):
        yield f"{what}: the bundle has {name!r}, which wasn't expected"
    for name in sorted(expected - present):
        yield f"{what}: expected {name!r}, which the bundle doesn't have"


def _too_early(not_before: datetime.datetime, bundle: Bundle) -> Iterator[str]:
    if bundle.created < not_before.timestamp():
        created = moment(bundle.created)
        limit = not_before.isoformat()
        yield f"created: the bundle was created on {created}, before {limit}"
    earliest = not_before.date().isoformat()
    for pair in bundle.pairs:
        if pair.plain_verdict is Verdict.NOT_RUN:
            continue
        first = day(pair.provenance.first) if pair.provenance else None
        if first is None:
            yield (
                f"{pair.pair}: the bundle doesn't say when its generations were sampled"
            )
        elif first < earliest:
            yield (
                f"{pair.pair}: its first generation dates from {first}, "
                f"before {earliest}"
            )
