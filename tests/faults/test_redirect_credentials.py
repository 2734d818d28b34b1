"""Credentials and cookies on the way through redirects: what another origin gets to see (FAULTS C01 to C03, C06)."""

import asyncio
import logging
from typing import Any

import pytest

from keepwarm.client.errors import InvalidRedirect
from keepwarm.client.session import ClientSession
from keepwarm.pool.auth import BasicAuth
from tests.support.calling import PLAIN_AND_TLS, Conserved, serve
from tests.support.http1 import Request, ok
from tests.support.server import ScriptedServer
from tests.support.sites import A, B, Page, at, caller, moved, pages

pytestmark = pytest.mark.asyncio

SECRETS = ("authorization", "cookie", "cookie2", "proxy-authorization", "www-authenticate")
# How a redirect leaves its origin: (is the first server secure, is the second, under which name is it asked).
AWAY = pytest.mark.parametrize(
    ("first_tls", "second_tls", "host"),
    [(False, False, A), (False, False, B), (False, True, A), (True, False, A), (True, True, B)],
    ids=["port", "host", "upgrade", "downgrade", "tls-host"],
)


def secrets_of(request: Request) -> dict[str, str]:
    """The fields of a request that are nobody else's business."""
    return {name.lower(): value for name, value in request.headers if name.lower() in SECRETS}


class TwoSites:
    """A site whose /go leads to another origin, which leads on within itself, and home again to /end."""

    def __init__(self, first_tls: bool, second_tls: bool, host: str) -> None:
        self.here: dict[str, Page] = {}
        self.there: dict[str, Page] = {}
        self.first = serve(pages(self.here), tls=first_tls)
        self.second = serve(pages(self.there), tls=second_tls)
        self._host = host

    async def __aenter__(self) -> "TwoSites":
        await self.first.start()
        await self.second.start()
        self.here["/go"] = moved(at(self.second, "/in", self._host), 307)
        self.there["/in"] = moved("/on", 307)
        self.there["/on"] = moved(at(self.first, "/end"), 307)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.first.__aexit__(*raised)
        await self.second.__aexit__(*raised)

    async def go(self, calls: ClientSession, **options: Any) -> list[Request]:
        """Take the whole way; the requests in order: /go, /in, /on, /end."""
        async with calls.get(at(self.first, "/go"), **options) as resp:
            assert (resp.status, resp.headers["X-Nonce"]) == (200, "/end")
        first, last = self.first.requests
        return [first, *self.second.requests, last]


@AWAY
@pytest.mark.fault("C01", "C02", "C03")
async def test_no_credential_leaves_the_origin(first_tls: bool, second_tls: bool, host: str) -> None:
    """auth, every credential header in any case and number, cookies of the call: none sent there, none back home."""
    headers = [
        ("AUTHORIZATION", "Bearer one"),
        ("authorization", "Bearer two"),
        ("Proxy-Authorization", "p"),
        ("cookie", "own=1"),
        ("Cookie2", "old"),
        ("WWW-Authenticate", "w"),
        ("X-Kept", "yes"),
    ]
    async with TwoSites(first_tls, second_tls, host) as sites, caller() as calls:
        watch = Conserved(calls, sites.first, sites.second)
        go, *others = await sites.go(calls, headers=headers, cookies={"call": "2"})
        assert go.header_all("authorization") == ["Bearer one", "Bearer two"]
        assert set(secrets_of(go)) == set(SECRETS)
        assert go.header("Cookie") == "own=1; call=2"
        assert [secrets_of(request) for request in others] == [{}, {}, {}]
        assert [request.header("X-Kept") for request in others] == ["yes"] * 3
        assert {request.header("Host") for request in others[:2]} == {f"{host}:{sites.second.port}"}
        await watch.settled()


