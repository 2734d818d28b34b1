"""FAULTS X01 to X05, X17: https through a proxy. What opens the tunnel, and what does not."""

import pytest

from keepwarm.client.errors import HttpProcessingError
from keepwarm.pool import tunnelling as tunnelling_module
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import (
    ClientConnectionError,
    ClientOSError,
    ConnectTimeoutError,
    ProxyConnectionError,
    TLSError,
)
from keepwarm.pool.proxy_errors import HttpProxyError
from tests.support.calling import fetch, numbers
from tests.support.proxies import ESTABLISHED, ORIGIN, PROXY, through, tunnelling
from tests.support.resolvers import Recording
from tests.support.server import (
    Cut,
    Fin,
    Recv,
    Rst,
    ScriptedServer,
    Send,
    Stall,
    Step,
    UntilClosed,
    response,
    unserved_port,
)

pytestmark = pytest.mark.asyncio

HEAD = b"\r\n\r\n"
URL = f"https://{ORIGIN}/x"
SECRET, TOKEN = "s3cret", "bWU6czNjcmV0"
AUTH = BasicAuth("me", SECRET)


@pytest.mark.fault("X01", "X17", "X06")
async def test_https_goes_through_a_tunnel() -> None:
    """TLS is made with the origin, by its name; only the proxy's name is looked up, only CONNECT has the login."""
    resolver = Recording("127.0.0.1")
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port, proxy_auth=AUTH, resolver=resolver) as calls:
        async with calls.get(URL, headers={"A": "b"}) as got:
            assert (got.status, got.host, await got.read()) == (200, ORIGIN, b"ok")
        connect, request = proxy.requests
        assert connect.head.splitlines() == [
            f"CONNECT {ORIGIN}:443 HTTP/1.1".encode(),
            f"Host: {ORIGIN}:443".encode(),
            f"Proxy-Authorization: Basic {TOKEN}".encode(),
            b"",
        ]
        assert (request.target, request.header("Host"), request.header("A")) == ("/x", ORIGIN, "b")
        assert b"roxy" not in request.head
    assert resolver.asked == [PROXY]


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        (f"https://{ORIGIN}:8443/", f"{ORIGIN}:8443"),
        ("https://127.0.0.1/", "127.0.0.1:443"),
        ("https://[::1]:8443/", "[::1]:8443"),
    ],
)
async def test_connect_names_host_and_port(url: str, authority: str) -> None:
    async with ScriptedServer(tunnelling()) as proxy, through(proxy.port) as calls:
        async with calls.get(url) as got:
            await got.read()
        assert [(proxy.requests[0].target, proxy.requests[0].header("Host"))] == [(authority, authority)]


@pytest.mark.fault("X01", "X03")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 299 Fine\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\n\r\n",
    ],
)
async def test_any_2xx_opens_the_tunnel(answer: bytes) -> None:
    async with ScriptedServer(tunnelling(answer=answer)) as proxy, through(proxy.port) as calls:
        assert await fetch(calls, URL) == "/x"


@pytest.mark.fault("X02")
@pytest.mark.parametrize(
    ("answer", "status", "reason", "hint"),
    [
        (response("407 Who are you", b"go away", [("Proxy-Authenticate", "Basic")]), 407, "Who are you", "proxy_auth"),
        (response("401 Unauthorized", b"go away"), 401, "Unauthorized", "proxy_auth"),
        (response("403 Forbidden", b"go away"), 403, "Forbidden", "does not let this host"),
        (response("502 Bad Gateway", b"go away"), 502, "Bad Gateway", "cannot reach the host"),
        (response("302 Found", b"go away", [("Location", "http://x/")]), 302, "Found", "does not let"),
        (response("405 No", b"go away"), 405, "No", "allows CONNECT"),
    ],
)
async def test_a_refusal_is_told(answer: bytes, status: int, reason: str, hint: str) -> None:
    """Status, reason, headers and body of the refusal; what to do; no credentials. The slot is free again."""
    async with (
        ScriptedServer([Recv(HEAD), Send(answer), UntilClosed()], tunnelling()) as proxy,
        through(proxy.port, proxy_auth=AUTH, limit=1) as calls,
    ):
        with pytest.raises(HttpProxyError) as caught:
            await calls.get(URL)
        error = caught.value
        assert (error.code, error.status, error.message, error.body) == (status, status, reason, b"go away")
        assert error.headers is not None and error.headers["content-length"] == "7"
        assert (error.endpoint, error.proxy) == (Endpoint(ORIGIN, 443, True), Endpoint(PROXY, proxy.port, False))
        assert (error.phase, error.reused) == ("proxy", False)
        text = str(error)
        assert f"{ORIGIN}:443" in text and f"http://{PROXY}:{proxy.port}" in text and f"{status} {reason}" in text
        assert hint in text
        assert SECRET not in text and TOKEN not in text
        await proxy.until_idle()
        assert await fetch(calls, URL) == "/x"
        assert numbers(calls).open == 1


async def test_handlers_of_either_tree_see_a_refusal() -> None:
    async with (
        ScriptedServer([Recv(HEAD), Send(response("403 No")), UntilClosed()]) as proxy,
        through(proxy.port) as calls,
    ):
        for kind in (HttpProcessingError, ProxyConnectionError, ClientConnectionError):
            with pytest.raises(kind):
                await calls.get(URL)


