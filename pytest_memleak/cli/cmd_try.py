"""`memleak try`: a first verdict on a book and a model.

It writes a suite file. Neutral prompts test the endpoint first, so that its parameters,
its identity, and the run's duration are known before the user confirms any prompt about
the book.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.cli.book_review import NO_SUITE, show_book_for_review, word_mode_of
from pytest_memleak.cli.confirmation import ask_yes_or_no
from pytest_memleak.cli.default_ledger import default_ledger
from pytest_memleak.cli.elapsed_time import show_elapsed
from pytest_memleak.cli.existing_suite import (
    deadline_of_suite,
    differences_from_suite,
)
from pytest_memleak.cli.neutral_prompts import (
    Preflight,
    accepted_keys,
    print_preflight_result,
)
from pytest_memleak.cli.option_errors import errors_of_options
from pytest_memleak.cli.plan_cost import cost_rounded_up_to_cents, most_cost_text
from pytest_memleak.cli.run_pytest import INTERRUPTED, run_gate
from pytest_memleak.cli.shared_options import ENCODING, add_arguments
from pytest_memleak.cli.suite_template import (
    RELEASE_SAMPLES,
    Draft,
    add_model_options,
    make_id,
    split_openable_model,
    suite_path,
)
from pytest_memleak.cli.terminal_output import (
    command_line,
    next_step,
    print_sentence,
    printable_command,
)
from pytest_memleak.cli.time_estimate import BASE_MODEL, PreflightResult
from pytest_memleak.errors import SettingsError
from pytest_memleak.records.number_format import amount, percent_at_most
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.reports.output_table import HTML

if TYPE_CHECKING:
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Model
    from pytest_memleak.sampling.cost_plan import Plan

_MINUTES = 5
_NO_LEDGER = "sqlite://"  # in memory, so empty


class _Probe(NamedTuple):
    """A first probe of the book, ready to be confirmed.

    draft:   the suite, with the samples that fit into the time
    plan:    what is still to be sampled
    stored:  the number of generations that the ledger holds already
    release: what a release test would sample
    seconds: the estimated duration
    """

    draft: Draft
    trial: PreflightResult
    plan: Plan
    stored: int
    release: Plan
    seconds: float


def add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak try`."""
    trial = commands.add_parser(
        "try",
        help="test a model on a book; shows a first verdict in about five minutes",
        description="Check the endpoint, show the cost, ask for confirmation, run a "
        "first probe of the book, and write a suite file. Exits with pytest's code: 0 "
        "if all limits hold.",
    )
    add_arguments(trial, {"book BOOK": "the book (.epub, .txt, ...)"})
    add_model_options(trial, required=True, price="; without it, only tokens are shown")
    arguments = {
        **ENCODING,
        "-y/--yes": "run without confirmation",
        "-o/--output SUITE": "the suite file (default: MODEL-BOOK.memleak.toml)",
    }
    add_arguments(trial, arguments, output={"type": suite_path})
    trial.set_defaults(run=_run_try)


def _run_try(parsed: argparse.Namespace) -> int:
    mode = word_mode_of(parsed.book, encoding=parsed.encoding)
    provider, base_model = split_openable_model(parsed.model)
    name = f"{make_id(base_model)}-{make_id(parsed.book.stem)}.memleak.toml"
    path: Path = parsed.output or Path(name)
    draft = Draft(
        (parsed.book,),
        provider,
        base_model,
        1,
        1.0,
        base_url=parsed.base_url,
        price=parsed.price,
        encoding=parsed.encoding,
    )
    if path.exists():
        return _run_existing(path, draft, yes=parsed.yes)
    asked = not parsed.yes and sys.stdin.isatty()
    draft = replace(draft, words=mode)
    write_whole(path, draft.text(path))
    try:
        # Before the question on the book, which a wrong key would make vain.
        trial = _sample_neutral_prompts(path, draft, asked=asked)
        if trial is None:
            print("Nothing was sent.")
            path.unlink()
            return 1
        print_preflight_result(trial)
        draft = replace(draft, text_only=trial.text_only, learned=accepted_keys(trial))
        shown = show_book_for_review(parsed.book, encoding=parsed.encoding, asked=asked)
        if shown is None:
            print_sentence(NO_SUITE)
            path.unlink()
            return 1
        choices = {parsed.book: shown.choice}
        draft = replace(draft, words=shown.mode, choices=choices)
        probe = _prepare_probe(path, draft, trial)
        _print_plan(path, probe)
        confirmed = parsed.yes or ask_yes_or_no("Run the probe?")
    except BaseException:
        path.unlink(missing_ok=True)  # the suite is not complete
        raise
    if not confirmed:
        print(f"No prompt about the book was sent. Suite: {path}")
        print(next_step(_gate_command(path, *draft.options), "run the probe later"))
        return 0
    return _run_probe(path, probe.draft, cost_rounded_up_to_cents(probe.plan))


