"""What a caller is told who does not get a connection: the numbers that show why."""

from keepwarm.pool.channel import Channel
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import (
    ClientConnectionError,
    ClientTimeoutError,
    PoolClosedError,
    PoolFullError,
    PoolShedError,
    PoolTimeoutError,
)
from keepwarm.pool.limits import Limits
from keepwarm.pool.shortage import Holder, Shortage
from keepwarm.pool.waiters import Waiter


def shortage(home: EndpointPool, limits: Limits, now: float, holders: tuple[Holder, ...]) -> Shortage:
    """How an endpoint stands at this moment."""
    oldest = home.queue.oldest()
    return Shortage(
        home.limit,
        limits.total,
        home.leased,
        len(home.idle),
        len(home.dials),
        home.detached,
        home.closing,
        len(home.queue),
        None if oldest is None else now - oldest.since,
        holders,
    )


def _numbers(short: Shortage) -> str:
    where = "" if short.stack is None else f". The oldest that is known of was taken at\n{short.stack}"
    return f"({short}){where}"


def _bound(home: EndpointPool, limits: Limits) -> str:
    """The option that keeps the endpoint from having one connection more."""
    return "limit_total" if home.has_room else limits.option_for(home.endpoint)


def not_in_time(waiter: Waiter, now: float, limits: Limits, short: Shortage) -> PoolTimeoutError:
    """The wait for the limit was too long."""
    home = waiter.home
    option = "the call's time limit" if waiter.call_deadline <= now else waiter.pool_limit
    return PoolTimeoutError(
        f"no connection to {home.endpoint} came free within {now - waiter.since:.3g} s: raise {_bound(home, limits)} "
        f"or {option}, or look for responses that are not released {_numbers(short)}",
        endpoint=home.endpoint,
        shortage=short,
    )


def cut_short(waiter: Waiter, now: float) -> ClientTimeoutError:
    """The time limit of the call passed while a dial for it was under way."""
    home = waiter.home
    request = next(iter(home.dials)).request
    return ClientTimeoutError(
        f"Connection timeout to host {home.endpoint.host}:{home.endpoint.port} ssl:{home.endpoint.is_ssl} [the "
        f"time limit of the call passed after {now - waiter.since:.3g} s in the phase {request.phase!r}]. Check that "
        "the host is reachable, or give the call more time",
        endpoint=home.endpoint,
        phase=request.phase,
        reused=False,
    )


def queue_full(home: EndpointPool, limits: Limits, short: Shortage) -> PoolFullError:
    """The queue has no place left."""
    return PoolFullError(
        f"cannot queue for {home.endpoint}: max_waiting is {limits.max_waiting} and {home.uncovered} wait for the "
        f"limit already: raise {_bound(home, limits)} or max_waiting, or send less {_numbers(short)}",
        endpoint=home.endpoint,
        shortage=short,
    )


def shed(
    home: EndpointPool, limits: Limits, short: Shortage, *, pace: float, wait: float, spare: float
) -> PoolShedError:
    """The queue is too long for the time that the caller has."""
    return PoolShedError(
        f"no connection to {home.endpoint} would come free in time: {home.uncovered} wait for the limit already and "
        f"{pace:.3g} are served in a second, so it would take about {wait:.3g} s, and the call can wait for "
        f"{max(spare, 0.0):.3g} s: raise {_bound(home, limits)}, give the call more time, or send less "
        f"{_numbers(short)}",
        endpoint=home.endpoint,
        shortage=short,
        estimated_wait=wait,
        pace=pace,
    )


def closed_already(endpoint: Endpoint) -> PoolClosedError:
    return PoolClosedError(
        f"cannot get a connection to {endpoint}: the connector is closed; make a new one",
        endpoint=endpoint,
        phase="wait",
    )


def closed_meanwhile(endpoint: Endpoint) -> PoolClosedError:
    return PoolClosedError(
        f"the connector was closed while this call waited for a connection to {endpoint}",
        endpoint=endpoint,
        phase="wait",
    )


def dead_on_arrival(channel: Channel, reason: str) -> ClientConnectionError:
    """A new connection that the peer ended, or spoke on, before it was asked anything."""
    how = {"peer_fin": "closed the connection", "stray_bytes": "sent bytes"}.get(reason, "dropped the connection")
    return ClientConnectionError(
        f"{channel.endpoint} {how} before it was asked anything; check that the port speaks "
        f"{'HTTPS' if channel.endpoint.is_ssl else 'HTTP'}",
        endpoint=channel.endpoint,
        phase="connect",
        reused=False,
    )
