"""How much processor time a call of the "openai" provider takes, and where it goes.

    python benchmarks/calls.py                    # 2,000 calls of 1 answer, 8 at once
    python benchmarks/calls.py --per-call 10 --words 400

The server is another process on loopback, which responds at once; its time isn't
counted.

    openai    the SDK's client alone, as in its documentation
    endpoint  the provider's endpoint: caps, parameters, and reading the response. It
    posts the
              body as it is, so that the SDK neither transforms it nor builds models
    run       the run loop around it: reservation, call, and generations in an SQLite
    ledger
"""

from __future__ import annotations

import argparse
import json
import random
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.ledger.call_reservations import CallTerms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import build_prompts
from pytest_memleak.providers.openai.openai_provider import OpenAIProvider
from pytest_memleak.records import Book, Excerpt, Model, Sampling
from pytest_memleak.sampling.loop import sample_missing

EXCERPTS = 50
AIM = 2.0  # milliseconds
INSTRUCTION = (
    "Write this part of a book that nobody has written, in its own style. " * 4
)


# --- the server
# ----------------------------------------------------------------------------


class Answering(socketserver.StreamRequestHandler):
    """Responds the same to every request, and keeps the connection."""

    answer = b""

    def handle(self) -> None:
        while True:
            length, line = 0, self.rfile.readline()
            if not line:
                return
            while line not in {b"\r\n", b""}:
                line = self.rfile.readline()
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            self.wfile.write(self.answer)


def serve(per_call: int, words: int) -> None:
    """Print the port, and serve until the process is killed."""
    dice = random.Random(1)
    text = " ".join(f"w{dice.randrange(8000)}" for _ in range(words))
    response = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": place,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            for place in range(per_call)
        ],
        "usage": {
            "prompt_tokens": 60,
            "completion_tokens": words * per_call,
            "total_tokens": 60 + words * per_call,
        },
    }
    body = json.dumps(response).encode()
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}"
    )
    Answering.answer = f"{head}\r\n\r\n".encode() + body
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


# --- three ways
# ----------------------------------------------------------------------------


def at_once(call: Callable[[], object], calls: int, concurrency: int) -> None:
    """Call so many times, `concurrency` at once."""
    with ThreadPoolExecutor(concurrency) as pool:
        for future in [pool.submit(call) for _ in range(calls)]:
            future.result()


def milliseconds(work: Callable[[], object], calls: int) -> float:
    """Return the processor time of `work` per call."""
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began) / calls


def measured(base_url: str, given: argparse.Namespace) -> dict[str, float]:
    """Return the milliseconds per call of each way."""
    import openai

    settings: dict[str, Any] = {"n": given.per_call, "temperature": 1.0, "seed": 1}
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
    model = Model(
        id="m",
        provider="openai",
        base_model="m",
        options={
            "base_url": base_url,
            "concurrency": given.concurrency,
            "completions_per_call": given.per_call,
        },
    )
    provider = OpenAIProvider(
        ProviderSetup(
            model=model,
            place="the benchmark",
            root=Path(),
            state=Path("state"),
            read_book=lambda _: None,  # type: ignore[arg-type, return-value]
        )
    )
    endpoint = provider.open(None)

    def by_sdk() -> object:
        return client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": INSTRUCTION}],
            max_completion_tokens=600,
            **settings,
        )

    def by_endpoint() -> object:
        return endpoint.sample(INSTRUCTION, max_tokens=600, **settings)

    ways = {"openai": by_sdk, "endpoint": by_endpoint}
    times = {}
    for name, call in ways.items():
        at_once(call, 3 * given.concurrency, given.concurrency)  # connections, imports
        times[name] = milliseconds(
            lambda call=call: at_once(call, given.calls, given.concurrency), given.calls
        )
    asked = build_prompts(
        "model/book",
        a_book(),
        Sampling(samples=max(1, given.calls * given.per_call // EXCERPTS)),
        words=lambda text: len(text.split()),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger(f"sqlite:///{folder}/l.db") as ledger,
    ):

        def run() -> None:
            sample_missing(
                ledger,
                endpoint,
                endpoint_id=endpoint.id,
                prompts=asked,
                terms=CallTerms(provider, price=(2.0, 8.0)),
            )

        times["run"] = milliseconds(run, asked.requested // given.per_call)
    provider.abilities.close()
    return times


def a_book() -> Book:
    """Return a book of excerpts with instructions of usual length."""
    excerpts = tuple(
        Excerpt(f"p_id{number}", f"word{number} " * 400, f"{number}. {INSTRUCTION}")
        for number in range(1, EXCERPTS + 1)
    )
    return Book("book", "A Book", "An Author", excerpts, "0" * 64)


def main() -> None:
    given = arguments()
    if given.serve:
        serve(given.per_call, given.words)
        return
    numbers = ("--per-call", str(given.per_call), "--words", str(given.words))
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", *numbers],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            times_of_each = measured(f"http://127.0.0.1:{port}/v1", given)
        finally:
            server.kill()
    print(
        f"{given.calls:,} calls of {given.per_call} answers of {given.words} words, "
        f"{given.concurrency} at once; processor time a call, aim {AIM} ms:"
    )
    for name, milliseconds_per_call in times_of_each.items():
        times = milliseconds_per_call / times_of_each["openai"]
        print(f"  {name:10}{milliseconds_per_call:6.2f} ms, {times:.2f} times the SDK")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--per-call", type=int, default=1)
    parser.add_argument("--words", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
