"""ClientResponse: status, headers and body of one answer."""

import json as json_module
import re
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Self

from multidict import CIMultiDictProxy

from keepwarm.client.body import EmptyStreamReader, StreamReader
from keepwarm.client.charset import decode_text
from keepwarm.client.errors import ClientResponseError
from keepwarm.client.exchange import Exchange
from keepwarm.client.head import ResponseHead, decode_fields
from keepwarm.client.request import ClientRequest
from keepwarm.client.version import HttpVersion
from keepwarm.pool.connection import Connection
from keepwarm.pool.errors import printable
from keepwarm.pool.pool import Pool

_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)


class Released:
    """What ``release()`` returns: the releasing has begun; awaiting this waits until the connection is settled."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[None]] | None = None) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, None]:
        if self._wait is not None:
            yield from self._wait().__await__()


_RELEASED: Final = Released()


class UnreadGuard:
    """Watches over a response whose body is still on its way: if the response is forgotten, the connection must not
    be (FAULTS P41). Responses that came whole have none, so they pay nothing for it."""

    __slots__ = ("_exchange", "_text")

    def __init__(self, exchange: Exchange, text: str) -> None:
        self._exchange = exchange
        self._text = text

    def __del__(self) -> None:
        exchange = self._exchange
        if exchange.is_over or exchange.budget is not None:
            return
        exchange.abort()
        warnings.warn(
            f"Unclosed response {self._text}: read it, release it or use async with", ResourceWarning, stacklevel=1
        )


class ClientResponse:
    """An answer (reference: ClientResponse; rows K-01..K-27). Users get it from the session, never build it.

    `status`, `method` and `url` are plain attributes. The headers are parsed when they are looked at. Use ``async
    with``, `read`, `release` or `close`: a response that is dropped with its body unread closes its connection and
    gives a ResourceWarning.
    """

    __slots__ = ("_body", "_content", "_exchange", "_guard", "_head", "_pool", "_request", "history", "status")

    def __init__(self, request: ClientRequest, exchange: Exchange, head: ResponseHead, pool: Pool) -> None:
        self._pool = pool
        self._request = request
        self._exchange = exchange
        self._head = head
        self._body = exchange.body
        self._content: StreamReader | None = None
        self.status: int = head.status
        self.history: tuple[ClientResponse, ...] = ()
        if exchange.channel is not None:
            self._guard = UnreadGuard(exchange, f"{request.method} {request.target.url} [{head.status}]")

    # What it is

    @property
    def version(self) -> HttpVersion:
        """The peer's HTTP version (K-03)."""
        return self._head.version

    @property
    def reason(self) -> str:
        """The reason phrase, such as ``"OK"``; empty if there was none (K-05)."""
        return self._head.reason

    @property
    def host(self) -> str:
        """The host that was asked, without port (K-06)."""
        return self._request.endpoint.host

    @property
    def method(self) -> str:
        """The method of the request that this answers (K-07)."""
        return self._request.method

    @property
    def url(self) -> str:
        """The URL that was asked, with its params (K-08)."""
        return self._request.target.url

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields, read-only, looked up without regard to case (K-12)."""
        return self._head.headers

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields as they came, (name, value) in bytes (K-13)."""
        return self._head.raw_headers

    @property
    def trailers(self) -> CIMultiDictProxy[str]:
        """The trailer fields behind a chunked body; empty until the body is complete."""
        return decode_fields(self._exchange.trailers)

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; ``application/octet-stream`` if the peer named none."""
        value = self.headers.get("Content-Type", "application/octet-stream")
        return value.partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset parameter of Content-Type, or None."""
        found = _CHARSET.search(self.headers.get("Content-Type", ""))
        return found[1] if found else None

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def is_truncated(self) -> bool:
        """Whether a body that only the connection's end delimits was ended by TLS without a goodbye: someone between
        may have cut it short (RFC 9112 9.8)."""
        return self._exchange.is_truncated

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer held."""
        return self._exchange.is_over

    @property
    def connection(self) -> Connection | None:
        """The connection in use; None once the response has given it back (K-09)."""
        channel, pool = self._exchange.channel, self._pool
        return None if channel is None else Connection(pool, channel, is_view=True)

    @property
    def content(self) -> StreamReader:
        """The body as a stream (K-10)."""
        stream = self._exchange.stream
        if stream is not None:
            return stream
        if self._content is None:
            if self._body:
                self._content = StreamReader()
                self._content.feed_data(self._body)
                self._content.feed_eof()
            else:
                self._content = EmptyStreamReader()
        return self._content

    # The body

    async def read(self) -> bytes:
        """The whole body (K-16). The second call returns the same bytes.

        Raises ClientPayloadError if the body was cut short, ClientTimeoutError if a time limit passed; the connection
        is closed then, and also when the call is cancelled.
        """
        if self._body is not None:
            return self._body
        try:
            self._body = await self.content.read()
        except BaseException:
            self.close()
            raise
        return self._body

    async def text(self, encoding: str | None = None) -> str:
        """The body as text (K-18): in `encoding`, else the charset that the peer named, else detected.

        Raises UnicodeDecodeError if the body is not in that encoding, and what `read` raises.
        """
        return decode_text(await self.read(), encoding or self.charset)

    async def json(self, encoding: str | None = None, loads: Callable[[str], Any] = json_module.loads) -> Any:
        """The body as JSON (K-20); None if it is empty or blank (K-21).

        Raises what `loads`, `text` and `read` raise.
        """
        body = await self.read()
        if not body.strip():
            return None
        return loads(decode_text(body, encoding or self.charset or "utf-8"))

    def release(self) -> Released:
        """Give the connection back (K-17). What is left of the body is drained if it is small and at hand (64 KiB,
        100 ms), else the connection is closed. The work begins at once; awaiting the result waits for its end, and
        closes the connection if it is cancelled."""
        exchange = self._exchange
        if exchange.is_over:
            return _RELEASED
        exchange.release()
        return _RELEASED if exchange.is_over else Released(exchange.wait_ended)

    def close(self) -> None:
        """Close the connection, unless the body is complete and it went back already (K-15). Idempotent."""
        self._exchange.abort()

    def raise_for_status(self) -> None:
        """Raise ClientResponseError if the status is 400 or more."""
        if self.status >= 400:
            self.release()
            raise ClientResponseError(
                f"{self.method} {self.url} answered {self.status} {printable(self.reason)}",
                endpoint=self._request.endpoint,
                phase="head",
                reused=self._exchange.reused,
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        if exc_type is None:
            await self.release()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.url}) [{self.status} {printable(self.reason)}]>"
