"""BaseConnector: the options of a pool, and the pool that is made of them at the first connect."""

import asyncio
import warnings
import weakref
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from typing import Any, Protocol

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import Clock
from keepwarm.pool.closing import Closing
from keepwarm.pool.connection import Connection
from keepwarm.pool.controls import Controls
from keepwarm.pool.dial import Connect, DialRequest
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.events import Events, Listener
from keepwarm.pool.fork import blind, never_collect, watch_for_fork
from keepwarm.pool.keepalive import Keepalive
from keepwarm.pool.leak_finder import LeakFinder, OnLeak, check_on_leak
from keepwarm.pool.lifetime import Lifetime
from keepwarm.pool.limits import Limits, check_seconds, make_host_limits
from keepwarm.pool.loop_thread import call_in_loop
from keepwarm.pool.min_idle import MinIdle
from keepwarm.pool.origin import constructor_level, creation_point, running_loop
from keepwarm.pool.pool import ChannelFactory, Pool
from keepwarm.pool.shedding import Shedding, check_shed
from keepwarm.pool.stats import PoolStats


class HasEndpoint(Protocol):
    """What `connect` needs of a request."""

    @property
    def endpoint(self) -> Endpoint: ...


class BaseConnector(Controls):
    """Base class for all connectors: the options of the pool, which all of them have. They are given by name.

    How many connections:

    - `limit` (None): connections per ``(host, port, is_ssl)``, every open socket counted; None is no limit.
    - `limit_per_host` (none): another `limit` where the host fits a pattern, ``{"api.example.com": 20,
      "*.example.com": 4}``: a host, or ``*.`` and a domain for every name below it. The most specific pattern wins, and
      None is no limit. Each endpoint that fits has that many for itself; they do not share them.
    - `limit_total` (None): connections to all endpoints together.
    - `min_idle` (0): idle connections that are kept ready at each endpoint that calls have used in the last five
      minutes: a number, or a mapping from host patterns to numbers. A refill looks once a second, dials at most four
      at a time, replaces connections before they end, and waits for up to a minute while dials fail. At most `limit`.

    Who waits:

    - `max_waiting` (None): callers that wait for one endpoint; the next gets PoolFullError. None is no bound.
    - `pool_timeout` (None, seconds): how long each may wait for the limit, until PoolTimeoutError.
    - `shed` (False): refuse a caller at once, with PoolShedError, who cannot be served before its deadline at the
      endpoint's recent pace; True, or a Shedding.

    How long a connection lives; None is no bound, nor are 0 seconds:

    - `conn_timeout` (None, seconds): for one dial: lookup, TCP, proxy and TLS together.
    - `keepalive_timeout` (30, seconds): how long a released connection may lie idle.
    - `learn_idle` (True): where an endpoint has ended idle connections at much the same age three times, retire them
      a second before that age. It is forgotten ten minutes after the last such end, or later.
    - `max_age` (None, seconds): after that a connection is not used again: closed while idle, or when its call ends
      (reason ``age``). Each draws its own limit between (1 - `max_age_jitter`) and 1 times that, so that those which
      were made together do not end together. `max_age_jitter` (0.1) is at least 0 and below 1. Below some ten seconds
      the dials cost more than the connections bring. WebSockets are not touched.
    - `max_uses` (None): calls after which a connection is not used again (``uses``). At least 1, which is
      `force_close` without the header; sensible from some hundreds.
    - `force_close` (False): close each connection when it is released.

    The rest:

    - `leak_after` (None, seconds; 0 is off too): after that a connection that somebody holds is reported once, with the
      stack that took it: to `on_leak`, which is called with a Leak, or as a ResourceWarning. No stack is taken while it
      is off. Longer than your slowest call, or it reports that.
    - `loop`: the event loop; by default the one that runs at the first connect. `share_cookies`: deprecated.

    Constructing one needs no running loop. It may be used from one loop and thread only: anything else raises
    RuntimeError before any I/O. Raises TypeError or ValueError for an option of the wrong type or range.
    """

    def __init__(
        self,
        *,
        conn_timeout: float | None = None,
        keepalive_timeout: float | None = 30,
        limit: int | None = None,
        share_cookies: bool = False,
        force_close: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        limit_total: int | None = None,
        max_waiting: int | None = None,
        pool_timeout: float | None = None,
        max_age: float | None = None,
        max_age_jitter: float = 0.1,
        max_uses: int | None = None,
        min_idle: int | Mapping[str, int] = 0,
        limit_per_host: Mapping[str, int | None] | None = None,
        shed: bool | Shedding = False,
        leak_after: float | None = None,
        on_leak: OnLeak | None = None,
        learn_idle: bool = True,
    ) -> None:
        self._closed = True  # until every option is checked: a half-made connector has nothing to warn about
        per_host = make_host_limits(limit_per_host)
        self._limits = Limits(limit, limit_total, max_waiting, pool_timeout, per_host, check_shed(shed))
        self._keepalive = Keepalive(keepalive_timeout, bool(force_close), learn_idle)
        self._lifetime = Lifetime(max_age, max_uses, max_age_jitter)
        self._min_idle = MinIdle(min_idle, None if per_host is not None else limit)
        self._conn_timeout = check_seconds("conn_timeout", conn_timeout)
        self._leak_after = check_seconds("leak_after", leak_after)
        self._on_leak = check_on_leak(on_leak, self._leak_after)
        self._events = Events()
        if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
            raise TypeError(f"loop must be an asyncio event loop or None, got {loop!r}")
        if share_cookies:
            text = "share_cookies is deprecated: let ClientSession handle cookies"
            warnings.warn(text, DeprecationWarning, stacklevel=constructor_level(self))
        self._share_cookies = bool(share_cookies)
        self._wanted_loop = loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Pool | None = None
        self._channel_factory: ChannelFactory | None = None
        self._source = creation_point(loop)
        #: The cookies that ``share_cookies=True`` collects.
        self.cookies: SimpleCookie = SimpleCookie()
        self._closed = False
        watch_for_fork(self)

    @property
    def closed(self) -> bool:
        """True once the connector is closed."""
        return self._closed

    @property
    def force_close(self) -> bool:
        """Whether connections are closed on release."""
        return self._keepalive.force_close

    @property
    def limit(self) -> int | None:
        """The limit for connections to one endpoint."""
        return self._limits.per_endpoint

    @property
    def limits(self) -> Limits:
        """All limits, as one value."""
        return self._limits

    @property
    def keepalive_timeout(self) -> float | None:
        """Seconds that a released connection may lie idle; None: for ever."""
        return self._keepalive.idle_timeout

    @property
    def conn_timeout(self) -> float | None:
        """Seconds for one dial; None: no limit."""
        return self._conn_timeout

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the connector was given or is bound to; None before the first connect."""
        return self._loop or self._wanted_loop

    @property
    def share_cookies(self) -> bool:
        """Whether sessions put the cookies of their responses into `cookies`; deprecated."""
        return self._share_cookies

    def update_cookies(self, cookies: Any) -> None:
        """Merge cookies, a mapping or pairs from name to text or Morsel, into `cookies`."""
        for name, value in cookies.items() if isinstance(cookies, Mapping) else cookies:
            self.cookies[name] = value  # update() would leave text as it is, and not make a Morsel of it

    # The pool

    def speak(self, channel_factory: ChannelFactory) -> None:
        """Say what protocol the connections speak. One connector speaks one; raises RuntimeError for a second."""
        if self._channel_factory not in (None, channel_factory):
            raise RuntimeError(f"this connector speaks {self._channel_factory!r} already, not {channel_factory!r}")
        self._channel_factory = channel_factory
        if self._pool is not None:
            self._pool.channel_factory = channel_factory

    def pool(self) -> Pool:
        """The pool, bound to the running loop. Raises PoolClosedError after close, RuntimeError from another loop or
        thread, or from outside a coroutine."""
        if asyncio.get_running_loop() is self._loop and self._pool is not None:
            return self._pool
        return self._bind(asyncio.get_running_loop())

    def _bind(self, loop: asyncio.AbstractEventLoop) -> Pool:
        if self._closed:
            raise PoolClosedError("the connector is closed; make a new one", phase="wait")
        wanted = self._loop or self._wanted_loop
        if wanted is not None and wanted is not loop:
            raise RuntimeError(
                f"this connector belongs to {wanted!r} and cannot be used from {loop!r}: use one connector (and "
                "session) for each event loop and thread"
            )
        self._loop = loop
        clock = Clock(loop)
        self._pool = Pool(
            loop,
            clock,
            _weak_connect(weakref.WeakMethod(self._create_connection)),
            self._channel_factory or Channel,
            limits=self._limits,
            keepalive=self._keepalive,
            lifetime=self._lifetime,
            min_idle=self._min_idle,
            conn_timeout=self._conn_timeout,
        )
        if self._suspended:
            self._pool.suspend()
        self._events.attach(self._pool.hear)
        if self._leak_after is not None:
            self._pool.find_leaks(LeakFinder(clock, self._leak_after, self._on_leak))
        self._bound(loop, clock)
        return self._pool

    def _bound(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        """For subclasses: make what belongs to one loop. Called once, before the first dial."""

    def _release_resources(self) -> None:
        """For subclasses: give back, synchronously, what `_bound` made. Called once, by close()."""

    async def connect(self, request: HasEndpoint) -> Connection:
        """A connection from the pool, or a new one; waits while the limit is exhausted.

        Raises PoolTimeoutError, PoolFullError or PoolClosedError, and ClientConnectionError and its kinds when no
        connection can be made. A caller that is cancelled keeps nothing.
        """
        pool = self.pool()
        return Connection(pool, await pool.acquire(request.endpoint))

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Make the connection that `req` asks for: (transport, the protocol made by ``req.channel_factory()``).

        Subclasses override it (F-14). It is cancelled when nobody wants the connection any more or conn_timeout is
        over, and must leave no open socket then.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to connect: override _create_connection")

    def stats(self) -> PoolStats:
        """The pool's numbers of this moment; all zero before the first connect."""
        return PoolStats() if self._pool is None else self._pool.stats()

    # Who is told

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every Event from now on: a ConnectionEvent for each change of a connection, a CallEvent
        for each phase of a request. Calling the result ends that. While nobody listens, no event is made.

        The listener is called in the middle of the work, so it must be quick and must not use the connector; put off
        what takes longer with ``loop.call_soon``. What would change the connector (`close`, `expire`, `resize` ...)
        raises RuntimeError there; `stats` and `subscribe` may be called. One that raises is logged and hears no more.
        It may be subscribed before the first connect and hears to the end of the last connection, after close too.
        Raises TypeError if it cannot be called.
        """
        return self._events.subscribe(listener)

    # The end

    def close(self, *, drain: float | None = None) -> Closing:
        """Close all connections, idle and leased, and fail those who wait. Idempotent.

        With `drain` (seconds; 0 and None, the default: not at all) calls that have a connection get so long to end,
        WebSockets too; their connections close when they come back, and what is left is cut. New calls, and what a
        call in flight would need another connection for, a redirect say, get PoolClosedError. Closing again makes an
        end at once, or with an earlier `drain` then.

        The work is done at call time; awaiting what it returns waits until every socket is gone, and cancelling that
        changes nothing. Raises RuntimeError, with nothing closed, from another loop or thread than the connector's,
        unless its loop is closed.
        """
        seconds = check_seconds("drain", drain)
        if not self._closed:
            self._check_place()
            self._close_now(drain=seconds)
        elif self._pool is not None and self._pool.is_draining:
            self._check_place()
            self._pool.close(drain=seconds)
        return Closing(None if self._pool is None else self._pool.wait_closed)

    def wind_down(self) -> None:
        """Close, but let calls in flight end: their connections are closed when they come back. The connector may be
        forgotten meanwhile. Raises RuntimeError as `close` does."""
        if not self._closed:
            self._check_place()
            self._close_now(spare_leased=True)

    def discard(self) -> None:
        """Close without waiting, from any thread: for finalizers, which run wherever garbage is collected."""
        if self._loop is None:
            self._close_now()
        else:
            call_in_loop(self._loop, self._close_now)

    def _close_now(self, *, spare_leased: bool = False, drain: float | None = None) -> None:
        if not self._closed:
            self._closed = True
            if self._pool is not None:
                self._pool.close(spare_leased=spare_leased, drain=drain)
            self._release_resources()

    def _check_place(self) -> None:
        if self._events.is_telling:
            raise RuntimeError(
                f"a listener cannot close or change {self!r} while it is told of an event, for the books are in the "
                "middle of a change: put it off with loop.call_soon"
            )
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        running = running_loop()
        if running is not loop and (running is not None or loop.is_running()):
            where = "another thread" if running is None else repr(running)
            raise RuntimeError(
                f"this connector belongs to {loop!r} and cannot be closed from {where}: use "
                "loop.call_soon_threadsafe(connector.close), or close it before its loop ends"
            )

    def abandon_after_fork(self) -> None:
        """In a forked child: forget the parent's sockets without touching them, and start clean."""
        pool, loop = self._pool, self._loop
        self._pool = self._loop = self._wanted_loop = None
        if pool is not None:
            transports = pool.abandon()
            never_collect(pool, loop, transports)
            sockets = [transport.get_extra_info("socket") for transport in transports]
            blind(sock.fileno() for sock in sockets if sock is not None and sock.fileno() >= 0)

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        pool, loop = self._pool, self._loop
        connections = 0 if pool is None else pool.open
        self.discard()
        if not connections or loop is None:
            return
        warnings.warn(
            f"Unclosed connector {self!r} with {connections} connections: await its close(), or leave it to a session",
            ResourceWarning,
            source=self,
            stacklevel=1,
        )
        context: dict[str, Any] = {"connector": self, "connections": connections, "message": "Unclosed connector"}
        if self._source is not None:
            context["source_traceback"] = self._source
        if not loop.is_closed():
            loop.call_exception_handler(context)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._closed else 'open'} limit={self.limit}>"


def _weak_connect(method: "weakref.WeakMethod[Any]") -> Connect:
    """The loop keeps sockets, sockets keep their pool: were the pool to keep the connector, none that is forgotten
    would ever be collected, and nobody would be told."""

    async def connect(request: DialRequest, /) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        create_connection = method()
        if create_connection is None:
            raise PoolClosedError(f"cannot dial {request.endpoint}: the connector is gone", endpoint=request.endpoint)
        made: tuple[asyncio.Transport, asyncio.BaseProtocol] = await create_connection(request)
        return made

    return connect
