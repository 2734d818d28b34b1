"""ClientResponse: status, headers and body of one answer."""

import json as json_module
from collections.abc import Callable
from functools import partial
from http.cookies import SimpleCookie
from typing import Any, Final, Self

from multidict import CIMultiDictProxy

from keepwarm.client.attempts import Attempt, attempts_of
from keepwarm.client.body import StreamReader, busy_error
from keepwarm.client.charset import charset_of, codec_of, decode_text, guess_encoding
from keepwarm.client.cookie_response import response_cookies
from keepwarm.client.decoded_body import DecodedStream
from keepwarm.client.decoding import Decoder, decode_small
from keepwarm.client.disposition_field import ContentDisposition, read_disposition
from keepwarm.client.empty_body import EMPTY_PAYLOAD
from keepwarm.client.errors import ClientResponseError
from keepwarm.client.exchange import Exchange
from keepwarm.client.head import ResponseHead, decode_fields
from keepwarm.client.held_stream import HeldStream
from keepwarm.client.links import Links, parse_links
from keepwarm.client.request import ClientRequest
from keepwarm.client.request_info import RequestInfo, request_info
from keepwarm.client.response_errors import refused, wrong_type
from keepwarm.client.timings import Timings
from keepwarm.client.unread import UnreadGuard
from keepwarm.client.version import HttpVersion
from keepwarm.pool.closing import Closing
from keepwarm.pool.connection import Connection
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import printable
from keepwarm.pool.pool import Pool
from keepwarm.pool.upgraded import Upgraded

_RELEASED: Final = Closing()


