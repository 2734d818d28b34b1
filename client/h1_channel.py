"""H1Channel: a connection that speaks HTTP/1.1, one exchange at a time."""

import asyncio
import ssl

from keepwarm.client.body import StreamReader
from keepwarm.client.call_record import CallRecord
from keepwarm.client.decoding import parse_codings
from keepwarm.client.errors import (
    ClientPayloadError,
    ClientProtocolError,
)
from keepwarm.client.exchange import Exchange
from keepwarm.client.exchange_errors import check_size, disconnected, in_context, released, timed_out
from keepwarm.client.h1 import ResponseParser
from keepwarm.client.head import CHUNKED, ResponseHead
from keepwarm.client.recorded_exchange import RecordedExchange
from keepwarm.client.request import ClientRequest
from keepwarm.client.upload import CONTINUE_SECONDS, Upload, upload_error
from keepwarm.pool import states
from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientError, PoolClosedError, printable

# A body that nobody reads is held up when more than this is buffered. One read may bring as much again, and no more:
# so the buffer stays below twice the mark (FAULTS R03).
HIGH_WATER = 262144
LOW_WATER = 65536


class H1Channel(Channel):
    """One parser for the connection's whole life, and the exchange that is under way, if any.

    An answer that is complete goes back to the pool before its caller wakes (law 7), and only if the request was sent
    in full, the framing proved the end, and not one byte is left over.
    """

    __slots__ = ("_got_eof", "_parser", "exchange")

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(endpoint, loop)
        self._parser = ResponseParser()
        self._got_eof = False
        self.exchange: Exchange | None = None

    def send(
        self,
        request: ClientRequest,
        deadline: float = NEVER,
        read_timeout: float | None = None,
        record: CallRecord | None = None,
    ) -> Exchange:
        """Begin an exchange on this channel, which the caller has leased: one write. `record` notes its phases.

        Raises ResponseDisconnected, with nothing sent, if the connection has been closed in the meantime.
        """
        transport = self.transport
        waiter = self.loop.create_future()
        if record is None:
            exchange = Exchange(self, request, waiter, deadline, read_timeout)
        else:
            exchange = RecordedExchange(self, request, waiter, deadline, read_timeout, record)
        self.exchange = exchange
        self._parser.start(request.method, request.options.limits, request.read_until_eof, request.wants_upgrade)
        if transport is None or transport.is_closing():
            self._fail(disconnected(exchange, None, sent=False, begun=False))
            return exchange
        try:
            transport.write(request.wire)
            if request.is_streamed:
                exchange.upload = Upload(self, request, waits=request.expects_continue)
            elif record is not None:
                record.sent()
        except BaseException as exc:
            exchange.abort()  # nobody will wait for the head
            if record is not None:
                record.ended(None, exc)
            raise
        if deadline < NEVER or read_timeout is not None or request.expects_continue:
            self._watch(exchange)
        return exchange

    @property
    def purpose(self) -> str | None:
        exchange = self.exchange
        if exchange is None:
            return None
        request = exchange.request
        path = request.target.request_target.partition(b"?")[0]
        return f"{request.method} {printable(path)}"

    def _watch(self, exchange: Exchange) -> None:
        owner = self.owner
        if owner is None:
            return
        if exchange.read_timeout is None and not exchange.request.expects_continue:
            # The warm path: a number, and a comparison (see Clock).
            self.deadline = deadline = exchange.deadline
            if deadline < self.sweep_at:
                owner.clock.enter(self, deadline)
            return
        now = exchange.last_read = owner.clock.now()
        when = exchange.next_deadline()
        if exchange.upload is not None and exchange.upload.is_held:
            when = min(when, now + CONTINUE_SECONDS)
        owner.clock.watch(self, when)

    # From the transport

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            Channel.data_received(self, data)
            return
        if exchange.read_timeout is not None and self.owner is not None:
            exchange.last_read = self.owner.clock.now()
        parser = self._parser
        try:
            parser.feed(data)
            if exchange.head is not None:
                self._more_body(exchange)
            elif parser.head is not None:
                self._head_came(exchange, parser.head)
            elif parser.got_continue and exchange.upload is not None:
                exchange.upload.go_on()
        except ClientError as exc:
            self._fail(in_context(exc, exchange))
        except BaseException as exc:
            # Also what a signal handler raises in the middle (FAULTS L15): nobody knows how far we came. The caller
            # gets it too, for uvloop keeps what a callback raises to itself.
            self.exchange = exchange
            self._fail(exc)
            raise

    def _head_came(self, exchange: Exchange, head: ResponseHead) -> None:
        parser = self._parser
        exchange.head = head
        if head.status == 101:
            # The socket is no longer the pool's to give (law 1): first the books, then whoever waits.
            self.exchange = None
            exchange.upgraded = self.upgrade(parser.body)
            exchange.end()
            exchange.wake()
            return
        options = exchange.request.options
        if head.is_coded and options.auto_decompress:
            exchange.codings = parse_codings(head.headers.getall("Content-Encoding"))
        most = options.max_body_size
        if most is not None:
            check_size(most, max(parser.expected or 0, len(parser.body)))
        if head.idle_hint is not None:
            self.idle_hint = head.idle_hint
        if head.uses_left is not None:
            self.uses_left = head.uses_left
        upload = exchange.upload
        refused = upload is not None and (head.status >= 300 or upload.is_held)
        if refused:
            # A final answer that is no success: the peer does not want the rest (FAULTS F16, F17). Even a body that is
            # all on its way was not read, more often than not, and many a server closes the connection over that.
            self.retiring = self.retiring or "protocol"
        if parser.complete:
            exchange.body = parser.body
            self._finish(exchange)
        else:
            if upload is not None and refused:
                upload.stop()
            stream = exchange.stream = StreamReader(
                self.loop, low=LOW_WATER, high=HIGH_WATER, pause=self._pause, resume=self._resume
            )
            if parser.body:
                stream.feed_data(parser.body)
        exchange.wake()

    def _more_body(self, exchange: Exchange) -> None:
        parser = self._parser
        body, stream = parser.body, exchange.stream
        if exchange.budget is not None:
            exchange.budget -= len(body)
            if exchange.budget < 0:
                self.abort_exchange()
                return
        elif body and stream is not None:
            most = exchange.request.options.max_body_size
            if most is not None:
                check_size(most, stream.total_bytes + len(body))
            stream.feed_data(body)
        if parser.complete:
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        """The response is complete: give the channel back, then tell."""
        parser, owner = self._parser, self.owner
        self.exchange = None
        head = exchange.head
        if head is not None and head.framing == CHUNKED:
            exchange.trailers = parser.trailers
        if exchange.codings:
            exchange.doubtful = self
        if self.retiring is None:
            if parser.surplus:
                self.retiring = "stray_bytes"
            elif not parser.keep_alive:
                self.retiring = "hint"
            elif exchange.request.wants_close:
                self.retiring = "force_close"
        if owner is not None and self.state == states.LEASED:
            upload, count_unsent = exchange.upload, self.count_unsent
            is_rest_left = upload is not None and (self.retiring == "protocol" or not upload.is_sent)
            if is_rest_left or (count_unsent is not None and count_unsent()):
                # The peer may never read what is left of the request, so there is nothing to be polite about. An
                # upload that is sent need not have heard of it, nor its source have ended.
                owner.close_channel(self, self.retiring or "protocol", politely=False)
            else:
                owner.release(self)
        exchange.end()

    def eof_received(self) -> bool | None:
        self._got_eof = True
        exchange = self.exchange
        if exchange is not None:
            self.retiring = self.retiring or "peer_fin"
            exchange.is_truncated = self.is_tls and not self._said_goodbye()
            self._end_of_input(exchange, None)
        return Channel.eof_received(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        exchange = self.exchange
        Channel.connection_lost(self, exc)
        if exchange is not None and self.exchange is exchange:
            if self.is_tls and not self._got_eof:
                exchange.is_truncated = True
            self._end_of_input(exchange, exc)

    def _said_goodbye(self) -> bool:
        """Whether the peer ended TLS with a close_notify. asyncio tells of a FIN alone in the same words; uvloop and
        aiofastnet do not, they go straight to connection_lost."""
        tls = None if self.transport is None else self.transport.get_extra_info("ssl_object")
        if not isinstance(tls, ssl.SSLObject):
            return True
        try:
            return not tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    def _end_of_input(self, exchange: Exchange, exc: BaseException | None) -> None:
        parser = self._parser
        if exchange.head is None:
            self._fail(disconnected(exchange, exc, sent=True, begun=parser.got_bytes))
            return
        try:
            parser.feed_eof()
        except ClientPayloadError as error:
            error.__cause__ = exc
            self._fail(in_context(error, exchange))
            return
        if exc is not None:
            lost = ClientPayloadError(f"the connection was lost in the middle of the body: {exc}")
            lost.__cause__ = exc
            self._fail(in_context(lost, exchange))
        else:
            self._finish(exchange)

    # From the exchange, its upload and the pool

    def is_reusable(self) -> bool:
        return self.exchange is None and Channel.is_reusable(self)

    def has_news(self) -> bool:
        """Whether the socket has something that the loop has not read yet."""
        has_unread = self.has_unread
        return has_unread is not None and bool(has_unread(0))

    def upload_done(self) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        exchange.was_sent()
        if exchange.read_timeout is not None:
            self._watch(exchange)

    def upload_failed(self, exc: BaseException) -> None:
        """The body cannot go on. If the connection broke, the answer may still come, or its end tells more."""
        exchange = self.exchange
        if exchange is None:
            return
        if isinstance(exc, OSError) and self.transport is not None and self.transport.is_closing():
            return
        self._fail(upload_error(exc))

    def abort_exchange(self, error: BaseException | None = None) -> None:
        """Give up on the exchange and close the connection at once."""
        self._fail(error)

    def drain_exchange(self, most: int, seconds: float) -> None:
        """Read on without keeping anything, as long as `most` bytes and `seconds` allow (K4)."""
        exchange, owner = self.exchange, self.owner
        if exchange is None or owner is None:
            return
        parser = self._parser
        remaining = parser.remaining
        if (remaining is not None and remaining > most) or exchange.head is None or not parser.keep_alive:
            self.abort_exchange()
            return
        if exchange.stream is not None:
            exchange.stream.set_exception(released(exchange))
        self._resume()
        exchange.deadline = owner.clock.now() + seconds
        exchange.read_timeout = None
        owner.clock.watch(self, exchange.deadline)

    def hurry_exchange(self, seconds: float) -> None:
        """What is left of the answer gets so many seconds at most."""
        exchange, owner = self.exchange, self.owner
        if exchange is not None and owner is not None:
            exchange.deadline = min(exchange.deadline, owner.clock.now() + seconds)
            owner.clock.watch(self, exchange.next_deadline())

    def pool_closed(self) -> None:
        Channel.pool_closed(self)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.end(
                PoolClosedError(
                    f"the connector was closed while {exchange.request.method} {exchange.request.target.url} was in "
                    "flight",
                    endpoint=self.endpoint,
                    phase="head" if exchange.head is None else "body",
                    reused=exchange.reused,
                )
            )

    def abandon(self) -> asyncio.Transport | None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.abandon(
                PoolClosedError(
                    f"the connection of {exchange.request.method} {exchange.request.target.url} belongs to another "
                    "process, or to an event loop that is closed",
                    endpoint=self.endpoint,
                    reused=exchange.reused,
                )
            )
        return Channel.abandon(self)

    def lease_deadline(self, now: float) -> None:
        exchange, owner = self.exchange, self.owner
        if exchange is None or owner is None:
            return
        if now >= exchange.deadline:
            self._fail(None if exchange.budget is not None else timed_out(exchange, of_read=False))
            return
        upload = exchange.upload
        if upload is not None and upload.is_held:
            upload.go_on()
        if exchange.read_timeout is None:
            owner.clock.watch(self, exchange.deadline)
            return
        if (upload is not None and not upload.done) or (exchange.stream is not None and exchange.stream.is_paused):
            exchange.last_read = now  # the silence is ours
        elif now >= exchange.last_read + exchange.read_timeout:
            self._fail(timed_out(exchange, of_read=True))
            return
        owner.clock.watch(self, exchange.next_deadline())

    # Inside

    def _pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _fail(self, error: BaseException | None) -> None:
        """Close the connection, then tell whoever waits."""
        exchange = self.exchange
        self.exchange = None
        if self.owner is not None:
            reason = "protocol" if isinstance(error, ClientProtocolError) else "error"
            self.owner.close_channel(self, self.retiring or reason, politely=False)
        if exchange is not None:
            exchange.end(error or released(exchange))
