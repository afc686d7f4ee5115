"""Books: from an EPUB, a text or the paper's JSON to excerpts with instructions.

    manuscript = read_epub(path)                      # or read_text(path)
    book = make_book("my-book", manuscript, summaries=path_of_summaries)
    records = paper_records(book)                     # the paper's format

Attributes import their module on first use, because the readers need lxml and ebooklib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_memleak.books.build_book import make_book, paper_records, read_json
    from pytest_memleak.books.epub import read_epub
    from pytest_memleak.books.excerpts import cut
    from pytest_memleak.books.instructions import (
        DEFAULT_INSTRUCTION,
        check_template,
        instruct,
        load_summaries,
        write_summaries,
    )
    from pytest_memleak.books.plain_text import read_text

_MODULES = {
    "cut": "excerpts",
    "read_epub": "epub",
    "read_text": "plain_text",
    **dict.fromkeys(("make_book", "paper_records", "read_json"), "build_book"),
    **dict.fromkeys(("DEFAULT_INSTRUCTION", "check_template", "instruct"), "instructions"),
    **dict.fromkeys(("load_summaries", "write_summaries"), "instructions"),
}

__all__ = [
    "DEFAULT_INSTRUCTION",
    "check_template",
    "cut",
    "instruct",
    "load_summaries",
    "make_book",
    "paper_records",
    "read_epub",
    "read_json",
    "read_text",
    "write_summaries",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
