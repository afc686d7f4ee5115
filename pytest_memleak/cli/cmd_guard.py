"""`memleak guard`: a proxy that ends answers at passages of protected books."""

from __future__ import annotations

import argparse
import logging
import socket
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_memleak.cli.default_ledger import FOLDER
from pytest_memleak.cli.shared_options import WORD_MODE, add_command
from pytest_memleak.errors import SettingsError, install_command
from pytest_memleak.records import Scoring
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.credentials import without_credentials
from pytest_memleak.scoring.measure_table import CONVERSATION_BUDGET, PASSAGE_LIMIT

if TYPE_CHECKING:
    from pytest_memleak.cli.shared_options import Commands
    from pytest_memleak.guard.client_budgets import ClientBudgets
    from pytest_memleak.library.library import Library

_CLIENTS = Path(FOLDER) / "guard.db"
_THIS_MACHINE = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}  # noqa: S104


def add_guard(commands: Commands) -> None:
    """Register `memleak guard`."""
    add_command(
        commands,
        "guard",
        _run_guard,
        "end a server's answers before they reproduce a book",
        "Run a proxy in front of a server with OpenAI's API (chat completions, "
        "completions, responses) or Anthropic's (messages). It ends a choice, with "
        'finish_reason = "content_filter" (responses: incomplete; messages: '
        'stop_reason = "refusal"), before it sends more than --limit words of a '
        "protected passage, and before a conversation has more than --budget words of "
        "one book: "
        "from then on, at most 7 words in a row leave per choice (23 where some are "
        "changed). This holds if the client returns earlier turns unchanged. It "
        "doesn't hold over conversations, over turns that a client drops, and for a "
        "client with many keys: --client-budget covers the first two. GET /guard "
        "counts the stops; each is logged, without text.",
        arguments={
            "books BOOK+": "protected books (.epub, .txt, ...), and catalog files",
            "--upstream "
            "URL": "the server's address up to /v1: http://localhost:8000/v1",
            "--common FILE+": "texts that anyone may quote",
            "--limit "
            "N": "the longest passage let through, in words (default: %(default)s)",
            "--budget "
            "WORDS": "the most words of one book in a conversation, in runs of 8 and "
            "more; none: any number (default: %(default)s)",
            "--client-budget "
            "WORDS": "the most words of one book for a client, by its key, over all "
            f"conversations of --per hours; kept in {_CLIENTS} (default: none)",
            "--per HOURS": "how long a client's words count (default: %(default)g)",
            "--excuse-context": "system and tool messages excuse the words they "
            "contain, as users' messages do: for retrieval from texts that may be "
            "quoted",
            "--drop": "drop what the guard can't read, such as log-probabilities, from "
            "answers, instead of rejecting requests for it",
            "--host HOST": "the address to listen on (default: %(default)s)",
            "--port "
            "N": "the port to listen on (default: %(default)s); 0: any free port",
            "--metrics-port "
            "N": "serve the counts for Prometheus at /metrics of this port (default: "
            "not at all)",
            "--connections "
            "N": "the most open connections of one address (default: %(default)s)",
            **WORD_MODE,
        },
        upstream={"required": True},
        limit={"default": PASSAGE_LIMIT},
        budget={"type": _validated_word_budget, "default": CONVERSATION_BUDGET},
        client_budget={"type": _validated_word_budget, "default": None},
        per={"type": float, "default": 24.0},
        host={"default": "127.0.0.1"},
        port={"default": 8790},
        connections={"default": 512},
    )


def _validated_word_budget(typed: str) -> int | None:
    """Return a budget; raise ArgumentTypeError for one below the shortest passage."""
    from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS

    if typed == "none":
        return None
    try:
        words = int(typed)
    except ValueError:
        words = 0
    if words < LEAST_NEAR_VERBATIM_WORDS:
        raise argparse.ArgumentTypeError(
            f"{typed!r} isn't none or a number of words "
            f"from {LEAST_NEAR_VERBATIM_WORDS} on",
        )
    return words


