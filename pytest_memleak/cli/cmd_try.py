"""`memleak try`: from a book and a model's name to a verdict, and a suite file to keep.

The endpoint is asked about the weather before anything is asked about the book: so what it
takes, who answers and how long all of it will last is known before anybody says yes.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.columns import print_sentence
from pytest_memleak.cli.ledger_argument import FOLDER
from pytest_memleak.cli.run_pytest import command_line, next_step, run_gate
from pytest_memleak.cli.suite_template import (
    Draft,
    identifier,
    model_named,
    price_of,
    suite_path,
    url_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.interfaces.protocols import Completion, Endpoint
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.sampling.cost_plan import Plan

_MINUTES = 5
_MOST_SAMPLES = 10
_QUESTION = "Describe a day in late autumn in a small town, in about a hundred words."
_QUESTION_TOKENS = 200
_SOON = 5.0  # seconds; in a shorter time for the first answer much is imports and connecting
_AT_ONCE = 8  # calls to begin with, where a provider finds out how many it can have
_LONG_ANSWER = 500  # tokens, about what an excerpt has


def add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `memleak try`."""
    trial = commands.add_parser(
        "try",
        help="from a book and a model to a first verdict, in about five minutes",
        description="Ask a model what it takes, say what a probe of the book costs, run it "
        "after a yes, and leave the suite file. Exit code as pytest's: 0 where the limits hold.",
    )
    trial.add_argument("book", metavar="BOOK", type=Path, help="the book (.epub, .txt, ...)")
    trial.add_argument(
        "--model",
        metavar="PROVIDER/NAME",
        required=True,
        help="the model, as in openai/gpt-4o",
    )
    trial.add_argument(
        "--base-url",
        metavar="URL",
        type=url_of,
        help="a server of your own, as in http://localhost:8000/v1",
    )
    trial.add_argument(
        "--price",
        metavar="IN,OUT",
        type=price_of,
        help="US$ per million tokens of prompts and of answers; without it tokens are told",
    )
    trial.add_argument("-y", "--yes", action="store_true", help="run without asking first")
    trial.add_argument(
        "-o",
        "--output",
        metavar="SUITE",
        type=suite_path,
        help="the suite file (default: MODEL-BOOK.memleak.toml)",
    )
    trial.set_defaults(run=_try)


