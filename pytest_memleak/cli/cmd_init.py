"""`memleak init`: a suite file, a job for CI and a line for .gitignore, from answers or options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_memleak.cli.ci_job import CI, ci_job
from pytest_memleak.cli.gate_run import command_line, next_step
from pytest_memleak.cli.suite_text import Draft, model_named, price_of, suite_path, url_of

__all__ = ["add_init"]

_SAMPLES = 100
_IGNORED = ".memleak/"


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak init`."""
    init = commands.add_parser(
        "init",
        help="write a suite file, a job for CI and a line for .gitignore",
        description="Write a suite for your books and your model. What no option says is asked, "
        "where somebody is there to answer. Nothing is written over.",
    )
    init.add_argument(
        "--book",
        metavar="BOOK",
        type=Path,
        action="append",
        default=[],
        help="a book (.epub, .txt, ...); may be given several times",
    )
    init.add_argument(
        "--model", metavar="PROVIDER/NAME", help="the model under test, as in openai/gpt-4o"
    )
    init.add_argument(
        "--base-url",
        metavar="URL",
        type=url_of,
        help="a server of your own, as in http://localhost:8000/v1",
    )
    init.add_argument(
        "--price",
        metavar="IN,OUT",
        type=price_of,
        help="US$ per million tokens of prompts and of answers, for plans and budgets",
    )
    init.add_argument("--ci", choices=(*CI, "none"), help="whose job to write, or none")
    init.add_argument(
        "-o",
        "--output",
        metavar="SUITE",
        type=suite_path,
        default=Path("release.memleak.toml"),
        help="the suite file (default: release.memleak.toml)",
    )
    init.set_defaults(run=_init)


def _init(parsed: argparse.Namespace) -> int:
    from pytest_memleak.contracts.extensions import Extensions

    suite: Path = parsed.output
    _refuse_what_is_there(suite)
    books = tuple(parsed.book) or (Path(_answer("A book (.epub, .txt, ...)", "--book")),)
    for book in books:
        _refuse_what_is_not(book)
    model = parsed.model or _answer("The model, as PROVIDER/NAME (openai/gpt-4o)", "--model")
    provider, base = model_named(model)
    Extensions().provider(provider, place="--model")
    address = parsed.base_url or _address(provider, asked=parsed.model is None)
    ci = parsed.ci or _answer(f"A job for CI ({', '.join(CI)} or none)", "--ci", "none")
    job = ci_job(ci, suite, provider)
    if job:
        _refuse_what_is_there(job[0])
    draft = Draft(books, provider, base, _SAMPLES, address, parsed.price)
    _write(suite, draft.text(suite), "the suite: look at its limits")
    if job:
        _write(*job, "runs it when a version is tagged; it needs the books there, too")
    _ignore_the_ledger()
    print(next_step(command_line("memleak", "doctor", suite), "is everything there to run it?"))
    return 0


def _address(provider: str, *, asked: bool) -> str | None:
    """Where a server of one's own is, from somebody who was asked for the model, too."""
    if not asked or provider != "openai":
        return None
    while True:
        said = _answer("Its server, as http://localhost:8000/v1", "--base-url", "OpenAI's")
        try:
            return None if said == "OpenAI's" else url_of(said)
        except argparse.ArgumentTypeError as error:
            print(error)


def _answer(question: str, option: str, default: str | None = None) -> str:
    from pytest_memleak.errors import SettingsError

    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise SettingsError(
            f"{option} is missing, and nobody is there to answer",
            hint=f"say it: memleak init --book BOOK.epub --model openai/NAME; {option} is needed",
        )
    shown = f" [{default}]" if default else ""
    while True:
        said = input(f"{question}{shown}: ").strip() or default
        if said:
            return said


def _refuse_what_is_there(path: Path) -> None:
    from pytest_memleak.errors import SettingsError

    if path.exists():
        raise SettingsError(
            "it is there already, and nothing is written over",
            place=str(path),
            hint="name another suite with -o, or leave the job out with --ci none",
        )


def _refuse_what_is_not(book: Path) -> None:
    from pytest_memleak.errors import BookError

    if not book.is_file():
        raise BookError("there is no such file", place=str(book), hint="check --book")


def _write(path: Path, text: str, what: str) -> None:
    from pytest_memleak.redaction.whole_files import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    print(f"{path}: {what}")


def _ignore_the_ledger() -> None:
    """Add the ledger's folder to .gitignore, where it is not in it."""
    path = Path(".gitignore")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not {_IGNORED, f"/{_IGNORED}", _IGNORED.rstrip("/")} & set(text.split()):
        newline = "" if not text or text.endswith("\n") else "\n"
        path.write_text(f"{text}{newline}{_IGNORED}\n", encoding="utf-8")
        print(f"{path}: {_IGNORED} is the ledger, which holds what models answered")
