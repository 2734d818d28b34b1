"""The scripted server, seen from a client made of asyncio streams."""

import asyncio
import ssl
from pathlib import Path
from typing import cast

import pytest

from tests.support.certificates import client_context, server_context
from tests.support.server import (
    Answer,
    Cut,
    Drip,
    Fin,
    Peer,
    Recv,
    RecvRequest,
    Repeat,
    Request,
    Rst,
    ScriptedServer,
    Send,
    Stall,
    Tell,
    UntilClosed,
    Wait,
    answering,
    chunked,
    head,
    ok,
    response,
    unserved_port,
)

pytestmark = pytest.mark.asyncio

GET = b"GET /a HTTP/1.1\r\nHost: x\r\nX-Nonce: 77\r\n\r\n"


class Client:
    """A connection to the server, closed at the end of the block."""

    def __init__(self, server: ScriptedServer, context: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.context = context

    async def __aenter__(self) -> "Client":
        if self.server.path is not None:
            self.reader, self.writer = await asyncio.open_unix_connection(self.server.path)
        else:
            self.reader, self.writer = await asyncio.open_connection(
                self.server.host, self.server.port, ssl=self.context
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    async def get(self) -> bytes:
        self.writer.write(GET)
        return await self.reader.readuntil(b"ok")


async def test_default_script_answers_every_request_with_its_nonce() -> None:
    async with ScriptedServer() as server:
        async with Client(server) as client:
            first, second = await client.get(), await client.get()
        await server.until_idle()
    assert first == second == b"HTTP/1.1 200 OK\r\nX-Nonce: 77\r\nContent-Length: 2\r\n\r\nok"
    assert server.accepted == 1
    assert [request.target for request in server.connections[0].requests] == ["/a", "/a"]
    assert server.connections[0].bytes_received == 2 * len(GET)
    assert server.url("/x") == f"http://127.0.0.1:{server.port}/x"


async def test_steps_play_in_order_and_the_last_script_serves_the_rest() -> None:
    told, go = asyncio.Event(), asyncio.Event()
    first = [RecvRequest(), Tell(told), Wait(go), Send(ok()), UntilClosed()]
    async with ScriptedServer(first, [Repeat([Answer()], times=1), Fin()]) as server:
        async with Client(server) as client:
            client.writer.write(GET)
            await told.wait()
            assert server.requests[0].nonce == "77"
            go.set()
            await client.reader.readuntil(b"ok")
        for _ in range(2):
            async with Client(server) as client:
                client.writer.write(GET)
                assert (await client.reader.read()).endswith(b"ok")
        assert server.accepted == 3


async def test_request_bodies_are_read_by_length_and_by_chunks() -> None:
    seen: list[Request] = []

    def respond(request: Request) -> bytes:
        seen.append(request)
        return ok()

    async with ScriptedServer(answering(respond)) as server, Client(server) as client:
        client.writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
        client.writer.write(
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
        )
        await client.reader.readuntil(b"ok")
        await client.reader.readuntil(b"ok")
    assert [request.body for request in seen] == [b"abc", b"ab0123456789"]
    assert (seen[1].chunks, seen[1].trailers) == ([b"ab", b"0123456789"], [("T", "v")])


@pytest.mark.parametrize(
    "raw",
    [
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n0",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
    ],
)
async def test_a_malformed_request_fails_the_test(raw: bytes) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with ScriptedServer() as server, Client(server) as client:
            client.writer.write(raw)
            with pytest.raises(ConnectionResetError):
                await client.reader.read()
    assert caught.group_contains(ValueError)


async def test_rst_and_fin_reach_the_client_as_such() -> None:
    async with ScriptedServer([RecvRequest(), Send(b"HTTP"), Rst()], [Send(b"x"), Fin()]) as server:
        async with Client(server) as client:
            client.writer.write(GET)
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(5)
        async with Client(server) as client:
            assert await client.reader.read() == b"x"
            # Only the server's side is closed: it goes on reading.
            client.writer.write(b"still here")
            await server.until(lambda: server.connections[1].bytes_received == 10)
            client.writer.write_eof()
            await server.until_idle()
        assert server.connections[1].closed == "fin"


async def test_a_reset_by_the_client_is_told_from_its_fin() -> None:
    ends = []

    async def watch(peer: Peer) -> None:
        ends.append(await peer.until_closed())

    async with ScriptedServer([Send(b"x"), UntilClosed()], watch) as server:
        async with Client(server) as client:
            # Closing with unread bytes in the kernel makes the kernel send a reset.
            cast(asyncio.Transport, client.writer.transport).pause_reading()
            await server.until_accepted(1)
            server.connections[0].send(b"y")
            await server.connections[0].flush()
        await server.until_idle()
        async with Client(server) as client:
            client.writer.write_eof()
            await server.until(lambda: ends)
    assert server.connections[0].closed == "rst"
    assert ends == ["fin"]


async def test_drip_sends_single_bytes() -> None:
    pieces: list[bytes] = []
    whole = asyncio.Event()

    class Recorder(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            pieces.append(data)
            if len(b"".join(pieces)) == 10:
                whole.set()

    async with ScriptedServer([Drip(b"0123456789"), UntilClosed()]) as server:
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, server.host, server.port)
        await whole.wait()
        transport.abort()
        await server.until_idle()
    assert pieces == [b"%d" % digit for digit in range(10)]


async def test_tls_with_and_without_a_goodbye() -> None:
    scripts = ([Answer(), Fin()], [Answer(), Cut(), Stall()])
    async with ScriptedServer(*scripts, ssl=server_context()) as server:
        assert server.url() == f"https://127.0.0.1:{server.port}/"
        for _ in scripts:
            async with Client(server, client_context()) as client:
                client.writer.write(GET)
                assert (await client.reader.read()).endswith(b"ok")
        assert [peer.secure for peer in server.connections] == [True, True]
        assert server.connections[0].bytes_received == len(GET)


async def test_a_client_that_refuses_the_certificate_has_sent_nothing() -> None:
    async with ScriptedServer(ssl=server_context("other.keepwarm.test")) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with Client(server, client_context()):
                pass
        await server.until(lambda: server.connections[0].tls_error or server.connections[0].closed)
        assert (server.accepted, server.connections[0].bytes_received) == (1, 0)


async def test_tls_may_start_in_mid_script() -> None:
    context = server_context()

    async def tunnel(peer: Peer) -> None:
        request = await peer.head()
        assert request.method == "CONNECT"
        peer.send(head("200 Connection established"))
        await peer.start_tls(context)
        peer.send(ok(nonce=(await peer.request()).nonce))

    async with ScriptedServer(tunnel) as server, Client(server) as client:
        client.writer.write(b"CONNECT h:443 HTTP/1.1\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        await client.writer.start_tls(client_context(), server_hostname="localhost")
        assert b"X-Nonce: 77" in await client.get()


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "peer.sock"
    script = [Recv(b"/a"), Send(chunked([b"o", b"k"])), Fin()]
    async with ScriptedServer(script, path=path) as server, Client(server) as client:
        client.writer.write(GET)
        assert (await client.reader.read()).endswith(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n")
    assert not path.exists()


async def test_a_peer_that_does_not_read_lets_the_kernel_fill_up() -> None:
    async with ScriptedServer([Stall()], reading=False, rcvbuf=4096) as server, Client(server) as client:
        client.writer.write(bytes(16 * 1024 * 1024))
        await server.until_accepted(1)
        peer = server.connections[0]
        assert client.writer.transport.get_write_buffer_size() > 0
        assert peer.bytes_received == 0
        peer.resume()
        await server.until(lambda: peer.bytes_received == 16 * 1024 * 1024)


async def test_a_failing_script_is_noted_on_the_tests_own_error() -> None:
    async def fail(peer: Peer) -> None:
        raise LookupError("on purpose")

    with pytest.raises(ConnectionResetError) as caught:
        async with ScriptedServer(fail) as server, Client(server) as client:
            await client.reader.readexactly(1)
    assert "on purpose" in caught.value.__notes__[0]


async def test_nobody_answers_on_an_unserved_port() -> None:
    with unserved_port() as port, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def test_a_response_may_lie_about_its_length() -> None:
    assert response(body=b"12345", length=9).endswith(b"Content-Length: 9\r\n\r\n12345")
    assert ok() != ok()
