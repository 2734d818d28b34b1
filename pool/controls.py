"""Controls: what the owner of a connector can do to its connections while it is in use."""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from keepwarm.pool.closing import Closable
from keepwarm.pool.endpoint import Endpoint, normalise_host, parse_endpoint
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.lifetime import Lifetime
from keepwarm.pool.limits import Limits, check_count
from keepwarm.pool.min_idle import MinIdle
from keepwarm.pool.pool import Pool
from keepwarm.pool.proxy import ForwardProxy


class Unchanged(Enum):
    """The default of `resize`: None means no limit there."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED


class Controls(Closable):
    """A part of BaseConnector. All methods raise PoolClosedError after close, and RuntimeError from another loop or
    thread than the connector's, with nothing done."""

    _closed: bool
    _limits: Limits
    _lifetime: Lifetime
    _min_idle: MinIdle
    _pool: Pool | None
    _suspended: bool = False

    @property
    def forward_proxy(self) -> ForwardProxy | None:
        """What requests to plain HTTP targets need because a proxy passes them on; None without a proxy."""
        return None

    def pool(self) -> Pool:
        """For BaseConnector: the pool, bound to the running loop."""
        raise NotImplementedError

    def _check_place(self) -> None:
        """For BaseConnector: raise RuntimeError where, or when, the connector may not be used."""
        raise NotImplementedError

    # Lifetime

    @property
    def max_age(self) -> float | None:
        """Seconds after which a connection is not used again; None: no bound."""
        return self._lifetime.max_age

    @property
    def max_age_jitter(self) -> float:
        """The part of `max_age` by which connections end earlier, each by a random share of it."""
        return self._lifetime.jitter

    @property
    def max_uses(self) -> int | None:
        """Calls after which a connection is not used again; None: no bound."""
        return self._lifetime.max_uses

    def expire(self, host: str | None = None, port: int | None = None) -> int:
        """Use none of the present connections to `host` again: close idle ones now, the others when their call ends.

        `port` None: all ports; `host` None: all hosts, of that port. New calls dial. What is being dialled now serves
        nobody. WebSockets and other detached connections are their holder's and stay. The host is the URL's: the
        target's, where a proxy is in between. Returns how many connections that were. The reason is ``expire``.

        Raises TypeError or ValueError for a host or port that is none.
        """
        if host is not None:
            host = normalise_host(host)
        if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
            raise TypeError(f"port must be a whole number or None, got {port!r}")
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"port must be from 1 to 65535 or None, got {port!r}")
        self._check_use()
        return 0 if self._pool is None else self._pool.expire(host, port)

    # Warm pools

    @property
    def min_idle(self) -> int | Mapping[str, int]:
        """How many idle connections are kept ready at each endpoint in use."""
        return self._min_idle.least

    async def warm(self, url: str | Endpoint, n: int = 1) -> int:
        """Have `n` (at least 1) idle connections to where `url` leads: dial those that are missing, TLS and the tunnel
        of a proxy included, and send no request.

        `url` is an ``http://`` or ``https://`` URL, of which scheme, host and port count, or an Endpoint. Within
        `limit` and `limit_total`, and behind callers who wait: returns how many of the `n` there are. 0 while the
        connector is suspended, and with nothing to dial for within the limits.

        The connections are idle like others: they end after `keepalive_timeout`. With `force_close` each serves one
        call. Raises what the first failed dial raised if there is none at all. Cancelling gives up the dials; what is
        connected already stays.
        """
        endpoint = url if isinstance(url, Endpoint) else parse_endpoint(url)
        proxy = self.forward_proxy
        if proxy is not None and proxy.shared is not None and not endpoint.is_ssl:
            endpoint = proxy.shared
        if check_count("n", n) is None:
            raise TypeError("n must be a whole number, got None")
        pool = self.pool()
        self._check_place()
        return await pool.warm(endpoint, n)

    # Suspending and resizing

    @property
    def suspended(self) -> bool:
        """Whether calls are kept waiting (`suspend`)."""
        return self._suspended

    def suspend(self) -> None:
        """Give out no connection and begin no dial until `resume`.

        Calls wait in their order, within their time limits (`pool_timeout` and those of the call) and `max_waiting`.
        Calls that have a connection go on, and dials under way end. Idempotent.
        """
        self._check_use()
        self._suspended = True
        if self._pool is not None:
            self._pool.suspend()

    def resume(self) -> None:
        """End what `suspend` began: those who wait are served in their order. Idempotent."""
        self._check_use()
        self._suspended = False
        if self._pool is not None:
            self._pool.resume()

    def resize(
        self,
        *,
        limit: int | Unchanged | None = UNCHANGED,
        limit_total: int | Unchanged | None = UNCHANGED,
        max_waiting: int | Unchanged | None = UNCHANGED,
    ) -> None:
        """Change limits at run time: whole numbers of at least 1, or None for no limit. What is not given stays.

        Where a limit grows, those who wait are dialled for at once. Where it shrinks, idle connections go now, those
        used least recently first, and leased ones when their call ends (reason ``resize``); no new connection is made
        before there is room. Hosts with a limit of their own (`limit_per_host`) keep it. Callers who wait already stay
        in the queue. Raises TypeError or ValueError, with nothing changed.
        """
        self._check_use()
        old = self._limits
        self._limits = limits = replace(
            old,
            per_endpoint=old.per_endpoint if limit is UNCHANGED else limit,
            total=old.total if limit_total is UNCHANGED else limit_total,
            max_waiting=old.max_waiting if max_waiting is UNCHANGED else max_waiting,
        )
        if self._pool is not None:
            self._pool.resize(limits)

    def _check_use(self) -> None:
        if self._closed:
            raise PoolClosedError("the connector is closed; make a new one", phase="wait")
        self._check_place()
