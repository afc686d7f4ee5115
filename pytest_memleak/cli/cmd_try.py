"""`memleak try`: a first verdict on a book and a model. `memleak demo`: the quickstart.

`try` writes a suite file. A neutral prompt tests the endpoint first, so that its
parameters, its identity, and the run's duration are known before the user confirms any
prompt about the book.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.columns import command_line, next_step, print_sentence
from pytest_memleak.cli.endpoint_trial import BASE_MODEL, Trial, sample_neutral
from pytest_memleak.cli.shared_options import add_arguments, add_command, default_ledger
from pytest_memleak.cli.suite_template import (
    RELEASE_SAMPLES,
    Draft,
    add_model_options,
    identifier,
    model_named,
    suite_path,
)
from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.records import Scoring, WordMode
from pytest_memleak.records.number_format import amount, percent_at_most
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.output_table import HTML

if TYPE_CHECKING:
    from pytest_memleak.sampling.cost_plan import Plan

_MINUTES = 5
_INTERRUPTED = 130


def add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak try`."""
    trial = commands.add_parser(
        "try",
        help="test a model on a book; shows a first verdict in about five minutes",
        description="Check the endpoint, show the cost, ask for confirmation, run a first probe of "
        "the book, and write a suite file. Exits with pytest's code: 0 if all limits "
        "hold.",
    )
    add_arguments(trial, {"book BOOK": "the book (.epub, .txt, ...)"})
    add_model_options(trial, required=True, price="; without it, only tokens are shown")
    arguments = {
        "-y/--yes": "run without confirmation",
        "-o/--output SUITE": "the suite file (default: MODEL-BOOK.memleak.toml)",
    }
    add_arguments(trial, arguments, output={"type": suite_path})
    trial.set_defaults(run=_try)


def _try(parsed: argparse.Namespace) -> int:
    provider, base_model = model_named(parsed.model)
    name = f"{identifier(base_model)}-{identifier(parsed.book.stem)}.memleak.toml"
    path: Path = parsed.output or Path(name)
    draft = Draft(
        (parsed.book,),
        provider,
        base_model,
        1,
        1.0,
        base_url=parsed.base_url,
        price=parsed.price,
    )
    from pytest_memleak.sampling.cost_plan import in_all

    if path.exists():
        raise SettingsError(
            "this suite already exists",
            location=str(path),
            hint="for another model or server, name a different file with -o; to run this suite: "
            f"{_gate(path, *draft.options)}",
        )
    draft = replace(draft, words=_word_mode_for(parsed.book))
    write_whole(path, draft.text(path))
    try:
        print_sentence(f"Testing {base_model} with a neutral prompt ...")
        sys.stdout.flush()
        trial = _try_endpoint(path, draft)
        draft = replace(draft, text_only=trial.text_only)
        single = _make_plan(path, draft)
        samples = trial.samples_in(_MINUTES * 60, single)
        release = in_all(_make_plan(path, replace(draft, samples=RELEASE_SAMPLES)))
        # If one generation in ten is withheld, rounded up.
        limit = math.ceil(100 * _detection_limit(samples * 9 // 10)) / 100
        deadline = trial.deadline(single, samples)
        draft = replace(
            draft, samples=samples, detection_limit=limit, deadline=deadline
        )
        plans = full_plans = _make_plan(path, draft)
        ledger_path = default_ledger()
        if ledger_path.exists():
            plans = _make_plan(path, draft, f"sqlite:///{ledger_path}")
        plan, full_plan = in_all(plans), in_all(full_plans)
        stored = full_plan.generations - plan.generations
        _print_plan(trial, plan, draft, release, trial.seconds_of(plans))
        if stored:
            print_sentence(
                f"{os.path.relpath(ledger_path)} holds {amount(stored, 'generation')} "
                "from an "
                "earlier run. They will be reused."
            )
        confirmed = parsed.yes or _is_confirmed()
    except BaseException:
        path.unlink()  # the suite is not complete
        raise
    if not confirmed:
        print(f"No prompt about the book was sent. Suite: {path}")
        print(next_step(_gate(path, *draft.options), "run the probe later"))
        return 0
    return _run(path, draft, _cents(plan))


def _run(path: Path, draft: Draft, cost: float | None) -> int:
    options = [*draft.options, *([f"--memleak-budget={cost:.2f}"] if cost else [])]
    status = run_gate(
        path, *options, folder=Path.cwd(), seconds=_stop_after(draft) * 60
    )
    more = "reuse these generations and write an HTML report"
    if status in {None, _INTERRUPTED}:
        if status is None:
            print(f"\nStopped after {_stop_after(draft)} minutes. Results so far:")
            status = run_gate(path, "--memleak-offline", folder=Path.cwd())
        left = _make_plan(path, draft, f"sqlite:///{default_ledger()}")
        missing = sum(plan.generations + plan.pending for plan in left)
        print(f"\nNot sampled yet: {amount(missing, 'generation')}.")
        more = "continue this run"
    print(f"\nSuite: {path}\nGenerations: {os.path.relpath(default_ledger())}")
    print_sentence(
        "This first probe can miss passages rarer than the detection limit above. It "
        "doesn't "
        "replace a release test: memleak init writes a suite for one."
    )
    page = path.name.removesuffix(".memleak.toml") + ".html"
    print(next_step(_gate(path, *draft.options, f"{HTML.option}={page}"), more))
    return int(status or 0)


def _cents(plan: Plan) -> float | None:
    """Return the plan's cost in US$, rounded up to cents; None without prices."""
    return None if plan.cost is None else math.ceil(plan.cost * 100) / 100


def _detection_limit(samples: int) -> float:
    from pytest_memleak.scoring.confidence_bounds import detection_limit

    return detection_limit(max(1, samples), confidence=0.95)


def _gate(path: Path, *options: str) -> str:
    return command_line("pytest", "-m", "copyright", path, *options)


def _stop_after(draft: Draft) -> int:
    """Return the minutes that the run may take, enough for the first calls of a slow server."""
    return max(_MINUTES, math.ceil(draft.deadline / 60))


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise SettingsError(
            "can't ask for confirmation without a terminal", hint="add --yes"
        )
    with contextlib.suppress(ImportError):  # on Windows
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)  # typed before the cost was shown
    return input("Run the probe? [y/N] ").strip().lower() in {"y", "yes"}


def run_gate(
    suite: str | Path, *options: str, folder: Path, seconds: float | None = None
) -> int | None:
    """Run `pytest -m copyright SUITE` in a folder and return pytest's exit code.

    seconds: the time limit. A run over it ends after its calls in flight and returns
    None.
    """
    # Not with -q, which also hides progress.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--no-header",
        "-m",
        "copyright",
        suite,
        *options,
    ]
    sys.stdout.flush()
    with subprocess.Popen(command, cwd=folder) as gate:  # noqa: S603 - no shell, our own pytest
        try:
            return gate.wait(seconds)
        except subprocess.TimeoutExpired:
            gate.terminate()
            print("\nTime is up. Waiting for the calls in flight ...")
            status = None
        except KeyboardInterrupt:  # pytest received it too
            status = _INTERRUPTED
        while gate.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):
                gate.wait()
        return status


