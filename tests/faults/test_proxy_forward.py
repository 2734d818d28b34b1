"""FAULTS X06, X07, X09, X11, X13, X17, X18: plain http through a proxy, and where its login goes."""

import asyncio
from typing import Any

import pytest

from keepwarm.client.errors import ResponseDisconnected
from keepwarm.client.session import ClientSession
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientConnectionError, InvalidURL
from keepwarm.pool.proxy_connector import ProxyConnector
from tests.support.calling import Conserved, fetch, numbers
from tests.support.certificates import server_context
from tests.support.http1 import Request
from tests.support.proxies import ORIGIN, OTHER, PROXY, through, tunnelling
from tests.support.resolvers import Recording
from tests.support.script import Script, answering, run_script
from tests.support.server import Answer, Fin, Peer, RecvRequest, ScriptedServer, UntilClosed, ok, response
from tests.support.sites import moved, pages

pytestmark = pytest.mark.asyncio

AUTH = BasicAuth("me", "s3cret")
TOKEN = AUTH.encode()
URL = f"http://{ORIGIN}/x"


def both(forward: Script, inside: Script | None = None) -> Script:
    """A proxy for both: `forward` for plain requests, a tunnel to `inside` for CONNECT."""

    async def handle(peer: Peer) -> None:
        await peer.changes.until(lambda: peer.unread or peer.closed)
        await run_script(tunnelling(inside) if peer.unread.startswith(b"CONNECT") else forward, peer)

    return handle


def logins(server: ScriptedServer) -> list[list[str]]:
    return [request.header_all("Proxy-Authorization") for request in server.requests]


@pytest.mark.fault("X07", "X17", "X18")
async def test_every_request_of_a_kept_connection_is_for_a_proxy() -> None:
    """Absolute form, the target's Host and the credentials on each (H-13, H-16, H-17); no lookup of the target."""
    resolver = Recording("127.0.0.1")
    async with ScriptedServer() as proxy, through(proxy.port, proxy_auth=AUTH, resolver=resolver) as calls:
        for number in range(3):
            async with calls.get(f"http://{ORIGIN}/a%20b?c={number}#d") as got:
                await got.read()
                assert (got.host, got.url) == (ORIGIN, f"http://{ORIGIN}/a%20b?c={number}#d")
        for _ in range(3):  # the very same call, which is remembered, and one with a body
            assert await fetch(calls, URL) == URL
            async with calls.post(URL, data=b"body") as got:
                await got.read()
        assert proxy.accepted == 1
        targets = [request.target for request in proxy.requests]
        assert targets == [f"http://{ORIGIN}/a%20b?c={number}" for number in range(3)] + [URL] * 6
        assert {request.header("Host") for request in proxy.requests} == {ORIGIN}
        assert logins(proxy) == [[TOKEN]] * 9
        assert [request.body for request in proxy.requests[3:]] == [b"", b"body"] * 3
    assert resolver.asked == [PROXY]


@pytest.mark.fault("X18")
async def test_by_default_each_request_has_its_own_connection() -> None:
    async with ScriptedServer() as proxy, through(proxy.port, force_close=True) as calls:
        for _ in range(3):
            assert await fetch(calls, URL) == URL
        await proxy.until_idle()
        assert (proxy.accepted, logins(proxy)) == (3, [[]] * 3)
        assert {request.header("Connection") for request in proxy.requests} == {"close"}


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("http://127.0.0.1:81/", "http://127.0.0.1:81/", "127.0.0.1:81"),
        ("http://[::1]:81/x", "http://[::1]:81/x", "[::1]:81"),
        (f"http://{ORIGIN}:80", f"http://{ORIGIN}/", ORIGIN),
        (f"http://user:pw@{ORIGIN}/", f"http://{ORIGIN}/", ORIGIN),
        ("http://b\u00fccher.test/\u00fc", "http://xn--bcher-kva.test/%C3%BC", "xn--bcher-kva.test"),
    ],
)
async def test_the_absolute_url(url: str, target: str, host: str) -> None:
    """The target's authority as in Host, without a user name, which goes into Authorization."""
    async with ScriptedServer() as proxy, through(proxy.port) as calls:
        assert await fetch(calls, url) == target
        assert proxy.requests[0].header("Host") == host
        assert bool(proxy.requests[0].header("Authorization")) == ("@" in url)


async def test_an_https_proxy_passes_plain_requests_on() -> None:
    """TLS with the proxy; what it is asked is the same."""
    async with (
        ScriptedServer(ssl=server_context(PROXY)) as proxy,
        through(proxy.port, scheme="https", proxy_auth=AUTH) as calls,
    ):
        for _ in range(2):
            assert await fetch(calls, URL) == URL
        assert (proxy.accepted, logins(proxy)) == (1, [[TOKEN]] * 2)


