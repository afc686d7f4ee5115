"""A run and its witness: announced before the first call, and its end reported.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import EvidenceError, MemleakError
from pytest_memleak.pipeline.witness_announcement import announce, report_end
from pytest_memleak.pipeline.witness_git_remote import GitWitness, validate_url
from pytest_memleak.pipeline.witness_receipt import (
    attempt_number_lines,
    read_receipt,
    receipt_path,
    write_receipt,
)
from pytest_memleak.plugin.collect_suites import skip_reason
from pytest_memleak.plugin.options import (
    baseline_error_key,
    pair_of,
    pairs_of,
    run_key,
    usage_errors,
    witnessed_key,
)
from pytest_memleak.records.witness_records import Witnessed
from pytest_memleak.results.evidence_file import read_evidence
from pytest_memleak.results.result_codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair

_OPTION = "--memleak-witness"
_OUTPUT = "memleak_witnessed"  # of what a worker of xdist sends at its end
_CALLS_NONE = ("memleak_offline", "memleak_dry_run")


def validate_witness(config: pytest.Config) -> None:
    """Raise UsageError for a witness or a time stamp server that can't be used."""
    with usage_errors(_OPTION):
        validate_url(config.getoption("memleak_witness"))
        _witness_of(config).fetch()
    if config.getoption("memleak_timestamp_server"):
        from pytest_memleak.reports.signature import require_signing_packages

        with usage_errors("--memleak-timestamp-server"):
            require_signing_packages("rfc3161_client", "cryptography")


def announce_run(session: pytest.Session) -> None:
    """Announce the selected pairs, and let the run sample with the log's seed.

    A worker of xdist, which can't end a run, makes its pairs INCONCLUSIVE instead.
    """
    config: Any = session.config
    run: Run = config.stash[run_key]
    pairs = _selected_pairs(session)
    if not pairs:
        return
    is_worker = hasattr(config, "workerinput")
    try:
        witnessed = _announce(config, run, pairs)
    except MemleakError as error:
        text = f"INCONCLUSIVE: {_OPTION}: {error}"
        if not is_worker:
            raise pytest.UsageError(f"{_OPTION}: {error}") from None
        config.stash[baseline_error_key] = text
        return
    if witnessed is None:
        return
    for suite_run, _ in pairs:
        suite_run.use_seed(witnessed.seed)
        digest = suite_run.suite.digest
        suite_run.allow_announced_alone(
            pair.pair for pair in witnessed.pairs if pair.suite == digest
        )
    config.stash[witnessed_key] = witnessed
    if is_worker:
        config.workeroutput[_OUTPUT] = encode(witnessed)


def _announce(
    config: pytest.Config,
    run: Run,
    pairs: list[tuple[SuiteRun, list[Pair]]],
) -> Witnessed | None:
    calls_none = any(map(config.getoption, _CALLS_NONE))
    if calls_none and run.resources.is_ledger_file_missing:
        return None
    witnessed = announce(
        _witness_of(config),
        pairs,
        ledger=run.resources.ledger_origin(),
        stamp=_stamper(config.getoption("memleak_timestamp_server")),
        may_add=not calls_none,
    )
    if witnessed is None and config.getoption("memleak_offline"):
        raise EvidenceError(
            "The witness knows no run with this ledger and these pairs",
            hint="run without --memleak-offline, which announces it",
        )
    return witnessed


def _stamper(url: str | None) -> Callable[[bytes], bytes] | None:
    if url is None:
        return None
    from pytest_memleak.reports.time_stamp_request import request_time_stamp

    return functools.partial(request_time_stamp, url)


def _selected_pairs(session: pytest.Session) -> list[tuple[SuiteRun, list[Pair]]]:
    """Return the pairs that no mark skips, by suite."""
    run: Run = session.config.stash[run_key]
    items = [item for item in session.items if pair_of(item) and not skip_reason(item)]
    by_suite: dict[Path, list[Pair]] = {}
    for (suite, _), pair in pairs_of(items).items():
        by_suite.setdefault(suite, []).append(pair)
    return [(run.suite_run_for(suite), pairs) for suite, pairs in by_suite.items()]


def take_from_worker(config: pytest.Config, output: dict[str, Any]) -> None:
    """Take the announcement from what a worker of xdist sent at its end."""
    if _OUTPUT in output:
        config.stash[witnessed_key] = decode(Witnessed, output[_OUTPUT])


def end_run(config: pytest.Config, evidence: Path) -> None:
    """Report the bundle to the witness, and write the receipt beside it.

    Raises EvidenceError where the witness can't be reached.
    """
    witnessed = config.stash.get(witnessed_key, None)
    if witnessed is None or not evidence.is_file():
        return
    witness = _witness_of(config)
    bundle = read_evidence(evidence).content
    own = bundle.witness
    if own is None or own.announcement != witnessed.announcement:
        return  # of an earlier run: this one was interrupted
    try:
        report_end(witness, witnessed.announcement, bundle.sha256)
        write_receipt(witness, witnessed.announcement, receipt_path(evidence))
    except EvidenceError as error:
        receipt_path(evidence).unlink(missing_ok=True)
        raise EvidenceError(
            f"{error.message}; so the witness has no result of this run",
            location=error.location,
            hint="rerun, which reports it; stored generations are reused",
        ) from None


def witness_lines(config: pytest.Config, evidence: Path) -> Iterator[str]:
    """Yield which attempt the run is, as the receipt shows it."""
    witnessed = config.stash.get(witnessed_key, None)
    receipt = receipt_path(evidence)
    if witnessed is None or not receipt.is_file():
        return
    log = read_receipt(receipt)
    for line in attempt_number_lines(log, witnessed, witnessed.witness):
        yield f"witness: {line}"
    yield f"receipt: {receipt}"


def _witness_of(config: pytest.Config) -> GitWitness:
    url = config.getoption("memleak_witness")
    return GitWitness.kept_in(config.rootpath / ".memleak", url)
