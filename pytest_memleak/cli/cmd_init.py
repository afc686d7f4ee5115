"""`memleak init`: a suite file, a job for CI and a line for .gitignore, from answers or options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_memleak.cli.ci_job import CI, ci_job
from pytest_memleak.cli.run_pytest import command_line, next_step
from pytest_memleak.cli.suite_template import Draft, model_named, price_of, suite_path, url_of

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLES = 100
_DETECT = 0.05
_IGNORED = ".memleak/"
_OPENAI = "OpenAI's"

_Read = TypeVar("_Read")


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
    suite: Path = parsed.output
    _refuse_what_is_there(suite)
    books = tuple(map(_book, parsed.book)) or (
        _said(None, "A book (.epub, .txt, ...)", "--book", _book),
    )
    asked = "The model, as PROVIDER/NAME (openai/gpt-4o)"
    provider, base = _said(parsed.model, asked, "--model", _provider_and_name)
    address = parsed.base_url
    if address is None and parsed.model is None and provider == "openai":
        asked = "Its server, as http://localhost:8000/v1"
        address = _said(None, asked, "--base-url", _address, _OPENAI)
    asked = f"A job for CI ({', '.join(CI)} or none)"
    job = _said(parsed.ci, asked, "--ci", lambda name: ci_job(name, suite, provider), "none")
    if job:
        _refuse_what_is_there(job[0])
    draft = Draft(books, provider, base, _SAMPLES, _DETECT, address, parsed.price)
    _write(suite, draft.text(suite), "the suite: look at its limits")
    if job:
        _write(*job, "runs it when a version is tagged; it needs the books there, too")
    _ignore_the_ledger()
    print(next_step(command_line("memleak", "doctor", suite), "is everything there to run it?"))
    return 0


def _said(
    given: str | None,
    question: str,
    option: str,
    read: Callable[[str], _Read],
    default: str | None = None,
) -> _Read:
    """What `read` makes of what the option gives, or else of the answer to the question.

    An answer that it raises MemleakError for is asked for again. SettingsError where nobody is
    there to answer, and there is no default.
    """
    from pytest_memleak.errors import MemleakError, SettingsError

    if given is not None:
        return read(given)
    if not sys.stdin.isatty():
        if default is not None:
            return read(default)
        raise SettingsError(
            f"{option} is missing, and nobody is there to answer",
            hint=f"say it: memleak init --book BOOK.epub --model openai/NAME; {option} is needed",
        )
    shown = f" [{default}]" if default else ""
    while True:
        said = input(f"{question}{shown}: ").strip() or default
        if not said:
            continue
        try:
            return read(said)
        except (MemleakError, argparse.ArgumentTypeError) as error:
            print(error)


def _book(name: str | Path) -> Path:
    from pytest_memleak.errors import BookError

    book = Path(name)
    if not book.is_file():
        raise BookError("there is no such file", location=str(book), hint="check its name")
    return book


def _provider_and_name(model: str) -> tuple[str, str]:
    from pytest_memleak.interfaces.extensions import Extensions

    provider, name = model_named(model)
    Extensions().provider(provider, place="--model")
    return provider, name


def _address(said: str) -> str | None:
    return None if said == _OPENAI else url_of(said)


def _refuse_what_is_there(path: Path) -> None:
    from pytest_memleak.errors import SettingsError

    if path.exists():
        raise SettingsError(
            "it is there already, and nothing is written over",
            location=str(path),
            hint="name another suite with -o, or leave the job out with --ci none",
        )


def _write(path: Path, text: str, what: str) -> None:
    from pytest_memleak.redaction.atomic_write import write_whole

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