# --- the book
# ------------------------------------------------------------------------------


def _word_mode_for(path: Path) -> str:
    """Print the book's title and size; return the word mode that can measure it."""
    from pytest_memleak.books.build_book import make_book
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.scoring.book_layout import measurable_words

    if path.is_dir():  # which a suite takes for a folder of books
        raise SettingsError(
            "is a folder", location=str(path), hint="name the file of one book"
        )
    read = Extensions().read_book(path)

    def print_size(mode: WordMode) -> str:
        book = (
            make_book(str(path), read, mode=mode)
            if isinstance(read, Manuscript)
            else read
        )
        words = measurable_words(book, Scoring(word_mode=mode))
        by = f" by {inert(book.author)}" if book.author else ""
        title = inert(book.title or path.name)
        print_sentence(
            f"{title}{by}: {amount(len(book.excerpts), 'excerpt')}, {words:,} words"
        )
        return mode

    try:
        return print_size("paper")
    except BookError:
        return print_size("unicode")


def _try_endpoint(path: Path, draft: Draft) -> Trial:
    """Sample the neutral prompt by the draft's suite; as plain text if chats lack a format."""
    from pytest_memleak.interfaces.abilities import abilities_of
    from pytest_memleak.pipeline.detection_power import limits_out_of_reach
    from pytest_memleak.pipeline.run import open_suite

    with open_suite(path, hosts=draft.hosts) as suite:
        (pair,) = suite.suite.pairs
        endpoint = suite.endpoints.endpoint(pair.model)
        abilities = abilities_of(endpoint)
        if abilities.recording is not None:
            raise SettingsError(
                f"provider {pair.model.provider!r} reads files and has no endpoint to "
                "test",
                hint="measure files with: memleak score BOOK.json GENERATIONS.json",
            )
        if draft.text_only or abilities.chats():
            concurrency = suite.endpoints.provider(pair.model).concurrency
            excerpts = len(suite.books.cut(pair.book).excerpts)
            for limit in limits_out_of_reach([pair], suite):
                print_sentence(limit)
            trial = sample_neutral(endpoint, at_once=concurrency, excerpts=excerpts)
            return replace(trial, text_only=draft.text_only or trial.text_only)
    print_sentence(BASE_MODEL)
    draft = replace(draft, text_only=True)
    write_whole(path, draft.text(path))
    return _try_endpoint(path, draft)


