"""The extensions: book readers, providers, measures, and report sinks."""

from __future__ import annotations

import dataclasses
import difflib
import errno
import os
from types import FunctionType, MethodType
from typing import TYPE_CHECKING

import pluggy

from pytest_memleak.errors import BookError, SuiteError
from pytest_memleak.interfaces import hookspecs
from pytest_memleak.records.measurement import Measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Manuscript, ProviderFactory
    from pytest_memleak.records import Book
    from pytest_memleak.records.pair_result import RunReport

_FUNCTIONS = (FunctionType, MethodType, staticmethod, classmethod)


def _has_hooks(plugin: object) -> bool:
    # pluggy reads each attribute, of which pytest's own plugins have thousands.
    owners = (plugin, *(plugin if isinstance(plugin, type) else type(plugin)).__mro__)
    return any(
        hasattr(getattr(value, "__func__", value), "memleak_impl")
        for owner in owners
        for value in getattr(owner, "__dict__", {}).values()
        if issubclass(type(value), _FUNCTIONS)
    )


class Extensions:
    """The pluggy manager `memleak` with all installed extensions, the built-in ones included.

    `plugins` are more objects, such as conftest modules.
    """

    def __init__(self, plugins: Iterable[object] = ()) -> None:
        self._manager = pluggy.PluginManager("memleak")
        self._manager.add_hookspecs(hookspecs)
        self._manager.load_setuptools_entrypoints("memleak")
        for plugin in plugins:
            if _has_hooks(plugin) and not self._manager.is_registered(plugin):
                # Named by its id, since the conftest modules of two folders share their
                # name.
                self._manager.register(plugin, name=str(id(plugin)))

    def read_book(
        self, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Manuscript | Book:
        """Read a book with the first reader for its format; raise BookError if there is none.

        Also for `include` and `exclude` with a format without documents.
        """
        book: Manuscript | Book | None = self._manager.hook.memleak_read_book(
            path=path, include=tuple(include), exclude=tuple(exclude)
        )
        if book is None:
            if not path.exists():
                raise BookError(os.strerror(errno.ENOENT), location=str(path))
            raise BookError(
                f"no reader for {path.suffix or path.name!r} files",
                location=str(path),
                hint="use .epub, .txt, .html, .md, .docx, .pdf, .odt, .rtf, .tex, .fb2, .lrc, "
                ".zip, .json, or .jsonl; or install a reader",
            )
        if (include or exclude) and not book.parts:
            cause = "include and exclude apply only to an EPUB or a PDF"
            raise BookError(cause, location=str(path), hint="remove them")
        return book

    def provider(self, name: str, *, place: str) -> ProviderFactory:
        """Return the provider of that name; raise SuiteError if there is none."""
        factories: dict[str, ProviderFactory] = {}
        for provided in reversed(self._manager.hook.memleak_providers()):
            factories |= provided
        if name not in factories:
            near = difflib.get_close_matches(name, factories, n=1)
            raise SuiteError(
                f"unknown provider {name!r}; known providers: "
                f"{', '.join(sorted(factories))}",
                location=place,
                hint=f"did you mean {near[0]!r}?"
                if near
                else "use openai for servers with OpenAI's API, or transformers for local weights",
            )
        return factories[name]

    def is_free(self, name: str) -> bool:
        """Tell whether the provider costs nothing (its factory has `free = True`)."""
        return bool(getattr(self.provider(name, place="provider"), "free", False))

    def measures(self) -> dict[str, Measure]:
        """Return the extensions' measures by name; a plain function becomes a row."""
        measures: dict[str, Measure] = {}
        for provided in reversed(self._manager.hook.memleak_measures()):
            for name, measure in provided.items():
                row = (
                    measure
                    if isinstance(measure, Measure)
                    else Measure(name, function=measure)
                )
                measures[name] = dataclasses.replace(row, name=name)
        return measures

    def report(self, run: RunReport) -> None:
        """Hand a finished run to every report sink."""
        self._manager.hook.memleak_report(run=run)
