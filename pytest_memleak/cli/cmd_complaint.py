"""`memleak complaint`: the answer to prompts that someone says bring a book.

It plans, asks, and writes a folder: the suite, a signed bundle of evidence, and one
page, as HTML and as Markdown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.book_review import show_book_for_review
from pytest_memleak.cli.complaint_suite import ComplaintSuite
from pytest_memleak.cli.confirmation import ask_yes_or_no
from pytest_memleak.cli.default_ledger import default_ledger
from pytest_memleak.cli.plan_cost import most_cost_text
from pytest_memleak.cli.run_pytest import run_gate
from pytest_memleak.cli.shared_options import ENCODING, add_arguments
from pytest_memleak.cli.suite_template import (
    add_model_options,
    make_id,
    split_model_option,
    split_openable_model,
)
from pytest_memleak.cli.terminal_output import (
    command_line,
    print_sentence,
    printable_command,
)
from pytest_memleak.errors import SettingsError
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.reports.output_table import EVIDENCE

if TYPE_CHECKING:
    from pytest_memleak.books.prompt_file import NamedPrompt
    from pytest_memleak.sampling.cost_plan import Plan

SAMPLES = 299
"""Of each prompt: if none holds a passage, at most 1% do (95%, one-sided)."""

_SUITE = "complaint.memleak.toml"
_EVIDENCE = "complaint.json"
_PAGES = ("complaint.html", "complaint.md")
_STATUS = {Verdict.PASS: 0}


def add_complaint(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Register `memleak complaint`."""
    complaint = commands.add_parser(
        "complaint",
        help="ask the prompts of a complaint many times, and write the answer to it",
        description="Ask the prompts that are said to bring a book, many times each, "
        "and write a page and a bundle of evidence: what was claimed, what came of it, "
        "how often, and where. Exits with 0 if no passage is over the limits.",
    )
    add_arguments(
        complaint,
        {
            "book BOOK": "the book (.epub, .txt, ...)",
            "prompts PROMPTS": "the prompts, a JSON line each (docs/complaints.md)",
        },
    )
    add_model_options(complaint, required=True, price="; without it, only tokens")
    arguments = {
        "--control BOOK": "a book in no training set, for which the model is asked the "
        "same",
        "--control-prompts PROMPTS": "the same prompts, for the control",
        "--unread-model PROVIDER/NAME": "a model that can't know the book, asked the "
        "same",
        "--samples N": f"samples of each prompt (default: {SAMPLES})",
        "--signing-key FILE": "sign the evidence with this Ed25519 private key (PEM)",
        **ENCODING,
        "-y/--yes": "ask the model without confirmation",
        "-o/--output DIR": "the folder to write (default: complaint-BOOK)",
    }
    add_arguments(
        complaint,
        arguments,
        samples={"default": SAMPLES},
        control={"type": Path},
        control_prompts={"type": Path},
        output={"type": Path},
    )
    complaint.set_defaults(run=_run_complaint)


def _run_complaint(parsed: argparse.Namespace) -> int:
    from pytest_memleak.books.prompt_file import read_prompts

    named = read_prompts(parsed.prompts)
    suite = _suite_from_options(parsed)
    folder: Path = parsed.output or Path(f"complaint-{make_id(parsed.book.stem)}")
    path = folder / _SUITE
    is_new = not path.exists()
    if is_new:
        suite = _show_book_and_ask(suite, asked=not parsed.yes and sys.stdin.isatty())
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, suite.text(path))
    elif _suite_lines_without_approval(
        path.read_text("utf-8")
    ) != _suite_lines_without_approval(suite.text(path)):
        raise SettingsError(
            "this folder holds another complaint, or a suite that was changed",
            location=str(folder),
            hint="name a different folder with -o, or run its suite with pytest",
        )
    plan = _plan_of_written_suite(path, suite)
    _print_plan(plan, named, suite)
    if not parsed.yes and not ask_yes_or_no("Ask the model?"):
        print(f"No prompt was sent. Suite: {path}")
        return 0
    evidence = folder / _EVIDENCE
    options = [f"{EVIDENCE.option}={evidence}", *_host_options(suite)]
    if parsed.signing_key:
        options.append(f"--memleak-signing-key={parsed.signing_key}")
    run_gate(path, *options, folder=Path.cwd())
    if not evidence.exists():
        raise SettingsError(
            "the run left no evidence, so there is no answer yet",
            location=str(folder),
            hint="fix what the run names above, and run the same command again",
        )
    return _write_pages(folder, suite.pair, named, signed=bool(parsed.signing_key))


