"""`memleak init`: a suite, a CI job, and a line for .gitignore."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.cli.book_review import NO_SUITE, show_book_for_review
from pytest_memleak.cli.confirmation import ask_yes_or_no
from pytest_memleak.cli.plan_cost import most_cost_text
from pytest_memleak.cli.shared_options import REPEATED, add_arguments
from pytest_memleak.cli.suite_template import (
    RELEASE_SAMPLES,
    BookReview,
    Draft,
    add_model_options,
    split_model_option,
    suite_path,
    validated_url,
)
from pytest_memleak.cli.terminal_output import (
    command_line,
    next_step,
    print_error,
    print_sentence,
)
from pytest_memleak.cli.time_estimate import BASE_MODEL
from pytest_memleak.errors import BookError, MemleakError, SettingsError
from pytest_memleak.providers.provider_registry import PROVIDERS, ProviderNeeds
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.reports.output_table import EVIDENCE, HTML, JUNIT

if TYPE_CHECKING:
    from collections.abc import Callable

_DETECT = 0.05
_IGNORED = ".memleak/"
_OPENAI = "OpenAI's"

_Read = TypeVar("_Read")
_GITHUB = """\
name: memorization
on:
  workflow_dispatch:
  push:
    tags: ["v*"]
jobs:
  memorization:
    runs-on: ubuntu-latest
    timeout-minutes: 350
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.13"
      # Lock file for {requirement} with hashes; docs/ci.md shows how to write it.
      - run: pip install --require-hashes -r memleak.lock
      # The ledger, so that a rerun pays for no call twice.
      # Keep this cache as private as the books.
      - uses: actions/cache/restore@v4
        with:
          path: .memleak
          key: memleak-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}
          restore-keys: memleak-
      - run: {command}
{environment}\
      - uses: actions/cache/save@v4
        if: always()
        with:
          path: .memleak
          key: memleak-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: memleak
          path: |
            memleak.xml
            memleak.html
            memleak.json
"""
_GITLAB = """\
memorization:
  image: python:3.13
  rules:
    - if: $CI_COMMIT_TAG
  # The ledger, so that a rerun pays for no call twice.
  # Keep this cache as private as the books.
  cache:
    key: memleak
    paths: [.memleak/]
    when: always
  script:
    # Lock file for {requirement} with hashes; docs/ci.md shows how to write it.
    - pip install --require-hashes -r memleak.lock
    - {command}
  artifacts:
    when: always
    paths: [memleak.html, memleak.json]
    reports:
      junit: memleak.xml