def _run_existing(
    path: Path,
    draft: Draft,
    *,
    yes: bool,
) -> int:
    """Run the suite that an earlier try left, after a yes.

    yes: whether the yes was given as an option
    Raises SettingsError for a suite of another model or book.
    """
    from pytest_memleak.pipeline.run import open_suite
    from pytest_memleak.sampling.cost_plan import sum_of_plans

    subject = f"{draft.base} and {draft.books[0].name}"
    differences = differences_from_suite(path, draft)
    if differences:
        raise SettingsError(
            f"this suite already exists, and isn't for {subject}: {differences}",
            location=str(path),
            hint="name a different file with -o; to run this suite: "
            f"{_gate_command(path, *draft.options)}",
        )
    draft = replace(draft, deadline=deadline_of_suite(path))
    plan = sum_of_plans(_plan_of(path, draft, _ledger_beside(path)))
    if plan.generations:
        with open_suite(path, hosts=draft.hosts) as suite:
            for model in suite.suite.models:
                _validate_access(suite, model)
    print_sentence(f"{path} is a suite for {subject} already.")
    print_sentence(f"Cost of what is left: {most_cost_text(plan)}.")
    if not (yes or ask_yes_or_no("Run it?")):
        print(next_step(_gate_command(path, *draft.options), "run it later"))
        return 0
    return _run_probe(path, draft, cost_rounded_up_to_cents(plan))


def _ledger_beside(path: Path) -> str:
    """Return the URL of the ledger that a run will use, or of an empty one."""
    ledger = default_ledger([path])
    return f"sqlite:///{ledger}" if ledger.exists() else _NO_LEDGER


