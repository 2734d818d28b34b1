"""Chains of redirects over sockets: where they lead, how they end, and what becomes of each hop's connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keepwarm.client.errors import InvalidRedirect, TooManyRedirects, TotalTimeoutError
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.response import ClientResponse
from keepwarm.pool.errors import ClientError
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, numbers, sent, serve
from tests.support.http1 import head, response
from tests.support.leaks import turns
from tests.support.server import Peer, answer_all
from tests.support.sites import Page, at, caller, moved, pages

pytestmark = pytest.mark.asyncio


def countdown(hops: int) -> dict[str, Page]:
    """/10 leads to /9, and so on to /0."""
    return {f"/{k}": moved(f"/{k - 1}") for k in range(1, hops + 1)}


@PLAIN_AND_TLS
@pytest.mark.fault("C08")
async def test_ten_hops_are_followed_over_one_connection(tls: bool) -> None:
    """The default is ten; each hop's connection is back before the next request needs it, even with limit=1."""
    async with serve(pages(countdown(10)), tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        async with calls.get(at(server, "/10")) as resp:
            assert (resp.status, resp.headers["X-Nonce"], resp.url) == (200, "/0", at(server, "/0"))
        assert [hop.url for hop in resp.history] == [at(server, f"/{k}") for k in range(10, 0, -1)]
        assert {hop.status for hop in resp.history} == {302}
        assert [len(hop.history) for hop in resp.history] == list(range(10))
        assert all(hop.closed for hop in resp.history)
        assert server.accepted == 1
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("C08")
@pytest.mark.parametrize(("most", "hops"), [(10, 11), (3, 4), (1, 2)])
async def test_one_hop_too_many(tls: bool, most: int, hops: int) -> None:
    """An error that carries the history; nothing was asked beyond the limit, and every connection is settled."""
    async with serve(pages(countdown(hops)), tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(TooManyRedirects, match=f"max_redirects={most}") as caught:
            await calls.get(at(server, f"/{hops}"), max_redirects=most)
        assert [hop.url for hop in caught.value.history] == [at(server, f"/{k}") for k in range(hops, 0, -1)]
        assert caught.value.urls == tuple(at(server, f"/{k}") for k in range(hops, 0, -1))
        assert len(server.requests) == most + 1
        await watch.healthy()


@pytest.mark.fault("C08")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_page_that_leads_to_itself(status: int) -> None:
    async with serve(pages({"/loop": moved("/loop", status)})) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(TooManyRedirects) as caught:
            await calls.post(at(server, "/loop"), data=b"body")
        assert len(caught.value.history) == len(server.requests) == 11
        methods = {request.method for request in server.requests[1:]}
        assert methods == ({"POST"} if status in (307, 308) else {"GET"})
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("C08")
async def test_two_servers_that_lead_to_each_other(tls: bool) -> None:
    """A to B to A: one connection to each, both idle at the end."""
    there: dict[str, Page] = {}
    back: dict[str, Page] = {}
    async with serve(pages(there), tls=tls) as first, serve(pages(back), tls=tls) as second, caller() as calls:
        there["/x"], back["/x"] = moved(at(second, "/x")), moved(at(first, "/x"))
        watch = Conserved(calls, first, second)
        with pytest.raises(TooManyRedirects) as caught:
            await calls.get(at(first, "/x"))
        assert len(caught.value.history) == 11
        assert (first.accepted, second.accepted) == (1, 1)
        await watch.settled(idle=2)


@pytest.mark.fault("C08")
@pytest.mark.parametrize("most", [0, None])
async def test_no_redirect_is_followed(most: int | None) -> None:
    """A-15: with 0 and None, and with allow_redirects=False, the redirect itself is the answer, its body readable."""
    async with serve(pages({"/1": moved("/0", body=b"this way")})) as server, caller() as calls:
        for options in ({"max_redirects": most}, {"allow_redirects": False}):
            async with calls.get(at(server, "/1"), **options) as resp:
                assert (resp.status, resp.history, await resp.read()) == (302, (), b"this way")
        async with calls.head(at(server, "/1")) as resp:
            assert resp.status == 302
        assert {request.target for request in server.requests} == {"/1"}


# What else a redirect can be


def huge_length(peer: Peer, location: str) -> bytes:
    return head("302 Found", [("Location", location), ("Content-Length", str(1 << 30))])


def endless_chunks(peer: Peer, location: str) -> bytes:
    return head("302 Found", [("Location", location), ("Transfer-Encoding", "chunked")])


def until_the_end(peer: Peer, location: str) -> bytes:
    return head("302 Found", [("Location", location)])


@PLAIN_AND_TLS
@pytest.mark.fault("C09")
@pytest.mark.parametrize("begin", [huge_length, endless_chunks, until_the_end])
async def test_a_redirect_with_an_endless_body(
    tls: bool, begin: Callable[[Peer, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read of it stays within K4 and what one read brings; the connection is closed, the chain goes on."""
    read = 0
    receive = H1Channel.data_received

    def counted(channel: Any, data: bytes) -> None:
        nonlocal read
        read += len(data)
        receive(channel, data)

    async def floods(peer: Peer) -> None:
        await peer.head()
        peer.send(begin(peer, "/to"))
        piece = b"4000\r\n" + bytes(0x4000) + b"\r\n"
        while not peer.closed:
            peer.send(piece)
            await peer.flush()

    monkeypatch.setattr(H1Channel, "data_received", counted)
    async with serve(floods, answer_all, tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, at(server, "/from")) == "/to"
        assert read < 65536 + 2 * 262144
        assert server.accepted == 2
        await watch.healthy()


@pytest.mark.fault("C09")
async def test_a_redirect_whose_body_trickles() -> None:
    """A peer that never ends the body of its redirect costs 100 ms, not the call's time limit."""

    async def trickles(peer: Peer) -> None:
        await peer.head()
        peer.send(head("302 Found", [("Location", "/to"), ("Content-Length", "1000")]) + b"x")
        await peer.until_closed()

    async with serve(trickles, answer_all) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        assert await fetch(calls, at(server, "/from")) == "/to"
        await watch.healthy()


# Time and cancellation


@PLAIN_AND_TLS
@pytest.mark.fault("C08")
async def test_one_time_limit_for_the_whole_chain(tls: bool) -> None:
    """A chain that never ends is ended by timeout.total, though each of its hops is quick."""
    async with serve(pages({"/loop": moved("/loop")}), tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(TotalTimeoutError, match=r"timeout\.total"):
            await calls.get(at(server, "/loop"), max_redirects=10**9, timeout=0.08)
        assert len(server.requests) > 3
        await watch.settled(idle=0)


@PLAIN_AND_TLS
@pytest.mark.fault("C08", "P13")
@pytest.mark.parametrize("where", ["first", "drain", "second"])
async def test_cancelled_in_the_middle_of_the_chain(tls: bool, where: str) -> None:
    """While the first hop is awaited, while its body is drained, while the second hop is awaited: nothing is left."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if where == "drain":
            peer.send(head("302 Found", [("Location", "/to"), ("Content-Length", "1000")]) + b"x")
        elif where == "second":
            peer.send(moved("/to"))
            await peer.head()
        await peer.until_closed()

    async with serve(script, answer_all, tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        task = asyncio.create_task(sent(calls.get(at(server, "/from"))))
        await server.until_requests(2 if where == "second" else 1)
        await turns(10)
        assert numbers(calls).leased == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await watch.healthy()


# Places that cannot be


@PLAIN_AND_TLS
@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    "location",
    [b"", b"file:///etc/passwd", b"ftp://a.keepwarm.test/", b"data:text/plain,x", b"javascript:alert(1)", b"http://",
     b"http://[::1", b"http://a.keepwarm.test:99999/", b"http://a b/", b"https://x\\y/", b"http://" + b"@" * 5000,
     b"/" + b"x" * (1 << 20), b"/a\x00b", b"/a\x1bb", None],
    ids=lambda location: "none" if location is None else repr(location[:20]),
)  # fmt: skip
async def test_a_hostile_location(tls: bool, location: bytes | None) -> None:
    """An error that names the endpoint; the connection is settled and the next call is well."""
    field = b"" if location is None else b"Location: " + location + b"\r\n"
    redirect = b"HTTP/1.1 302 Found\r\n" + field + b"Content-Length: 4\r\n\r\nbody"
    async with serve(pages({"/from": redirect}), tls=tls) as server, caller(limit=1) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientError) as caught:
            await calls.get(at(server, "/from"))
        error = caught.value
        assert error.endpoint is not None and error.endpoint.port == server.port
        assert len(str(error)) < 1000
        # An empty place is where we are, so that is a loop.
        assert len(server.requests) == (11 if isinstance(error, TooManyRedirects) else 1)
        assert isinstance(error, TooManyRedirects) is (location == b"" or (location == b"http://" and not tls))
        if location is None or location.startswith((b"file", b"ftp", b"data", b"java")):
            assert isinstance(error, InvalidRedirect) and isinstance(error, ValueError)
        await watch.healthy()


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/\xc3\xbc".encode("latin-1"), "/%C3%BC"),
        (b"/a b", "/a%20b"),
        (b"?q=\xe2\x82\xac", "/from?q=%E2%82%AC"),
        (b"//@HOST@/other", "/other"),
        (b"/x#fragment", "/x"),
        (b"/../../up", "/up"),
    ],
)
async def test_an_odd_location_is_encoded(location: bytes, target: str) -> None:
    """What is not ASCII is percent-encoded, a fragment is not sent, dots lead nowhere above the root."""
    table: dict[str, Page] = {}
    async with serve(pages(table)) as server, caller() as calls:
        location = location.replace(b"@HOST@", f"b.keepwarm.test:{server.port}".encode())
        once = iter([b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"])
        table["/from"] = lambda request: next(once, moved("/never")) if "?" not in request.target else response()
        async with calls.get(at(server, "/from")) as resp:
            assert resp.status == 200
        assert [request.target for request in server.requests] == ["/from", target]


@pytest.mark.fault("C08", "P16")
async def test_a_class_that_fails_on_the_second_hop() -> None:
    """A response class of the caller's own raises for the final answer: its connection is closed, nothing is leased."""

    class Choosy(ClientResponse):
        __slots__ = ()

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            if self.status == 200 and self.url.endswith("/0"):
                raise ValueError("not this one")

    async with serve(pages(countdown(2))) as server, caller(limit=1, response_class=Choosy) as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ValueError, match="not this one"):
            await calls.get(at(server, "/2"))
        await watch.healthy()


async def test_raise_for_status_is_about_the_last_answer() -> None:
    """A redirect is no failure; where it leads may be one."""
    table: dict[str, Page] = {"/to-404": moved("/404"), "/404": response("404 Not Found", b"no"), "/ok": moved("/x")}
    async with serve(pages(table)) as server, caller(limit=1, raise_for_status=True) as calls:
        watch = Conserved(calls, server)
        async with calls.get(at(server, "/ok")) as resp:
            assert (resp.status, len(resp.history)) == (200, 1)
        with pytest.raises(ClientError, match="answered 404"):
            await calls.get(at(server, "/to-404"))
        await watch.healthy()
