"""The plugin's options, all of which begin with --memleak-, and its stash keys.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.reports.line_breaks import wrapped
from pytest_memleak.reports.output_table import REPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_memleak.plugin.progress import Display
    from pytest_memleak.records import Pair
    from pytest_memleak.verdict.evaluation import Evaluation

DEFAULT_SUITES = "*.memleak.toml"
HOW_TO_RUN = "run it with -m copyright or --memleak-allow-paid"
"""The end of the skip reason of a pair with paid calls."""
_LONGEST_NAME = 100


@contextlib.contextmanager
def usage_errors(option: str) -> Iterator[None]:
    """Raise a MemleakError as pytest's UsageError, which names the option."""
    from pytest_memleak.errors import MemleakError

    try:
        yield
    except MemleakError as error:
        raise pytest.UsageError(f"{option}: {error}") from None


def _usage_error_expecting(
    what: str,
    option: str,
    value: str,
) -> pytest.UsageError:
    return pytest.UsageError(
        f"{option}: expected {what}, got {value[:_LONGEST_NAME]!r}",
    )


def parse_quote(value: str) -> str:
    """Validate a number of words, or `full`."""
    if value != "full" and not (value.isascii() and value.isdecimal()):
        raise _usage_error_expecting(
            "a number of words or 'full'", "--memleak-quote", value
        )
    return value


def quoted_words(config: pytest.Config) -> int | None:
    """Return how many words of a passage may be shown; None for all of them."""
    value = config.getoption("memleak_quote")
    if value == "full":
        return None
    return int(value)


def terminal_settings(config: pytest.Config) -> dict[str, Any]:
    """Return the terminal's width, and whether lines may have color and be wrapped."""
    writer = config.get_terminal_writer()
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    wrap = bool(getattr(reporter, "isatty", False))
    return {"width": writer.fullwidth, "color": writer.hasmarkup, "wrap": wrap}


def folded(text: str, config: pytest.Config) -> str:
    """Break a text's lines between words at a terminal; a log keeps them whole."""
    if not terminal_settings(config)["wrap"]:
        return text
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    # While pytest captures output, the writer no longer knows the terminal's width.
    width = reporter._screen_width  # noqa: SLF001 - the width at its start
    lines = []
    for line in text.splitlines():
        lines += wrapped(line, width, indent=2)
    return "\n".join(lines)


def report_paths(config: pytest.Config) -> dict[str, Path]:
    """Return the files that options name, by the names of the outputs."""
    values = {output.name: config.getoption(output.dest) for output in REPORTS}
    return {name: Path(value) for name, value in values.items() if value}


def parse_budget(value: str) -> float:
    """Parse an amount of US$."""
    try:
        usd = float(value)
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise _usage_error_expecting("US$0 or more", "--memleak-budget", value)
    return usd


def parse_jobs(value: str) -> int:
    """Parse a number of processes; `auto` for one per core."""
    if value == "auto":
        from pytest_memleak.parallel import count_cores

        return count_cores()
    if not (value.isascii() and value.isdecimal() and int(value)):
        raise _usage_error_expecting(
            "1 or more processes, or 'auto'", "--memleak-jobs", value
        )
    return int(value)


def parse_host(value: str) -> str:
    """Validate the name of a server, without port or path."""
    from pytest_memleak.providers.provider_registry import host_of

    if not re.fullmatch(r"[\w.:-]+", value) or host_of(f"//{value}") != value.lower():
        raise _usage_error_expecting(
            "a host, as in api.example.com", "--memleak-host", value
        )
    return value.lower()


def parse_release(value: str) -> str:
    """Validate a release's name, on one line."""
    return _name("--memleak-release", value)


def parse_operator(value: str) -> str:
    """Validate an operator's name, on one line."""
    return _name("--memleak-operator", value)


def _name(option: str, value: str) -> str:
    if not (value.strip() and value.isprintable() and len(value) <= _LONGEST_NAME):
        name = f"a name of at most {_LONGEST_NAME} characters on one line"
        raise _usage_error_expecting(name, option, value)
    return value.strip()


def tolerances_option(value: str) -> dict[str, float]:
    """Parse `bmc=0.01,longest_span=10`."""
    from pytest_memleak.results.comparable import parse_tolerances

    with usage_errors("--memleak-max-increase"):
        return parse_tolerances(value)


def nonempty(option: str) -> Callable[[str], str]:
    """Return a parser that rejects an empty value, as of an unset variable."""

    def parse(value: str) -> str:
        if not value.strip():
            raise pytest.UsageError(
                f"{option}: expected a value, got {value!r}; check for an unset "
                "variable",
            )
        return value

    return parse


def validate_measures(config: pytest.Config) -> None:
    """Raise UsageError for a measure that --memleak-max-increase can't test."""
    tolerances = config.getoption("memleak_max_increase")
    if not tolerances:
        return
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.results.comparable import validate_tolerances

    brought = Extensions(config.pluginmanager.get_plugins()).measures()
    with usage_errors("--memleak-max-increase"):
        validate_tolerances(tolerances, brought)