def _run_guard(parsed: argparse.Namespace) -> int:
    from pytest_memleak.guard.stop_at_passage import GuardedText
    from pytest_memleak.library.library import Library

    try:
        for package in ("aiohttp", "prometheus_client"):
            import_module(package)
        from pytest_memleak.guard.connections import Connections
        from pytest_memleak.guard.guard_proxy import GuardProxy
        from pytest_memleak.guard.guard_server import serve
    except ImportError:
        raise SettingsError(
            "the packages aiohttp and prometheus-client, which run the proxy, aren't "
            "installed",
            hint=f"install it with: {install_command('guard')}",
        ) from None
    upstream = _validated_upstream(parsed)
    if not parsed.per > 0:
        raise SettingsError(
            f"--per {parsed.per:g} isn't a number of hours above 0",
            hint="omit it: a client's words count for 24 hours",
        )
    library = Library.of(
        parsed.books,
        Scoring(word_mode=parsed.word_mode),
        common=parsed.common,
    )
    GuardedText(library, parsed.limit)  # raises SettingsError for the limit
    logging.basicConfig(format="%(asctime)s %(message)s")
    proxy = GuardProxy(
        library,
        parsed.upstream,
        parsed.limit,
        budget=parsed.budget,
        clients=_budgets_of_clients(parsed, library),
        excuse_context=parsed.excuse_context,
        drop=parsed.drop,
        connections=Connections(parsed.connections),
    )
    listener = _listening_socket(parsed.host, parsed.port, "--port")
    metrics = None
    if parsed.metrics_port is not None:
        metrics = _listening_socket(parsed.host, parsed.metrics_port, "--metrics-port")
    books = amount(len(library.sizes), "book")
    words = sum(library.sizes.values())
    address = f"{_address(parsed.host, listener)}/v1"
    print(
        f"Guards {books} ({words:,} words) at {address}, in front of {upstream}",
        flush=True,
    )
    if metrics:
        print(f"Counts: {_address(parsed.host, metrics)}/metrics", flush=True)
    serve(proxy, listener, metrics)
    return 0


def _listening_socket(
    host: str,
    port: int,
    option: str,
) -> socket.socket:
    """Return what listens on a port; raise SettingsError if nothing can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"{error.strerror}".partition(" (while")[0]
        raise SettingsError(
            f"can't listen on {host}:{port}: {reason}",
            hint=f"name another port with {option}, or an address of this machine "
            "with --host",
        ) from None


def _address(host: str, listener: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


def _budgets_of_clients(
    parsed: argparse.Namespace, library: Library
) -> ClientBudgets | None:
    """Return the clients' budgets, if they have any."""
    from pytest_memleak.guard.client_budgets import ClientBudgets
    from pytest_memleak.guard.word_budget import PlacesOfPassages

    if parsed.client_budget is None:
        return None
    places = PlacesOfPassages(library)
    return ClientBudgets(_CLIENTS, parsed.client_budget, parsed.per, places)


def _validated_upstream(parsed: argparse.Namespace) -> str:
    """Return the upstream to show; raise SettingsError for a bad one, or the guard."""
    for option, port in (
        ("--port", parsed.port),
        ("--metrics-port", parsed.metrics_port or 0),
    ):
        if port not in range(1 << 16):
            raise SettingsError(
                f"{option} {port} isn't between 0 and 65535",
                hint="omit it",
            )
    if parsed.connections < 1:
        raise SettingsError(
            f"--connections {parsed.connections} lets no client in",
            hint="omit it",
        )
    upstream = without_credentials(parsed.upstream)
    hint = "name the server up to /v1, as in --upstream http://localhost:8000/v1"
    try:
        url = urlsplit(parsed.upstream)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
    except (ValueError, KeyError):
        port = None
    if not (port and url.hostname):
        raise SettingsError(
            f"--upstream {upstream} isn't a server's address",
            hint=hint,
        )
    hosts = {url.hostname, parsed.host}
    if port == parsed.port and (len(hosts) == 1 or hosts <= _THIS_MACHINE):
        hint += ", or another port with --port"
        raise SettingsError(
            f"--upstream {upstream} is the address of the guard itself",
            hint=hint,
        )
    if not url.path.rstrip("/").endswith("/v1"):
        print(f"On most servers, --upstream ends in /v1, unlike {upstream}", flush=True)
    return upstream
