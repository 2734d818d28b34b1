"""Headers that a session sends with each request mean what they mean in a request of their own."""

import gzip
from typing import Any

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.formdata import FormData
from keepwarm.client.head import ResponseHead
from keepwarm.client.headers import DefaultHeaders
from keepwarm.client.options import RequestOptions
from keepwarm.client.redirects import follow
from keepwarm.client.request import ClientRequest
from keepwarm.client.session import ClientSession
from keepwarm.pool.auth import BasicAuth
from tests.support.calling import Conserved, WatchedConnector, fetch, nonce_of, serve

pytestmark = pytest.mark.asyncio


@pytest.mark.fault("F44")
@pytest.mark.parametrize("value", ["close", "Close", "x, close"])
async def test_connection_close_closes_after_each_call(value: str) -> None:
    """`headers={"Connection": "close"}` of the session; a call may say otherwise."""
    calls = ClientSession(connector=WatchedConnector(), headers={"Connection": value})
    async with serve() as server, calls:
        watch = Conserved(calls, server)
        for count in range(1, 4):
            assert await fetch(calls, server.url("/x")) == "/x"
            await watch.settled(idle=0)
            assert server.accepted == count
        assert await nonce_of(await calls.post(server.url("/x"), data=b"body")) == "/x"
        await watch.settled(idle=0)
        assert await fetch(calls, server.url("/x"), headers={"Connection": "keep-alive"}) == "/x"
        await watch.settled(idle=1)


@pytest.mark.fault("O07")
@pytest.mark.parametrize("name", ["Content-Encoding", "content-encoding", "Content-Length", "Transfer-Encoding"])
async def test_what_describes_one_message_is_refused(name: str) -> None:
    """It cannot be true of every request of a session."""
    with pytest.raises(InvalidInput, match=r"headers: .* describes one message") as caught:
        ClientSession(headers={name: "gzip"})
    assert caught.value.argument == "headers"


@pytest.mark.fault("O07")
async def test_a_content_type_without_a_boundary_is_refused_for_a_form() -> None:
    """As in the headers of the call: the peer could not read the form."""
    calls = ClientSession(connector=WatchedConnector(), headers={"Content-Type": "multipart/form-data"})
    form: Any = FormData()
    form.add_field("a", b"b", filename="c")
    async with serve() as server, calls:
        with pytest.raises(InvalidInput, match="no boundary"):
            await calls.post(server.url("/x"), data=form)
        assert server.accepted == 0


@pytest.mark.fault("O07")
async def test_what_a_call_says_counts_however_often_its_like_was_made() -> None:
    """The second call of a kind is made from the first; arguments that are false are arguments all the same."""
    headers = {"Content-Encoding": "gzip"}
    ready = gzip.compress(b"body")
    calls = ClientSession(connector=WatchedConnector())
    async with serve() as server, calls:
        url = server.url("/x")
        await nonce_of(await calls.post(url, data=ready, headers=headers, compress=False))
        await nonce_of(await calls.post(url, data=b"body", headers=headers))
        await nonce_of(await calls.post(url, data=ready, headers=headers, compress=False))
        assert [gzip.decompress(request.body) for request in server.requests] == [b"body"] * 3
        for _ in range(2):
            await nonce_of(await calls.post(url, data=b"body"))
            with pytest.raises(TypeError, match="nonsense"):
                await calls.post(url, data=b"body", nonsense=None)
        assert len(server.requests) == 5


def request(method: str = "GET", url: str = "http://a.example/x", **given: Any) -> ClientRequest:
    session: dict[str, Any] = {
        "defaults": DefaultHeaders(given.pop("defaults", None)),
        "auth": given.pop("login", None),
    }
    return ClientRequest(method, url, options=RequestOptions(**session), **given)


def values(made: ClientRequest, name: str) -> list[str]:
    lines = made.wire.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name.lower()}:")]


def redirected(made: ClientRequest, status: int) -> ClientRequest:
    raw = b"HTTP/1.1 %d Moved\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n" % status
    to = follow(made.method, made.target, ResponseHead(raw, framing=1, length=0, keep_alive=True))
    assert to is not None
    return made.redirected(to)


@pytest.mark.fault("O11")
async def test_all_cookies_are_one_line() -> None:
    """P-17: the call's, then those of the session's Cookie header, then the jar's."""
    made = request(headers={"Cookie": "s=own"}, cookies={"c": "3"}, defaults={"Cookie": "s=1; t=2"})
    assert values(made, "Cookie") == ["s=own; c=3; t=2"]
    assert values(made.with_cookies("t=jar; j=4"), "Cookie") == ["s=own; c=3; t=2; j=4"]
    assert values(redirected(made, 302), "Cookie") == ["s=own; c=3; t=2"]
    assert values(request(defaults={"Cookie": "s=1"}).with_cookies("j=2"), "Cookie") == ["s=1; j=2"]


@pytest.mark.fault("C06")
async def test_the_more_particular_login_wins() -> None:
    """The call's, then the URL's, then the session's; `auth` and an Authorization header exclude each other (C-14)."""
    call, url, session = BasicAuth("call"), BasicAuth("url", "p"), BasicAuth("session")
    there = "http://url:p@a.example/x"
    for made, winner in (
        (request(url=there, auth=call, login=session), call),
        (request(url=there, login=session), url),
        (request(url=there, defaults={"Authorization": "Bearer x"}), url),
        (request(login=session), session),
    ):
        assert values(made, "Authorization") == [winner.encode()]
        assert values(redirected(made, 302), "Authorization") == [winner.encode()]
    for given in ({"auth": call}, {"login": session}):
        with pytest.raises(InvalidInput, match="exclude each other"):
            request(defaults={"Authorization": "Bearer x"}, **given)


@pytest.mark.fault("C05")
async def test_no_body_is_not_described() -> None:
    """After a 303, and in any request without a body, the session's headers on bodies stay away."""
    fields = {"Content-Type": "text/x", "Content-Language": "de", "Expect": "100-continue", "X-Kept": "1"}
    made = request("POST", data=b"body", defaults=fields)
    assert [values(made, name) for name in fields] == [[value] for value in fields.values()]
    for bare in (redirected(made, 303), request(defaults=fields)):
        assert [values(bare, name) for name in fields] == [[], [], [], ["1"]]


@pytest.mark.fault("C07")
@pytest.mark.parametrize("given", [{"compress": "gzip"}, {"headers": {"Content-Encoding": "gzip"}}])
async def test_a_compressed_body_is_redirected_with_its_coding(given: dict[str, Any]) -> None:
    """307: the same body, under the same Content-Encoding, however many redirects there are; 303: neither."""
    made = request("POST", data=b"body", **given)
    for _ in range(3):
        assert values(made, "Content-Encoding") == ["gzip"]
        assert made.payload is not None and gzip.decompress(made.payload.body or b"") == b"body"
        assert values(redirected(made, 303), "Content-Encoding") == []
        made = redirected(made, 307)