@pytest.mark.fault("X02")
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_refusal_whose_body_does_not_end(framing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body explains; it is waited for a moment only."""
    monkeypatch.setattr(tunnelling_module, "BODY_SECONDS", 0.02)
    body = b"2\r\nno\r\n" if b"chunked" in framing else b"no"
    refusal = b"HTTP/1.1 403 No\r\n" + framing + b"\r\n" + body
    async with ScriptedServer([Recv(HEAD), Send(refusal), UntilClosed()]) as proxy, through(proxy.port) as calls:
        with pytest.raises(HttpProxyError) as caught:
            await calls.get(URL)
        assert (caught.value.code, caught.value.body) == (403, b"no")
        await proxy.until_idle()


@pytest.mark.fault("X02")
async def test_a_refusal_whose_body_ends_with_the_connection() -> None:
    async with ScriptedServer([Recv(HEAD), Send(b"HTTP/1.0 403 No\r\n\r\nno"), Fin()]) as proxy:
        async with through(proxy.port) as calls:
            with pytest.raises(HttpProxyError) as caught:
                await calls.get(URL)
        assert (caught.value.code, caught.value.body) == (403, b"no")


BROKEN: dict[str, list[Step]] = {
    "bytes behind the answer": [Recv(HEAD), Send(ESTABLISHED + b"\x16\x03\x03"), UntilClosed()],
    "a body": [Recv(HEAD), Send(response("200 OK", b"surprise")), UntilClosed()],
    "spoke first": [Send(ESTABLISHED + ESTABLISHED), UntilClosed()],
    "no HTTP": [Recv(HEAD), Send(b"220 smtp.test\r\n"), UntilClosed()],
    "endless head": [Recv(HEAD), Send(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000), UntilClosed()],
    "FIN at once": [Recv(HEAD), Fin()],
    "FIN after half a head": [Recv(HEAD), Send(b"HTTP/1.1 200 OK\r\n"), Fin()],
    "FIN behind the answer": [Recv(HEAD), Send(ESTABLISHED), Fin()],
    "RST at once": [Recv(HEAD), Rst()],
    "RST after half a head": [Recv(HEAD), Send(b"HTTP/1.1 2"), Rst()],
    "cut before the request": [Cut()],
}


@pytest.mark.fault("X03", "X04")
@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_answer_opens_no_tunnel(name: str) -> None:
    """An error that names the proxy; nothing of the request is sent; the slot is free for the next call."""
    async with ScriptedServer(BROKEN[name], tunnelling()) as proxy, through(proxy.port, limit=1) as calls:
        with pytest.raises((HttpProxyError, TLSError, ProxyConnectionError)) as caught:
            await calls.get(URL, headers={"A": SECRET})
        assert f"{ORIGIN}:443" in str(caught.value)
        if name != "FIN behind the answer":  # it may come when TLS has begun
            assert isinstance(caught.value, ProxyConnectionError)
            assert f"http://{PROXY}:{proxy.port}" in str(caught.value)
        await proxy.until_idle()
        assert not any(SECRET.encode() in request.head for request in proxy.requests)
        assert await fetch(calls, URL) == "/x"


@pytest.mark.fault("X05")
@pytest.mark.parametrize(
    ("steps", "phase"),
    [
        ([Stall()], "proxy"),
        ([Recv(HEAD), Stall()], "proxy"),
        ([Recv(HEAD), Send(b"HTTP/1.1 200 O"), Stall()], "proxy"),
        ([Recv(HEAD), Send(ESTABLISHED), Stall()], "tls"),
    ],
)
async def test_conn_timeout_covers_the_tunnel(steps: list[Step], phase: str) -> None:
    """TCP, CONNECT and TLS together; the slot is free again, and nothing is left open."""
    async with ScriptedServer(steps, tunnelling()) as proxy, through(proxy.port, conn_timeout=0.05, limit=1) as calls:
        with pytest.raises(ConnectTimeoutError, match=r"conn_timeout=0\.05") as caught:
            await calls.get(URL)
        assert (caught.value.phase, caught.value.endpoint) == (phase, Endpoint(ORIGIN, 443, True))
        assert f"127.0.0.1:{proxy.port}" in str(caught.value)
        await proxy.until(lambda: proxy.connections[0].closed or isinstance(steps[-1], Stall))
        assert numbers(calls).open == 0


@pytest.mark.fault("X05")
async def test_an_unreachable_proxy_is_named() -> None:
    """ProxyConnectionError, for https and for http."""
    with unserved_port() as port:
        async with through(port) as calls:
            for url in (URL, f"http://{ORIGIN}/"):
                with pytest.raises(ProxyConnectionError) as caught:
                    await calls.get(url)
                error = caught.value
                assert not isinstance(error, HttpProxyError | ClientOSError)
                assert f"the proxy http://{PROXY}:{port} cannot be reached" in str(error) and ORIGIN in str(error)
                assert error.endpoint is not None and error.endpoint.host == ORIGIN
                assert (error.proxy, error.phase) == (Endpoint(PROXY, port, False), "connect")
                assert error.attempts == ((f"127.0.0.1:{port}", "Connection refused"),)


async def test_a_proxy_without_an_address() -> None:
    resolver = Recording()
    resolver.raises = OSError("no such name")
    async with through(1, resolver=resolver) as calls:
        with pytest.raises(ProxyConnectionError, match="cannot be reached") as caught:
            await calls.get(URL)
        assert (caught.value.phase, caught.value.attempts) == ("resolve", ())
