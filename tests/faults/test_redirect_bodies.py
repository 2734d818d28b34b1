"""What becomes of the request's body on the way through redirects (FAULTS C05, C07)."""

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keepwarm.client.errors import ClientPayloadError
from tests.support.calling import PLAIN_AND_TLS, Conserved, serve
from tests.support.http1 import response
from tests.support.leaks import turns
from tests.support.server import Peer, answer_all, answering
from tests.support.sites import at, caller, moved, pages

pytestmark = pytest.mark.asyncio


@PLAIN_AND_TLS
@pytest.mark.fault("C05")
@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("kind", ["bytes", "chunked"])
async def test_a_post_becomes_a_get_without_a_body(tls: bool, status: int, kind: str) -> None:
    """On the wire: GET, no byte of body, no field that describes one; all else stays."""
    async with serve(pages({"/from": moved("/to", status)}), tls=tls) as server, caller() as calls:
        watch = Conserved(calls, server)
        data: Any = b"body" if kind == "bytes" else [b"bo", b"dy"]
        headers = {"Content-Type": "text/x", "Content-Language": "de", "Content-Encoding": "identity", "X-Kept": "1"}
        async with calls.post(at(server, "/from"), data=data, headers=headers) as resp:
            assert (resp.status, resp.method) == (200, "GET")
        before, after = server.requests
        assert (before.method, before.body) == ("POST", b"body")
        assert (after.method, after.target, after.body, after.header("X-Kept")) == ("GET", "/to", b"", "1")
        names = {name.lower() for name, _ in after.headers}
        assert not {name for name in names if name.startswith("content-") or name in ("transfer-encoding", "expect")}
        await watch.healthy()


class Files:
    """Bodies that can be read again, made when a test needs them."""

    CONTENT = b"".join(b"line %d\n" % k for k in range(20_000))

    def __init__(self, tmp_path: Any) -> None:
        self._path = tmp_path / "body"
        self._path.write_bytes(self.CONTENT)

    def make(self, kind: str) -> Any:
        if kind == "bytes":
            return self.CONTENT
        if kind == "list":
            return [self.CONTENT[:7], self.CONTENT[7:]]
        return io.BytesIO(self.CONTENT) if kind == "memory" else self._path.open("rb")


@PLAIN_AND_TLS
@pytest.mark.fault("C07")
@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("kind", ["bytes", "list", "memory", "file"])
async def test_a_body_is_sent_again_from_its_start(tls: bool, status: int, kind: str, tmp_path: Any) -> None:
    """Method, body and the fields that describe it go along."""
    body = Files(tmp_path).make(kind)
    async with serve(pages({"/from": moved("/to", status)}), tls=tls) as server, caller() as calls:
        watch = Conserved(calls, server)
        async with calls.put(at(server, "/from"), data=body, headers={"Content-Type": "text/x"}) as resp:
            assert (resp.status, resp.method) == (200, "PUT")
        assert [request.body == Files.CONTENT for request in server.requests] == [True, True]
        assert [request.header("Content-Type") for request in server.requests] == ["text/x"] * 2
        await watch.healthy()
    if kind == "file":
        body.close()


@PLAIN_AND_TLS
@pytest.mark.fault("C07", "O09")
@pytest.mark.parametrize("kind", ["bytes", "memory", "file"])
async def test_a_redirect_in_the_middle_of_the_upload(tls: bool, kind: str, tmp_path: Any) -> None:
    """The first server redirects after the head and reads no more: the second gets the whole body all the same."""

    async def hasty(peer: Peer) -> None:
        await peer.head()
        peer.pause()
        peer.send(moved(at(second, "/to"), 307))
        await peer.flush()
        await peer.stall()

    body = Files(tmp_path).make(kind)
    async with serve(hasty, tls=tls, rcvbuf=8192) as first, serve(tls=tls) as second, caller() as calls:
        watch = Conserved(calls, first, second)
        async with calls.post(at(first, "/from"), data=body) as resp:
            assert (resp.status, resp.headers["X-Nonce"]) == (200, "/to")
        assert second.requests[0].body == Files.CONTENT
        await watch.healthy()
    if kind == "file":
        body.close()


@pytest.mark.fault("C07")
async def test_a_generator_cannot_be_sent_again() -> None:
    """A clear error, and the first hop's connection is settled; 303, which needs no body, is followed."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with serve(pages({"/307": moved("/to", 307), "/303": moved("/to", 303)})) as server, caller() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientPayloadError, match="cannot be read a second time"):
            await calls.post(at(server, "/307"), data=parts())
        async with calls.post(at(server, "/303"), data=parts()) as resp:
            assert resp.method == "GET"
        assert [request.body for request in server.requests] == [b"ab", b"ab", b""]
        await watch.healthy()


@pytest.mark.fault("C07")
async def test_a_generator_that_was_not_begun_can_go_along() -> None:
    """With expect100 the redirect comes before the body: nothing was taken from it yet."""

    async def redirects(peer: Peer) -> None:
        await peer.head()
        peer.send(moved(at(second, "/to"), 307))
        await peer.flush()
        await peer.until_closed()

    async def agrees(peer: Peer) -> None:
        request = await peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.body(request)
        peer.send(response(body=b"done"))
        await peer.until_closed()

    async def parts() -> AsyncIterator[bytes]:
        yield b"only "
        yield b"once"

    async with serve(redirects) as first, serve(agrees) as second, caller() as calls:
        async with calls.post(at(first, "/from"), data=parts(), expect100=True) as resp:
            assert await resp.read() == b"done"
        assert second.requests[0].body == b"only once"
        assert second.requests[0].header("Expect") == "100-continue"


@PLAIN_AND_TLS
@pytest.mark.fault("F16", "C07")
async def test_a_server_that_redirects_and_hangs_up_on_the_body(tls: bool) -> None:
    """It promises to keep the connection, reads nothing of a large body, and closes: the next hop, a POST that must not
    be repeated, does not go that way."""

    async def hasty(peer: Peer) -> None:
        await peer.head()
        peer.send(moved("/to", 307))
        await peer.flush()
        await turns(4)
        peer.close()

    for _ in range(10):
        async with serve(hasty, answer_all, tls=tls) as server, caller() as calls:
            watch = Conserved(calls, server)
            async with calls.post(at(server, "/from"), data=io.BytesIO(Files.CONTENT)) as resp:
                assert (resp.status, resp.headers["X-Nonce"]) == (200, "/to")
            assert server.connections[1].requests[0].body == Files.CONTENT
            await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("F16")
@pytest.mark.parametrize(
    ("status", "size", "connections"),
    [("200 OK", 200_000, 1), ("404 Not Found", 100, 1), ("404 Not Found", 200_000, 2), ("503 Busy", 200_000, 2)],
)
async def test_a_large_body_that_was_turned_down(tls: bool, status: str, size: int, connections: int) -> None:
    """An answer that is no success to a body that went in pieces: its connection is not used again."""
    script = answering(lambda request: response(status if request.body else "200 OK"))
    async with serve(script, tls=tls) as server, caller() as calls:
        watch = Conserved(calls, server)
        async with calls.post(at(server, "/x"), data=bytes(size)) as resp:
            assert resp.status == int(status[:3])
        async with calls.get(at(server, "/next")) as resp:
            assert resp.status == 200
        assert server.accepted == connections
        await watch.settled(idle=1)