def _prepare_probe(path: Path, draft: Draft, trial: PreflightResult) -> _Probe:
    """Write the suite with as many samples as the time allows."""
    from pytest_memleak.sampling.cost_plan import sum_of_plans

    single = _make_plan(path, draft)
    samples = trial.samples_that_fit(_MINUTES * 60, single)
    release = sum_of_plans(_make_plan(path, replace(draft, samples=RELEASE_SAMPLES)))
    # If one generation in ten is withheld, rounded up.
    limit = math.ceil(100 * _detection_limit(samples * 9 // 10)) / 100
    draft = replace(
        draft,
        samples=samples,
        detection_limit=limit,
        deadline=trial.call_deadline_needed(single, samples),
    )
    full_plans = plans = _make_plan(path, draft)
    ledger = _ledger_beside(path)
    if ledger != _NO_LEDGER:
        plans = _make_plan(path, draft, ledger)
    plan = sum_of_plans(plans)
    stored = sum_of_plans(full_plans).generations - plan.generations
    return _Probe(draft, trial, plan, stored, release, trial.seconds_of(plans))


def _run_probe(
    path: Path,
    draft: Draft,
    cost: float | None,
) -> int:
    """Run the probe, at most for the time that it may take, and say what to do next."""
    options = [*draft.options]
    typed = _gate_command(path, *draft.options)
    if cost:
        options.append(f"--memleak-budget={cost:.2f}")
    folder = Path.cwd()
    seconds = _minutes_of_run(draft) * 60
    status = run_gate(path, *options, folder=folder, seconds=seconds, typed=typed)
    stopped = status is None
    if stopped:
        print(f"\nStopped after {_minutes_of_run(draft)} minutes. Results so far:")
        status = run_gate(path, "--memleak-offline", folder=folder, typed=typed)
    if stopped or status == INTERRUPTED:
        left = _plan_of(path, draft, f"sqlite:///{default_ledger([path])}")
        missing = sum(plan.generations + plan.pending for plan in left)
        print(f"\nNot sampled yet: {amount(missing, 'generation')}.")
        print(f"To go on: {printable_command(typed)}")
    print(f"\nSuite: {path}\nGenerations: {os.path.relpath(default_ledger([path]))}")
    print_sentence(
        "This first probe can miss passages rarer than the detection limit above. It "
        "doesn't replace a release test: memleak init writes a suite for one.",
    )
    page = path.name.removesuffix(".memleak.toml") + ".html"
    report = _gate_command(path, *draft.options, f"{HTML.option}={page}")
    print(f"HTML report: {printable_command(report)}")
    return int(status or 0)


def _detection_limit(samples: int) -> float:
    from pytest_memleak.scoring.detection_limit import detection_limit

    return detection_limit(max(1, samples), confidence=0.95)


def _gate_command(path: Path, *options: str) -> str:
    return command_line("pytest", "-m", "copyright", path, *options)


def _minutes_of_run(draft: Draft) -> int:
    """Return the run's minutes, enough for the first calls of a slow server."""
    return max(_MINUTES, math.ceil((draft.deadline or 0) / 60))


# --- the endpoint


def _sample_neutral_prompts(
    path: Path,
    draft: Draft,
    *,
    asked: bool,
) -> PreflightResult | None:
    """Sample the neutral prompts, as plain text if the server has no chats.

    asked: whether someone can say no, which returns None; free calls need no yes
    """
    from pytest_memleak.interfaces.abilities import abilities_of
    from pytest_memleak.pipeline.detection_table import limits_that_cant_pass
    from pytest_memleak.pipeline.run import open_suite

    with (
        errors_of_options(path, draft),
        open_suite(path, hosts=draft.hosts) as suite,
    ):
        (pair,) = suite.suite.pairs
        _validate_access(suite, pair.model)
        endpoint = suite.endpoints.open_endpoint(pair.model)
        abilities = abilities_of(endpoint)
        if abilities.recording is not None:
            raise SettingsError(
                f"provider {pair.model.provider!r} reads files and has no endpoint to "
                "test",
                hint="measure files with: memleak score BOOK.json GENERATIONS.json",
            )
        if draft.text_only or abilities.chats():
            for limit in limits_that_cant_pass([pair], suite):
                print_sentence(limit)
            preflight = Preflight.of(suite, pair.model)
            print_sentence(f"Testing {draft.base}: {preflight.cost} ...")
            sys.stdout.flush()
            may_cost = not (suite.endpoints.is_free(pair.model) or draft.is_local)
            if asked and may_cost and not ask_yes_or_no("Send them?"):
                return None
            with show_elapsed("waiting for the server"):
                trial = preflight.run()
            return replace(trial, text_only=draft.text_only or trial.text_only)
    print_sentence(BASE_MODEL)
    draft = replace(draft, text_only=True)
    write_whole(path, draft.text(path))
    return _sample_neutral_prompts(path, draft, asked=asked)


def _validate_access(suite: SuiteRun, model: Model) -> None:
    """Raise SuiteError for bad options, or a key that is missing, before any call."""
    from pytest_memleak.cli.model_checks import validate_variables

    suite.endpoints.provider(model)
    validate_variables(model, place=suite.endpoints.model_place(model))


# --- the plan


def _make_plan(
    path: Path,
    draft: Draft,
    ledger: str = _NO_LEDGER,
) -> list[Plan]:
    """Write the draft, and plan it."""
    write_whole(path, draft.text(path))
    return _plan_of(path, draft, ledger)


def _plan_of(path: Path, draft: Draft, ledger: str) -> list[Plan]:
    """Return each step's plan of a suite, the first with the canaries, too."""
    from pytest_memleak.pipeline.dry_run import plan_run
    from pytest_memleak.pipeline.run import open_suite

    with open_suite(path, ledger=ledger, hosts=draft.hosts) as suite:
        plan = plan_run(suite.suite.pairs, lambda _: suite)
        if plan.obstacles:
            message = f"the probe can't be planned: {plan.obstacles[0]}"
            raise SettingsError(message, location=str(path))
        return [step.sampling for step in plan.steps if step.sampling]


def _print_plan(path: Path, probe: _Probe) -> None:
    draft = probe.draft
    print()
    excerpts = amount(probe.trial.excerpts, "excerpt")
    print_sentence(
        f"Probe: the model continues the beginning of {excerpts}, "
        f"{amount(draft.samples, 'time')} each.",
    )
    more = "" if draft.price else "; add --price IN,OUT to see it in US$"
    print_sentence(f"Cost: {most_cost_text(probe.plan)}{more}.")
    shown = percent_at_most(_detection_limit(draft.samples))
    release = percent_at_most(_detection_limit(RELEASE_SAMPLES))
    print_sentence(
        f"The probe shows passages in more than {shown} of a prompt's generations; "
        f"rarer ones can go unseen. {RELEASE_SAMPLES} samples (memleak init) would "
        f"show {release}, for {most_cost_text(probe.release)}.",
    )
    minutes = max(1, math.ceil(probe.seconds / 60))
    most = _minutes_of_run(draft)
    estimate = f"Estimated time: {amount(minutes, 'minute')}."
    if minutes > most:
        estimate += f" This run stops after {most}; rerun the suite to continue."
    print_sentence(estimate)
    if probe.stored:
        place = os.path.relpath(default_ledger([path]))
        print_sentence(
            f"{place} holds {amount(probe.stored, 'generation')} from an earlier run. "
            "They will be reused.",
        )