# --- the plan
# ------------------------------------------------------------------------------


def _make_plan(path: Path, draft: Draft, ledger: str = "sqlite://") -> list[Plan]:
    """Write the draft and return each step's plan; the first has the pair's canaries, too."""
    from pytest_memleak.pipeline.dry_run import plan_run
    from pytest_memleak.pipeline.run import open_suite

    write_whole(path, draft.text(path))
    with open_suite(path, ledger=ledger, hosts=draft.hosts) as suite:
        plan = plan_run(suite.suite.pairs, lambda _: suite)
        if plan.obstacles:
            message = f"the probe can't be planned: {plan.obstacles[0]}"
            raise SettingsError(message, location=str(path))
        return [step.sampling for step in plan.steps if step.sampling]


def _print_plan(
    trial: Trial, plan: Plan, draft: Draft, release: Plan, seconds: float
) -> None:
    for title, text in trial.lines:
        print_sentence(f"  {title:<12} {inert(text)}", indent=15)
    print()
    print_sentence(
        "Probe: the model continues the beginning of "
        f"{amount(trial.excerpts, 'excerpt')}, "
        f"{amount(draft.samples, 'time')} each."
    )
    limits = [
        percent_at_most(_detection_limit(n)) for n in (draft.samples, RELEASE_SAMPLES)
    ]
    more = "" if draft.price else "; add --price IN,OUT to see it in US$"
    print_sentence(f"Cost: {_cost_text(plan)}{more}.")
    print_sentence(
        f"The probe shows passages in more than {limits[0]} of a prompt's generations; "
        "rarer ones "
        f"can go unseen. {RELEASE_SAMPLES} samples (memleak init) would show "
        f"{limits[1]}, for "
        f"{_cost_text(release)}."
    )
    minutes, most = max(1, math.ceil(seconds / 60)), _stop_after(draft)
    later = (
        f" This run stops after {most}; rerun the suite to continue."
        if minutes > most
        else ""
    )
    print_sentence(f"Estimated time: {amount(minutes, 'minute')}.{later}")


def _cost_text(plan: Plan) -> str:
    tokens = (
        f"{plan.prompt_tokens:,} input tokens, {plan.completion_tokens:,} output tokens"
    )
    cost = _cents(plan)
    return f"at most {tokens}" if cost is None else f"at most US${cost:,.2f} ({tokens})"


# --- memleak demo
# --------------------------------------------------------------------------

# In the wheel, and in a checkout.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent)
_SUITE = "suites/quickstart/quickstart.memleak.toml"
_STORIES = "fixtures/books"


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak demo`."""
    add_command(
        commands,
        "demo",
        _demo,
        "run an offline example: one clean model, one that reproduces its books",
        "Run the quickstart: a story, a clean model, and one that reproduces it. "
        "It needs no key, no network, and no GPU.",
        arguments={
            "folder FOLDER": "the folder for suite, story, and report (default: memleak-demo)"
        },
        folder={"nargs": "?", "default": Path("memleak-demo")},
    )


def _demo(parsed: argparse.Namespace) -> int:
    folder: Path = parsed.folder
    suite = _copy_quickstart(folder)
    page = f"{HTML.option}={folder / 'report.html'}"
    status = run_gate(suite, f"--rootdir={folder}", page, folder=Path.cwd())
    if status:
        print(f"\nUnexpected exit code {status}. Was {suite} changed?")
        print(
            next_step(
                command_line("memleak", "demo", "another-folder"),
                "start with a new copy",
            )
        )
        return status
    gate = command_line("pytest", "-m", "copyright", folder)
    print(f"\n`reciter` leaks, as {suite} expects.")
    print(f'To see the gate fail, delete the line expected = "leak" and run: {gate}')
    print(next_step("memleak try BOOK.epub --model openai/NAME", "test your own model"))
    return 0


def _copy_quickstart(folder: Path) -> Path:
    """Copy the suite and its story, keeping files that exist; return the suite's path."""
    source = next((place for place in _PLACES if (place / _SUITE).is_file()), None)
    if source is None:
        raise SettingsError(
            "this installation lacks the quickstart's files",
            hint="reinstall pytest-memleak",
        )
    folder.mkdir(parents=True, exist_ok=True)
    suite, text = (
        folder / Path(_SUITE).name,
        (source / _SUITE).read_text(encoding="utf-8"),
    )
    if not suite.exists():
        suite.write_text(text.replace(f"../../{_STORIES}/", ""), encoding="utf-8")
    for story in (source / _STORIES).iterdir():
        if story.name in text and not (folder / story.name).exists():
            shutil.copyfile(story, folder / story.name)
    return suite
