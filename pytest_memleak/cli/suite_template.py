"""The suite file that `try` and `init` write, and the options that it is made from."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_memleak.cli.learned_keys import LearnedKey, lines_of
from pytest_memleak.cli.shared_options import add_arguments
from pytest_memleak.cli.terminal_output import command_line
from pytest_memleak.errors import SettingsError
from pytest_memleak.providers.provider_registry import PROVIDERS, host_of, is_loopback

SUITE_ENDS = ".memleak.toml"
RELEASE_SAMPLES = 100
"""Generations per excerpt of a release test."""
_HEAD = """\
#:schema ./memleak-suite.schema.json
# For completion in editors: memleak suite-schema > memleak-suite.schema.json
#
# Does this model reproduce these books?
#
#     {command}
"""
_PROBE = """\
# The model continues the beginning of each excerpt. To prompt it with instructions
# instead, name a file of summaries in [[book]] (summaries = "..."), and remove this.
probe = "continuation"
"""
_EXTRACTION = """\
# The same model, asked for the book itself in a conversation (docs/ladder.md).
"""
_LIMITS = """\
[limits]
preset = "strict"  # limits that you add can only be tighter
"""


def add_model_options(
    parser: argparse.ArgumentParser,
    *,
    required: bool,
    price: str,
) -> None:
    """Add --model, --base-url, and --price, which is for this."""
    arguments = {
        "--model PROVIDER/NAME": "the model to test, as in openai/gpt-oss-20b",
        "--base-url URL": "your own server, as in http://localhost:8000/v1",
        "--price IN,OUT": f"US$ per million input and output tokens{price}",
    }
    add_arguments(
        parser,
        arguments,
        model={"required": required},
        base_url={"type": validated_url},
        price={"type": parse_price},
    )


@dataclass(frozen=True, slots=True)
class BookReview:
    """What a person said of a book that was shown.

    include, exclude: documents to read in full, or not at all
    approved: the digest of the words, None if no one approved them
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    approved: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """The values of a suite file.

    books:     paths from the working folder
    provider, base: the model, as in openai/gpt-oss-20b
    detection_limit: the detection limit that the pair must reach
    price:     US$ per million input and output tokens
    encoding:  of the books, if they are plain text in an encoding other than UTF-8
    text_only: whether the server offers no chat for the model
    deadline:  seconds per call of a slow server; None for the default
    choices:   what was said of each book that was shown
    learned:   keys that a preflight added
    extraction: whether the model is also asked for the books themselves
    """

    books: tuple[Path, ...]
    provider: str
    base: str
    samples: int
    detection_limit: float
    base_url: str | None = None
    price: tuple[float, float] | None = None
    words: str = "paper"
    encoding: str | None = None
    text_only: bool = False
    deadline: int | None = None
    choices: Mapping[Path, BookReview] = field(default_factory=dict)
    learned: tuple[LearnedKey, ...] = ()
    extraction: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of the model's own server, which may receive its key."""
        host = host_of(self.base_url or "")
        if not host or is_loopback(host):
            return ()
        return (host,)

    @property
    def is_local(self) -> bool:
        """Whether the model's server is on this machine."""
        built_in = PROVIDERS.get(self.provider)
        address = self.base_url
        if built_in is not None:
            address = built_in.needs.address_of(self.base_url)
        return is_loopback(host_of(address or ""))

    @property
    def options(self) -> tuple[str, ...]:
        """The options of pytest that permit `hosts`."""
        options: list[str] = []
        for host in self.hosts:
            options += ["--memleak-host", host]
        return tuple(options)

    def text(self, path: Path) -> str:
        """Return the suite's text, with books relative to the folder of `path`."""
        command = command_line("pytest", "-m", "copyright", path.name, *self.options)
        blocks = [_HEAD.format(command=command), self._suite_table(), _LIMITS]
        for name, book in _books_by_name(self.books).items():
            source = Path(os.path.relpath(book, path.parent)).as_posix()
            lines = ["[[book]]", f"id = {quoted(name)}", f"source = {quoted(source)}"]
            if self.encoding:
                lines.append(f"encoding = {quoted(self.encoding)}")
            lines += suite_lines_of_review(self.choices.get(book, BookReview()))
            blocks.append("\n".join(lines) + "\n")
        blocks.append(self._model_table())
        if self.extraction:
            blocks.append(_EXTRACTION + self._model_table(probe="extraction"))
        return "\n".join(blocks)

    def _suite_table(self) -> str:
        limit = f"{self.detection_limit:g}  # a lower one needs more samples"
        lines = [
            "[suite]",
            f"samples = {self.samples}  # generations per excerpt",
            f"detection_limit = {limit}",
            *_PROBE.splitlines(),
        ]
        lines += lines_of(self.learned, "suite")
        if self.words != "paper":
            lines.append(f'word_mode = "{self.words}"')
        if self.deadline is not None:
            lines += ["", "[sampling]"]
            lines.append(f"deadline = {self.deadline}  # seconds per call")
        return "\n".join(lines) + "\n"

    def _model_table(self, probe: str = "") -> str:
        name = f"{make_id(self.base)}-{probe}" if probe else make_id(self.base)
        lines = [
            "[[model]]",
            f"id = {quoted(name)}",
            f"provider = {quoted(self.provider)}",
            f"base_model = {quoted(self.base)}",
        ]
        if probe:
            lines.append(f"probe = {quoted(probe)}")
        if self.price:
            price = "price = {{ input = {}, output = {} }}  # US$ per million tokens"
            lines.append(price.format(*self.price))
        lines += lines_of(self.learned, "model")
        options = []
        if self.base_url:
            options.append(f"base_url = {quoted(self.base_url)}")
        if self.text_only:
            options.append('api = "completions"')
        if options:
            lines += ["[model.options]", *options]
        return "\n".join(lines) + "\n"


