"""`memleak verify`: whether evidence of a release is what it says, and what it says."""

from __future__ import annotations

import argparse
import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.pipeline.recompute_evidence import Recomputation
    from pytest_memleak.results.evidence_file import EvidenceFile

_HOLDS, _DOES_NOT = 0, 1
_HEX = 64
_CLOCKS_APART = datetime.timedelta(hours=1)
_TAKEN_AS_SAID = (
    "what was selected or broken, how tests ended and the release's name are as its maker said",
    "who answered, and what, is as the ledger has it, which its maker could write",
)


def add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak verify`."""
    verify = commands.add_parser(
        "verify",
        help="check the evidence of a release against ledger and books",
        description="Compute every number of an evidence bundle again, from the suite, its books "
        "and the ledger. Exit code 0: all of it holds, and the result is PASS; 1: something "
        "differs, could not be computed, or is no PASS; 2: bad input.",
    )
    verify.add_argument("evidence", metavar="EVIDENCE", type=Path, help="the bundle (JSON)")
    verify.add_argument(
        "--ledger", metavar="URL", default="sqlite:///.memleak/ledger.db", help="its ledger"
    )
    verify.add_argument(
        "--suite",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the suite file, where it is not at the path that the bundle names",
    )
    verify.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        action="append",
        help="where the suite and what it names may be read; nothing else is opened",
    )
    verify.add_argument(
        "--public-key", metavar="FILE", type=Path, help="require a signature by this key (PEM)"
    )
    verify.add_argument(
        "--require-signature",
        action="store_true",
        help="refuse what is unsigned, or whose signature is not checked",
    )
    verify.add_argument(
        "--timestamp", metavar="FILE", type=Path, help="check this RFC 3161 time stamp of the file"
    )
    verify.add_argument(
        "--timestamp-roots",
        metavar="FILE",
        type=Path,
        help="certificates of the time stamp authorities that are trusted (PEM)",
    )
    verify.add_argument(
        "--baseline",
        metavar="EVIDENCE",
        type=Path,
        help="compute the comparison with this earlier release again",
    )
    _add_expectations(verify)
    verify.add_argument(
        "--allow-failures",
        action="store_true",
        help="exit with 0 where all of it holds, whatever the result (for archives)",
    )
    verify.set_defaults(run=_verify)


def _add_expectations(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("--release", metavar="NAME", help="the release that it has to be of")
    verify.add_argument(
        "--model",
        metavar="NAME",
        action="append",
        default=[],
        help="a model that it has to be of, by the server's name; it may have no other",
    )
    verify.add_argument(
        "--suite-sha256",
        metavar="HEX",
        type=_sha256,
        action="append",
        default=[],
        help="a suite that it has to be of, by its file's digest; it may have no other",
    )
    verify.add_argument(
        "--not-before",
        metavar="DATE",
        type=_time,
        help="when it may have been made, and its answers drawn, at the earliest",
    )
    verify.add_argument(
        "--badge",
        metavar="FILE.svg",
        type=Path,
        help="write a badge of the result, where all of it was computed again and holds",
    )


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
    """What was found to hold, what nobody can tell, and what is not so.

    complete: whether all that can be computed again was
    """

    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    complete: bool = True


def _verify(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.results.evidence_file import digest_errors, read_evidence
    from pytest_memleak.results.run_evidence import Expected, unmet_expectations

    if parsed.badge and parsed.badge.suffix.lower() != ".svg":
        raise SettingsError("a badge is an SVG file", hint="write --badge NAME.svg")
    evidence = read_evidence(parsed.evidence)
    found = _Findings(wrong=digest_errors(evidence.bundle))
    _check_signature(evidence, parsed, found)
    _check_time_stamp(evidence, parsed, found)
    _check_date(evidence, found)
    expected = Expected(
        parsed.release, frozenset(parsed.model), frozenset(parsed.suite_sha256), parsed.not_before
    )
    if expected != Expected():
        met = [*unmet_expectations(expected, evidence.bundle)]
        found.wrong += met
        found.checked += [] if met else ["it is of the release that was asked for"]
    if found.wrong:
        found.unchecked.append("nothing was computed again, since that much is wrong already")
        return _told(parsed, evidence, found)
    again = _again(evidence, parsed)
    found.wrong += again.wrong
    found.checked += again.checked
    found.unchecked += again.unchecked
    found.complete = again.complete
    _check_comparison(evidence, parsed, found)
    return _told(parsed, evidence, found)


def _check_signature(evidence: EvidenceFile, parsed: argparse.Namespace, found: _Findings) -> None:
    from pytest_memleak.results.run_evidence import subjects

    if evidence.statement and evidence.statement["subject"] != subjects(evidence.bundle):
        found.wrong.append("subject: it is not what the bundle's pairs give")
    if parsed.public_key:
        from pytest_memleak.reports.signature import check_signature

        wrong = check_signature(evidence, parsed.public_key)
        found.wrong += wrong
        found.checked += [] if wrong else [f"signed by the key in {parsed.public_key}"]
    elif evidence.envelope is not None:
        found.unchecked.append("SIGNED, BUT BY WHOM WAS NOT CHECKED: give --public-key")
    else:
        found.unchecked.append("UNSIGNED: anybody can have written it")
    if parsed.require_signature and not parsed.public_key:
        found.wrong.append(
            "signature: there is none"
            if evidence.envelope is None
            else "signature: it was not checked, for want of --public-key"
        )


def _check_time_stamp(evidence: EvidenceFile, parsed: argparse.Namespace, found: _Findings) -> None:
    from pytest_memleak.errors import EvidenceError

    if bool(parsed.timestamp) is not bool(parsed.timestamp_roots):
        raise EvidenceError("--timestamp and --timestamp-roots: one needs the other")
    if not parsed.timestamp:
        found.unchecked.append("when it was made is its maker's word: there is no time stamp")
        return
    from pytest_memleak.reports.signature import check_time_stamp

    when, wrong = check_time_stamp(evidence, parsed.timestamp, parsed.timestamp_roots)
    found.wrong += wrong
    if not wrong:
        told = when.astimezone(datetime.UTC).isoformat(timespec="seconds")
        found.checked.append(f"it was there by {told}, as {parsed.timestamp} says")


def _check_date(evidence: EvidenceFile, found: _Findings) -> None:
    created = datetime.datetime.fromisoformat(evidence.bundle["created"])
    if created > datetime.datetime.now(datetime.UTC) + _CLOCKS_APART:
        found.wrong.append(f"created: {evidence.bundle['created']} is yet to come")


def _check_comparison(evidence: EvidenceFile, parsed: argparse.Namespace, found: _Findings) -> None:
    if parsed.baseline:
        from pytest_memleak.results.release_comparison import comparison_differences

        wrong = comparison_differences(evidence.bundle, parsed.baseline)
        found.wrong += wrong
        found.checked += [] if wrong else [f"compared with {parsed.baseline}, it is as it says"]
    elif evidence.bundle["compared"]:
        found.complete = False
        found.unchecked.append("what it says against an earlier release: give --baseline")


def _again(evidence: EvidenceFile, parsed: argparse.Namespace) -> Recomputation:
    from pytest_memleak.errors import EvidenceError
    from pytest_memleak.ledger.engines import file_of, parsed_url
    from pytest_memleak.pipeline.recompute_evidence import end_of, recompute
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run

    url = parsed.ledger
    path = file_of(parsed_url(url))
    if path is not None and not path.exists():
        url = "sqlite://"  # none is begun: what it had is missing
    elif path is not None and not path.is_file():
        raise EvidenceError("not a plain file", location=str(path))
    resources = Resources(url, offline=True, as_of=end_of(evidence.bundle["created"]))
    run = Run(root=Path.cwd(), resources=resources)
    try:
        return recompute(
            evidence.bundle,
            run.of_suite,
            run.evaluate,
            resources,
            suites=parsed.suite,
            folders=parsed.folder or [Path.cwd()],
            models_named=bool(parsed.model),
        )
    finally:
        run.close()


# --- what is printed -----------------------------------------------------------------------


def _told(parsed: argparse.Namespace, evidence: EvidenceFile, found: _Findings) -> int:
    from pytest_memleak.records import Verdict
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.results.run_verdict import verdict_counts

    made = evidence.bundle
    says = f"{made['result']} ({verdict_counts(made['pairs'])})"
    if made["release"]:
        says += f", release {made['release']}"
    word = says
    if found.wrong:
        word = f"DOES NOT HOLD; it says {says}"
    elif not found.complete:
        word = f"NOT ALL COULD BE COMPUTED AGAIN; it says {says}"
    print(inert(f"{parsed.evidence}: {word}"))
    _list("wrong", found.wrong)
    _list("checked", found.checked)
    _list("not checked", [*found.unchecked, *_TAKEN_AS_SAID])
    holds = found.complete and not found.wrong
    if parsed.badge:
        _write_badge(parsed.badge, made, holds=holds)
    passed = made["result"] == Verdict.PASS or parsed.allow_failures
    return _HOLDS if passed and holds else _DOES_NOT


def _write_badge(path: Path, made: dict[str, Any], *, holds: bool) -> None:
    from pytest_memleak.redaction.atomic_write import write_whole
    from pytest_memleak.reports.badge import badge

    if not holds:
        print(f"no badge: not all of it was computed again and holds; {path} is as it was")
        return
    write_whole(path, badge(made))
    print(f"badge: {path}")


def _list(title: str, lines: Sequence[str]) -> None:
    from pytest_memleak.redaction.text import inert

    if lines:
        print(f"{title}:")
    for line in lines:
        print(f"  {inert(line)}")
