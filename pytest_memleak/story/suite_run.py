"""One suite of a run: its books, its endpoints, and what of the run they may use."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from pytest_memleak.errors import MemleakError, SuiteError
from pytest_memleak.story.endpoints import Endpoints
from pytest_memleak.story.prepared_books import PreparedBooks
from pytest_memleak.story.shelves import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_memleak.contracts.extensions import Extensions
    from pytest_memleak.records import Book, Suite
    from pytest_memleak.story.protected import ProtectedBooks
    from pytest_memleak.story.resources import Resources
    from pytest_memleak.story.summary_writer import SummaryWriter

__all__ = ["SuiteRun"]


class SuiteRun:
    """What the pairs of one suite share in a run, each thing opened when it is first asked for.

    `state` is the folder that providers may keep weights in.
    """

    def __init__(
        self, suite: Suite, extensions: Extensions, *, state: Path, resources: Resources
    ) -> None:
        self.suite = suite
        self.extensions = extensions
        self.resources = resources
        # A summarizer's endpoint writes what books lack, and other endpoints are tuned on books.
        self.books = PreparedBooks(suite, extensions, lambda: self._summary_writer)
        self.endpoints = Endpoints(suite, extensions, self.books, resources, state=state)

    def refuse_unregistered(self) -> None:
        """Raise SuiteError where another suite than this was preregistered."""
        said, found = self.suite.preregistered, self.suite.content_digest
        if said not in (None, found):
            raise SuiteError(
                f"not the suite that was preregistered: that one's SHA-256 is {said}, "
                f"this one's is {found}",
                place=self.suite.name,
                hint="take back what was changed since; or write "
                f'preregistered = "{found}", and announce it, before anything is drawn',
            )

    def close(self) -> None:
        """Let go of the providers' connections, where they have any."""
        self.endpoints.close()

    def book_texts(self) -> Iterator[str]:
        """The text of each book that can be read now, whole."""
        for source in self.suite.books:
            with contextlib.suppress(MemleakError):
                yield " ".join(one.text for one in self.books.cut(source).excerpts)

    @functools.cached_property
    def protected(self) -> ProtectedBooks:
        """The suite's books that no generation may recite."""
        from pytest_memleak.story.protected import ProtectedBooks  # with numpy

        return ProtectedBooks(self.suite, self.books)

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The books that nobody asks for."""
        root = self.suite.path.parent
        books: dict[str, Callable[[], Book]] = {
            path.relative_to(root).as_posix(): functools.partial(self.books.loose, path)
            for path in self.suite.catalogue
        }
        scoring = self.suite.pairs[0].scoring
        return Catalogue(books, scoring, shelf_bytes=self.resources.shard_memory)

    @functools.cached_property
    def _summary_writer(self) -> SummaryWriter:
        from pytest_memleak.story.summary_writer import SummaryWriter

        assert self.suite.summarizer is not None  # noqa: S101 - asked before by PreparedBooks
        mode = self.suite.pairs[0].scoring.words
        return SummaryWriter(self.suite.summarizer, self.endpoints, self.resources, mode=mode)