async def test_a_refusal_of_a_plain_request_is_an_answer() -> None:
    """407 comes from the proxy, but it answers the request: the caller gets it like any other."""
    refusal = response("407 Who", b"go away", [("Proxy-Authenticate", "Basic")])
    async with ScriptedServer(answering(lambda _: refusal)) as proxy, through(proxy.port) as calls:
        async with calls.get(URL) as got:
            assert (got.status, await got.read()) == (407, b"go away")
        assert numbers(calls).idle == 1


# Where the login goes


@pytest.mark.fault("X06")
async def test_the_login_follows_the_way_not_the_target() -> None:
    """It is the proxy's: across origins it stays on plain requests, into a tunnel it does not go. What the caller gave
    for the origin does not cross."""
    table: dict[str, Any] = {}

    def forward(request: Request) -> bytes:
        steps = {
            URL: f"http://{OTHER}/y",
            f"http://{OTHER}/y": f"https://{ORIGIN}/secure",
            f"http://{OTHER}/back": f"http://{OTHER}/end",
        }
        return moved(steps[request.target]) if request.target in steps else ok(nonce=request.nonce)

    table["/secure"] = moved(f"http://{OTHER}/back")
    async with (
        ScriptedServer(both(answering(forward), pages(table))) as proxy,
        through(proxy.port, proxy_auth=AUTH) as calls,
    ):
        async with calls.get(URL, headers={"Authorization": "Basic eDp5"}) as got:
            assert (got.url, len(got.history)) == (f"http://{OTHER}/end", 4)
        seen = [
            (r.method, r.target, r.header("Proxy-Authorization"), r.header("Authorization")) for r in proxy.requests
        ]
        assert seen == [
            ("GET", URL, TOKEN, "Basic eDp5"),
            ("GET", f"http://{OTHER}/y", TOKEN, ""),
            ("CONNECT", f"{ORIGIN}:443", TOKEN, ""),
            ("GET", "/secure", "", ""),
            ("GET", f"http://{OTHER}/back", TOKEN, ""),
            ("GET", f"http://{OTHER}/end", TOKEN, ""),
        ]
        assert proxy.requests[1].header("Host") == OTHER


@pytest.mark.fault("X06")
async def test_a_login_among_the_callers_headers() -> None:
    """It replaces the connector's on a plain request, stays out of tunnels, and does not follow to another origin."""
    own = "Bearer own"

    def forward(request: Request) -> bytes:
        return moved(f"http://{OTHER}/y") if request.target == URL else ok(nonce=request.nonce)

    async with (
        ScriptedServer(both(answering(forward))) as proxy,
        through(proxy.port, proxy_auth=AUTH) as calls,
    ):
        await fetch(calls, URL, headers={"proxy-authorization": own})
        await fetch(calls, f"https://{ORIGIN}/", headers={"Proxy-Authorization": own})
        assert logins(proxy) == [[own], [TOKEN], [TOKEN], []]


@pytest.mark.fault("X06")
async def test_a_login_among_the_sessions_headers() -> None:
    """The same for a header that the session sends with each request."""
    async with (
        ScriptedServer(both(answering(lambda request: ok(nonce=request.nonce)))) as proxy,
        through(proxy.port, proxy_auth=AUTH, headers={"Proxy-Authorization": "Bearer own"}) as calls,
    ):
        await fetch(calls, URL)
        await fetch(calls, f"https://{ORIGIN}/")
        assert logins(proxy) == [["Bearer own"], [TOKEN], []]


@pytest.mark.fault("X09")
async def test_two_connectors_share_nothing() -> None:
    """Other credentials are another connector, with connections of its own."""
    async with ScriptedServer() as proxy:
        for auth in (AUTH, BasicAuth("you", "other"), None):
            async with through(proxy.port, proxy_auth=auth) as calls:
                assert await fetch(calls, URL) == URL
        assert (proxy.accepted, logins(proxy)) == (3, [[TOKEN], [BasicAuth("you", "other").encode()], []])


@pytest.mark.fault("X11")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["a.test\r\nX: y", "a.test\n", "a.test%0d%0aX:y", "a test", "a.test\x00"])
async def test_a_host_that_could_end_the_line_opens_nothing(host: str, scheme: str) -> None:
    """Refused before anything is connected."""
    async with ScriptedServer() as proxy, through(proxy.port) as calls:
        with pytest.raises(InvalidURL):
            await calls.get(f"{scheme}://{host}/")
        assert (proxy.accepted, numbers(calls).dials) == (0, 0)


# Which connection


@pytest.mark.fault("X13")
async def test_targets_have_connections_of_their_own() -> None:
    """The key is the target's (A-22), as in the reference."""
    async with ScriptedServer() as proxy, through(proxy.port) as calls:
        for _ in range(2):
            await fetch(calls, URL)
            await fetch(calls, f"http://{OTHER}/")
        assert (proxy.accepted, numbers(calls).idle) == (2, 2)


