"""`memleak ledger`: what a ledger holds, and generations out of it and into it.

    memleak ledger list [--json]
    memleak ledger history --endpoint ID [--book ID] [--json]
    memleak ledger cleanup [--json]
    memleak ledger verify
    memleak ledger export --endpoint ID [--book ID] [--temperature T] [--seed N] -o FILE
    memleak ledger import FILE --endpoint ID --suite SUITE --model ID --book ID

Listing, checking and exporting make no ledger where there is none. Nothing heavy is imported
before one of them runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.ledger_argument import FOLDER, add_verb, existing, ledger_url
from pytest_memleak.cli.ledger_cleanup import add_debts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_memleak.ledger.listing import BatchListing, EndpointRow, JobListing
    from pytest_memleak.ledger.sampling_history import Attempt
    from pytest_memleak.records import Pair, Suite

_SUFFIXES = (".json", ".jsonl")
_ENDPOINT = "as `list` shows it; of a digest the beginning will do"


def add_ledger(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `ledger`."""
    ledger = commands.add_parser(
        "ledger",
        help="list, export and import generations",
        description="What a ledger holds, and generations out of it and into it.",
    )
    verbs = ledger.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_list(verbs)
    _add_attempts(verbs)
    add_debts(verbs)
    _add_check(verbs)
    _add_export(verbs)
    _add_import(verbs)


# --- memleak ledger list -------------------------------------------------------------------