@AWAY
@pytest.mark.fault("C01", "C12")
@pytest.mark.parametrize("kind", ["auth of the call", "auth of the session", "headers of the session"])
async def test_nor_do_those_of_the_session(first_tls: bool, second_tls: bool, host: str, kind: str) -> None:
    """`auth=` and default headers are for the first origin of a chain; cookies= of the session too (K2)."""
    auth = BasicAuth("user", "secret")
    of: dict[str, Any] = {"cookies": {"session": "1"}}
    options: dict[str, Any] = {}
    if kind == "auth of the call":
        options["auth"] = auth
    elif kind == "auth of the session":
        of["auth"] = auth
    else:
        of["headers"] = {"authorization": auth.encode(), "proxy-authorization": "p"}
    async with TwoSites(first_tls, second_tls, host) as sites, caller(**of) as calls:
        go, away, on, end = await sites.go(calls, **options)
        assert (go.header("Authorization"), go.header("Cookie")) == (auth.encode(), "session=1")
        assert secrets_of(away) == secrets_of(on) == {}
        assert secrets_of(end) == {"cookie": "session=1"}  # it belongs there, and the jar knows
        # The next call of the session starts afresh.
        async with calls.get(at(sites.first, "/again"), **options) as resp:
            assert resp.status == 200
        assert sites.first.requests[-1].header("Authorization") == auth.encode()


@PLAIN_AND_TLS
@pytest.mark.fault("C01")
async def test_within_the_origin_all_go_along(tls: bool) -> None:
    """Same scheme, host and port: headers, auth and the cookies of the call are those of the first request."""
    table: dict[str, Page] = {"/1": moved("/2", 307), "/2": moved("/3", 302)}
    async with serve(pages(table), tls=tls) as server, caller(cookies={"jar": "0"}) as calls:
        auth = BasicAuth("user", "secret")
        async with calls.get(at(server, "/1"), auth=auth, headers={"Cookie": "own=1"}, cookies={"call": "2"}) as resp:
            assert len(resp.history) == 2
        assert [request.header("Authorization") for request in server.requests] == [auth.encode()] * 3
        assert [request.header_all("Cookie") for request in server.requests] == [["own=1; call=2; jar=0"]] * 3


@PLAIN_AND_TLS
async def test_cookies_of_the_call_alone_go_along(tls: bool) -> None:
    """No Cookie header, no jar: `cookies=` is sent on every hop of its origin, and kept nowhere."""
    table: dict[str, Page] = {"/1": moved("/2", 303)}
    async with serve(pages(table), tls=tls) as server, caller() as calls:
        async with calls.post(at(server, "/1"), data=b"x", cookies={"a": "1", "b": "2"}) as resp:
            assert resp.status == 200
        assert [request.header("Cookie") for request in server.requests] == ["a=1; b=2"] * 2
        async with calls.get(at(server, "/after")) as resp:
            assert resp.status == 200
        assert server.requests[-1].header_all("Cookie") == []
        assert len(calls.cookie_jar) == 0


# A user name and password in a URL


