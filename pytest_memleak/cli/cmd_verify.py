"""`memleak verify`: recomputation of an evidence bundle's every number."""

from __future__ import annotations

import argparse
import datetime
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.columns import print_sentence
from pytest_memleak.cli.shared_options import ledger_url
from pytest_memleak.errors import EvidenceError, SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.output_table import BADGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.pipeline.recompute_evidence import Recomputation
    from pytest_memleak.results.evidence_file import EvidenceFile

_VERIFIED, _FAILED, _NOT_RECOMPUTED = 0, 1, 3
_HEX = 64
_CLOCK_SKEW = 3600  # seconds
_UNVERIFIABLE = (
    "the author's statements: tests selected, their outcomes, exit code, comparison, release name",
    "served models and generations: from the ledger, which its author could have fabricated",
)


def add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak verify`."""
    verify = commands.add_parser(
        "verify",
        help="verify an evidence bundle against suite, books, and ledger",
        description="Check the signature of an evidence bundle, recompute every number from the "
        "suite, its books, and the ledger, and name the levels reached: attested, recomputed, "
        "current. Exits with 0 if everything matches and the result is PASS; with 1 if something "
        "differs or the result isn't PASS; with 2 for invalid input; with 3 if nothing is wrong, "
        "but not everything could be recomputed.",
    )
    verify.add_argument("evidence", metavar="EVIDENCE", type=Path, help="the bundle (JSON)")
    verify.add_argument(
        "--ledger",
        metavar="URL",
        help="the bundle's ledger",
    )
    verify.add_argument(
        "--suite",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the suite file, if it isn't at the path that the bundle names",
    )
    verify.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        action="append",
        help="a folder from which the suite and its books may be read; no other file is opened "
        "(default: the current folder)",
    )
    verify.add_argument(
        "--public-key", metavar="FILE", type=Path, help="require a signature by this key (PEM)"
    )
    verify.add_argument(
        "--require-signature",
        action="store_true",
        help="fail if the bundle isn't signed, or its signature isn't verified",
    )
    verify.add_argument(
        "--timestamp", metavar="FILE", type=Path, help="verify this RFC 3161 time stamp of the file"
    )
    verify.add_argument(
        "--timestamp-roots",
        metavar="FILE",
        type=Path,
        help="certificates of the time stamp authorities that you trust (PEM)",
    )
    verify.add_argument(
        "--baseline",
        metavar="EVIDENCE",
        type=Path,
        help="recompute the comparison with this earlier release",
    )
    _add_expectations(verify)
    verify.add_argument(
        "--allow-failures",
        action="store_true",
        help="exit with 0 if everything matches, whatever the result (for archives)",
    )
    verify.set_defaults(run=_verify)


def _add_expectations(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("--release", metavar="NAME", help="require this release name")
    verify.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        default=[],
        help="require this model (the name that the server reports), and allow only models named "
        "this way; repeatable",
    )
    verify.add_argument(
        "--suite-sha256",
        metavar="HEX",
        type=_sha256,
        action="append",
        default=[],
        help="require this suite, by the SHA-256 of its file, and allow no other; repeatable",
    )
    verify.add_argument(
        "--not-before",
        metavar="DATE",
        type=_time,
        help="require that the bundle and its generations are from DATE or later",
    )
    verify.add_argument(BADGE.option, metavar=f"FILE{BADGE.ending}", type=Path, help=BADGE.help)


def _sha256(value: str) -> str:
    if len(value) != _HEX or not set(value.lower()) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"expected 64 hexadecimal digits, got {value[:80]!r}")
    return value.lower()


def _time(value: str) -> datetime.datetime:
    try:
        when = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date, as in 2026-11-30, got {value[:80]!r}"
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=datetime.UTC)


@dataclass(slots=True)
class _Findings:
    """Lines on what was verified, what was not, what is wrong, and what is missing.

    attested: whether a signature by the given key is valid
    complete: whether everything that can be recomputed was
    current:  whether the bundle meets all stated requirements, of which there are some
    """

    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    attested: bool = False
    complete: bool = True
    current: bool = False

    @property
    def levels(self) -> list[str]:
        """The levels of verification reached."""
        recomputed = self.complete and not self.wrong
        levels = {
            "attested": self.attested,
            "recomputed": recomputed,
            "current": recomputed and self.current,
        }
        return [level for level, is_reached in levels.items() if is_reached]

    def add(self, wrong: Sequence[str], checked: str) -> None:
        """Note what is wrong, or else that something was verified."""
        self.wrong += wrong
        self.checked += [] if wrong else [checked]


def _verify(parsed: argparse.Namespace) -> int:
    from pytest_memleak.results.evidence_file import digest_errors, read_evidence
    from pytest_memleak.results.run_evidence import Expected, unmet_expectations

    if parsed.badge and parsed.badge.suffix.lower() != BADGE.ending:
        hint = f"write {BADGE.option} NAME{BADGE.ending}"
        raise SettingsError("a badge is an SVG file", hint=hint)
    evidence = read_evidence(parsed.evidence)
    findings = _Findings(wrong=digest_errors(evidence.bundle))
    _check_signature(evidence, parsed, findings)
    _check_time_stamp(evidence, parsed, findings)
    if evidence.content.created > time.time() + _CLOCK_SKEW:
        findings.wrong.append(f"created: {evidence.bundle['created']} is in the future")
    expected = Expected(
        parsed.release, frozenset(parsed.model), frozenset(parsed.suite_sha256), parsed.not_before
    )
    if expected != Expected():
        unmet = [*unmet_expectations(expected, evidence.content)]
        findings.add(unmet, "the bundle meets all stated requirements")
        findings.current = not unmet
    if findings.wrong:
        findings.unchecked.append("numbers: not recomputed, because of the errors above")
        return _print_findings(parsed, evidence, findings)
    recomputed = _recompute(evidence, parsed)
    findings.wrong += recomputed.wrong
    findings.missing += recomputed.missing
    findings.checked += recomputed.checked
    findings.unchecked += recomputed.unchecked
    findings.complete = recomputed.complete
    _check_comparison(evidence, parsed, findings)
    return _print_findings(parsed, evidence, findings)


def _check_signature(
    evidence: EvidenceFile, parsed: argparse.Namespace, findings: _Findings
) -> None:
    from pytest_memleak.results.run_evidence import subjects

    is_signed = evidence.payload is not None
    if is_signed and evidence.subject != subjects(evidence.content.pairs):
        findings.wrong.append("subject: doesn't match the bundle's pairs")
    if parsed.public_key:
        from pytest_memleak.reports.signature import check_signature

        wrong = check_signature(evidence, parsed.public_key)
        findings.add(wrong, f"signed by the key in {parsed.public_key}")
        findings.attested = not wrong
    elif is_signed:
        findings.unchecked.append("Signature not verified: add --public-key")
    else:
        findings.unchecked.append("Not signed: the author is unverified")
    if parsed.require_signature and not parsed.public_key:
        findings.wrong.append(
            "signature: not verified; add --public-key" if is_signed else "signature: missing"
        )


def _check_time_stamp(
    evidence: EvidenceFile, parsed: argparse.Namespace, findings: _Findings
) -> None:
    if bool(parsed.timestamp) is not bool(parsed.timestamp_roots):
        raise EvidenceError("--timestamp and --timestamp-roots must be used together")
    if not parsed.timestamp:
        findings.unchecked.append("creation time: the author's statement, without a time stamp")
        return
    from pytest_memleak.reports.signature import check_time_stamp

    time, wrong = check_time_stamp(evidence, parsed.timestamp, parsed.timestamp_roots)
    stamped = time.astimezone(datetime.UTC).isoformat(timespec="seconds")
    findings.add(wrong, f"existed by {stamped} (time stamp {parsed.timestamp})")


def _check_comparison(
    evidence: EvidenceFile, parsed: argparse.Namespace, findings: _Findings
) -> None:
    if parsed.baseline:
        from pytest_memleak.results.release_comparison import comparison_differences

        wrong = comparison_differences(evidence, parsed.baseline)
        findings.add(wrong, f"comparison with {parsed.baseline}")
    elif evidence.content.compared:
        findings.complete = False
        findings.unchecked.append("comparison with an earlier release: add --baseline")


def _recompute(evidence: EvidenceFile, parsed: argparse.Namespace) -> Recomputation:
    from pytest_memleak.ledger.engines import file_of, parse_url
    from pytest_memleak.pipeline.recompute_evidence import recompute
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run

    path = file_of(parse_url(ledger_url(parsed)))
    is_there = path is None or path.exists()
    if is_there and path is not None and not path.is_file():
        raise EvidenceError("not a regular file", location=str(path))
    is_missing = evidence.content.ledger is not None and not is_there
    # The end of the second in which the bundle was made.
    resources = Resources(
        ledger_url(parsed) if is_there else "sqlite://",
        offline=True,
        as_of=evidence.content.created + 1,
        hosts=None,
    )
    run = Run(root=Path.cwd(), resources=resources)
    try:
        return recompute(
            evidence,
            run.of_suite,
            run.evaluate,
            resources,
            suites=parsed.suite,
            folders=parsed.folder or [Path.cwd()],
            models_named=bool(parsed.model),
            missing=[f"the ledger: no file {path}; add --ledger URL"] if is_missing else [],
        )
    finally:
        run.close()


# --- output --------------------------------------------------------------------------------


def _print_findings(parsed: argparse.Namespace, evidence: EvidenceFile, findings: _Findings) -> int:
    from pytest_memleak.results.run_verdict import verdict_counts

    bundle = evidence.content
    claim = f"{bundle.result} ({verdict_counts(bundle.pairs)})"
    if bundle.release:
        claim += f", release {bundle.release}"
    word = claim
    if findings.wrong:
        word = f"VERIFICATION FAILED: the bundle claims {claim}"
    elif not findings.complete:
        signature = "signature valid; " if findings.attested else ""
        amount = "nothing was recomputed" if findings.missing else "not everything was recomputed"
        word = f"{signature}{amount}. The bundle claims {claim}"
    print_sentence(inert(f"{parsed.evidence}: {word}"), indent=2)
    print(f"level: {', '.join(findings.levels) or 'none'}")
    _print_lines("missing", findings.missing)
    _print_lines("wrong", findings.wrong)
    _print_lines("verified", findings.checked)
    _print_lines("not verified", [*findings.unchecked, *_UNVERIFIABLE])
    verified = "recomputed" in findings.levels
    if parsed.badge and verified:
        BADGE.write(bundle, parsed.badge)
        print(f"badge: {parsed.badge}")
    elif parsed.badge:
        print(f"no badge: the bundle isn't fully verified; {parsed.badge} wasn't written")
    if not verified:
        return _FAILED if findings.wrong else _NOT_RECOMPUTED
    passed = bundle.result is Verdict.PASS or parsed.allow_failures
    return _VERIFIED if passed else _FAILED


def _print_lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{title}:")
    for line in lines:
        print_sentence(f"  {inert(line)}", indent=4)
