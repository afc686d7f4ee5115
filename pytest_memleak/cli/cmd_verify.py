"""`memleak verify`: recomputation of an evidence bundle's every number."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.default_ledger import ledger_url, pytest_rootdir
from pytest_memleak.cli.shared_options import REPEATED, add_command
from pytest_memleak.cli.terminal_output import command_line, next_step, print_sentence
from pytest_memleak.cli.witness_verification import (
    check_announced_files,
    check_witness,
)
from pytest_memleak.errors import EvidenceError, SettingsError
from pytest_memleak.ledger import CLOCK_SKEW
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.credentials import without_credentials
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.output_table import BADGE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.pipeline.recompute_evidence import Verification
    from pytest_memleak.results.evidence_file import EvidenceFile

_VERIFIED = 0
_FAILED = 1
_NOT_RECOMPUTED = 3
_HEX = 64
_PLACEHOLDERS = {
    "ledger": "URL",
    "suite": "FILE",
    "public_key": "FILE",
    "baseline": "EVIDENCE",
    "model": "NAME",
}
"""What stands in the next command for what is lacking, by option."""
_NO_OPTIONS = ("command", "evidence", "options_typed", "run")
_UNVERIFIABLE = (
    (
        "the author's statements: release name, versions, platform, creation time, "
        "operator, host, job, lock file, exit code, comparison"
    ),
    (
        "the author's statements on the run: selection, collection errors, early "
        "stops, outcomes, its own calls, offline"
    ),
    (
        "served models and generations: from the ledger, which its author could have "
        "fabricated"
    ),
)


def add_verify(commands: Commands) -> None:
    """Register `memleak verify`."""
    add_command(
        commands,
        "verify",
        _run_verify,
        "verify an evidence bundle against suite, books, and ledger",
        "Check the signature of an evidence bundle, recompute every number from the "
        "suite, its books, and the ledger, and print the levels reached: attested "
        "(signed), recomputed, witnessed (announced before its calls, by the receipt "
        "beside it), current (the release that you expect). Exits with 0 if "
        "everything matches and the result is PASS; with 1 if something differs or the "
        "result isn't PASS; with 2 for invalid input; with 3 if nothing is wrong, but "
        "not everything could be recomputed.",
        arguments={
            "evidence EVIDENCE": "the bundle (JSON)",
            "--ledger URL": "the bundle's ledger",
            "--suite "
            "FILE": "the suite file, if it isn't at the path that the bundle names",
            "--folder "
            "DIR": "a folder from which the suite and its books may be read; no other "
            "file is opened (default: the current folder)",
            "--public-key FILE": "require a signature by this key (PEM)",
            "--require-signature": "fail if the bundle isn't signed, or its signature "
            "isn't verified",
            "--timestamp FILE": "verify this RFC 3161 time stamp of the file",
            "--timestamp-roots "
            "FILE": "certificates of the time stamp authorities that you trust (PEM)",
            "--disclosed FILE": "verify a passage that memleak disclose wrote; needs "
            "the bundle alone",
            "--witness URL": "require a receipt beside the bundle, and compare it with "
            "this witness as it is now",
            "--baseline EVIDENCE": "recompute the comparison with this earlier release",
            "--release NAME": "require this release name",
            "--model "
            "NAME": "require this model (the name that the server reports), and allow "
            "only models named this way; repeatable",
            "--suite-sha256 "
            "HEX": "require this suite, by the SHA-256 of its file, and allow no "
            "other; repeatable",
            "--not-before "
            "DATE": "require that the bundle and its generations are from DATE or "
            "later",
            f"{BADGE.option} FILE{BADGE.ending}": BADGE.help,
            "--allow-failures": "exit with 0 if everything matches, whatever the "
            "result (for archives)",
        },
        suite=REPEATED,
        folder={"action": "append"},
        baseline={"type": Path},
        model=REPEATED,
        suite_sha256={"type": _validated_sha256, **REPEATED},
        not_before={"type": _parsed_time},
        badge={"type": Path},
    )


def _validated_sha256(value: str) -> str:
    if len(value) != _HEX or not set(value.lower()) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(
            f"expected 64 hexadecimal digits, got {value[:80]!r}",
        )
    return value.lower()


def _parsed_time(value: str) -> datetime.datetime:
    try:
        when = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date, as in 2026-11-30, got {value[:80]!r}",
        ) from None
    if when.tzinfo is None:
        return when.replace(tzinfo=datetime.UTC)
    return when


def _run_verify(parsed: argparse.Namespace) -> int:
    from pytest_memleak.pipeline.recompute_evidence import Verification
    from pytest_memleak.results.evidence_file import digest_errors, read_evidence
    from pytest_memleak.results.run_evidence import Expected, unmet_expectations

    if parsed.badge and parsed.badge.suffix.lower() != BADGE.ending:
        hint = f"write {BADGE.option} NAME{BADGE.ending}"
        raise SettingsError("a badge is an SVG file", hint=hint)
    evidence = read_evidence(parsed.evidence)
    verification = Verification(wrong=digest_errors(evidence.bundle))
    _check_signature(evidence, parsed, verification)
    _check_time_stamp(evidence, parsed, verification)
    _check_disclosed(evidence, parsed, verification)
    check_witness(evidence, parsed, verification)
    if evidence.content.created > time.time() + CLOCK_SKEW:
        verification.wrong.append(
            f"created: {evidence.bundle['created']} is in the future",
        )
    expected = Expected(
        parsed.release,
        frozenset(parsed.model),
        frozenset(parsed.suite_sha256),
        parsed.not_before,
    )
    if expected != Expected():
        unmet = [*unmet_expectations(expected, evidence.content)]
        verification.add_check(unmet, "the bundle meets all stated requirements")
        verification.current = not unmet
    if verification.wrong:
        verification.unchecked.append(
            "numbers: not recomputed, because of the errors above",
        )
        return _print_findings(parsed, evidence, verification)
    _recompute_and_note_differences(evidence, parsed, verification)
    _check_comparison(evidence, parsed, verification)
    return _print_findings(parsed, evidence, verification)


def _check_signature(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    from pytest_memleak.results.run_evidence import subjects

    is_signed = evidence.payload is not None
    if is_signed and evidence.subject != subjects(evidence.content.pairs):
        verification.wrong.append("subject: doesn't match the bundle's pairs")
    if parsed.public_key:
        from pytest_memleak.reports.signature import check_signature

        wrong = check_signature(evidence, parsed.public_key)
        verification.add_check(wrong, f"signed by the key in {parsed.public_key}")
        verification.attested = not wrong
    elif is_signed:
        verification.unchecked.append("Signature not verified: add --public-key")
    else:
        verification.unchecked.append("Not signed: the author is unverified")
    if parsed.require_signature and not parsed.public_key:
        problem = "missing"
        if is_signed:
            problem = "not verified; add --public-key"
            verification.lacking.add("public_key")
        verification.wrong.append(f"signature: {problem}")


def _check_time_stamp(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    is_stamped = bool(parsed.timestamp)
    if bool(parsed.timestamp_roots) is not is_stamped and (
        is_stamped or evidence.content.witness is None
    ):
        raise EvidenceError("--timestamp and --timestamp-roots must be used together")
    if not parsed.timestamp:
        verification.unchecked.append(
            "creation time: the author's statement, without a time stamp",
        )
        return
    from pytest_memleak.reports.signature import check_time_stamp

    time, wrong = check_time_stamp(evidence, parsed.timestamp, parsed.timestamp_roots)
    stamped = time.astimezone(datetime.UTC).isoformat(timespec="seconds")
    verification.add_check(
        wrong, f"existed by {stamped} (time stamp {parsed.timestamp})"
    )


def _check_disclosed(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    if not parsed.disclosed:
        return
    from pytest_memleak.results.committed_passages import (
        disclosure_faults,
        read_disclosure,
    )

    disclosed = read_disclosure(parsed.disclosed)
    wrong = [*disclosure_faults(disclosed, evidence.content)]
    passage = f"passage {disclosed.get('passage')} of {disclosed.get('pair')}"
    name = f"{passage} in {parsed.disclosed} is the one that the bundle has"
    verification.add_check(wrong, name)


def _check_comparison(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    if parsed.baseline:
        from pytest_memleak.results.release_comparison import comparison_differences

        wrong = comparison_differences(evidence, parsed.baseline)
        verification.add_check(wrong, f"comparison with {parsed.baseline}")
    elif evidence.content.compared:
        verification.complete = False
        verification.lacking.add("baseline")
        verification.unchecked.append(
            "comparison with an earlier release: add --baseline",
        )


def _recompute_and_note_differences(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> None:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from pytest_memleak.ledger.engines import parse_url, sqlite_file
    from pytest_memleak.pipeline.recompute_evidence import recompute
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.records.phases import Progress

    path = sqlite_file(parse_url(ledger_url(parsed)))
    is_there = path is None or path.exists()
    if is_there and path is not None and not path.is_file():
        raise EvidenceError("not a regular file", location=str(path))
    missing = []
    if evidence.content.ledger is not None and not is_there:
        missing.append(f"the ledger: no file {path}; name it with --ledger URL")
        verification.lacking.add("ledger")
    bar = Bar(
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bar.add_task("reading the ledger", total=None)
    # The end of the second in which the bundle was made.
    resources = Resources(
        ledger_url(parsed) if is_there else "sqlite://",
        offline=True,
        as_of=evidence.content.created + 1,
        hosts=None,
        progress=Progress(
            lambda it: bar.update(task, description=f"{it.phase} {it.about}"),
        ),
    )
    root = pytest_rootdir(parsed.suite)
    with bar, contextlib.closing(Run(root=root, resources=resources)) as run:
        recompute(
            evidence,
            verification,
            resources=resources,
            suite_run_for=run.suite_run_for,
            evaluate=run.evaluate,
            suites=parsed.suite,
            folders=parsed.folder or [Path.cwd()],
            models_named=bool(parsed.model),
            missing=missing,
        )
        if verification.complete and not verification.wrong:
            check_announced_files(evidence, parsed, verification, run)


def _print_findings(
    parsed: argparse.Namespace,
    evidence: EvidenceFile,
    verification: Verification,
) -> int:
    from pytest_memleak.reports.statement import Authorship, statement, statement_text
    from pytest_memleak.results.evidence_file import json_differences
    from pytest_memleak.results.run_evidence import versions
    from pytest_memleak.results.run_verdict import verdict_counts

    bundle = evidence.content
    claim = f"{bundle.result} ({verdict_counts(bundle.pairs)})"
    if bundle.release:
        claim += f", release {bundle.release}"
    outcome = claim
    if verification.wrong:
        outcome = f"VERIFICATION FAILED: the bundle claims {claim}"
    elif not verification.complete:
        amount = "nothing" if verification.missing else "not everything"
        outcome = f"{amount} was recomputed. The bundle claims {claim}"
        if verification.attested:
            outcome = f"signature valid; {outcome}"
    print_sentence(inert(f"{parsed.evidence}: {outcome}"), indent=2)
    print(f"level: {', '.join(verification.levels) or 'none'}")
    _print_lines(
        "written by other versions", json_differences(bundle.program, versions())
    )
    lines = statement(
        bundle.pairs,
        Authorship(
            bundle.created,
            f"{bundle.made_by.text} (as its author says)",
            () if verification.wrong else tuple(verification.attempts),
        ),
        _what_missing_files_would_show(evidence, parsed, verification),
    )
    _print_lines("the bundle's statement", [*statement_text(lines)])
    _print_lines("missing", verification.missing)
    _print_lines("wrong", verification.wrong)
    _print_lines("verified", verification.checked)
    _print_lines("not verified", [*verification.unchecked, *_UNVERIFIABLE])
    verified = "recomputed" in verification.levels
    if parsed.badge and verified:
        BADGE.write(bundle, parsed.badge)
        print(f"badge: {parsed.badge}")
    elif parsed.badge:
        print(
            f"no badge: the bundle isn't fully verified; {parsed.badge} wasn't written",
        )
    if not verified:
        _print_next_step(parsed, verification)
        return _FAILED if verification.wrong else _NOT_RECOMPUTED
    passed = bundle.result is Verdict.PASS or parsed.allow_failures
    return _VERIFIED if passed else _FAILED


def _what_missing_files_would_show(
    evidence: EvidenceFile,
    parsed: argparse.Namespace,
    verification: Verification,
) -> str:
    """Say what each file that wasn't given or found would show."""
    if verification.wrong and not verification.missing:
        return "nothing, before what is wrong is settled"
    lacking = verification.lacking
    files = {
        "--public-key (who signed it)": not parsed.public_key and evidence.payload,
        "--timestamp (when it existed at the latest)": not parsed.timestamp,
        "--suite (that models, books, and limits are these)": "suite" in lacking,
        "the book (that the measured text is this)": lacking & {"book", "suite"},
        "--ledger (every number, dates, and attempts)": "ledger" in lacking,
        "--baseline (the comparison)": evidence.content.compared
        and not parsed.baseline,
    }
    return "; ".join(file for file, is_missing in files.items() if is_missing) or "none"


