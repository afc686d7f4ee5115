"""An OpenAI server that answers what a test gives it, and a guard before it, on loopback."""

import asyncio
import contextlib
import json
import threading

from aiohttp import test_utils, web

import pytest_memleak.guard.guard_proxy


class ChatStreams:
    """The server: `answers` by model, each a list of chunks, of raw lines, or of seconds to wait.

    left: requests whose client left before the answer's end. asked: their bodies
    """

    def __init__(self):
        self.answers, self.asked, self.left = {}, [], 0

    def app(self):
        app = web.Application()
        for path in (
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/responses",
            "/v1/messages",
        ):
            app.router.add_post(path, self._answer)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, request):
        return web.json_response({"data": [{"id": name} for name in self.answers]})

    async def _answer(self, request):
        asked = await request.json()
        self.asked.append((dict(request.headers), asked))
        answer = self.answers[asked["model"]]
        if callable(answer):
            return await answer(request, asked)
        if not asked.get("stream"):
            return web.json_response(answer)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for part in answer:
                if isinstance(part, float):
                    await asyncio.sleep(part)
                else:
                    await response.write(_line(part) + b"\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise
        return response


def _line(part):
    if isinstance(part, bytes):
        return part
    name = f"event: {part['type']}\n" if "type" in part else ""
    return f"{name}data: {json.dumps(part)}".encode()


@contextlib.contextmanager
def serving(*apps):
    """Serve applications in a thread, each made of the addresses before; yields all addresses."""
    loop, addresses, servers = asyncio.new_event_loop(), [], []

    async def start(app):
        servers.append(test_utils.TestServer(app))
        await servers[-1].start_server(shutdown_timeout=0.2)
        return str(servers[-1].make_url("")).rstrip("/")

    async def stop():
        for server in reversed(servers):
            await server.close()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        for make_app in apps:
            starting = asyncio.run_coroutine_threadsafe(
                start(make_app(*addresses)), loop
            )
            addresses.append(starting.result(30))
        yield addresses
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def guarded(library, limit=38, **rules):
    """A guard before a `ChatStreams`; yields the server, the proxy, and the guard's address."""
    server, proxies = ChatStreams(), []

    def guard(upstream):
        proxies.append(
            pytest_memleak.guard.guard_proxy.GuardProxy(
                library, f"{upstream}/v1", limit, **rules
            )
        )
        return proxies[0].app()

    with serving(server.app, guard) as (_, address):
        yield server, proxies[0], address
