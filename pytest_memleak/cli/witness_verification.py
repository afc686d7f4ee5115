"""What `memleak verify` checks of a bundle's witness: its receipt, and the log now."""

from __future__ import annotations

import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import EvidenceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_memleak.pipeline.recompute_evidence import Verification
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.pipeline.witness_log import WitnessLog
    from pytest_memleak.records.witness_records import Witnessed, WitnessedPair
    from pytest_memleak.results.evidence_file import EvidenceFile


def check_witness(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    """Check the receipt beside a bundle, and with --witness the witness itself."""
    witnessed = evidence.content.witness
    if witnessed is None:
        if parsed.witness:
            verification.wrong.append("witness: the bundle's run wasn't announced")
        return
    from pytest_memleak.pipeline.witness_git_remote import shown_url
    from pytest_memleak.pipeline.witness_receipt import (
        attempt_number_lines,
        pairs_sampled_without_seed,
        read_receipt,
        receipt_faults,
        receipt_path,
    )

    receipt = receipt_path(parsed.evidence)
    if not receipt.exists():
        sentence = f"witness: no receipt {receipt}, so it isn't known which attempt"
        lines = verification.wrong if parsed.witness else verification.unchecked
        lines.append(sentence)
        return
    try:
        log = read_receipt(receipt)
    except EvidenceError as error:
        verification.wrong.append(f"witness: {error}")
        return
    wrong = [f"witness: {fault}" for fault in receipt_faults(log, evidence.content)]
    name = f"{witnessed.witness} (by the receipt)"
    if parsed.witness and not wrong:
        name = shown_url(parsed.witness)
        log, faults = _read_log_now(parsed.witness, log)
        wrong += [f"witness: {fault}" for fault in faults]
    if wrong:
        verification.wrong += wrong
        return
    seedless = pairs_sampled_without_seed(evidence.content)
    for pair in seedless:
        verification.unchecked.append(
            f"witness: {pair} sends no seed, so its generations may be older than its "
            "announcement",
        )
    verification.witnessed = not seedless
    attempts = attempt_number_lines(log, witnessed, name)
    verification.attempts = [line.removeprefix("attempt ") for line in attempts]
    verification.checked += [f"witness: {line}" for line in attempts]
    _check_stamp(log, witnessed, parsed, verification)


def _read_log_now(url: str, receipt: WitnessLog) -> tuple[WitnessLog, list[str]]:
    """Return the witness's log as it is now, and what it lacks of the receipt's.

    Raises EvidenceError where the witness can't be reached.
    """
    from pytest_memleak.pipeline.witness_git_remote import (
        GitWitness,
        shown_url,
        validate_url,
    )
    from pytest_memleak.pipeline.witness_log import read_log

    validate_url(url)
    with tempfile.TemporaryDirectory(prefix="memleak-") as folder:
        witness = GitWitness(url, Path(folder) / "log.git")
        head = witness.fetch()
        log = read_log(head, witness.files(head))
        if not (head and witness.contains(receipt.head)):
            return log, [
                (
                    f"{shown_url(url)} doesn't have the receipt's log: its history was "
                    "rewritten, or the receipt is forged"
                ),
            ]
    return log, log.faults


def _check_stamp(
    log: WitnessLog,
    witnessed: Witnessed,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    """Check the announcement's time stamp, if it has one."""
    logged = log.announcements[witnessed.announcement]
    if logged.stamp is None:
        verification.unchecked.append(
            "when the run was announced: the announcement has no time stamp",
        )
    elif not parsed.timestamp_roots:
        verification.unchecked.append(
            "the announcement's time stamp: add --timestamp-roots",
        )
    else:
        from pytest_memleak.reports.signature import check_stamp_of_bytes

        time, wrong = check_stamp_of_bytes(
            logged.text,
            logged.stamp,
            parsed.timestamp_roots,
            place="the announcement's time stamp",
        )
        stamped = time.astimezone(datetime.UTC).isoformat(timespec="seconds")
        wrong = [f"witness: {fault}" for fault in wrong]
        verification.add_check(wrong, f"witness: announced by {stamped} (time stamp)")
        verification.witnessed = verification.witnessed and not wrong


def check_announced_files(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
    run: Run,
) -> None:
    """Compare what was announced with the suites, books, and ledger at hand."""
    witnessed = evidence.content.witness
    if witnessed is None or not verification.witnessed:
        return
    from pytest_memleak.pipeline.witness_receipt import read_receipt, receipt_path

    log = read_receipt(receipt_path(parsed.evidence))
    announcement = log.announcements[witnessed.announcement].announcement
    wrong = [*_identity_faults(witnessed, run)]
    if announcement.ledger != run.resources.ledger_origin():
        wrong.append("witness: the run was announced with another ledger")
    verification.add_check(
        wrong, "witness: models, books, and ledger are the announced ones"
    )


def _identity_faults(witnessed: Witnessed, run: Run) -> Iterator[str]:
    """Yield the pairs whose models or books aren't those that were announced."""
    from pytest_memleak.pipeline.announced_identity import witnessed_pairs

    recomputed: set[WitnessedPair] = set()
    for suite in run.suites:
        suite_run = run.suite_run_for(suite.path)
        recomputed |= set(witnessed_pairs(suite_run, suite_run.suite.pairs))
    for pair in witnessed.pairs:
        if pair not in recomputed:
            yield f"witness: {pair.pair} was announced for another model or book"