def _add_list(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = add_verb(verbs, "list", "list endpoints, fine-tunes and batches")
    verb.add_argument("--json", action="store_true", help="print JSON instead of tables")
    verb.set_defaults(run=_list)


def _list(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.listing import list_batches, list_endpoints, list_jobs

    with existing(parsed) as ledger:
        place = ledger.place
        endpoints, jobs, batches = list_endpoints(ledger), list_jobs(ledger), list_batches(ledger)
    if parsed.json:
        print(_as_json(place, endpoints=endpoints, finetunes=jobs, batches=batches))
        return 0
    sections = (
        ("Endpoints", _ENDPOINT_COLUMNS, list(map(_endpoint_cells, endpoints))),
        ("Fine-tunes", _JOB_COLUMNS, list(map(_job_cells, jobs))),
        ("Batches", _BATCH_COLUMNS, list(map(_batch_cells, batches))),
    )
    told = [section for section in sections if section[2]]
    for nth, (title, columns, rows) in enumerate(told):
        print(end="\n" if nth else "")
        _print(title, columns, rows)
    if not told:
        print("the ledger is empty")
    return 0


def _as_json(
    place: str, **listed: Sequence[EndpointRow | JobListing | BatchListing | Attempt]
) -> str:
    from dataclasses import asdict

    rows = {name: list(map(asdict, several)) for name, several in listed.items()}
    # Whatever is not plain ASCII is escaped: no terminal acts on it, and no id is changed.
    return json.dumps({"ledger": place} | rows, indent=2)


_WORDS = {
    *("provider", "endpoint", "book", "fine-tune", "batch", "state", "began", "cause"),
    *("by", "run or file", "first", "last"),
}
_ENDPOINT_COLUMNS = (
    *("endpoint", "book", "temp.", "seed", "excerpts", "draws", "withheld"),
    *("calls", "lost", "open", "in", "out", "US$"),
)
_JOB_COLUMNS = (
    *("provider", "fine-tune", "state", "endpoint", "examples", "tokens"),
    *("began", "cause"),
)
_BATCH_COLUMNS = ("provider", "batch", "endpoint", "state", "answered", "began", "cause")


def _endpoint_cells(row: EndpointRow) -> Sequence[str]:
    return (
        row.endpoint,
        row.book,
        f"{row.temperature:g}",
        str(row.seed),
        f"{row.excerpts:,}",
        f"{row.generations:,}",
        f"{row.withheld:,}",
        f"{row.calls:,}",
        f"{row.lost:,}",
        f"{row.open:,}",
        f"{row.prompt_tokens:,}",
        f"{row.completion_tokens:,}",
        "-" if row.cost is None else f"{row.cost:,.2f}",
    )


def _job_cells(row: JobListing) -> Sequence[str]:
    return (
        row.provider,
        row.job_id or "-",
        row.state,
        row.endpoint or "-",
        f"{row.examples:,}",
        "-" if row.tokens is None else f"{row.tokens:,}",
        _utc(row.began),
        row.cause or "",
    )


def _batch_cells(row: BatchListing) -> Sequence[str]:
    return (
        row.provider,
        row.batch_id or "-",
        row.endpoint,
        row.state,
        f"{row.answered:,}/{row.requests:,}",
        _utc(row.began),
        row.cause or "",
    )


def _utc(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from pytest_memleak.cli.columns import print_table

    print(f"{title}:")
    print_table(columns, rows, right=[name for name in columns if name not in _WORDS])


# --- memleak ledger history ---------------------------------------------------------------

_ATTEMPT_COLUMNS = (
    *("book", "temp.", "seed", "by", "run or file", "excerpts", "calls", "lost", "failed"),
    *("draws", "surplus", "removed", "first", "last", "endpoint"),
)
_SHOWN_OF_SOURCE = 12  # characters


def _add_attempts(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = add_verb(verbs, "history", "list every draw ever made of an endpoint")
    verb.add_argument("--endpoint", metavar="ID", required=True, help=_ENDPOINT)
    verb.add_argument("--book", metavar="ID", help="the draws for this book only")
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.set_defaults(run=_attempts)


def _attempts(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.listing import endpoint_meant
    from pytest_memleak.ledger.sampling_history import attempts

    with existing(parsed) as ledger:
        place = ledger.place
        made = attempts(ledger, endpoint_meant(ledger, parsed.endpoint), parsed.book)
    if parsed.json:
        print(_as_json(place, attempts=made))
    else:
        _print("Attempts", _ATTEMPT_COLUMNS, map(_attempt_cells, made))
    return 0


def _attempt_cells(row: Attempt) -> Sequence[str]:
    return (
        row.book,
        f"{row.temperature:g}",
        str(row.seed),
        row.kind,
        (row.source or "-")[:_SHOWN_OF_SOURCE],
        f"{row.excerpts:,}",
        f"{row.calls:,}",
        f"{row.lost:,}",
        f"{row.failed:,}",
        f"{row.generations:,}",
        f"{row.surplus:,}",
        f"{row.removed:,}",
        _utc(row.first),
        _utc(row.last),
        row.endpoint,
    )


# --- memleak ledger verify ------------------------------------------------------------------

_DIFFERS = 1


def _add_check(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = add_verb(verbs, "verify", "hold every row against the chain of what was written")
    verb.set_defaults(run=_check)


def _check(parsed: argparse.Namespace) -> int:
    from pytest_memleak.ledger.verify_chain import check_ledger
    from pytest_memleak.redaction.text import inert

    with existing(parsed) as ledger:
        place = inert(ledger.place)
        checked = check_ledger(ledger)
    for line in checked.wrong:
        print(inert(line))
    told = f"{checked.entries:,} entries, {checked.calls:,} calls"
    if checked.imports:
        told += f", {checked.imports:,} of them with answers from files"
    kept = f"{len(checked.wrong):,} faults" if checked.wrong else "every row is as it was written"
    print(f"{place}: {told}: {kept}")
    return _DIFFERS if checked.wrong else 0


# --- memleak ledger export -----------------------------------------------------------------


def _add_export(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = add_verb(verbs, "export", "write an endpoint's generations to a file")
    verb.add_argument("--endpoint", metavar="ID", required=True, help=_ENDPOINT)
    verb.add_argument("--book", metavar="ID", help="where the endpoint was asked for several")
    verb.add_argument("--temperature", metavar="T", type=float, help="where there are several")
    verb.add_argument("--seed", metavar="N", type=int, help="where there are several")
    verb.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help=".json for the paper's format, .jsonl for one generation a line",
    )
    verb.set_defaults(run=_export)


def _export(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import RecordsError
    from pytest_memleak.ledger.exports import export_generations
    from pytest_memleak.ledger.listing import endpoint_meant
    from pytest_memleak.redaction.text import inert

    if parsed.output.suffix.lower() not in _SUFFIXES:
        raise RecordsError(
            f"generations are written to {' or '.join(_SUFFIXES)}, not to"
            f" {parsed.output.suffix or 'a file without an ending'}",
            location=str(parsed.output),
        )
    with existing(parsed) as ledger:
        written = export_generations(
            ledger,
            parsed.output,
            endpoint_id=endpoint_meant(ledger, parsed.endpoint),
            book_id=parsed.book,
            temperature=parsed.temperature,
            seed=parsed.seed,
        )
    print(f"{written:,} generations -> {inert(str(parsed.output))}")
    return 0


# --- memleak ledger import -----------------------------------------------------------------


def _add_import(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = add_verb(verbs, "import", "take a file's generations as drawn from an endpoint")
    verb.add_argument("file", metavar="FILE", type=Path, help="generations (.json or .jsonl)")
    verb.add_argument("--endpoint", metavar="ID", required=True, help="as `list` shows it")
    verb.add_argument(
        "--suite",
        metavar="SUITE",
        type=Path,
        required=True,
        help="the suite file whose pair asked for them",
    )
    verb.add_argument("--model", metavar="ID", required=True, help="the pair's model")
    verb.add_argument("--book", metavar="ID", required=True, help="the pair's book")
    verb.set_defaults(run=_import)


def _import(parsed: argparse.Namespace) -> int:
    from pytest_memleak.errors import SuiteError
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.imports import import_generations
    from pytest_memleak.pipeline.required_samples import pair_prompts
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.redaction.text import inert
    from pytest_memleak.suite.load import load_suite

    suite = load_suite(parsed.suite)
    pair = _pair(suite, model=parsed.model, book=parsed.book)
    if pair.probe.kind != "instruction":
        raise SuiteError(
            f"{pair.id} has the probe {pair.probe.kind!r}, and a file's generations answer"
            " instructions",
            location=str(parsed.suite),
        )
    resources = Resources(ledger_url(parsed), offline=True)
    opened = SuiteRun(suite, Extensions(), state=Path.cwd() / FOLDER, resources=resources)
    try:
        asked = pair_prompts(pair, opened.books.book(pair.book))
        done = import_generations(
            resources.ledger, parsed.file, endpoint_id=parsed.endpoint, questionnaire=asked
        )
        place = resources.ledger.place
    finally:
        opened.close()
        resources.close()
    print(f"{done.added:,} generations added, {done.known:,} known already -> {inert(place)}")
    return 0


def _pair(suite: Suite, *, model: str, book: str) -> Pair:
    from pytest_memleak.errors import SuiteError

    wanted = f"{model}/{book}"
    for pair in suite.pairs:
        if pair.id == wanted:
            return pair
    known = ", ".join(pair.id for pair in suite.pairs)
    raise SuiteError(f"there is no pair {wanted!r}; its pairs: {known}", location=str(suite.path))
