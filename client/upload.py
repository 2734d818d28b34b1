"""Upload: a request body that is sent piece by piece, beside the wait for the response."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keepwarm.client.errors import ClientRequestError
from keepwarm.client.framing import LAST_CHUNK, chunk_parts, encode_chunk, split_body
from keepwarm.client.request import ClientRequest
from keepwarm.client.source import Bytes
from keepwarm.pool.errors import ClientError

if TYPE_CHECKING:
    from keepwarm.client.h1_channel import H1Channel

# A server that does not answer "Expect: 100-continue" gets the body after this many seconds (RFC 9110 10.1.1).
CONTINUE_SECONDS = 1.0
PIECE = 262144
# After this many bytes everybody else on the loop has a turn, time limits included: a source that never waits, to a
# peer that reads as fast as we write, would keep them out. A piece counts as LEAST, however small: making it took time.
TURN = PIECE
LEAST = TURN // 16
# Below this many bytes copying the parts of a chunk together costs less than handing them over one by one (on uvloop
# 11.4 µs either way at 8 KiB, 73 or 63 µs at 256 KiB).
JOINED = 16384


class Upload:
    """Sends one body. Runs in a task of its own, because the response may come first.

    With `waits` the body is held back until `go_on` is called: the peer said 100, or it has had its time. `is_sent`
    becomes true when the last byte was handed to the transport, `done` when the transport has taken it and the source
    has ended; `stop` ends it at any point.
    """

    __slots__ = ("_channel", "_length", "_request", "_sent", "_since_turn", "_start", "done", "is_sent", "task")

    def __init__(self, channel: "H1Channel", request: ClientRequest, *, waits: bool) -> None:
        self._channel: H1Channel | None = channel
        self._request = request
        self._since_turn = 0
        self._start: asyncio.Future[None] | None = channel.loop.create_future() if waits else None
        self.done = False
        self.is_sent = False
        payload = request.payload
        self._length = None if payload is None or request.framing.chunked else payload.length
        self._sent = 0
        self.task = channel.loop.create_task(self._run(channel), name=f"keepwarm upload to {channel.endpoint}")

    @property
    def is_held(self) -> bool:
        """Whether the body still waits for the peer's word."""
        return self._start is not None and not self._start.done()

    def go_on(self) -> None:
        """Let the body go."""
        if self._start is not None and not self._start.done():
            self._start.set_result(None)

    def stop(self) -> None:
        """Send no more. The task ends by itself in the next turns, and finishes the body's source."""
        self._channel = None
        if not self.task.done():
            self.task.cancel()

    async def _run(self, channel: "H1Channel") -> None:
        task = asyncio.current_task()
        try:
            if self._start is not None:
                await self._start
            await self._send(channel)
            self.done = True
            if self._channel is not None:
                channel.upload_done()
        except asyncio.CancelledError as exc:
            # Not by `stop`: something that the body's source waited for was cancelled, or the program is ending.
            if self._channel is not None:
                channel.upload_failed(exc)
            raise
        except BaseException as exc:
            if asyncio.current_task(channel.loop) is not task:
                raise  # GeneratorExit, and not the source's: the task is thrown away, with a loop that is over
            if self._channel is not None:
                channel.upload_failed(exc)
            elif not isinstance(exc, (ClientError, ConnectionError)) and not _ends_the_loop(exc):
                self._report(exc)
            if _ends_the_loop(exc):
                if task is not None:
                    task.add_done_callback(_retrieve)
                raise
        finally:
            self._channel = None
            await self._finish_source(task)

    async def _finish_source(self, task: "asyncio.Task[None] | None") -> None:
        payload = self._request.payload
        if payload is None:
            return
        try:
            await payload.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if _ends_the_loop(exc) or asyncio.current_task(self.task.get_loop()) is not task:
                raise
            self._report(exc)

    def _report(self, exc: BaseException) -> None:
        """The call is over, so nobody else will hear that the caller's source failed."""
        request = self._request
        # Without the task: Python 3.12 would run the handler in its context, which is entered already.
        self.task.get_loop().call_exception_handler(
            {
                "message": f"the source of the body of {request.method} {request.target.url} raised an exception while "
                "it was being finished, after the call had ended",
                "exception": exc,
            }
        )

    async def _send(self, channel: "H1Channel") -> None:
        request = self._request
        payload, framing = request.payload, request.framing
        if payload is None:
            return
        if payload.body is not None:
            payload.started = True
            await self._send_parts(channel, split_body(payload.body, framing.chunk_size or PIECE))
        else:
            async for data in payload.chunks():
                # A chunk is a copy of its piece, so a huge piece makes many chunks even where nobody asked for a size.
                size = framing.chunk_size or PIECE
                is_long = framing.chunked and len(data) > size
                parts: Iterable[Bytes] = split_body(data, size) if is_long else (data,)
                await self._send_parts(channel, parts)
        if framing.chunked:
            channel.write(LAST_CHUNK)
        self.is_sent = True
        await channel.drain()

    async def _send_parts(self, channel: "H1Channel", parts: Iterable[Bytes]) -> None:
        for part in parts:
            if channel.is_tls and channel.has_news():
                # An answer, or the peer's goodbye, has arrived but was not read yet: writing into a closed socket
                # could lose it (FAULTS P44). Two turns let the loop read it. Without TLS the channel gets it back.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            if part:
                self._write(channel, part)
            self._since_turn += max(len(part), LEAST)
            if channel.is_write_paused:
                self._since_turn = 0
                await channel.drain()
            elif self._since_turn >= TURN:
                self._since_turn = 0
                await asyncio.sleep(0)

    def _write(self, channel: "H1Channel", piece: Bytes) -> None:
        size = len(piece)
        if not self._request.framing.chunked:
            channel.write(piece)
        elif size < JOINED:
            channel.write(encode_chunk(piece))
        else:
            channel.writelines(chunk_parts(piece))
        self._sent += size
        if self._sent == self._length:
            self.is_sent = True


def _ends_the_loop(exc: BaseException) -> bool:
    """What asyncio lets out of the loop: it is for the program, not only for the call."""
    return isinstance(exc, (KeyboardInterrupt, SystemExit))


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Count as told what came out of the loop already."""
    if not task.cancelled():
        task.exception()


def upload_error(exc: BaseException) -> Exception:
    """What the caller gets when the source of the body failed: its own error, or ours if it is one already."""
    if isinstance(exc, ClientRequestError):
        return exc
    error = ClientRequestError(
        f"the body could not be sent: its source raised {type(exc).__name__}{f': {exc}' if str(exc) else ''}",
        phase="send",
    )
    error.__cause__ = exc
    return error
