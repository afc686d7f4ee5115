"""The suite file that `memleak complaint` writes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.cli.suite_template import (
    BookReview,
    make_id,
    quoted,
    suite_lines_of_review,
)
from pytest_memleak.providers.provider_registry import host_of, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Do these prompts bring this book from this model?
#
#     memleak complaint

[suite]
probe = "prompts"
samples = {samples}  # of each prompt; none of 299 with a passage: at most 1%
"""
_LIMITS = '[limits]\npreset = "strict"\n'


@dataclass(frozen=True, slots=True)
class ComplaintSuite:
    """The values of the suite.

    book, prompts: files; control: those of a book in no training set
    provider, base: the model, as in openai/gpt-oss-20b
    unread:    another model, which can't know the book
    price:     US$ per million input and output tokens
    words:     the word mode
    review:    what was said of the book when it was shown
    """

    book: Path
    prompts: Path
    provider: str
    base: str
    samples: int
    base_url: str | None = None
    price: tuple[float, float] | None = None
    control: tuple[Path, Path] | None = None
    unread: tuple[str, str] | None = None
    words: str = "paper"
    encoding: str | None = None
    review: BookReview = field(default_factory=BookReview)

    @property
    def pair(self) -> str:
        """The pair of the complaint's model and book."""
        return f"{make_id(self.base)}/{make_id(self.book.stem)}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of the model's own server, which may receive its key."""
        host = host_of(self.base_url or "")
        return () if not host or is_loopback(host) else (host,)

    def text(self, path: Path) -> str:
        """Return the suite's text, with files relative to the folder of `path`."""
        head = _HEAD.format(samples=self.samples)
        if self.words != "paper":
            head += f"word_mode = {quoted(self.words)}\n"
        blocks = [head, _LIMITS, self._book_table(path, self.book, self.prompts)]
        if self.control is not None:
            control = self._book_table(path, *self.control, control=True)
            blocks.append(control)
        blocks.append(self._model_table(self.provider, self.base))
        if self.unread is not None:
            blocks.append(self._model_table(*self.unread))
        return "\n".join(blocks)

    def _book_table(
        self,
        path: Path,
        book: Path,
        prompts: Path,
        *,
        control: bool = False,
    ) -> str:
        lines = [
            "[[book]]",
            f"id = {quoted(make_id(book.stem))}",
            f"source = {_relative_to_folder(book, path)}",
            f"prompts = {_relative_to_folder(prompts, path)}",
        ]
        if control:
            lines.append('role = "negative-control"')
        else:
            lines += suite_lines_of_review(self.review)
        if self.encoding and not control:
            lines.append(f"encoding = {quoted(self.encoding)}")
        return "\n".join(lines) + "\n"

    def _model_table(self, provider: str, base: str) -> str:
        return "\n".join(self._model_lines(provider, base)) + "\n"

    def _model_lines(self, provider: str, base: str) -> Iterator[str]:
        yield "[[model]]"
        yield f"id = {quoted(make_id(base))}"
        yield f"provider = {quoted(provider)}"
        yield f"base_model = {quoted(base)}"
        if self.price and (provider, base) == (self.provider, self.base):
            yield "price = {{ input = {}, output = {} }}".format(*self.price)
        if self.base_url and provider == self.provider:
            yield "[model.options]"
            yield f"base_url = {quoted(self.base_url)}"


def _relative_to_folder(file: Path, path: Path) -> str:
    return quoted(Path(os.path.relpath(file, path.parent)).as_posix())
