"""The receipt of a witnessed run: a file beside its bundle, checked without a network.

It has the witness's log up to the run's end as a git bundle, so it shows every
announcement before and after the run's own. Git checks each object by its digest.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from pytest_memleak.errors import EvidenceError, file_errors
from pytest_memleak.pipeline.announced_identity import (
    digest_of_name,
    digest_of_weights,
    settings_digest,
)
from pytest_memleak.pipeline.witness_git_remote import files_in_export
from pytest_memleak.pipeline.witness_log import read_log, seed_from_log_head
from pytest_memleak.records.provenance import weights_digest
from pytest_memleak.records.witness_records import (
    BY_CHOSEN_NAME,
    BY_TRAINING,
    BY_WEIGHTS,
)
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.results.evidence_file import read_regular
from pytest_memleak.results.result_codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pytest_memleak.pipeline.witness_git_remote import GitWitness
    from pytest_memleak.pipeline.witness_log import LoggedAnnouncement, WitnessLog
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.records.witness_records import AnnouncedPair, Witnessed
    from pytest_memleak.results.evidence_file import Bundle


@dataclass(frozen=True, slots=True)
class Receipt:
    """The file's content.

    log: the witness's log, as a git bundle in base64
    """

    schema: Literal["pytest-memleak receipt 1"]
    witness: str
    announcement: str
    log: str


def receipt_path(evidence: Path) -> Path:
    """Return the file beside a bundle that holds its receipt."""
    return evidence.with_suffix(".witness.json")


def write_receipt(witness: GitWitness, announcement: str, path: Path) -> None:
    """Write the receipt of a run from the log as it was last fetched."""
    log = base64.b64encode(witness.export()).decode()
    receipt = Receipt("pytest-memleak receipt 1", witness.name, announcement, log)
    with file_errors(EvidenceError, path, "can't be written"):
        write_whole(path, json.dumps(encode(receipt), indent=1) + "\n")


def read_receipt(path: Path) -> WitnessLog:
    """Return the log in a receipt. Raises EvidenceError for any other file."""
    try:
        receipt = decode(Receipt, json.loads(read_regular(path)))
        data = base64.b64decode(receipt.log, validate=True)
    except (ValueError, ValidationError, RecursionError):
        raise EvidenceError(
            "not the receipt of a witnessed run",
            location=str(path),
            hint="restore the receipt that the run wrote",
        ) from None
    head, files = files_in_export(data)
    return read_log(head, files)


def receipt_faults(log: WitnessLog, bundle: Bundle) -> Iterator[str]:
    """Yield where a log and a bundle's statements on its witness differ."""
    witnessed = bundle.witness
    assert witnessed is not None  # noqa: S101 - asked before by the caller
    yield from log.faults
    logged = log.announcements.get(witnessed.announcement)
    if logged is None:
        yield "the log doesn't have the bundle's announcement"
        return
    if logged.announcement.head != witnessed.head:
        yield "the announcement follows another head than the bundle says"
    if witnessed.seed != seed_from_log_head(witnessed.head):
        yield "the bundle's seed doesn't come from the log's head"
    if bundle.sha256 not in log.bundles.get(witnessed.announcement, ()):
        yield "no end of the announced run names this bundle"
    yield from _pair_faults(logged, witnessed, bundle.pairs)


def pairs_sampled_without_seed(bundle: Bundle) -> list[str]:
    """Return the pairs whose generations nothing ties to the log's head."""
    return [
        pair.pair
        for pair in bundle.pairs
        if pair.settings["seed"] is None and _has_calls(pair)
    ]


def _has_calls(pair: PairResult) -> bool:
    return bool(pair.provenance and pair.provenance.calls)


def _pair_faults(
    logged: LoggedAnnouncement,
    witnessed: Witnessed,
    pairs: Iterable[PairResult],
) -> Iterator[str]:
    announced = {(pair.suite, pair.pair): pair.announced for pair in witnessed.pairs}
    for pair in pairs:
        if not _has_calls(pair):
            continue
        own = announced.get((pair.suite.sha256, pair.pair))
        if own is None or own not in logged.announcement.pairs:
            yield f"{pair.pair} wasn't announced"
            continue
        if pair.settings["seed"] not in (None, witnessed.seed):
            yield f"{pair.pair} was sampled with another seed than the log's"
        version = pair.model.weights_version or None
        settings = settings_digest(pair.settings, pair.model.options, version)
        if own.settings != settings:
            yield f"{pair.pair} was announced with other settings"
        if not _is_model_of(pair, own):
            yield f"{pair.pair} was announced for another model"


def _is_model_of(pair: PairResult, announced: AnnouncedPair) -> bool:
    """Tell whether the announced digest is that of the model that answered.

    What a fine-tune is made of is compared where the suite is at hand.
    """
    provenance = pair.provenance
    if announced.identified_by == BY_TRAINING:
        return bool(pair.model.finetune_books)
    if announced.identified_by == BY_WEIGHTS:
        served = provenance.served if provenance else ()
        digests = {weights_digest(server.fingerprint) for server in served} - {None}
        return {digest_of_weights(digest or "") for digest in digests} == {
            announced.model
        }
    name = provenance.requested if provenance else None
    return name is None or announced.model == digest_of_name(name)


def attempt_number_lines(
    log: WitnessLog,
    witnessed: Witnessed,
    witness: str,
) -> list[str]:
    """Return which attempt the run's pairs are, once if all are alike."""
    texts: dict[str, list[str]] = {}
    for pair in witnessed.pairs:
        attempts = log.count_announced_attempts(pair.announced, witnessed.announcement)
        text = attempts.text.format(witness=witness)
        if pair.announced.identified_by == BY_CHOSEN_NAME:
            text += "; its model goes by a name that its author chose"
        texts.setdefault(text, []).append(pair.pair)
    if len(texts) == 1:
        return list(texts)
    return [f"{', '.join(names)}: {text}" for text, names in texts.items()]
