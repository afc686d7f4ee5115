"""`memleak disclose`: one passage of a bundle, with a proof that it is the bundle's."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.default_ledger import ledger_url, pytest_rootdir
from pytest_memleak.cli.shared_options import (
    REPEATED,
    add_command,
    existing_ledger,
    validate_output,
)
from pytest_memleak.cli.terminal_output import command_line, next_step, print_sentence
from pytest_memleak.errors import EvidenceError, file_errors
from pytest_memleak.records.number_format import amount, first_three

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.evidence_file import Bundle, EvidenceFile
    from pytest_memleak.verdict.evaluation import Evaluation


def add_disclose(commands: Commands) -> None:
    """Register `memleak disclose`."""
    add_command(
        commands,
        "disclose",
        _run_disclose,
        "write one passage of a bundle, with a proof that it is the bundle's",
        "Write the prompt and the words of one passage, recomputed from suite, book, "
        "and ledger, with a proof that memleak verify --disclosed checks against the "
        "bundle alone. The file holds no other words of book or generations; a prompt "
        "that quotes the book is left out. Passages are numbered as reports list them, "
        "from 1.",
        arguments={
            "evidence EVIDENCE": "the bundle (JSON)",
            "--pair PAIR": "the pair, as MODEL/BOOK",
            "--passage N": "the passage's number (default: 1, the longest)",
            "-o/--output FILE": "the file to write (default: passage.json)",
            "--ledger URL": "the bundle's ledger",
            "--suite FILE": "the suite file, if it isn't at the path that the bundle "
            "names",
            "--folder DIR": "a folder from which the suite and its books may be read "
            "(default: the current folder)",
        },
        pair={"required": True},
        passage={"default": 1},
        output={"default": Path("passage.json")},
        suite=REPEATED,
        folder={"action": "append"},
    )


def _run_disclose(parsed: argparse.Namespace) -> int:
    from pytest_memleak.redaction.file_writing import write_whole
    from pytest_memleak.results.committed_passages import (
        disclose,
        disclosure_faults,
        written,
    )
    from pytest_memleak.results.evidence_file import read_unchanged

    validate_output(parsed.output, [parsed.evidence, *parsed.suite])
    evidence = read_unchanged(parsed.evidence)
    claimed = _pair_of_options(evidence.content, parsed)
    evaluation = _evaluate_claimed_pair(evidence, claimed, parsed)
    disclosed = disclose(evaluation, parsed.passage, evidence.content.sha256)
    if list(disclosure_faults(disclosed, evidence.content)):
        raise EvidenceError(
            f"suite, book, and ledger here don't give its passage {parsed.passage}",
            location=str(parsed.evidence),
            hint=f"see what differs: memleak verify {parsed.evidence}",
        )
    with file_errors(EvidenceError, parsed.output, "can't be written"):
        write_whole(parsed.output, written(disclosed))
    words = claimed.committed[parsed.passage - 1].words
    print_sentence(
        f"{parsed.output} has the passage of {amount(words, 'word')}: protected text, "
        "for whom it was agreed with.",
    )
    verify = ("memleak", "verify", parsed.evidence, "--disclosed", parsed.output)
    print(next_step(command_line(*verify), "what its receiver types"))
    return 0


def _pair_of_options(bundle: Bundle, parsed: argparse.Namespace) -> PairResult:
    pairs = [pair for pair in bundle.pairs if pair.pair == parsed.pair]
    if not pairs:
        names = first_three([pair.pair for pair in bundle.pairs])
        raise EvidenceError(
            f"no pair {parsed.pair!r}",
            location=str(parsed.evidence),
            hint=f"its pairs are {names}",
        )
    return pairs[0]


def _evaluate_claimed_pair(
    evidence: EvidenceFile,
    claimed: PairResult,
    parsed: argparse.Namespace,
) -> Evaluation:
    from pytest_memleak.pipeline.recompute_evidence import evaluate_as_claimed
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run

    url = "sqlite://"
    if evidence.content.ledger is not None:
        with existing_ledger(parsed):
            url = ledger_url(parsed)
    resources = Resources(
        url,
        offline=True,
        as_of=evidence.content.created + 1,
        hosts=None,
    )
    root = pytest_rootdir(parsed.suite)
    with contextlib.closing(Run(root=root, resources=resources)) as run:
        return evaluate_as_claimed(
            evidence,
            claimed,
            resources=resources,
            suite_run_for=run.suite_run_for,
            evaluate=run.evaluate,
            suites=parsed.suite,
            folders=parsed.folder or [Path.cwd()],
        )