@PLAIN_AND_TLS
@pytest.mark.fault("C06")
async def test_userinfo_in_the_url(tls: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It becomes Authorization for its origin, on each hop there, and shows up nowhere else."""
    caplog.set_level(logging.DEBUG)
    table: dict[str, Page] = {"/1": moved("/2")}
    async with serve(pages(table), tls=tls) as server, caller() as calls:
        async with calls.get(at(server, "/1", userinfo="user:p%40ss%3A@")) as resp:
            urls = [resp.url, *(hop.url for hop in resp.history), repr(resp)]
        expected = BasicAuth("user", "p@ss:").encode()
        for request in server.requests:
            assert request.header("Authorization") == expected
            assert request.header("Host") == f"{A}:{server.port}"
            assert b"p%40ss" not in request.head and b"p@ss" not in request.head
        assert not [text for text in (*urls, caplog.text) if "p%40ss" in text or "p@ss" in text]


@pytest.mark.fault("C06")
async def test_userinfo_in_a_location() -> None:
    """It is for the origin that it names: sent there, not taken on to the next origin, nor back home."""
    here: dict[str, Page] = {}
    there: dict[str, Page] = {}
    async with serve(pages(here)) as first, serve(pages(there)) as second, caller() as calls:
        here["/go"] = moved(at(second, "/in", userinfo="other:word@"))
        there["/in"] = moved("/on")
        there["/on"] = moved(at(first, "/end"))
        async with calls.get(at(first, "/go", userinfo="user:pass@")) as resp:
            assert resp.status == 200
        assert [request.header("Authorization") for request in first.requests] == [
            BasicAuth("user", "pass").encode(),
            "",
        ]
        assert [request.header("Authorization") for request in second.requests] == [
            BasicAuth("other", "word").encode()
        ] * 2


@pytest.mark.fault("C06")
@pytest.mark.parametrize("kind", ["header", "auth"])
async def test_userinfo_in_a_location_replaces_what_the_caller_gave(kind: str) -> None:
    """Within the origin, the Location's user name is the one that is sent; no error, no second header."""
    table: dict[str, Page] = {}
    async with serve(pages(table)) as server, caller() as calls:
        table["/1"] = moved(at(server, "/2", userinfo="other:word@"))
        options: dict[str, Any] = {"headers": {"Authorization": "Bearer mine"}}
        if kind == "auth":
            options = {"auth": BasicAuth("user", "pass")}
        async with calls.get(at(server, "/1"), **options) as resp:
            assert resp.status == 200
        assert server.requests[1].header_all("Authorization") == [BasicAuth("other", "word").encode()]


@pytest.mark.fault("C06")
@pytest.mark.parametrize("location", ["http://us@er:s3cret@b.keepwarm.test/", "ftp://user:s3cret@b.keepwarm.test/"])
async def test_a_password_is_in_no_error(location: str) -> None:
    """A Location that cannot be followed is shown without its user name and password."""
    async with serve(pages({"/go": moved(location)})) as server, caller() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(InvalidRedirect) as caught:
            await calls.get(at(server, "/go"))
        text = repr(caught.value) + str(caught.value.__cause__)
        assert "s3cret" not in text and "b.keepwarm.test" in text
        await watch.healthy()


# Cookies of a response


@PLAIN_AND_TLS
@pytest.mark.fault("C12")
async def test_cookies_of_a_hop_are_sent_on_the_next(tls: bool) -> None:
    """A login that redirects: set by the first hop, sent with the second, replaced there, deleted by the third."""
    table: dict[str, Page] = {
        "/login": moved("/home", 303, cookies=("sid=one; HttpOnly", "theme=dark; Path=/")),
        "/home": moved("/renew", cookies=("sid=two",)),
        "/renew": moved("/out", cookies=("sid=; Max-Age=0",)),
    }
    async with serve(pages(table), tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        async with calls.post(at(server, "/login"), data={"user": "u"}) as resp:
            assert [list(hop.cookies) for hop in resp.history] == [["sid", "theme"], ["sid"], ["sid"]]
            assert not resp.cookies
        seen = [sorted(request.header("Cookie").split("; ")) for request in server.requests]
        assert seen == [[""], ["sid=one", "theme=dark"], ["sid=two", "theme=dark"], ["theme=dark"]]
        await watch.healthy()


@pytest.mark.fault("C12", "C03")
async def test_cookies_of_one_hop_are_not_for_the_next_host() -> None:
    """Each host gets its own cookies only, and a Secure one does not follow to http."""
    here: dict[str, Page] = {}
    there: dict[str, Page] = {}
    async with serve(pages(here), tls=True) as first, serve(pages(there)) as second, caller() as calls:
        here["/go"] = moved(at(second, "/in", B), cookies=("here=1", "safe=1; Secure"))
        there["/in"] = moved(at(second, "/same-host-as-first", A), cookies=("there=1",))
        async with calls.get(at(first, "/go")) as resp:
            assert resp.status == 200
        assert [request.header("Cookie") for request in second.requests] == ["", "here=1"]


async def test_calls_side_by_side_keep_their_credentials_apart() -> None:
    """Fifty chains at once, each with its own auth and cookies, over shared connections: nobody gets another's."""

    def end(request: Request) -> bytes:
        return ok(f"{request.header('Authorization')} {request.header('Cookie')}".encode())

    table: dict[str, Page] = {"/1": moved("/2", 307), "/2": end}

    async def one(calls: ClientSession, server: ScriptedServer, k: int) -> None:
        auth = BasicAuth(f"user{k}", "x")
        async with calls.get(at(server, "/1"), auth=auth, cookies={"k": str(k)}) as resp:
            assert await resp.text() == f"{auth.encode()} k={k}"

    async with serve(pages(table)) as server, caller(limit=5) as calls:
        await asyncio.gather(*(one(calls, server, k) for k in range(50)))
        assert server.accepted <= 5
