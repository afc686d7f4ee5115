"""`memleak guard`: a proxy that ends answers at passages of protected books."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_memleak.cli.shared_options import WORD_MODE, add_command
from pytest_memleak.errors import SettingsError, install_command
from pytest_memleak.records import Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, PRESETS

if TYPE_CHECKING:
    from pytest_memleak.cli.shared_options import Commands

_LIMIT = int(PRESETS["strict"][LONGEST_PASSAGE.name])


def add_guard(commands: Commands) -> None:
    """Register `memleak guard`."""
    add_command(
        commands,
        "guard",
        _guard,
        "end answers of a server before they reproduce a book",
        "Run a proxy before a server of OpenAI's API. It ends a choice, with finish_reason = "
        '"content_filter", before more than --limit words of a passage of a protected book have '
        "left. GET /guard counts the stops; each is logged, without text.",
        arguments={
            "books BOOK": "protected books (.epub, .txt, ...), and catalog files",
            "--upstream URL": "the server's address up to /v1: http://localhost:8000/v1",
            "--common FILE": "a text that may be quoted; repeatable",
            "--limit N": "the most words of a passage (default: %(default)s)",
            "--host HOST": "the address to listen on (default: 127.0.0.1)",
            "--port N": "the port to listen on (default: 8790)",
            **WORD_MODE,
        },
        books={"nargs": "+"},
        upstream={"type": str, "required": True},
        common={"action": "append", "default": []},
        limit={"default": _LIMIT},
        host={"type": str, "default": "127.0.0.1"},
        port={"default": 8790},
    )


def _guard(parsed: argparse.Namespace) -> int:
    from pytest_memleak.library.library import Library
    from pytest_memleak.library.stream import Stream

    try:
        from aiohttp import web

        from pytest_memleak.library.guard_proxy import GuardProxy
    except ImportError:
        raise SettingsError(
            "memleak guard needs the package aiohttp, which isn't installed",
            hint=f"install it with: {install_command('guard')}",
        ) from None
    if urlsplit(parsed.upstream).scheme not in ("http", "https"):
        raise SettingsError(
            f"--upstream {parsed.upstream} is no address of a server",
            hint="name it up to /v1, as in --upstream http://localhost:8000/v1",
        )
    library = Library.of(parsed.books, Scoring(word_mode=parsed.word_mode), common=parsed.common)
    Stream(library, parsed.limit)  # raises SettingsError for the limit
    logging.basicConfig(format="%(asctime)s %(message)s")
    words = sum(library.sizes.values())
    print(
        f"Guards {amount(len(library.sizes), 'book')} ({words:,} words) at http://{parsed.host}:"
        f"{parsed.port}/v1, before {parsed.upstream}",
        flush=True,
    )
    app = GuardProxy(library, parsed.upstream, parsed.limit).app()
    try:
        web.run_app(
            app, host=parsed.host, port=parsed.port, handler_cancellation=True, print=None,
            access_log=None,
        )  # fmt: skip
    except OSError as error:
        raise SettingsError(
            f"can't listen on {parsed.host}:{parsed.port}: {error.strerror}",
            hint="name another port with --port",
        ) from None
    return 0
