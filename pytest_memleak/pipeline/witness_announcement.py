"""A run before its first call, and after its last: what a witness is told."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from pytest_memleak.errors import EvidenceError
from pytest_memleak.pipeline.announced_identity import witnessed_pairs
from pytest_memleak.pipeline.witness_log import (
    announcement_files,
    announcement_text,
    end_files,
    end_text,
    read_log,
    seed_from_log_head,
)
from pytest_memleak.records.witness_records import Witnessed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.pipeline.witness_git_remote import GitWitness
    from pytest_memleak.pipeline.witness_log import LoggedAnnouncement, WitnessLog
    from pytest_memleak.records import Pair
    from pytest_memleak.records.witness_records import WitnessedPair

_RACES = 50  # that may be lost before the witness counts as blocked
_LONGEST_PAUSE = 0.5  # seconds


def announce(
    witness: GitWitness,
    suites: Iterable[tuple[SuiteRun, Iterable[Pair]]],
    *,
    ledger: str,
    stamp: Callable[[bytes], bytes] | None = None,
    may_add: bool = True,
) -> Witnessed | None:
    """Announce a run, or find the announcement that it goes on with.

    A run goes on with the last announcement of the same ledger that has all its pairs
    with the same settings: it is the same attempt, with the same seed.

    ledger:  the first link of the ledger's chain
    stamp:   requests a time stamp (RFC 3161) of an announcement
    may_add: whether to announce; else None stands for a new run

    Raises EvidenceError where the witness can't be reached, and for a run that calls
    nothing.
    """
    pairs: list[WitnessedPair] = []
    for suite_run, its_pairs in suites:
        pairs += witnessed_pairs(suite_run, its_pairs)
    announced = [pair.announced for pair in pairs]
    if not announced:
        raise EvidenceError(
            "No selected pair calls a model that can be announced",
            hint="omit --memleak-witness, or see memleak doctor for models and books "
            "that can't be opened",
        )
    for _ in range(_RACES):
        head = witness.fetch()
        log = unchanged_log(witness, head)
        logged = log.announcement_to_continue(ledger, announced)
        if logged is not None:
            return _witnessed(witness, logged, pairs)
        if not may_add:
            return None
        text = announcement_text(head, ledger, announced)
        files = announcement_files(text, stamp(text) if stamp else None)
        if commit := witness.append(files, after=head):
            seed = seed_from_log_head(head)
            return Witnessed(witness.name, commit, head, seed, tuple(pairs))
        _pause()
    raise _blocked_error(witness)


def report_end(witness: GitWitness, announcement: str, bundle_sha256: str) -> None:
    """Report the bundle that an announced run ended with.

    Raises EvidenceError where the witness can't be reached.
    """
    text = end_text(announcement, bundle_sha256)
    for _ in range(_RACES):
        head = witness.fetch()
        log = read_log(head, witness.files(head))
        is_reported = bundle_sha256 in log.bundles.get(announcement, ())
        if is_reported or witness.append(end_files(text), after=head):
            return
        _pause()
    raise _blocked_error(witness)


def unchanged_log(witness: GitWitness, head: str) -> WitnessLog:
    """Return the log up to a head; EvidenceError if a commit changed what it had."""
    log = read_log(head, witness.files(head))
    if log.faults:
        raise EvidenceError(
            f"The witness's log was changed: {log.faults[0]}",
            location=witness.name,
            hint="ask who keeps the witness, or use another witness",
        )
    return log


def _witnessed(
    witness: GitWitness,
    logged: LoggedAnnouncement,
    pairs: Iterable[WitnessedPair],
) -> Witnessed:
    head = logged.announcement.head
    return Witnessed(
        witness.name, logged.commit, head, seed_from_log_head(head), tuple(pairs)
    )


def _pause() -> None:
    time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - no secret


def _blocked_error(witness: GitWitness) -> EvidenceError:
    return EvidenceError(
        f"The witness took others' announcements {_RACES} times before this one",
        location=witness.name,
        hint="rerun later",
    )
