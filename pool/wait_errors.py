"""What a caller is told who does not get a connection: the numbers that show why."""

from collections.abc import Iterable

from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.endpoint_pool import EndpointPool
from keepwarm.pool.errors import (
    ClientConnectionError,
    ClientTimeoutError,
    PoolClosedError,
    PoolFullError,
    PoolTimeoutError,
)
from keepwarm.pool.limits import Limits
from keepwarm.pool.waiters import Waiter


def numbers(home: EndpointPool, limits: Limits) -> str:
    """How an endpoint stands against the limits."""
    return (
        f"limit {limits.per_endpoint}, limit_total {limits.total}, leased {home.leased}, idle {len(home.idle)}, "
        f"dialling {len(home.dials)}, detached {home.detached}, closing {home.closing}, waiting {len(home.queue)}"
    )


def oldest_holder(channels: Iterable[Channel], home: EndpointPool, now: float) -> str:
    """The longest lease: at this endpoint if there is one, else of the pool. Linear in the channels."""
    leased = [channel for channel in channels if channel.state == states.LEASED]
    here = [channel for channel in leased if channel.home is home] or leased
    if not here:
        return "nothing is leased"
    oldest = min(here, key=lambda channel: channel.leased_since)
    return f"the oldest holder has had a connection to {oldest.endpoint} for {now - oldest.leased_since:.3g} s"


def not_in_time(waiter: Waiter, now: float, limits: Limits, holder: str) -> ClientTimeoutError:
    """The wait for the limit was too long."""
    home = waiter.home
    option = "the call's time limit" if waiter.call_deadline <= now else waiter.pool_limit
    return PoolTimeoutError(
        f"no connection to {home.endpoint} came free within {now - waiter.since:.3g} s ({numbers(home, limits)}; "
        f"{holder}); raise limit or {option}, or look for responses that are not released",
        endpoint=home.endpoint,
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


def queue_full(home: EndpointPool, limits: Limits) -> PoolFullError:
    return PoolFullError(
        f"cannot queue for {home.endpoint}: max_waiting is {limits.max_waiting} and {home.uncovered} wait for the "
        f"limit already ({numbers(home, limits)}); raise limit or max_waiting, or send less",
        endpoint=home.endpoint,
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
