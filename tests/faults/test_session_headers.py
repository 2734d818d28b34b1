"""Headers that a session sends with each request mean what they mean in a request of their own."""

import gzip
from typing import Any

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.formdata import FormData
from keepwarm.client.session import ClientSession
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
