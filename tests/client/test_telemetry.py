"""OpenTelemetry: the metrics and spans of the HTTP conventions, as the SDK's own exporters get them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from keepwarm.client.session import ClientSession
from keepwarm.otel import instrument
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import ConnectError
from tests.support.calling import WatchedConnector, fetch, serve, session
from tests.support.server import Answer, Peer, RecvRequest, Stall, answering, response, unserved_port

pytestmark = pytest.mark.asyncio


class Watched:
    """A session whose connector is instrumented, and what came of it."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, connector: BaseConnector | None) -> Any:
        assert connector is not None
        return instrument(connector, tracer_provider=self.tracers, meter_provider=self.meters)

    def points(self, name: str) -> list[Any]:
        """The data points of one metric that are not zero."""
        data = self.reader.get_metrics_data()
        found = [
            point
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
        return [point for point in found if getattr(point, "value", 1)]

    def ended(self) -> list[ReadableSpan]:
        return list(self.spans.get_finished_spans())


@contextmanager
def watched() -> Iterator[Watched]:
    made = Watched()
    try:
        yield made
    finally:
        made.meters.shutdown()
        made.tracers.shutdown()


async def test_a_call_and_its_connection() -> None:
    """One span, one duration; one connection that is idle, and none when it is closed."""
    with watched() as seen:
        async with serve() as server, session() as calls:
            seen.instrument(calls.connector)
            await fetch(calls, server.url("/a"))
            (span,) = seen.ended()
            assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
            place = {"server.address": "127.0.0.1", "server.port": server.port, "url.scheme": "http"}
            assert dict(span.attributes or {}) == {
                **place,
                "http.request.method": "GET",
                "http.response.status_code": 200,
                "url.full": server.url("/a"),
            }
            (duration,) = seen.points("http.client.request.duration")
            assert (duration.count, duration.explicit_bounds[0], duration.explicit_bounds[-1]) == (1, 0.005, 10)
            assert duration.attributes["http.response.status_code"] == 200
            (connections,) = seen.points("http.client.open_connections")
            assert (connections.value, connections.attributes) == (1, {"http.connection.state": "idle", **place})
            assert seen.points("http.client.active_requests") == []
        assert seen.points("http.client.open_connections") == []
        (age,) = seen.points("http.client.connection.duration")
        assert (age.count, age.attributes) == (1, place)


async def test_a_call_in_flight() -> None:
    """It is active, and so is its connection; when it is cancelled, neither is left."""
    with watched() as seen:
        async with serve([RecvRequest(), Stall()]) as server, session() as calls:
            seen.instrument(calls.connector)
            task = asyncio.create_task(fetch(calls, server.url()))
            await server.until_requests(1)
            (active,) = seen.points("http.client.active_requests")
            assert (active.value, active.attributes["http.request.method"]) == (1, "GET")
            (connections,) = seen.points("http.client.open_connections")
            assert (connections.value, connections.attributes["http.connection.state"]) == (1, "active")
            task.cancel()
            await asyncio.wait([task])
            assert seen.points("http.client.active_requests") == []
            (span,) = seen.ended()
            assert span.status.status_code is StatusCode.ERROR
            assert (span.attributes or {})["error.type"] == "asyncio.exceptions.CancelledError"


async def test_errors_have_a_type() -> None:
    """The class of what was raised, or the status of an answer that says no."""
    with watched() as seen:
        async with serve(answering(lambda _: response("503 Busy"))) as server, session() as calls:
            seen.instrument(calls.connector)
            async with calls.get(server.url()):
                pass
            with unserved_port() as port, pytest.raises(ConnectError):
                await calls.get(f"http://127.0.0.1:{port}/")
        types = [(span.attributes or {})["error.type"] for span in seen.ended()]
        assert types == ["503", "keepwarm.pool.errors.ConnectError"]
        found = {point.attributes["error.type"] for point in seen.points("http.client.request.duration")}
        assert found == set(types)


async def dies_on_reuse(peer: Peer) -> None:
    await Answer().run(peer)
    await peer.head()
    peer.fin()


async def test_a_replay_has_a_span_of_its_own() -> None:
    """Within the same parent; the second says that it is one."""
    with watched() as seen:
        async with serve(dies_on_reuse) as server, ClientSession(connector=WatchedConnector()) as calls:
            await fetch(calls, server.url("/one"))
            seen.instrument(calls.connector)
            with seen.tracers.get_tracer("test").start_as_current_span("work") as work:
                await fetch(calls, server.url("/two"))
        first, second, _ = seen.ended()
        assert first.status.status_code is StatusCode.ERROR and second.status.status_code is StatusCode.UNSET
        resends = [(span.attributes or {}).get("http.request.resend_count") for span in (first, second)]
        assert resends == [None, 1]
        for span in (first, second):
            assert span.parent is not None and span.parent.span_id == work.get_span_context().span_id


async def test_methods_that_nobody_knows() -> None:
    """They must not make a time series each."""
    with watched() as seen:
        async with serve() as server, session() as calls:
            seen.instrument(calls.connector)
            async with calls.request("MKCOL", server.url()):
                pass
        (span,) = seen.ended()
        assert span.name == "HTTP" and (span.attributes or {})["http.request.method_original"] == "MKCOL"
        (duration,) = seen.points("http.client.request.duration")
        assert duration.attributes["http.request.method"] == "_OTHER"


async def test_stopping() -> None:
    """What is counted at that time is taken back, and spans that are open end."""
    with watched() as seen:
        async with serve([RecvRequest(), Stall()]) as server, session() as calls:
            stop = seen.instrument(calls.connector)
            task = asyncio.create_task(fetch(calls, server.url()))
            await server.until_requests(1)
            stop()
            for name in ("http.client.active_requests", "http.client.open_connections"):
                assert seen.points(name) == []
            assert len(seen.ended()) == 1
            task.cancel()
            await asyncio.wait([task])
            assert len(seen.ended()) == 1


async def test_the_api_alone_will_do() -> None:
    """Without an SDK nothing is exported and nothing fails; and keepwarm by itself loads none of it."""
    async with serve() as server, session() as calls:
        assert calls.connector is not None
        stop = instrument(calls.connector)
        assert await fetch(calls, server.url("/a")) == "/a"
        stop()
    code = (
        "import sys, keepwarm\n"
        "loaded = lambda name: any(module.startswith(name) for module in sys.modules)\n"
        "assert not loaded('opentelemetry')\n"
        "import keepwarm.otel\n"
        "keepwarm.otel.instrument(keepwarm.BaseConnector())\n"
        "assert loaded('opentelemetry') and not loaded('opentelemetry.sdk')\n"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
