"""What extensions bring: book readers, providers, measures and report sinks, in one place."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING

import pluggy

from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.interfaces import hookspecs
from pytest_memleak.interfaces.capabilities import Free
from pytest_memleak.records.measurement import Measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Manuscript, ProviderFactory
    from pytest_memleak.records import Book
    from pytest_memleak.records.pair_result import RunReport


class Extensions:
    """The pluggy manager `memleak`, with everything installed: the built-ins come by entry point.

    `plugins` are further objects with hooks, such as conftest modules.
    """

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self._manager = pluggy.PluginManager("memleak")
        self._manager.add_hookspecs(hookspecs)
        self._manager.load_setuptools_entrypoints("memleak")
        for plugin in plugins:
            if not self._manager.is_registered(plugin):
                # Named by itself: the conftest modules of two folders are both called conftest.
                self._manager.register(plugin, name=str(id(plugin)))

    def read_book(
        self, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Manuscript | Book:
        """What the first reader that knows the file makes of it; BookError if none does.

        include, exclude: documents in it that are read whole, or not at all; BookError where its
        reader tells of none.
        """
        found: Manuscript | Book | None = self._manager.hook.memleak_read_book(
            path=path, include=tuple(include), exclude=tuple(exclude)
        )
        if found is None:
            if path.is_dir():
                raise BookError(
                    "is a folder, and a book is a file",
                    location=str(path),
                    hint=f"a collection has a pattern: {(path / '**').as_posix()!r}",
                )
            raise BookError(
                f"no reader for files named {path.suffix or path.name!r}",
                location=str(path),
                hint="use .epub, .txt, .html, .md, .docx, .pdf, .zip or the paper's .json, or "
                "install a reader",
            )
        if (include or exclude) and not found.parts:
            raise BookError(
                "include and exclude apply to an EPUB only",
                location=str(path),
                hint="remove them",
            )
        return found

    def provider(self, name: str, *, place: str) -> ProviderFactory:
        """The provider of that name; SuiteError, with the known ones, if there is none."""
        known: dict[str, ProviderFactory] = {}
        for provided in reversed(self._manager.hook.memleak_providers()):
            known.update(provided)
        if name not in known:
            raise SuiteError(
                f"provider: there is no {name!r}; known providers: {', '.join(sorted(known))}",
                location=place,
                hint=f"write {(difflib.get_close_matches(name, known) or ['openai'])[0]!r} if that "
                "is what is meant",
            )
        return known[name]

    def is_free(self, name: str) -> bool:
        """Whether the provider runs at once and costs nothing (its factory says `free = True`)."""
        factory = self.provider(name, place="provider")
        return isinstance(factory, Free) and factory.free

    def measures(self) -> dict[str, Measure]:
        """The extensions' measures by name; a plain function is a row that says no more."""
        measures: dict[str, Measure] = {}
        for provided in reversed(self._manager.hook.memleak_measures()):
            for name, one in provided.items():
                row = one if isinstance(one, Measure) else Measure(name, function=one)
                measures[name] = dataclasses.replace(row, name=name)
        return measures

    def report(self, run: RunReport) -> None:
        """Hand a finished run to every report sink."""
        self._manager.hook.memleak_report(run=run)
