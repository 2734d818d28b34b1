"""FAULTS X09 to X18, P09, T08, T10, G14: TLS in tunnels and to proxies, tunnels that are kept, and cancelling."""

import asyncio
import hashlib
import itertools
from typing import Any

import pytest
import trustme

from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import (
    FingerprintMismatch,
    TLSError,
)
from tests.support.calling import Conserved, fetch, numbers
from tests.support.certificates import der, leaf, server_context
from tests.support.proxies import ORIGIN, OTHER, PROXY, RelayingProxy, through, tunnelling
from tests.support.server import (
    Peer,
    Recv,
    ScriptedServer,
    Send,
    UntilClosed,
    response,
)
from tests.support.steps import cancel_at_every_step

pytestmark = pytest.mark.asyncio

HEAD = b"\r\n\r\n"
URL = f"https://{ORIGIN}/x"
SECRET, TOKEN = "s3cret", "bWU6czNjcmV0"
AUTH = BasicAuth("me", SECRET)


# TLS


def pin(*names: str) -> bytes:
    return hashlib.sha256(der(leaf(*names))).digest()


@pytest.mark.fault("X01")
@pytest.mark.parametrize("names", [(PROXY,), (OTHER,)])
async def test_the_certificate_is_the_origins(names: tuple[str, ...]) -> None:
    """One for another host, the proxy's own even, is refused before a byte of the request."""
    async with ScriptedServer(tunnelling(context=server_context(*names))) as proxy, through(proxy.port) as calls:
        with pytest.raises(TLSError, match="certificate verify failed") as caught:
            await calls.get(URL)
        assert caught.value.endpoint == Endpoint(ORIGIN, 443, True)
        await proxy.until_idle()
        assert len(proxy.requests) == 1


@pytest.mark.fault("G14", "T08", "X14")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_wrong_pin_ends_the_tunnel_before_a_byte(scheme: str) -> None:
    """The pin is the origin's: checked inside every new tunnel, and not against the proxy's certificate."""
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(server_context(PROXY) if scheme == "https" else None) as proxy,
    ):
        # The pin of what the proxy shows is wrong for the origin.
        async with through(proxy.port, scheme=scheme, fingerprint=pin(PROXY)) as calls:
            for _ in range(2):
                with pytest.raises(FingerprintMismatch) as caught:
                    await calls.get(f"https://{ORIGIN}:{origin.port}/")
                assert caught.value.got == pin()
        await origin.until_idle()
        assert [peer.bytes_received for peer in origin.connections] == [0, 0]
        async with through(proxy.port, scheme=scheme, fingerprint=pin(), force_close=True) as calls:
            for number in range(2):
                assert await fetch(calls, f"https://{ORIGIN}:{origin.port}/{number}") == f"/{number}"
        assert origin.accepted == 4


@pytest.mark.fault("T10", "X14")
async def test_tls_inside_tls() -> None:
    """An https:// proxy: TLS with the proxy by its name, and inside it TLS with the origin by its own. Large bodies go
    both ways, the tunnel is kept and closed."""
    body = bytes(range(256)) * 4000

    async def echo(peer: Peer) -> None:
        while True:
            request = await peer.request()
            peer.send(response("200 OK", request.body))
            await peer.flush()

    async with (
        ScriptedServer(echo, ssl=server_context(ORIGIN)) as origin,
        RelayingProxy(server_context(PROXY)) as proxy,
    ):
        async with through(proxy.port, scheme="https", proxy_auth=AUTH) as calls:
            for _ in range(3):
                async with calls.post(f"https://{ORIGIN}:{origin.port}/", data=body) as got:
                    assert await got.read() == body
            assert (origin.accepted, numbers(calls).idle) == (1, 1)
        await origin.until_idle()
        assert [request.header("Proxy-Authorization") for request in proxy.requests] == [f"Basic {TOKEN}"]
        assert all(not request.header("Proxy-Authorization") for request in origin.requests)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_fast_tls_gives_way_inside_tunnels(scheme: str) -> None:
    """It needs a socket of its own, so the loop's TLS is used; the calls are the same."""
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(server_context() if scheme == "https" else None) as proxy,
        through(proxy.port, scheme=scheme, fast_tls=True, fingerprint=pin()) as calls,
    ):
        for number in range(2):
            assert await fetch(calls, f"https://{ORIGIN}:{origin.port}/{number}") == f"/{number}"
        assert origin.accepted == 1


