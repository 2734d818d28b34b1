"""Places where a call can lose its connection that no phase covers: classes of the caller's own, threads, errors."""

import asyncio
import gc
import io
import threading
from typing import Any, cast

import pytest

from keepwarm.client.file_payload import FilePayload
from keepwarm.client.response import ClientResponse
from keepwarm.client.session import ClientSession
from tests.support.bodies import body
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, serve, session
from tests.support.leaks import turns
from tests.support.server import Answer, Peer, answer_all, chunk, head

pytestmark = pytest.mark.asyncio


class SlowFile(io.BytesIO):
    """Stands in the middle of its first read until it is let go. Not a BytesIO to those who look closely."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.reading.is_set():
            self.reading.set()
            self.go_on.wait(10)
        return super().read(size)


class Wrapped:
    """A seekable file that gives no hint that reading it never blocks."""

    def __init__(self, inner: SlowFile) -> None:
        self._inner = inner
        for name in ("read", "seek", "tell", "seekable", "readable"):
            setattr(self, name, getattr(inner, name))


@pytest.mark.fault("P26", "O09")
async def test_a_read_that_outlives_its_attempt_does_not_move_the_file_for_the_next() -> None:
    """The first sending is cancelled while a thread reads; the second one has the whole body all the same."""
    whole = b"".join(b"%06d\n" % number for number in range(50_000))
    file = SlowFile(whole)
    payload = FilePayload(Wrapped(file))
    first = asyncio.create_task(body(payload))
    await asyncio.to_thread(file.reading.wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(body(payload))
    await turns(5)
    file.go_on.set()
    assert await second == whole


async def begins(peer: Peer) -> None:
    """A good answer, then one whose body never ends."""
    await Answer().run(peer)
    request = await peer.request()
    peer.send(head("200 OK", [("X-Nonce", request.nonce), ("Transfer-Encoding", "chunked")]) + chunk(b"begun"))
    await peer.until_closed()


class Unmakeable(ClientResponse):
    """A class of the caller's own that cannot be made."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        raise LookupError("not today")


@PLAIN_AND_TLS
@pytest.mark.fault("P16")
async def test_a_response_class_that_raises_does_not_keep_the_connection(tls: bool) -> None:
    """The caller's class fails on an answer whose body is under way: its error comes out, the slot is free."""
    async with serve(begins, answer_all, tls=tls) as server:
        connector = WatchedConnector(limit=1)
        async with session(connector) as calls:
            await fetch(calls, server.url("/warm"))
            watch = Conserved(calls, server)
            odd = ClientSession(connector=connector, response_class=Unmakeable)
            with pytest.raises(LookupError, match="not today"):
                await odd.get(server.url("/x"))
            odd.detach()
            await watch.settled(idle=0)
            await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P16")
async def test_raise_for_status_gives_the_connection_back(tls: bool) -> None:
    """raise_for_status=True on a 500 with a short body: drained, and kept."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            status = "500 Oops" if request.target == "/x" else "200 OK"
            peer.send(head(status, [("X-Nonce", request.nonce), ("Content-Length", "9")]) + b"half")
            await turns(5)
            peer.send(b" done")

    async with serve(script, tls=tls) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        for _ in range(3):
            with pytest.raises(Exception, match="500"):
                await calls.get(server.url("/x"), raise_for_status=True)
        await watch.settled(idle=1)
        assert server.accepted == 1
        await watch.healthy()


class Refusing:
    """A transport that takes no more bytes, and says so only when it is written to."""

    def __init__(self, inner: Any, error: BaseException) -> None:
        self._inner = inner
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        raise self._error


@pytest.mark.fault("L15", "P25")
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
async def test_a_write_that_raises_closes_the_connection_and_is_told_once(kind: type[BaseException]) -> None:
    """Whatever comes out of write(): the caller has it, the slot is free, and no future is left to complain."""
    connector = WatchedConnector(limit=1)
    async with serve() as server, session(connector) as calls:
        watch = Conserved(calls, server)
        await fetch(calls, server.url("/warm"))
        channel = connector.channels[0]
        channel.transport = cast(asyncio.Transport, Refusing(channel.transport, kind("no more")))
        with pytest.raises(kind, match="no more"):
            await calls.get(server.url("/x"))
        gc.collect()  # the baseline fails the test for an exception that nobody has retrieved
        await watch.settled(idle=0)
        await watch.healthy()
