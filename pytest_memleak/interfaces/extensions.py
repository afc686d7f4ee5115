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
    kind = plugin if isinstance(plugin, type) else type(plugin)
    for owner in (plugin, *kind.__mro__):
        if any(map(_is_hook, getattr(owner, "__dict__", {}).values())):
            return True
    return False


def _is_hook(value: object) -> bool:
    if not issubclass(type(value), _FUNCTIONS):
        return False
    return hasattr(getattr(value, "__func__", value), "memleak_impl")


class Extensions:
    """The pluggy manager `memleak` with all installed and built-in extensions.

    plugins: more objects, such as conftest modules
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
        self,
        path: Path,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        encoding: str | None = None,
    ) -> Manuscript | Book:
        """Read a book with the first reader for its format.

        encoding: of plain text, where neither UTF-8 nor the file states it.
        Raises BookError if there is none, for `include` and `exclude` with a format
        without documents, and for text that no generation could match.
        """
        book: Manuscript | Book | None = self._manager.hook.memleak_read_book(
            path=path,
            include=tuple(include),
            exclude=tuple(exclude),
            encoding=encoding,
        )
        if book is None:
            if not path.exists():
                raise BookError(os.strerror(errno.ENOENT), location=str(path))
            raise BookError(
                f"no reader for {path.suffix or path.name!r} files",
                location=str(path),
                hint="use .epub, .mobi, .azw3, .txt, .html, .md, .docx, .pdf, .odt, "
                ".rtf, .tex, .fb2, .lrc, .zip, .json, or .jsonl; or install a reader",
            )
        if (include or exclude) and not book.parts:
            cause = "include and exclude apply only to an EPUB, a Kindle book, or a PDF"
            raise BookError(cause, location=str(path), hint="remove them")
        return book

    def provider(self, name: str, *, place: str) -> ProviderFactory:
        """Return the provider of that name; raise SuiteError if there is none."""
        factories: dict[str, ProviderFactory] = {}
        for provided in reversed(self._manager.hook.memleak_providers()):
            factories |= provided
        if name not in factories:
            names = ", ".join(sorted(factories))
            near = difflib.get_close_matches(name, factories, n=1)
            hint = (
                "use openai for servers with OpenAI's API, "
                "or transformers for local weights"
            )
            raise SuiteError(
                f"unknown provider {name!r}; known providers: {names}",
                location=place,
                hint=f"did you mean {near[0]!r}?" if near else hint,
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
                if isinstance(measure, Measure):
                    measures[name] = dataclasses.replace(measure, name=name)
                else:
                    measures[name] = Measure(name, function=measure)
        return measures

    def report(self, run: RunReport) -> None:
        """Hand a finished run to every report sink."""
        self._manager.hook.memleak_report(run=run)
