"""A suite file as a command writes it: few keys, each with what it is for."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

SUITE_ENDS = ".memleak.toml"
_HEAD = """\
# Does this model recite these books?
#
#     pytest -m copyright {name}
"""
_PROBE = """\
# The model goes on with the beginning of each excerpt. With a summary for each, in a file that the
# book names (summaries = "..."), it can be asked by them instead: take this line out.
probe = "continuation"
"""
_LIMITS = """\
[limits]
preset = "strict"  # keys beside it may only be tighter
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a suite is made of.

    books:   paths, as they are found from the working folder
    provider, base: the model, as in openai/gpt-4o
    detection_limit:  the detection limit that the pair must reach
    price:   US$ per million tokens, in and out
    text_only: whether the server has no chat for the model
    """

    books: tuple[Path, ...]
    provider: str
    base: str
    samples: int
    detection_limit: float
    base_url: str | None = None
    price: tuple[float, float] | None = None
    words: str = "paper"
    text_only: bool = False

    def text(self, path: Path) -> str:
        """The suite, for a file at `path`: books are named from its folder."""
        blocks = [_HEAD.format(name=path.name), self._suite(), _LIMITS]
        blocks += [_book(name, book, path) for name, book in _named(self.books).items()]
        return "\n".join([*blocks, self._model()])

    def _suite(self) -> str:
        seen = f"detection_limit = {self.detection_limit:g}  # needs enough samples"
        said = f"[suite]\nsamples = {self.samples}  # answers for each excerpt\n{seen}\n{_PROBE}"
        return said if self.words == "paper" else f'{said}word_mode = "{self.words}"\n'

    def _model(self) -> str:
        lines = ["[[model]]", f"id = {_quoted(identifier(self.base))}"]
        lines += [f"provider = {_quoted(self.provider)}", f"base_model = {_quoted(self.base)}"]
        if self.price:
            said = "price = {{ input = {}, output = {} }}  # US$ per million tokens"
            lines.append(said.format(*self.price))
        options = [f"base_url = {_quoted(self.base_url)}"] if self.base_url else []
        options += ['api = "completions"'] if self.text_only else []
        lines += ["[model.options]", *options] if options else []
        return "\n".join(lines) + "\n"


def _named(books: tuple[Path, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for book in books:
        name = identifier(book.stem)
        while name in found:
            name += "-2"
        found[name] = book
    return found


def _book(name: str, book: Path, path: Path) -> str:
    source = Path(os.path.relpath(book, path.parent)).as_posix()
    return f"[[book]]\nid = {_quoted(name)}\nsource = {_quoted(source)}\n"


def identifier(text: str) -> str:
    """An id for books, models and files: letters, digits, dots and dashes."""
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text.rstrip("/").rpartition("/")[2]).strip("-._")
    return plain[:60].lower() or "it"


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for one letter."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def model_named(text: str) -> tuple[str, str]:
    """Provider and name of `openai/gpt-4o`; SettingsError where one is missing."""
    from pytest_memleak.errors import SettingsError

    provider, _, name = text.partition("/")
    if not (provider and name):
        raise SettingsError(
            f"--model: expected PROVIDER/NAME, got {text!r}",
            hint="as in --model openai/gpt-4o, or with --base-url for a server of your own",
        )
    return provider, name


def price_of(text: str) -> tuple[float, float]:
    """US$ per million tokens, of prompts and of answers, in `3.75,15`."""
    import argparse

    try:
        prices = [float(part) for part in text.split(",")]
    except ValueError:
        prices = []
    if len(prices) != 2 or not all(0 <= one < float("inf") for one in prices):  # noqa: PLR2004
        raise argparse.ArgumentTypeError(
            f"expected US$ per million tokens as IN,OUT, as in 3.75,15; got {text!r}"
        )
    return prices[0], prices[1]


def suite_path(text: str) -> Path:
    """Where a suite is to be written: by its name it is run."""
    import argparse

    if not text.endswith(SUITE_ENDS):
        raise argparse.ArgumentTypeError(
            f"expected a name that ends in {SUITE_ENDS}, as pytest looks for it; got {text[:80]!r}"
        )
    return Path(text)


def url_of(text: str) -> str:
    """The address of a server, with its scheme."""
    import argparse

    if not re.match(r"https?://[^\s/]", text):  # not shown: a password may be in it
        raise argparse.ArgumentTypeError(
            "expected an address with http:// or https://, as in http://localhost:8000/v1"
        )
    return text