def suite_lines_of_review(choice: BookReview) -> Iterator[str]:
    """Yield the keys of a suite's book that say it."""
    for key in ("include", "exclude"):
        names = getattr(choice, key)
        if names:
            yield f"{key} = [{', '.join(map(quoted, names))}]"
    if choice.approved:
        yield f"approved = {quoted(choice.approved)}"


def _books_by_name(books: tuple[Path, ...]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for book in books:
        name = make_id(book.stem)
        while name in named:
            name += "-2"
        named[name] = book
    return named


def make_id(text: str) -> str:
    """Make an id for books, models, and files: letters, digits, dots, and dashes."""
    name = text.rstrip("/").rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-._")
    return plain[:60].lower() or "it"


def quoted(text: str) -> str:
    """Quote a TOML string: as in JSON, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def split_model_option(text: str) -> tuple[str, str]:
    """Split PROVIDER/NAME, as in openai/gpt-oss-20b; raise SettingsError for others."""
    from pytest_memleak.interfaces.extensions import Extensions

    provider, _, name = text.partition("/")
    if not (provider and name):
        raise SettingsError(
            f"expected PROVIDER/NAME, got {text!r}",
            hint="as in openai/gpt-oss-20b; openai/NAME for your own server, too "
            "(--base-url)",
        )
    Extensions().provider(provider, place="--model")
    return provider, name


def split_openable_model(text: str) -> tuple[str, str]:
    """Split PROVIDER/NAME; raise SettingsError where that opens no model."""
    from pytest_memleak.interfaces.extensions import Extensions

    provider, name = split_model_option(text)
    if not getattr(Extensions().provider(provider, place="--model"), "by_name", True):
        raise SettingsError(
            f"--model {text}: {provider} has no models with names; a suite file says "
            "what it reads",
            hint=f"write [[model]] with provider = {quoted(provider)} "
            "(docs/providers.md), or name a model that answers: openai/NAME",
        )
    return provider, name


def parse_price(text: str) -> tuple[float, float]:
    """Parse US$ per million input and output tokens from `3.75,15`."""
    try:
        prices = [float(part) for part in text.split(",")]
    except ValueError:
        prices = []
    if len(prices) != 2 or not all(0 <= price < float("inf") for price in prices):  # noqa: PLR2004
        raise argparse.ArgumentTypeError(
            f"expected US$ per million tokens as IN,OUT, as in 3.75,15; got {text!r}",
        )
    return prices[0], prices[1]


def suite_path(text: str) -> Path:
    """Validate the name of a suite file to write."""
    if not text.endswith(SUITE_ENDS):
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in {SUITE_ENDS}, so that pytest collects it; "
            f"got {text[:80]!r}",
        )
    return Path(text)


def validated_url(text: str) -> str:
    """Validate the URL of a server."""
    if not re.match(r"https?://[^\s/]", text) or not host_of(text):
        # not shown: a password may be in it
        raise argparse.ArgumentTypeError(
            "expected a URL with http:// or https://, as in http://localhost:8000/v1",
        )
    return text