def _suite_from_options(parsed: argparse.Namespace) -> ComplaintSuite:
    provider, base = split_openable_model(parsed.model)
    unread = split_model_option(parsed.unread_model) if parsed.unread_model else None
    if parsed.samples < 1:
        raise SettingsError(
            f"--samples: expected 1 or more, got {parsed.samples}",
            hint=f"leave it out for {SAMPLES}",
        )
    control = None
    if bool(parsed.control) is not bool(parsed.control_prompts):
        raise SettingsError(
            "--control and --control-prompts must be used together",
            hint="name the control's book, and the same prompts for it",
        )
    if parsed.control:
        control = parsed.control, parsed.control_prompts
    return ComplaintSuite(
        book=parsed.book,
        prompts=parsed.prompts,
        provider=provider,
        base=base,
        samples=parsed.samples,
        base_url=parsed.base_url,
        price=parsed.price,
        control=control,
        unread=unread,
        encoding=parsed.encoding,
    )


def _show_book_and_ask(suite: ComplaintSuite, *, asked: bool) -> ComplaintSuite:
    """Show the book, and return the suite with the answer about it."""
    from dataclasses import replace

    shown = show_book_for_review(suite.book, encoding=suite.encoding, asked=asked)
    if shown is None:
        raise SettingsError(
            "it isn't the book of the complaint",
            location=str(suite.book),
            hint="name another file of it",
        )
    return replace(suite, words=shown.mode, review=shown.choice)


def _suite_lines_without_approval(text: str) -> list[str]:
    """Return a suite's lines, without what the book's screen added."""
    keys = ("approved = ", "exclude = ", "include = ", "word_mode = ")
    return [line for line in text.splitlines() if line and not line.startswith(keys)]


def _plan_of_written_suite(path: Path, suite: ComplaintSuite) -> Plan:
    from pytest_memleak.pipeline.dry_run import plan_run
    from pytest_memleak.pipeline.run import open_suite
    from pytest_memleak.sampling.cost_plan import sum_of_plans

    ledger = default_ledger([path])
    url = f"sqlite:///{ledger}" if ledger.exists() else "sqlite://"
    with open_suite(path, ledger=url, hosts=suite.hosts) as opened:
        plan = plan_run(opened.suite.pairs, lambda _: opened)
        if plan.obstacles:
            message = f"the complaint can't be planned: {plan.obstacles[0]}"
            hint = "correct that, and run the same command again"
            raise SettingsError(message, location=str(path), hint=hint)
        return sum_of_plans([step.sampling for step in plan.steps if step.sampling])


def _print_plan(
    plan: Plan,
    named: tuple[NamedPrompt, ...],
    suite: ComplaintSuite,
) -> None:
    prompts = amount(len(named), "prompt")
    samples = amount(suite.samples, "sample")
    print_sentence(
        f"Complaint: {prompts}, {samples} each; {plan.calls:,} calls are left.",
    )
    print_sentence(f"Cost: {most_cost_text(plan)}.")
    if suite.control is None and suite.unread is None:
        print_sentence(
            "No control is asked: --control with --control-prompts, and "
            "--unread-model, name some.",
        )


def _host_options(suite: ComplaintSuite) -> list[str]:
    options: list[str] = []
    for host in suite.hosts:
        options += ["--memleak-host", host]
    return options


def _write_pages(
    folder: Path,
    pair: str,
    named: tuple[NamedPrompt, ...],
    *,
    signed: bool,
) -> int:
    """Write the pages from the evidence; return the command's exit code."""
    from pytest_memleak.reports.complaint_page import (
        Complaint,
        complaint_answer,
        complaint_blocks,
        complaint_title,
    )
    from pytest_memleak.reports.plain_page import html_page, markdown_page
    from pytest_memleak.results.evidence_file import read_evidence

    bundle = read_evidence(folder / _EVIDENCE).content
    result = next(each for each in bundle.pairs if each.pair == pair)
    check = ["memleak", "verify", str(folder / _EVIDENCE)]
    if signed:
        check += ["--public-key", "KEY.pub.pem"]
    complaint = Complaint(
        result=result,
        controls=[each for each in bundle.pairs if each.pair != pair],
        prompts={each.prompt.id: each.prompt.instruction for each in named},
        bundle=bundle,
        file=_EVIDENCE,
        check=command_line(*check),
    )
    blocks = list(complaint_blocks(complaint))
    page, text = (folder / name for name in _PAGES)
    write_whole(page, html_page(blocks, title=complaint_title(complaint)))
    write_whole(text, markdown_page(blocks))
    print()
    print_sentence(f"Answer: {complaint_answer(result)}")
    print(f"Page: {page}, {text}")
    print(f"To verify the evidence: {printable_command(complaint.check)}")
    return _STATUS.get(result.plain_verdict, 1)
