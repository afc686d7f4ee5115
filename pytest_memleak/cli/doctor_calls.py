"""What `memleak doctor --calls` sees of a suite's models, and writes into the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.cli.confirmation import ask_yes_or_no
from pytest_memleak.cli.doctor_check import Check, error_without_subject
from pytest_memleak.cli.learned_keys import suite_text_with_keys
from pytest_memleak.cli.model_checks import validate_variables
from pytest_memleak.cli.neutral_prompts import Preflight, accepted_keys
from pytest_memleak.cli.terminal_output import print_sentence
from pytest_memleak.errors import MemleakError
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.redaction.file_writing import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_memleak.cli.learned_keys import LearnedKey
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Model


def call_models(path: Path, *, asked: bool) -> Iterator[Check]:
    """Send neutral prompts to each model, and write into the suite what they show.

    asked: whether someone can say no
    """
    from pytest_memleak.pipeline.run import open_suite

    with open_suite(path) as suite_run:
        for model in suite_run.suite.models:
            subject = f"model {model.id}"
            try:
                yield from _call_and_check(path, suite_run, model, asked=asked)
            except MemleakError as error:
                yield Check(
                    subject,
                    "can't be called",
                    error_without_subject(error, subject).line,
                )


def _call_and_check(
    path: Path,
    suite_run: SuiteRun,
    model: Model,
    *,
    asked: bool,
) -> Iterator[Check]:
    subject = f"model {model.id}"
    if obstacle := _reason_not_to_call(suite_run, model):
        yield Check(subject, f"not called: {obstacle}")
        return
    validate_variables(model, place=suite_run.endpoints.model_place(model))
    preflight = Preflight.of(suite_run, model)
    if asked:
        print_sentence(f"{model.id}: {preflight.cost}")
        if not ask_yes_or_no("Send them?"):
            yield Check(subject, "not called")
            return
    trial = preflight.run()
    for title, text in trial.lines:
        yield Check(f"{subject} {title}", text)
    if keys := accepted_keys(trial):
        yield _write_keys_into_suite(
            path, model, keys, alone=len(suite_run.suite.models) == 1
        )


def _reason_not_to_call(suite_run: SuiteRun, model: Model) -> str | None:
    """Return why a model can't be called now, before anything is paid for."""
    if model.finetune_books:
        return "a run fine-tunes it first"
    if suite_run.endpoints.required_deployment(model) is not None:
        return "a run deploys it first"
    endpoint = suite_run.endpoints.open_endpoint(model)
    if abilities_of(endpoint).recording is not None:
        return "its generations are recorded"
    return None


def _write_keys_into_suite(
    path: Path,
    model: Model,
    keys: Sequence[LearnedKey],
    *,
    alone: bool,
) -> Check:
    """Write the keys into the suite, or say which ones to add.

    alone: whether the suite has no other model, for which its own keys would hold, too
    """
    subject = f"model {model.id} keys"
    lines = "; ".join(key.line for key in keys)
    text = None
    if alone or all(key.table == "model" for key in keys):
        text = suite_text_with_keys(path.read_text("utf-8"), model.id, keys)
    if text is None:
        tables = " and ".join(sorted({key.table for key in keys}))
        fix = f"add to {tables}: {lines}"
        return Check(subject, "this suite's form has no place for them", fix)
    write_whole(path, text)
    later = "evidence of earlier runs no longer verifies against this file"
    return Check(subject, f"{path} has now: {lines}; {later}")
