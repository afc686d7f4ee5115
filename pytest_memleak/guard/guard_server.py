"""The server of a guard: its listeners, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from aiohttp import web

from pytest_memleak.guard.guard_metrics import metrics_app

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from pytest_memleak.guard.guard_proxy import GuardProxy

_SHUTDOWN = 5.0  # seconds for answers in progress, at the end


def serve(
    proxy: GuardProxy,
    listener: socket.socket,
    metrics: socket.socket | None = None,
) -> None:
    """Serve a guard, and its counts to the operator, until Ctrl-C or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve_until_signal(proxy, listener, metrics))


async def _serve_until_signal(
    proxy: GuardProxy,
    listener: socket.socket,
    metrics: socket.socket | None,
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has KeyboardInterrupt
            loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as servers:
        await servers.enter_async_context(guard_server(proxy, listener))
        if metrics:
            runner = web.AppRunner(metrics_app(proxy), access_log=None)
            await runner.setup()
            servers.push_async_callback(runner.cleanup)
            await web.SockSite(runner, metrics).start()
        await ended.wait()


@contextlib.asynccontextmanager
async def guard_server(
    proxy: GuardProxy,
    listener: socket.socket,
) -> AsyncIterator[None]:
    """Serve a guard on a listener inside the context."""
    runner = web.AppRunner(
        proxy.app(),
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - setup made it
    loop = asyncio.get_running_loop()
    accept = proxy.connections.accept(runner.server)
    server = await loop.create_server(accept, sock=listener)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()