_OUTPUTS = {output.option.removeprefix("--memleak-"): output.help for output in REPORTS}
# Metavar, default, and parser of each option with a value.
_VALUES: dict[str, tuple[str, str | None, Callable[[str], Any] | None]] = {
    "quote": ("WORDS", "12", parse_quote),
    "ledger": ("URL", None, None),
    "budget": ("USD", None, parse_budget),
    "jobs": ("N", "1", parse_jobs),
    **dict.fromkeys(_OUTPUTS, ("PATH", None, None)),
    "signing-key": ("KEYFILE", None, None),
    "release": ("NAME", None, parse_release),
    "operator": ("NAME", None, parse_operator),
    "witness": ("URL", None, None),
    "timestamp-server": ("URL", None, None),
    "baseline": ("EVIDENCE", None, None),
    "max-increase": ("MEASURE=BY,...", None, tolerances_option),
}
_HELP = {
    "quote": "show this many words of a passage: a number, 0 for none, or 'full' for "
    "all (default: %(default)s)",
    "allow-paid": "make paid calls even without -m copyright",
    "host": "allow this host, too, to receive a model's API key; repeatable",
    "ledger": "store generations in this ledger: PATH.db, sqlite:///PATH, or "
    "postgresql+psycopg://USER@HOST/NAME (default: .memleak/ledger.db in the rootdir)",
    "dry-run": "show the outstanding calls and their maximum cost, and run nothing",
    "offline": "score the ledger's generations without API calls",
    "no-wait": "submit fine-tunes and batches without waiting; their pairs are "
    "INCONCLUSIVE",
    "budget": "stop before a call that could push the run's total cost above this many "
    "US$ (default: no budget)",
    "jobs": "score in this many processes, 'auto' for one per core (default: "
    "%(default)s)",
    **_OUTPUTS,
    "signing-key": "sign the evidence bundle with this Ed25519 private key (PEM)",
    "release": "name the release in the evidence bundle and the HTML report",
    "operator": "name who runs this, a person or a department, in the evidence bundle "
    "and the HTML report",
    "witness": "announce the run to this git remote before its first call, take the "
    "seed from its log, and report the run's end; the receipt is written beside the "
    "evidence bundle",
    "timestamp-server": "have this authority (RFC 3161) stamp the announcement",
    "baseline": "show what changed since this evidence bundle of an earlier release",
    "max-increase": "fail if MEASURE rose by more than BY since the baseline and the "
    "rise exceeds noise, as in bmc=0.01,longest_span=10",
}


_PREFIX = "--memleak-"


def validate_option_spelling(parser: pytest.Parser, arguments: list[str]) -> None:
    """Raise UsageError for an unknown option that begins as ours do."""
    if not any(argument.startswith("--memleak") for argument in arguments):
        return
    names: list[str] = []
    for option in parser.getgroup("memleak").options:
        names += option.names()
    for argument in parser.parse_known_and_unknown_args(arguments)[1]:
        name = argument.partition("=")[0]
        if name.startswith("--memleak"):
            own = [option.removeprefix(_PREFIX) for option in names]
            near = difflib.get_close_matches(name.removeprefix(_PREFIX), own, n=1)
            hint = "pytest --help lists all"
            if near:
                hint = f"did you mean {_PREFIX}{near[0]}?"
            raise pytest.UsageError(f"unknown option {name}; {hint}")


def add_options(parser: pytest.Parser) -> None:
    """Add the options, all of which begin with --memleak-."""
    group = parser.getgroup("memleak", "memorization of books by language models")
    for name, text in _HELP.items():
        option = f"{_PREFIX}{name}"
        settings: dict[str, Any] = {"action": "store_true"}
        if name in _VALUES:
            metavar, default, parse = _VALUES[name]
            settings = {
                "metavar": metavar,
                "default": default,
                "type": parse or nonempty(option),
            }
        elif name == "host":
            settings = {
                "action": "append",
                "type": parse_host,
                "default": [],
                "metavar": "HOST",
            }
        group.addoption(option, help=text, **settings)
    parser.addini(
        "memleak_suites",
        type="args",
        default=[DEFAULT_SUITES],
        help=f"patterns of suite file names (default: {DEFAULT_SUITES})",
    )


display_key: pytest.StashKey[Display | None] = pytest.StashKey()
# A `pipeline.run.Run`; its type would make every user of the key import the pipeline.
run_key: pytest.StashKey[Any] = pytest.StashKey()
# Why no pair may be evaluated.
baseline_error_key: pytest.StashKey[str] = pytest.StashKey()
# A `records.witness_records.Witnessed`: what a witness was told of the run.
witnessed_key: pytest.StashKey[Any] = pytest.StashKey()
# Of an item: its test's evaluation.
evaluation_key: pytest.StashKey[Evaluation] = pytest.StashKey()
# Of an item: the evaluation that its reports already have.
published_key: pytest.StashKey[Evaluation] = pytest.StashKey()
# Of an item: why it doesn't pass, until a report states it.
failure_key: pytest.StashKey[str] = pytest.StashKey()
# Whether the function that is being parametrized has the mark `copyright`.
copyright_key: pytest.StashKey[bool] = pytest.StashKey()


def pairs_of(items: Iterable[pytest.Item]) -> dict[tuple[Path, str], Pair]:
    """Return the pairs of the items, by suite and id."""
    return {(pair.suite, pair.id): pair for pair in map(pair_of, items) if pair}


def pair_of(item: pytest.Item) -> Pair | None:
    """Return the item's pair, if any."""
    from pytest_memleak.records import Pair

    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    pair = callspec.params.get("memleak_pair")
    return pair if isinstance(pair, Pair) else None