@pytest.mark.fault("X10")
@pytest.mark.parametrize("url", [URL, f"http://{ORIGIN}/"])
@pytest.mark.parametrize("trusted", [True, False], ids=["wrong name", "strange authority"])
async def test_a_wrong_certificate_of_the_proxy(url: str, trusted: bool) -> None:
    """A TLS error that names the proxy; not a byte is sent to it."""
    certificate = None if trusted else trustme.CA().issue_cert(PROXY)
    context = server_context(ORIGIN, certificate=certificate)
    async with ScriptedServer([UntilClosed()], ssl=context) as proxy:
        async with through(proxy.port, scheme="https") as calls:
            with pytest.raises(TLSError) as caught:
                await calls.get(url)
            assert caught.value.endpoint == Endpoint(PROXY, proxy.port, True)
            assert f"TLS with the proxy https://{PROXY}:{proxy.port} failed" in str(caught.value)
            assert "certificate verify failed" in str(caught.value)
        await proxy.until_idle()
        assert proxy.connections[0].bytes_received == 0


@pytest.mark.fault("X10", "T10")
async def test_the_options_of_tls_are_for_one_of_the_two() -> None:
    """verify_ssl=False is about origins: the proxy is verified all the same. And the other way round."""
    strange = server_context(certificate=trustme.CA().issue_cert(PROXY, ORIGIN))
    async with ScriptedServer(ssl=strange) as origin, RelayingProxy(strange) as proxy:
        url = f"https://{ORIGIN}:{origin.port}/"
        lax: dict[str, Any] = {"ssl_context": None, "verify_ssl": False}
        lax_proxy: dict[str, Any] = {"proxy_ssl_context": None, "proxy_verify_ssl": False}
        async with through(proxy.port, scheme="https", **lax) as calls:
            with pytest.raises(TLSError, match="TLS with the proxy"):
                await calls.get(url)
        async with through(proxy.port, scheme="https", **lax_proxy) as calls:
            with pytest.raises(TLSError) as caught:
                await calls.get(url)
            assert caught.value.endpoint == Endpoint(ORIGIN, origin.port, True)
        async with through(proxy.port, scheme="https", **lax, **lax_proxy) as calls:
            assert await fetch(calls, url) == "/"


# Keeping tunnels


@pytest.mark.fault("X13")
async def test_a_tunnel_serves_what_it_was_made_for() -> None:
    """Two origins, one proxy: each has its own tunnel, which it keeps. Plain requests take neither."""
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port) as calls:
        for number in range(3):
            assert await fetch(calls, f"https://{ORIGIN}/{number}") == f"/{number}"
            assert await fetch(calls, f"https://{OTHER}/{number}") == f"/{number}"
        assert proxy.accepted == 2
        assert [request.target for request in proxy.connections[0].requests] == [f"{ORIGIN}:443", "/0", "/1", "/2"]
        assert [request.target for request in proxy.connections[1].requests] == [f"{OTHER}:443", "/0", "/1", "/2"]
        assert await fetch_port(calls, 8443) and proxy.accepted == 3


async def fetch_port(calls: Any, port: int) -> bool:
    return await fetch(calls, f"https://{ORIGIN}:{port}/port") == "/port"


@pytest.mark.fault("X18")
async def test_by_default_each_request_has_its_own_tunnel() -> None:
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port, force_close=True) as calls:
        for number in range(3):
            assert await fetch(calls, f"https://{ORIGIN}/{number}") == f"/{number}"
        await proxy.until_idle()
        assert proxy.accepted == 3
        assert [request.header("Connection") for request in proxy.requests if request.method == "GET"] == ["close"] * 3


@pytest.mark.fault("X13")
async def test_limit_counts_for_each_target() -> None:
    """H-07: not for the proxy."""
    go_on = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            await go_on.wait()
            peer.send(b"k")

    async with ScriptedServer(tunnelling(slow)) as proxy, through(proxy.port, limit=1) as calls:
        first, other = await calls.get(f"https://{ORIGIN}/a"), await calls.get(f"https://{OTHER}/b")
        waiting = asyncio.ensure_future(calls.get(f"https://{ORIGIN}/c"))
        await asyncio.sleep(0.01)
        assert (proxy.accepted, numbers(calls).waiting) == (2, 1)
        go_on.set()
        for got in (first, other, await waiting):
            assert await got.read() == b"ok"
        assert proxy.accepted == 2