def _try(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.redaction.atomic_write import write_whole

    provider, base = model_named(parsed.model)
    named = f"{identifier(base)}-{identifier(parsed.book.stem)}.memleak.toml"
    path: Path = parsed.output or Path(named)
    if path.exists():
        raise SettingsError(
            "there is such a suite already",
            location=str(path),
            hint=f"run it with: {_gate(path)}; or name another file with -o",
        )
    draft = Draft(
        (parsed.book,), provider, base, 1, 1.0, base_url=parsed.base_url, price=parsed.price
    )
    draft = replace(draft, words=_words_of(parsed.book))
    write_whole(path, draft.text(path))
    try:
        print_sentence(f"Asking {base} about the weather first ...")
        sys.stdout.flush()
        asked = _ask(path)
        samples = asked.samples_in(_MINUTES * 60)
        detection_limit = _reached(samples)
        draft = replace(
            draft, samples=samples, detection_limit=detection_limit, text_only=asked.text_only
        )
        write_whole(path, draft.text(path))
        planned = every = _planned(path, "sqlite://")
        there = Path.cwd() / FOLDER / "ledger.db"
        if there.exists():
            planned = _planned(path, f"sqlite:///{there}")
        kept = every.generations - planned.generations
        cost = None if planned.cost is None else math.ceil(planned.cost * 100) / 100
        seconds = asked.round * samples * planned.generations / every.generations
        _tell(asked, planned, samples, cost, seconds)
        if kept:
            print_sentence(
                f"{amount(kept, 'answer')} of an earlier run {'is' if kept == 1 else 'are'} in "
                f"{FOLDER}/ledger.db and not asked for again."
            )
        agreed = parsed.yes or _agreed()
    except BaseException:
        path.unlink()  # a file that nobody could run is no help
        raise
    if not agreed:
        print(f"Nothing was asked about the book. The suite is in {path}.")
        print(next_step(_gate(path), "when you are ready"))
        return 0
    return _run(path, cost)


def _run(path: Path, cost: float | None) -> int:
    options = [f"--memleak-budget={cost:.2f}"] if cost else []
    status = run_gate(path, *options, folder=Path.cwd(), seconds=_MINUTES * 60)
    if status is None:
        print(f"\n{_MINUTES} minutes are over; this is what came in them:")
        status = run_gate(path, "--memleak-offline", folder=Path.cwd())
        more = "goes on where it was"
    else:
        more = "the same answers, and a page with maps"
    print(f"\nWritten: {path}, and the answers in .memleak/ledger.db")
    print_sentence(
        "This first probe can miss passages rarer than the table's detection limit. It does not "
        "replace a release run: memleak init writes one."
    )
    page = path.name.removesuffix(".memleak.toml") + ".html"
    print(next_step(_gate(path, f"--memleak-html={page}"), more))
    return int(status or 0)


def _reached(samples: int) -> float:
    """The detection limit of the samples where one in ten is withheld, rounded up."""
    from pytest_memleak.scoring.detection_limit import detection

    return math.ceil(100 * detection(max(1, samples * 9 // 10), confidence=0.95)) / 100


def _gate(path: Path, *options: str) -> str:
    return command_line("pytest", "-m", "copyright", path, *options)


def _agreed() -> bool:
    from pytest_memleak.errors import SettingsError

    if not sys.stdin.isatty():
        raise SettingsError("nobody is there to say yes", hint="give --yes to run it all the same")
    return input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


# --- the book ------------------------------------------------------------------------------


def _words_of(path: Path) -> str:
    """The word mode that sees the book; what it is, in a line. BookError where none does."""
    from pytest_memleak.books.build_book import make_book
    from pytest_memleak.errors import BookError
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.interfaces.protocols import Manuscript
    from pytest_memleak.records import Scoring, WordMode
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.scoring.index import measurable_words

    read = Extensions().read_book(path)

    def measured(mode: WordMode) -> str:
        book = make_book(str(path), read, mode=mode) if isinstance(read, Manuscript) else read
        words = measurable_words(book, Scoring(word_mode=mode))
        by = f" by {inert(book.author)}" if book.author else ""
        title = inert(book.title or path.name)
        print(f"{title}{by}: {amount(len(book.excerpts), 'excerpt')}, {words:,} words")
        return mode

    try:
        return measured("paper")
    except BookError:
        return measured("unicode")


# --- the endpoint --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the question showed.

    lines:    what to tell of it
    seconds:  that an answer as long as an excerpt takes
    at_once:  answers that are on their way at the same time
    excerpts: of the book
    text_only: whether there is no chat for the model
    """

    lines: tuple[tuple[str, str], ...]
    seconds: float
    at_once: int
    excerpts: int
    text_only: bool

    def samples_in(self, seconds: float) -> int:
        """How many answers for each excerpt the time is long enough for."""
        return max(1, min(_MOST_SAMPLES, int(seconds // self.round)))

    @property
    def round(self) -> float:
        """Seconds that one answer for each excerpt takes, about."""
        return self.seconds * math.ceil(self.excerpts / self.at_once)


def _opened(path: Path, ledger: str = "sqlite://") -> SuiteRun:
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.run import Run

    run = Run(root=Path.cwd(), resources=Resources(ledger))
    return run.of_suite(Path(os.path.realpath(path)))


def _ask(path: Path) -> _Asked:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.interfaces.protocols import Endpoint

    suite = _opened(path)
    (pair,) = suite.suite.pairs
    opened = suite.endpoints.endpoint(pair.model)
    if not isinstance(opened, Endpoint):
        raise SettingsError(
            f"provider {pair.model.provider!r} answers from files: there is nobody to ask",
            hint="measure files with: memleak score BOOK.json GENERATIONS.json",
        )
    try:
        answers, took = _answers(opened, seed=0)
        if took < _SOON:
            answers, took = _answers(opened, seed=1)
        tokens = max(len(str(getattr(one, "text", one)).split()) for one in answers) * 4 / 3
        provider = suite.endpoints.provider(pair.model)
        return _Asked(
            lines=(*_who(opened, answers), *_takes(opened)),
            seconds=took * max(1.0, _LONG_ANSWER / max(tokens, 1)),
            at_once=provider.concurrency or _AT_ONCE,
            excerpts=len(suite.books.cut(pair.book).excerpts),
            text_only="chat" in _refused(opened, "api"),
        )
    finally:
        suite.close()
        suite.resources.close()


def _answers(endpoint: Endpoint, *, seed: int) -> tuple[Sequence[Completion | str], float]:
    """Two answers to the question, and the seconds that they took."""
    before = time.monotonic()
    answers = endpoint.sample(
        _QUESTION, n=2, temperature=1.0, max_tokens=_QUESTION_TOKENS, seed=seed
    )
    return answers, time.monotonic() - before


def _who(endpoint: Endpoint, answers: Sequence[Completion | str]) -> list[tuple[str, str]]:
    from pytest_memleak.interfaces.capabilities import id_of
    from pytest_memleak.interfaces.protocols import Completion
    from pytest_memleak.pipeline.ledger_endpoint import served_record
    from pytest_memleak.redaction.text import short_name
    from pytest_memleak.reports.report_text import server_name

    told = [("asked", id_of(endpoint) or "an endpoint without a name")]
    first = next((one for one in answers if isinstance(one, Completion)), None)
    if first is not None and first.served is not None:
        served = served_record(first.served.model, first.served.fingerprint, calls=1)
        told.append(("answered by", server_name(served)))
    if first is not None:
        ended = short_name(first.finish_word or "") or first.finish_reason.value
        counted = "counted" if first.completion_tokens is not None else "not counted"
        told.append(("tells", f"why an answer ended ({ended}); tokens are {counted}"))
    return told


def _takes(endpoint: Endpoint) -> list[tuple[str, str]]:
    from pytest_memleak.interfaces.capabilities import ObeyingEndpoint

    if not isinstance(endpoint, ObeyingEndpoint):
        return []
    obeyed = endpoint.obeyed
    taken = [name for name, one in obeyed.items() if one.taken]
    refused = [name for name, one in obeyed.items() if not one.taken]
    told = [("takes", ", ".join(taken))]
    return told + ([("refuses", f"{', '.join(refused)}; left out")] if refused else [])


def _refused(endpoint: Endpoint, name: str) -> tuple[object, ...]:
    from pytest_memleak.interfaces.capabilities import ObeyingEndpoint

    obeyed = endpoint.obeyed if isinstance(endpoint, ObeyingEndpoint) else {}
    return obeyed[name].refused if name in obeyed else ()


# --- what it will cost ---------------------------------------------------------------------


def _planned(path: Path, ledger: str) -> Plan:
    from pytest_memleak.errors import SettingsError
    from pytest_memleak.pipeline.dry_run import plan_run
    from pytest_memleak.sampling.cost_plan import in_all

    suite = _opened(path, ledger)
    try:
        planned = plan_run(suite.suite.pairs, lambda _: suite)
        if planned.obstacles:
            raise SettingsError(f"it cannot be planned: {planned.obstacles[0]}", location=str(path))
        return in_all([step.sampling for step in planned.steps if step.sampling])
    finally:
        suite.close()
        suite.resources.close()


def _tell(asked: _Asked, planned: Plan, samples: int, cost: float | None, seconds: float) -> None:
    from pytest_memleak.records.number_format import amount
    from pytest_memleak.redaction.text import inert

    for title, said in asked.lines:
        print_sentence(f"  {title:<12} {inert(said)}", indent=15)
    print()
    print_sentence(
        f"The probe: the model goes on with the beginning of each of "
        f"{amount(asked.excerpts, 'excerpt')}, {amount(samples, 'time')}."
    )
    tokens = f"{planned.prompt_tokens:,} tokens in, {planned.completion_tokens:,} out"
    if cost is None:
        print_sentence(f"At most {tokens}; with --price IN,OUT also what they cost.")
    else:
        print_sentence(f"At most US$ {cost:,.2f} ({tokens}), and no more is spent.")
    minutes = math.ceil(seconds / 60)
    if minutes > _MINUTES:
        print_sentence(
            f"All of it takes about {minutes} minutes; after {_MINUTES} it stops, to be gone on."
        )
    else:
        print_sentence(f"It takes about {amount(max(1, minutes), 'minute')}.")