def _print_next_step(parsed: argparse.Namespace, verification: Verification) -> None:
    """Print the same command with what is lacking, where that or another file helps."""
    if verification.wrong:
        why = "with the run's own files, or a new bundle from its author"
    elif verification.missing:
        why = "with the missing files above"
    elif verification.lacking:
        why = "recomputes the rest"
    else:
        return
    options = [*_typed_and_lacking_options(parsed, verification.lacking)]
    print(next_step(command_line("memleak", "verify", parsed.evidence, *options), why))


def _typed_and_lacking_options(
    parsed: argparse.Namespace,
    lacking: Collection[str],
) -> Iterator[str]:
    """Yield the options that were typed, without credentials, and those lacking."""
    for name, value in vars(parsed).items():
        option = f"--{name.replace('_', '-')}"
        if name in lacking and name in _PLACEHOLDERS:
            yield from (option, _PLACEHOLDERS[name])
        elif value is True:
            yield option
        elif value and name not in _NO_OPTIONS:
            for each in value if isinstance(value, list) else [value]:
                text = str(each)
                is_secret = "://" in text and without_credentials(text) != text
                yield from (option, "URL" if is_secret else text)


def _print_lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{title}:")
    for line in lines:
        print_sentence(f"  {inert(line)}", indent=4)
