"""open_tunnel: CONNECT over an open connection to a proxy (RFC 9110 9.3.6)."""

import asyncio
from typing import Final

from keepwarm.pool.clock import NEVER, Clock
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dial_errors import beginning
from keepwarm.pool.errors import printable
from keepwarm.pool.opening import Opening
from keepwarm.pool.proxy import Proxy
from keepwarm.pool.proxy_errors import HttpProxyError
from keepwarm.pool.tunnel import BROKEN, OPEN, ConnectAnswer, connect_request

# How long the body of a refusal may take. It explains, and is not worth more.
BODY_SECONDS: Final = 1.0

_NO_PROXY: Final = "Check that this is the address of an HTTP proxy that allows CONNECT"
_NO_ACCESS: Final = "Give the connector a `proxy_auth` that the proxy accepts"
_NOT_ALLOWED: Final = "The proxy does not let this host and port through: ask whoever runs it"
_NO_WAY: Final = "The proxy runs, but cannot reach the host: check the host's name and port"


class _Asking(asyncio.Protocol):
    """Hears the answer to one CONNECT."""

    __slots__ = ("_clock", "answer", "deadline", "sweep_at", "waiter")

    def __init__(self, clock: Clock, waiter: "asyncio.Future[None]") -> None:
        self._clock = clock
        self.answer = ConnectAnswer()
        self.waiter = waiter
        self.deadline = NEVER
        self.sweep_at = NEVER

    def data_received(self, data: bytes) -> None:
        was_undecided = self.answer.verdict is None
        self.answer.feed(data)
        if self.answer.is_over:
            self._wake()
        elif was_undecided and self.answer.verdict is not None and not self.waiter.done():
            self._clock.watch(self, self._clock.now() + BODY_SECONDS)

    def eof_received(self) -> bool | None:
        self.answer.feed_eof()
        self._wake()
        return None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.eof_received()

    def on_deadline(self, now: float) -> None:
        self._wake()

    def _wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)


async def open_tunnel(req: DialRequest, opening: Opening, proxy: Proxy, clock: Clock) -> Opening:
    """A tunnel to the endpoint of `req` through the proxy that `opening` leads to.

    Raises HttpProxyError when the proxy refuses, with its status, reason, headers and the beginning of its body, or
    when what it says is no answer. On any exception, a cancellation included, the connection is aborted.
    """
    asking = _Asking(clock, asyncio.get_running_loop().create_future())
    try:
        if opening.has_early_bytes:
            raise _error(req, proxy, "spoke before it was asked", _NO_PROXY)
        transport, _ = opening.hand_over(asking)
        transport.write(connect_request(req.endpoint, proxy.credentials))
        await asking.waiter
        if asking.answer.verdict != OPEN:
            raise _refusal(req, proxy, asking.answer)
        tunnel = Opening()
        tunnel.count_unsent, tunnel.on_lost = opening.count_unsent, opening.on_lost
        tunnel.route = opening.route
        transport.set_protocol(tunnel)
        tunnel.connection_made(transport)
        return tunnel
    except BaseException:
        opening.abort()
        raise
    finally:
        clock.forget(asking)


def _refusal(req: DialRequest, proxy: Proxy, answer: ConnectAnswer) -> HttpProxyError:
    if answer.verdict == BROKEN:
        return _error(req, proxy, answer.problem, _NO_PROXY)
    status = answer.status
    if status in (401, 407):
        hint = _NO_ACCESS
    elif status >= 500:
        hint = _NO_WAY
    elif status in (400, 404, 405, 501):
        hint = _NO_PROXY
    else:
        hint = _NOT_ALLOWED
    error = _error(req, proxy, f"answered CONNECT with {status} {printable(answer.reason)}".rstrip(), hint)
    error.code, error.message, error.headers, error.body = status, answer.reason, answer.headers, answer.body
    return error


def _error(req: DialRequest, proxy: Proxy, what: str, hint: str) -> HttpProxyError:
    text = f"{beginning(req, f'the proxy {proxy.url} {what}')} {hint}"
    return HttpProxyError(text, message=what, endpoint=req.endpoint, proxy=proxy.endpoint, phase="proxy", reused=False)