"""
CI = {
    "github": (Path(".github/workflows/memorization.yml"), _GITHUB),
    "gitlab": (Path(".gitlab-ci.yml"), _GITLAB),
}
"""Per CI service the job's file and its text."""


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak init`."""
    init = commands.add_parser(
        "init",
        help="write a suite file, a CI job, and a line for .gitignore",
        description="Write a suite for your books and your model, and a CI job that "
        "runs it. Asks for every option you omit; never overwrites a file.",
    )
    books = {"--book BOOK": "a book (.epub, .txt, ...); repeatable"}
    add_arguments(init, books, book={"type": Path, **REPEATED})
    add_model_options(init, required=False, price=", for cost estimates and budgets")
    init.add_argument(
        "--ci",
        choices=(*CI, "none"),
        help="the CI service to write a job for",
    )
    output = {
        "--extraction": "also ask for the book itself, in a conversation",
        "-o/--output SUITE": "the suite file (default: release.memleak.toml)",
    }
    default = Path("release.memleak.toml")
    add_arguments(init, output, output={"type": suite_path, "default": default})
    init.set_defaults(run=_run_init)


def _run_init(parsed: argparse.Namespace) -> int:
    suite: Path = parsed.output
    _validate_not_existing(suite, "name a different suite with -o")
    draft = _draft_from_options_or_answers(parsed)
    prompt = f"CI job ({', '.join(CI)}, or none)"
    job = _option_or_answer(
        parsed.ci,
        prompt,
        "--ci",
        lambda name: ci_job_file(name, suite, draft),
        "none",
    )
    if job:
        _validate_not_existing(job[0], "omit the job with --ci none")
    approved = _with_approved_books(draft)
    if approved is None:
        print_sentence(NO_SUITE)
        return 1
    draft = approved
    _write_new_file(suite, draft.text(suite), "the suite; check its limits")
    draft = _add_what_endpoint_shows(suite, draft)
    if parsed.extraction or _offer_extraction(suite, draft):
        write_whole(suite, replace(draft, extraction=True).text(suite))
    if job:
        _write_new_file(
            *job,
            "runs the suite for each version tag; needs the books and memleak.lock in "
            "CI (docs/ci.md)",
        )
        if draft.is_local:
            print_sentence(
                f"{job[0]}: a hosted runner can't reach {draft.base_url}, which is on "
                "this machine; use your own runner, or another base_url",
            )
    _add_ledger_to_gitignore()
    doctor = command_line("memleak", "doctor", suite)
    print(next_step(doctor, "check what the suite needs"))
    return 0


def _draft_from_options_or_answers(parsed: argparse.Namespace) -> Draft:
    """Return the suite's values, from options or answers."""
    books = tuple(_existing_book_path(name) for name in parsed.book)
    if not books:
        prompt = "Book (.epub, .txt, ...)"
        books = (_option_or_answer(None, prompt, "--book", _existing_book_path),)
    prompt = "Model, as PROVIDER/NAME (openai/gpt-oss-20b)"
    provider, base_model = _option_or_answer(
        parsed.model,
        prompt,
        "--model",
        split_model_option,
    )
    address = parsed.base_url
    if address is None and parsed.model is None and provider == "openai":
        prompt = "Server, as in http://localhost:8000/v1"
        address = _option_or_answer(
            None, prompt, "--base-url", _url_unless_openai, _OPENAI
        )
    return Draft(
        books,
        provider,
        base_model,
        RELEASE_SAMPLES,
        _DETECT,
        address,
        parsed.price,
    )


def _with_approved_books(draft: Draft) -> Draft | None:
    """Show each book, and ask at a terminal; None if one is not the right book."""
    choices: dict[Path, BookReview] = {}
    words = draft.words
    for book in draft.books:
        shown = show_book_for_review(book, asked=sys.stdin.isatty())
        if shown is None:
            return None
        choices[book] = shown.choice
        if shown.mode == "unicode":
            words = shown.mode
    return replace(draft, words=words, choices=choices)


def _url_unless_openai(url: str) -> str | None:
    return None if url == _OPENAI else validated_url(url)


def _offer_extraction(path: Path, draft: Draft) -> bool:
    """Offer the next rung of the ladder with its price; ask for it at a terminal."""
    cost = _extraction_cost(path, replace(draft, extraction=True))
    write_whole(path, draft.text(path))
    print_sentence(
        "Next rung: a model may refuse these prompts and yield to others. Extraction "
        f"asks for the book itself, in up to 50 rewordings and a conversation{cost}.",
    )
    if not sys.stdin.isatty():
        print("  --extraction adds it (docs/ladder.md)")
        return False
    # It pays nothing, so an answer typed ahead counts.
    return input("Add extraction? [y/N] ").strip().lower() in {"y", "yes"}


def _extraction_cost(path: Path, draft: Draft) -> str:
    """Return the most that extraction may cost, to end a sentence; "" if unknown."""
    from pytest_memleak.pipeline.dry_run import plan_run
    from pytest_memleak.pipeline.run import open_suite
    from pytest_memleak.sampling.cost_plan import sum_of_plans

    write_whole(path, draft.text(path))
    try:
        with open_suite(path, hosts=draft.hosts) as suite:
            pairs = [
                pair for pair in suite.suite.pairs if pair.probe.kind == "extraction"
            ]
            planned = plan_run(pairs, lambda _: suite)
    except MemleakError:
        return ""  # `memleak doctor` says what is missing
    plans = [step.sampling for step in planned.steps if step.sampling]
    if not plans:
        return ""
    return f": {most_cost_text(sum_of_plans(plans))}"


def _add_what_endpoint_shows(path: Path, draft: Draft) -> Draft:
    """Add to a new suite what its endpoint shows, or say what the suite lacks."""
    from pytest_memleak.interfaces.abilities import abilities_of
    from pytest_memleak.pipeline.run import open_suite

    try:
        with open_suite(path, hosts=draft.hosts) as suite:
            (model,) = suite.suite.models
            endpoint = suite.endpoints.open_endpoint(model)
            is_chat = abilities_of(endpoint).chats()
    except MemleakError as error:
        print_sentence(f"The suite isn't complete. {error}")
        return draft
    if not is_chat:
        draft = replace(draft, text_only=True)
        write_whole(path, draft.text(path))
        print_sentence(BASE_MODEL)
    return _learn_keys_from_endpoint(path, draft) if sys.stdin.isatty() else draft


def _learn_keys_from_endpoint(path: Path, draft: Draft) -> Draft:
    """Send neutral prompts after a yes, and write what they show into the suite."""
    from pytest_memleak.cli.model_checks import check_access
    from pytest_memleak.cli.neutral_prompts import (
        Preflight,
        accepted_keys,
        print_preflight_result,
    )
    from pytest_memleak.pipeline.run import open_suite

    try:
        with open_suite(path, hosts=draft.hosts) as suite:
            (model,) = suite.suite.models
            if suite.endpoints.is_free(model) and not draft.base_url:
                return draft
            if any(check.fix for check in check_access(model)):
                return draft  # `memleak doctor` says what is missing
            preflight = Preflight.of(suite, model)
            print_sentence(f"To learn the model's settings: {preflight.cost}.")
            if not ask_yes_or_no("Send them?"):
                return draft
            trial = preflight.run()
    except MemleakError as error:
        print_error(str(error))
        return draft
    print_preflight_result(trial)
    draft = replace(draft, learned=accepted_keys(trial))
    write_whole(path, draft.text(path))
    return draft


def _option_or_answer(
    value: str | None,
    prompt: str,
    option: str,
    read: Callable[[str], _Read],
    default: str | None = None,
) -> _Read:
    """Read the option's value, or ask for it until `read` accepts the answer.

    Without a terminal, the default counts; raises SettingsError if there is none.
    """
    if value is not None:
        return read(value)
    if not sys.stdin.isatty():
        if default is not None:
            return read(default)
        raise SettingsError(
            f"{option} is missing, and standard input isn't a terminal",
            hint=f"add {option}, as in: memleak init --book BOOK.epub --model "
            "openai/NAME",
        )
    shown = f" [{default}]" if default else ""
    while True:
        answer = input(f"{prompt}{shown}: ").strip() or default
        if not answer:
            continue
        try:
            return read(answer)
        except (MemleakError, argparse.ArgumentTypeError) as error:
            print_error(str(error))


def _existing_book_path(name: str | Path) -> Path:
    book = Path(name)
    if book.is_dir():
        raise BookError(
            "is a folder",
            location=str(book),
            hint="name the file of one book; a suite's source may be a folder",
        )
    if not book.is_file():
        raise BookError("no such file", location=str(book), hint="check its name")
    return book


def _validate_not_existing(path: Path, hint: str) -> None:
    if path.exists():
        raise SettingsError(
            "this file already exists; memleak init never overwrites a file",
            location=str(path),
            hint=hint,
        )


def _write_new_file(
    path: Path,
    text: str,
    what: str,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    print_sentence(f"{path}: {what}")


def _add_ledger_to_gitignore() -> None:
    """Add the ledger's folder to .gitignore."""
    path = Path(".gitignore")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not {_IGNORED, f"/{_IGNORED}", _IGNORED.rstrip("/")} & set(text.split()):
        if text and not text.endswith("\n"):
            text += "\n"
        path.write_text(f"{text}{_IGNORED}\n", encoding="utf-8")
        print(f"{path}: excludes {_IGNORED}, the ledger of all generations")


def ci_job_file(
    name: str,
    suite: Path,
    draft: Draft,
) -> tuple[Path, str] | None:
    """Return the job's file and text, None for `none`; SettingsError for others."""
    if name == "none":
        return None
    if name not in CI:
        raise SettingsError(
            f"--ci: unknown service {name!r}",
            hint=f"write {', '.join(CI)}, or none",
        )
    path, text = CI[name]
    built_in = PROVIDERS.get(draft.provider)
    needs = built_in.needs if built_in else ProviderNeeds()
    reports = [
        f"{output.option}=memleak{output.ending}" for output in (JUNIT, HTML, EVIDENCE)
    ]
    gate = ("pytest", "-m", "copyright", suite.as_posix(), "--memleak-quote", "0")
    environment = ""
    if needs.variables:
        environment = "        env:\n"
    for variable in needs.variables:
        environment += f"          {variable}: ${{{{ secrets.{variable} }}}}\n"
    return path, text.format(
        requirement=needs.requirement,
        command=command_line(*gate, *draft.options, *reports),
        environment=environment,
    )
