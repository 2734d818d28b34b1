"""Peer: the server's side of one connection, driven by a script."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Protocol, cast

from tests.support.http1 import Request, parse_fields
from tests.support.tls import ServerTLS


class PeerGone(Exception):
    """The client has closed its side before the script got what it waited for. A script need not catch it."""


class Changes:
    """Wakes those who wait for a condition whenever something has happened."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds. It is asked again after each change."""
        while not condition():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


class Listener(Protocol):
    """What a peer tells its server."""

    def on_accept(self, peer: "Peer") -> None: ...

    def on_request(self, request: Request) -> None: ...

    def on_change(self) -> None: ...


class Peer(asyncio.Protocol):
    """One accepted connection. The script calls these methods; the test reads the attributes at any time.

    `closed` says how the client ended its side: "" while it has not, "fin", "rst" (or any other breakage), or "us"
    when this side let go first. Reading runs ahead of the script unless `pause()` stops it.
    """

    def __init__(self, listener: Listener, *, reading: bool = True) -> None:
        self._listener = listener
        self._reading = reading
        self._buffer = bytearray()
        self._write_paused = False
        self._finished = False
        self._discard = False
        self._tls: ServerTLS | None = None
        self.changes = Changes()
        self.index = -1
        self.requests: list[Request] = []
        self.bytes_received = 0  # of the application: behind TLS, where there is TLS
        self.closed = ""
        self.lost = False

    # The loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio.Transport, so there is nothing to check.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.on_accept(self)
        if not self._reading:
            # uvloop starts to read once this method has returned, whatever it does.
            asyncio.get_running_loop().call_soon(self.pause)

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        self.bytes_received += len(data)
        if not self._discard:
            self._buffer += data
        self._changed()

    def eof_received(self) -> bool:
        self.closed = self.closed or "fin"
        self._changed()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.closed or ("rst" if exc is not None else "us")
        self.lost = True
        self._write_paused = False
        self._changed()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._changed()

    # Reading.

    async def recv_until(self, mark: bytes) -> bytes:
        """All bytes up to and with `mark`. Raises PeerGone if they do not come."""
        await self._need(lambda: mark in self._buffer)
        return self._take(self._buffer.index(mark) + len(mark))

    async def recv_exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises PeerGone if they do not come."""
        await self._need(lambda: len(self._buffer) >= count)
        return self._take(count)

    async def recv(self) -> bytes:
        """What is there, at least one byte; b"" after the client's end."""
        await self.changes.until(lambda: self._buffer or self.closed)
        return self._take(len(self._buffer))

    async def head(self) -> Request:
        """The head of the next request; its body stays unread (see `body`)."""
        request = Request(await self.recv_until(b"\r\n\r\n"))
        self.requests.append(request)
        self._listener.on_request(request)
        self._changed()
        return request

    async def body(self, request: Request) -> bytes:
        """Read the body that belongs to `request` and fill in its `body`, `chunks` and `trailers`."""
        length = request.content_length
        if request.is_chunked:
            await self._chunks(request)
        elif request.method != "CONNECT":
            request.body = await self.recv_exactly(length)
        return request.body

    async def request(self) -> Request:
        """The next request with its body."""
        request = await self.head()
        await self.body(request)
        return request

    def pause(self) -> None:
        """Stop reading: the client's bytes pile up in the kernel, and its FIN goes unseen."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        self.transport.resume_reading()

    @property
    def unread(self) -> bytes:
        """Bytes that have arrived and that the script has not taken."""
        return bytes(self._buffer)

    # Writing.

    def send(self, data: bytes) -> None:
        """Write `data` in one piece. Raises PeerGone if the connection is gone."""
        if self._tls is not None:
            self._tls.write(data)
            data = self._tls.outgoing()
        self.send_raw(data)

    def send_raw(self, data: bytes) -> None:
        """Write below TLS."""
        if self.lost:
            raise PeerGone(f"connection {self.index} is gone ({self.closed})")
        self.transport.write(data)

    async def flush(self) -> None:
        """Wait until the kernel has taken all that was sent. Raises PeerGone if the connection breaks."""
        await self.changes.until(lambda: not self._write_paused)
        if self.lost:
            raise PeerGone(f"connection {self.index} is gone ({self.closed})")

    async def drip(self, data: bytes) -> None:
        """Send `data` one byte per segment; a client on the same loop reads each byte by itself."""
        for offset in range(len(data)):
            self.send(data[offset : offset + 1])
            await self.flush()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    # Ending.

    def fin(self) -> None:
        """End the sending side after what was sent: FIN, with TLS after close_notify. Reading goes on."""
        if self._tls is not None and not self._finished and not self.lost:
            self._tls.say_goodbye()
            self.transport.write(self._tls.outgoing())
        self.cut()

    def cut(self) -> None:
        """FIN with no close_notify before it. Without TLS the same as `fin`."""
        if not self._finished and not self.lost:
            self._finished = True
            try:
                self.transport.write_eof()
            except OSError:
                pass  # the client has reset the connection, and the loop has not told yet

    def rst(self) -> None:
        """Reset the connection: SO_LINGER 0, then close. What was not yet sent is lost."""
        if self.lost:
            return
        self._finished = True
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close(self) -> None:
        """Close both directions. The kernel makes it a reset if it holds bytes that nobody read."""
        self._finished = True
        self.transport.close()

    def abort(self) -> None:
        """Let go at once."""
        self._finished = True
        self.transport.abort()

    async def until_closed(self) -> str:
        """Read and throw away until the client ends its side; "fin", "rst" or "us"."""
        self._discard = True
        self._buffer.clear()
        if not self.transport.is_closing():
            self.transport.resume_reading()
        await self.changes.until(lambda: self.closed)
        return self.closed

    async def stall(self) -> None:
        """Do nothing, not even notice an end, until the server is closed."""
        await asyncio.get_running_loop().create_future()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Handshake as the server, for CONNECT and the like. Raises PeerGone if it fails; see `tls_error`."""
        self._tls = tls = ServerTLS(context)
        if early := self._take(len(self._buffer)):
            self.bytes_received -= len(early)
            self.data_received(early)
        await self.changes.until(lambda: tls.established or self.closed)
        if not tls.established:
            raise PeerGone(f"connection {self.index}: the TLS handshake did not end: {tls.error or self.closed}")

    @property
    def secure(self) -> bool:
        """Whether a TLS handshake has been completed."""
        return self._tls is not None and self._tls.established

    @property
    def tls(self) -> ServerTLS | None:
        """The TLS layer, once there is one."""
        return self._tls

    @property
    def tls_error(self) -> ssl.SSLError | None:
        """What was wrong with the client's TLS, an alert that it sent included."""
        return None if self._tls is None else self._tls.error

    def __repr__(self) -> str:
        return f"<Peer {self.index}: {len(self.requests)} requests, closed={self.closed!r}>"

    def _decrypt(self, tls: ServerTLS, data: bytes) -> bytes:
        plain = tls.feed(data)
        reply = tls.outgoing()
        if reply and not self._finished and not self.transport.is_closing():
            self.transport.write(reply)
        if tls.error is not None:
            self.closed = self.closed or "rst"
            self.transport.close()
        elif tls.goodbye:
            self.closed = self.closed or "fin"
        return plain

    def _changed(self) -> None:
        self.changes.notify()
        self._listener.on_change()

    async def _need(self, condition: Callable[[], object]) -> None:
        await self.changes.until(lambda: condition() or self.closed)
        if not condition():
            raise PeerGone(f"connection {self.index} ended ({self.closed}) with {bytes(self._buffer[:200])!r} unread")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _chunks(self, request: Request) -> None:
        while size := int((await self.recv_until(b"\r\n")).removesuffix(b"\r\n"), 16):
            request.chunks.append(await self.recv_exactly(size))
            if await self.recv_exactly(2) != b"\r\n":
                raise ValueError("a chunk that is not followed by CRLF")
        lines = []
        while (line := await self.recv_until(b"\r\n")) != b"\r\n":
            lines.append(line.removesuffix(b"\r\n"))
        request.trailers = parse_fields(lines)
        request.body = b"".join(request.chunks)