class ClientResponse:
    """The answer to a request, which calls of a session give.

    `status` is the number of its status, `history` a tuple of the answers that redirected here, the oldest first. Use
    ``async with``, `read`, `release` or `close`: a response that is dropped with its body unread closes its connection
    and gives a ResourceWarning.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_content",
        "_cookies",
        "_guard",
        "_pool",
        "_refused",
        "_request",
        "exchange",
        "head",
        "history",
        "in_block",
        "status",
    )

    def __init__(self, request: ClientRequest, exchange: Exchange, pool: Pool) -> None:
        head = exchange.head
        if head is None:
            raise RuntimeError("an exchange was woken without a head; this is a fault of keepwarm")
        self._pool = pool
        self._request = request
        self.exchange = exchange  # for the session, not for users
        self.head: ResponseHead = head
        self._content: StreamReader | None = None
        self._body = None if exchange.codings else exchange.body
        self._cookies: SimpleCookie | None = None
        self.status: int = head.status
        self.history: tuple[ClientResponse, ...] = ()
        # `in_block` and `_refused` are not set here: most responses never ask, and each would pay.
        if exchange.channel is not None:
            text = f"{request.method} {request.target.url} [{head.status}]"
            self._guard = UnreadGuard(exchange, text, pool.trace())

    # What it is

    @property
    def version(self) -> HttpVersion:
        """The peer's HTTP version."""
        return self.head.version

    @property
    def reason(self) -> str:
        """The reason phrase, such as ``"OK"``; empty if there was none."""
        return self.head.reason

    @property
    def host(self) -> str:
        """The host that was asked, without port."""
        return self._request.target.endpoint.host

    @property
    def method(self) -> str:
        """The method of the request that this answers."""
        return self._request.method

    @property
    def url(self) -> str:
        """The URL that was asked, with its params."""
        return self._request.target.url

    @property
    def real_url(self) -> str:
        """The same as `url`: nothing of it is left out but user name and password."""
        return self._request.target.url

    @property
    def request_info(self) -> RequestInfo:
        """What was asked, with the header fields as they were sent."""
        return request_info(self._request)

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields, read-only, looked up without regard to case."""
        return self.head.headers

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields as they came, (name, value) in bytes."""
        return self.head.raw_headers

    @property
    def trailers(self) -> CIMultiDictProxy[str]:
        """The trailer fields behind a chunked body; empty until the body is complete."""
        return decode_fields(self.exchange.trailers)

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; ``application/octet-stream`` if the peer named none."""
        value = self.headers.get("Content-Type", "application/octet-stream")
        return value.partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset parameter of Content-Type as the peer wrote it, or None."""
        return charset_of(self.headers.get("Content-Type", ""))

    @property
    def content_length(self) -> int | None:
        """The Content-Length that the peer named, in bytes as they were sent; None if it named none."""
        value = self.headers.get("Content-Length", "").partition(",")[0].strip()
        return int(value) if value.isascii() and value.isdigit() else None

    @property
    def content_disposition(self) -> ContentDisposition | None:
        """The Content-Disposition field (RFC 6266), read; None if there is none that can be read."""
        value = self.headers.get("Content-Disposition")
        return None if value is None else read_disposition(value)

    def get_encoding(self) -> str:
        """The encoding of the text: the charset that the peer named, UTF-8 for JSON, else as it is detected.

        Raises RuntimeError if it takes the body to tell, and the body was not read.
        """
        named = codec_of(self.charset)
        if named is not None:
            return named
        kind = self.content_type
        if kind == "application/json" or kind.endswith("+json"):
            return "utf-8"
        if self._body is None:
            raise RuntimeError(
                f"the peer named no charset for {self.url}: read the body before asking for its encoding"
            )
        return guess_encoding(self._body)

    @property
    def cookies(self) -> "SimpleCookie":
        """The cookies that this answer sets. Fields that are no cookie are logged once and left out."""
        if self._cookies is None:
            self._cookies = response_cookies(self.headers.getall("Set-Cookie", ()), f"{self.method} {self.url}")
        return self._cookies

    @property
    def sets_cookies(self) -> bool:
        """Whether there is a Set-Cookie field."""
        return self.head.sets_cookies

    @property
    def links(self) -> Links:
        """The Link fields (RFC 8288) by relation; URLs are made absolute."""
        return parse_links(self.headers.getall("Link", ()), self.url)

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def is_truncated(self) -> bool:
        """Whether a body that only the connection's end delimits was ended by TLS without a goodbye: someone between
        may have cut it short (RFC 9112 9.8)."""
        return self.exchange.is_truncated

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer held."""
        return self.exchange.channel is None

    @property
    def connection(self) -> Connection | None:
        """The connection in use; None once the response has given it back."""
        channel, pool = self.exchange.channel, self._pool
        return None if channel is None else Connection(pool, channel, is_view=True)

    @property
    def endpoint(self) -> Endpoint:
        """Where the answer came from: host, port, and whether TLS is spoken."""
        return self._request.endpoint

    @property
    def timings(self) -> Timings | None:
        """How long each phase has taken so far; None unless the session was made with ``timings=True``, or somebody
        listens to its connector. After redirects: of the last request."""
        record = self.exchange.record
        return None if record is None else record.timings

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Each time that the request was sent: mostly once, more often after a replay or with a RetryPolicy. The
        last one has this answer. After redirects: those of the last request; the others are in `history`."""
        return attempts_of(self.exchange)

    def hurry(self, seconds: float) -> None:
        """Give the rest of the body so many seconds at most; then reading it raises TotalTimeoutError."""
        self.exchange.hurry(seconds)

    @property
    def upgraded(self) -> Upgraded | None:
        """The connection, if the peer agreed (101) to the other protocol that was asked for."""
        return self.exchange.upgraded

    @property
    def content(self) -> StreamReader:
        """The body as a stream, with its content coding undone. As long as it is in use, the response
        may be forgotten."""
        if self._content is None:
            self._content = self._open_content()
        return self._content

    def _open_content(self) -> StreamReader:
        exchange = self.exchange
        stream = exchange.stream
        if stream is None:
            self._body = None  # what is read here is not for read() any more
            if not exchange.body:
                return EMPTY_PAYLOAD
            stream = StreamReader()
            stream.feed_data(exchange.body)
            stream.feed_eof()
        guard = None if exchange.is_over else self._guard
        if not exchange.codings:
            return stream if guard is None else HeldStream(stream, guard)
        overdue = partial(exchange.overdue, self._pool.clock)
        decoder = Decoder(
            exchange.codings,
            max_size=self._request.options.max_body_size,
            endpoint=self._request.endpoint,
            reused=exchange.reused,
        )
        return DecodedStream(stream, decoder, on_error=exchange.body_is_bad, overdue=overdue, holder=guard)

    # The body

    async def read(self) -> bytes:
        """The whole body, or what `content` has left of it. The second call returns the same bytes.

        Raises ClientPayloadError if the body was cut short, ClientTimeoutError if a time limit passed; the connection
        is closed then, and also when the call is cancelled. Raises RuntimeError, and changes nothing, while another
        coroutine waits for the body.
        """
        body = self._body
        if body is not None:
            if self._content is None:
                self._content = EMPTY_PAYLOAD  # nothing is left
            return body
        if self._content is not None and self._content.has_reader:
            raise busy_error("read")
        try:
            if self._content is None:
                body = self._decode_at_once()
            if body is None:
                body = await self.content.read()
        except BaseException:
            self.close()
            raise
        self._body = body
        return body

    def _decode_at_once(self) -> bytes | None:
        """A small body that is in hand; None if it has to be read as a stream."""
        exchange = self.exchange
        body = exchange.body
        if not body:
            return body
        most, endpoint = self._request.options.max_body_size, self._request.endpoint
        try:
            decoded = decode_small(body, exchange.codings, most, endpoint=endpoint, reused=exchange.reused)
        except Exception as error:
            exchange.body_is_bad(error)
            raise
        if decoded is not None:
            exchange.doubtful = None
            self._content = EMPTY_PAYLOAD
        return decoded

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """The body as text: in `encoding`, else the charset that the peer named, else detected.

        `encoding` is taken as it is. The peer's word counts if it names a charset that Python has; any other word is
        as good as none, so that no peer can choose a codec that takes seconds (punycode) or gives no text (hex).
        `errors` is Python's, for bytes that the encoding does not have: "strict" (default), "replace", "ignore" ...

        Raises UnicodeDecodeError if the body is not in that encoding, what `encoding` leads to (LookupError if Python
        does not know it), and what `read` raises.
        """
        return decode_text(await self.read(), encoding or codec_of(self.charset), errors)

    async def json(
        self,
        encoding: str | None = None,
        loads: Callable[[str], Any] = json_module.loads,
        *,
        content_type: str | None = None,
    ) -> Any:
        """The body as JSON; None if it is empty or blank. Its encoding is that of `text`, but for UTF-8
        where the peer named none.

        With `content_type` the answer must have that media type, parameters and case aside; "application/json" allows
        for "application/problem+json" and its like. None (default) takes any.

        Raises ContentTypeError (the body was read then), TypeError if `content_type` is no str, and what `loads`,
        `text` and `read` raise.
        """
        if content_type is not None and not isinstance(content_type, str):
            raise TypeError(f"content_type must be a str or None, got {type(content_type).__name__}")
        body = await self.read()
        if content_type is not None:
            error = wrong_type(self._request, self.exchange, self.history, self.content_type, content_type)
            if error is not None:
                raise error
        if not body.strip():
            return None
        return loads(decode_text(body, encoding or codec_of(self.charset) or "utf-8"))

    def release(self) -> Closing:
        """Give the connection back. What is left of the body is drained if it is small and at hand (64 KiB,
        100 ms), else the connection is closed. The work begins at once; awaiting the result waits for its end, and
        closes the connection if it is cancelled."""
        exchange = self.exchange
        if exchange.is_over:
            return _RELEASED
        exchange.release()
        return _RELEASED if exchange.is_over else Closing(exchange.wait_released)

    async def wait_for_close(self) -> None:
        """Wait until the connection is back in its pool or closed. Cancelling it changes nothing."""
        await self.exchange.wait_ended()

    def close(self) -> None:
        """Close the connection, unless the body is complete and it went back already. Idempotent."""
        self.exchange.abort()

    def raise_for_status(self) -> None:
        """Raise ClientResponseError if the status is 400 or more.

        Inside ``async with`` the body can still be read, until the block ends; elsewhere the response is released.
        """
        if self.status < 400:
            return
        if getattr(self, "in_block", False):
            self._refused = True
        else:
            self.release()
        raise refused(self._request, self.exchange, self.history)

    async def __aenter__(self) -> Self:
        self.in_block = True
        return self

    async def __aexit__(self, exc_type: object, exc: object, tb: object) -> None:
        # An answer that was turned down is not broken: its connection is as good as any.
        if exc_type is None or (getattr(self, "_refused", False) and isinstance(exc, ClientResponseError)):
            await self.release()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.url}) [{self.status} {printable(self.reason)}]>"
