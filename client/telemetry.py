"""Telemetry: the events of a connector as OpenTelemetry metrics and spans."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from keepwarm.client.call_events import CallEvent
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.events import ConnectionEvent, Event, Listener
from keepwarm.pool.version import __version__

# The semantic conventions for HTTP that the names and attributes below are taken from.
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.38.0"
# What they advise for the duration of requests, in seconds.
_REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# Connections live longer.
_CONNECTION_BOUNDS: Final = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_Attributes = dict[str, Any]


class HasEvents(Protocol):
    def subscribe(self, listener: Listener) -> Callable[[], None]: ...


def instrument(
    connector: HasEvents,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[], None]:
    """Send what happens to `connector`, and to the calls over it, to OpenTelemetry; calling the result ends that.

    The providers are the global ones by default. Metrics: ``http.client.request.duration`` and
    ``http.client.connection.duration`` (histograms, seconds), ``http.client.open_connections`` by state and
    ``http.client.active_requests``. Spans: one of the kind CLIENT for each request that goes over the wire, a replay, a
    retry and each redirect having its own, within the span that is current where the call is made. It ends with the
    body of the answer; that of a replay has ``http.request.resend_count``. No header is added to requests: to pass a
    trace on, inject it into ``headers=``.

    Each request costs some tens of microseconds then. Needs ``keepwarm[otel]``.
    """
    telemetry = Telemetry(tracer_provider, meter_provider)
    unsubscribe = connector.subscribe(telemetry.hear)

    def stop() -> None:
        unsubscribe()
        telemetry.stop()

    return stop


class _Attempt:
    """A request on the wire, or waiting to get there."""

    __slots__ = ("attributes", "began", "parent", "resends", "span")

    def __init__(self, attributes: _Attributes, began: float, parent: Context, resends: int, span: Span) -> None:
        self.attributes = attributes
        self.began = began
        self.parent = parent
        self.resends = resends
        self.span = span


class Telemetry:
    """Hears the events of one connector. `stop` ends the spans that are open and takes back what was counted."""

    __slots__ = (
        "_active",
        "_attempts",
        "_connection_duration",
        "_open",
        "_replays",
        "_request_duration",
        "_states",
        "_tracer",
    )

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self._tracer = trace.get_tracer("keepwarm", __version__, tracer_provider, _SCHEMA)
        meter = metrics.get_meter("keepwarm", __version__, meter_provider, _SCHEMA)
        self._request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_REQUEST_BOUNDS,
        )
        self._connection_duration = meter.create_histogram(
            "http.client.connection.duration",
            "s",
            "The duration of the successfully established outbound HTTP connections.",
            explicit_bucket_boundaries_advisory=_CONNECTION_BOUNDS,
        )
        self._open = meter.create_up_down_counter(
            "http.client.open_connections",
            "{connection}",
            "Number of outbound HTTP connections that are currently active or idle on the client.",
        )
        self._active = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Number of active HTTP requests."
        )
        self._attempts: dict[int, _Attempt] = {}
        self._replays: dict[int, tuple[Context, int]] = {}
        self._states: dict[int, tuple[str, Endpoint]] = {}

    def hear(self, event: Event) -> None:
        """One event."""
        if isinstance(event, CallEvent):
            self._hear_call(event)
        elif isinstance(event, ConnectionEvent) and event.connection is not None:
            self._hear_connection(event, event.connection)

    def stop(self) -> None:
        """Nothing more will be heard."""
        for attempt in self._attempts.values():
            self._active.add(-1, attempt.attributes)
            attempt.span.end()
        self._attempts.clear()
        self._replays.clear()
        for number in list(self._states):
            self._move(number, None, None)

    # Calls

    def _hear_call(self, event: CallEvent) -> None:
        attempt = self._attempts.get(event.call)
        if attempt is None:
            if event.kind in ("queued", "leased"):
                self._begin(event)
            return
        if event.kind == "head":
            attempt.span.set_attribute("http.response.status_code", event.status or 0)
        elif event.kind in ("body_ended", "closed", "failed", "replayed"):
            del self._attempts[event.call]
            if event.kind == "replayed":
                self._replays[event.call] = attempt.parent, attempt.resends + 1
            self._end(attempt, event)

    def _begin(self, event: CallEvent) -> None:
        parent, resends = self._replays.pop(event.call, (None, 0))
        if parent is None:
            parent = context.get_current()
        attributes: _Attributes = {"http.request.method": _method(event.method), **_server(event.endpoint)}
        self._active.add(1, attributes)
        of_span = {**attributes, "url.full": event.url}
        if of_span["http.request.method"] != event.method:
            of_span["http.request.method_original"] = event.method
        if resends:
            of_span["http.request.resend_count"] = resends
        name = "HTTP" if "http.request.method_original" in of_span else event.method
        span = self._tracer.start_span(name, parent, SpanKind.CLIENT, of_span)
        self._attempts[event.call] = _Attempt(attributes, event.time, parent, resends, span)

    def _end(self, attempt: _Attempt, event: CallEvent) -> None:
        self._active.add(-1, attempt.attributes)
        attributes = attempt.attributes
        error_type = None if event.error is None else _type_of(event.error)
        if event.status is not None:
            attributes = {
                **attributes,
                "http.response.status_code": event.status,
                "network.protocol.name": "http",
            }
            if event.status >= 400 and error_type is None:
                error_type = str(event.status)
        if error_type is not None:
            attributes = {**attributes, "error.type": error_type}
            attempt.span.set_attribute("error.type", error_type)
            attempt.span.set_status(Status(StatusCode.ERROR))
        # In the context of the span, so that exemplars lead to it.
        self._request_duration.record(
            event.time - attempt.began, attributes, trace.set_span_in_context(attempt.span, attempt.parent)
        )
        attempt.span.end()

    # Connections

    def _hear_connection(self, event: ConnectionEvent, number: int) -> None:
        kind = event.kind
        if (kind == "dial_ended" and event.reason == "connected") or kind == "released":
            self._move(number, "idle", event.endpoint)
        elif kind in ("leased", "detached"):
            self._move(number, "active", event.endpoint)
        elif kind == "lost":
            self._move(number, None, event.endpoint)
            self._connection_duration.record(event.age, _server(event.endpoint))

    def _move(self, number: int, state: str | None, endpoint: Endpoint | None) -> None:
        """A connection is in another state now; None: in none."""
        before = self._states.pop(number, None)
        if before is not None:
            self._open.add(-1, {"http.connection.state": before[0], **_server(before[1])})
        if state is not None and endpoint is not None:
            self._states[number] = state, endpoint
            self._open.add(1, {"http.connection.state": state, **_server(endpoint)})


def _method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def _server(endpoint: Endpoint) -> _Attributes:
    return {
        "server.address": endpoint.host,
        "server.port": endpoint.port,
        "url.scheme": "https" if endpoint.is_ssl else "http",
    }


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