@pytest.mark.fault("X13")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_share_forward(scheme: str) -> None:
    """All plain targets use the proxy's connections, under its limit; tunnels are not for sharing."""
    secure = scheme == "https"
    forward = answering(lambda request: ok(nonce=request.nonce))
    context = server_context() if secure else None
    async with (
        ScriptedServer(forward if secure else both(forward), ssl=context) as proxy,
        through(proxy.port, scheme=scheme, proxy_auth=AUTH, share_forward=True, limit=1) as calls,
    ):
        for _ in range(2):
            assert await fetch(calls, URL) == URL
            async with calls.get(f"http://{OTHER}/y") as got:
                assert (got.host, got.url) == (OTHER, f"http://{OTHER}/y")
        assert (proxy.accepted, numbers(calls).reused) == (1, 3)
        assert calls.connector is not None
        assert list(calls.connector.stats().endpoints) == [Endpoint(PROXY, proxy.port, False)]
        assert [request.header("Host") for request in proxy.requests] == [ORIGIN, OTHER] * 2
        if not secure:
            await fetch(calls, f"https://{ORIGIN}/z")
            await fetch(calls, f"https://{PROXY}:{proxy.port}/z")
            assert proxy.accepted == 3


async def test_share_forward_keeps_cookies_with_their_hosts() -> None:
    """The connection is shared, the jar is not fooled by it."""

    def forward(request: Request) -> bytes:
        return ok(nonce=request.nonce, headers=[("Set-Cookie", f"at={request.header('Host')}")])

    async with ScriptedServer(answering(forward)) as proxy, through(proxy.port, share_forward=True) as calls:
        for _ in range(2):
            await fetch(calls, URL)
            await fetch(calls, f"http://{OTHER}/")
        sent = [request.header("Cookie") for request in proxy.requests]
        assert sent == ["", "", f"at={ORIGIN}", f"at={OTHER}"]


async def test_share_forward_follows_redirects_on_one_connection() -> None:
    """And drops at the origin's border what is not to cross it."""

    def forward(request: Request) -> bytes:
        return moved(f"http://{OTHER}/y") if request.target == URL else ok(nonce=request.nonce)

    async with (
        ScriptedServer(answering(forward)) as proxy,
        through(proxy.port, share_forward=True, proxy_auth=AUTH, limit=1) as calls,
    ):
        await fetch(calls, URL, headers={"Authorization": "x"}, cookies={"a": "b"})
        assert proxy.accepted == 1
        first, second = proxy.requests
        assert (first.header("Authorization"), first.header("Cookie")) == ("x", "a=b")
        assert (second.header("Authorization"), second.header("Cookie")) == ("", "")
        assert logins(proxy) == [[TOKEN]] * 2


# When it breaks


async def test_a_kept_connection_that_died_is_replaced() -> None:
    """As without a proxy: a GET on a reused connection that turns out dead is sent once more, on a new one."""
    async with (
        ScriptedServer([Answer(), RecvRequest(), Fin()], answering(lambda request: ok(nonce=request.nonce))) as proxy,
        through(proxy.port, proxy_auth=AUTH) as calls,
    ):
        conserved = Conserved(calls, proxy)
        for _ in range(2):
            assert await fetch(calls, URL) == URL
        assert (proxy.accepted, logins(proxy)) == (2, [[TOKEN]] * 3)
        await conserved.settled(idle=1)


async def test_a_proxy_that_goes_away_in_the_middle() -> None:
    """The error is that of any connection; the slot is free."""
    async with (
        ScriptedServer([RecvRequest(), Fin()], answering(lambda request: ok(nonce=request.nonce))) as proxy,
        through(proxy.port, limit=1) as calls,
    ):
        with pytest.raises(ResponseDisconnected) as caught:
            await calls.get(URL)
        assert not isinstance(caught.value, ClientConnectionError)
        assert await fetch(calls, URL) == URL


async def test_cancelling_a_plain_call_closes_its_connection() -> None:
    async with ScriptedServer([RecvRequest(), UntilClosed()]) as proxy, through(proxy.port) as calls:
        task = asyncio.ensure_future(calls.get(URL))
        await proxy.until_requests(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await proxy.until_idle()
        assert numbers(calls).leased == 0


async def test_a_connector_that_is_used_without_a_session() -> None:
    """connect() leads to the proxy; what is said there is the caller's matter."""
    async with ScriptedServer() as proxy:
        connector = ProxyConnector(f"http://127.0.0.1:{proxy.port}", share_forward=True)
        async with ClientSession(connector=connector) as calls:
            assert await fetch(calls, URL) == URL
        assert connector.closed
