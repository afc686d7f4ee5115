"""What a guard did, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from pytest_memleak.guard.guard_proxy import GuardProxy

_TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}


class _GuardCollector(Collector):
    """The counts of a guard, read when they are asked for."""

    def __init__(self, proxy: GuardProxy) -> None:
        self._proxy = proxy

    def collect(self) -> Iterator[Metric]:
        """Yield a metric for each count, and the stops by book."""
        counts = self._proxy.counts
        yield CounterMetricFamily(
            "memleak_guard_requests",
            "Requests that clients sent.",
            value=counts["requests"],
        )
        yield CounterMetricFamily(
            "memleak_guard_upstream_errors",
            "Failures of the server behind the guard.",
            value=counts["upstream_errors"],
        )
        stops = CounterMetricFamily(
            "memleak_guard_stops",
            "Choices that the guard ended, by book.",
            labels=["book"],
        )
        for book, count in sorted(self._proxy.stops.items()):
            stops.add_metric([book], count)
        yield stops


def metrics_app(proxy: GuardProxy) -> web.Application:
    """Return the application that serves a guard's counts at /metrics."""
    registry = CollectorRegistry()
    registry.register(_GuardCollector(proxy))

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers=_TEXT)

    app = web.Application()
    app.router.add_get("/metrics", show)
    return app