@pytest.mark.fault("X14")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_close_with_tunnels_open(scheme: str) -> None:
    """Idle tunnels to peers that never answer a goodbye do not hold close() up."""
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(server_context() if scheme == "https" else None) as proxy,
    ):
        calls = through(proxy.port, scheme=scheme)
        for number in range(5):
            await (await calls.get(f"https://{number}.keepwarm.test:{origin.port}/")).read()
        assert numbers(calls).idle == 5
        await asyncio.wait_for(calls.close(), 1.0)
        await origin.until_idle()


@pytest.mark.fault("X09")
async def test_other_credentials_are_another_connector() -> None:
    """Connections belong to one connector, and its credentials cannot be changed: nothing is shared, nothing stays."""
    async with ScriptedServer(tunnelling()) as proxy:
        for auth in (AUTH, BasicAuth("you", "other"), None):
            async with through(proxy.port, proxy_auth=auth) as calls:
                assert await fetch(calls, URL) == "/x"
        assert proxy.accepted == 3
        tokens = [request.header("Proxy-Authorization") for request in proxy.requests if request.method == "CONNECT"]
        assert tokens == [f"Basic {TOKEN}", BasicAuth("you", "other").encode(), ""]


@pytest.mark.fault("X06")
async def test_a_login_of_the_callers_own_stays_out_of_the_tunnel() -> None:
    """Proxy-Authorization among the headers of a call or of the session is for a proxy, never for the origin."""
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port) as calls:
        async with calls.get(URL, headers={"Proxy-Authorization": "Basic " + TOKEN, "A": "b"}) as got:
            await got.read()
        request = proxy.requests[1]
        assert (request.header("A"), b"roxy" in request.head, TOKEN.encode() in request.head) == ("b", False, False)


# Cancelling


@pytest.mark.fault("P09")
@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancel_at_every_step(scheme: str, double: bool) -> None:
    """A call whose tunnel is being made, cancelled at step k, for every k: no socket, task, slot or timer is left
    but those of a connection that was through before it could be stopped, and lies idle."""
    number = itertools.count()
    async with (
        ScriptedServer(ssl=server_context()) as origin,
        RelayingProxy(server_context() if scheme == "https" else None) as proxy,
        through(proxy.port, scheme=scheme, limit=1, force_close=True) as calls,
    ):

        async def call() -> None:
            path = f"/{next(number)}"
            assert await fetch(calls, f"https://{ORIGIN}:{origin.port}{path}") == path

        async def check(k: int) -> None:
            for _ in range(200):
                stats = numbers(calls)
                left = (stats.leased, stats.waiting, stats.dialling, stats.open - stats.idle)
                if not any(left) and origin.open == stats.idle:
                    return
                await asyncio.sleep(0.001)
            raise AssertionError(f"left: {numbers(calls)}, and {origin.open} at the origin")

        assert await cancel_at_every_step(call, check=check, double=double) > 10
        await call()


@pytest.mark.fault("P09", "X05")
@pytest.mark.parametrize("double", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 403 No\r\n\r\nno"])
async def test_cancel_while_the_proxy_stalls(answer: bytes, double: bool) -> None:
    """Cancelled in the middle of CONNECT: the connection is closed, the slot is free, the next call is served."""
    async with (
        ScriptedServer([Recv(HEAD), Send(answer), UntilClosed()], tunnelling()) as proxy,
        through(proxy.port, limit=1) as calls,
    ):
        conserved = Conserved(calls, proxy)
        task = asyncio.ensure_future(calls.get(URL))
        await proxy.until(lambda: proxy.connections and proxy.connections[0].bytes_received)
        await asyncio.sleep(0.01)
        task.cancel()
        if double:
            asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        await proxy.until_idle()
        await conserved.settled(idle=0)
        assert await fetch(calls, URL) == "/x"
        await conserved.settled(idle=1)
