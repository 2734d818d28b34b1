"""The examples of the reference, as they are printed there but for the names keepwarm and 127.0.0.1.

Those of ProxyConnector and UnixConnector stand with the tests of these.
"""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

import keepwarm
from tests.support.leaks import turns
from tests.support.server import ScriptedServer
from tests.support.threaded import ThreadedServer

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.SelectorEventLoop], ids=["uvloop", "std"])


@LOOPS
def test_client_session(new_loop: Callable[[], asyncio.AbstractEventLoop], capsys: pytest.CaptureFixture[str]) -> None:
    """The first one: a session made outside any coroutine, in a plain `with`."""
    loop = new_loop()
    asyncio.set_event_loop(loop)
    with ThreadedServer() as server:
        url = server.url()

        async def fetch(client: keepwarm.ClientSession) -> None:
            async with client.get(url) as resp:
                assert resp.status == 200
                print(await resp.text())  # noqa: T201

        with keepwarm.ClientSession() as client:
            asyncio.get_event_loop().run_until_complete(fetch(client))

        loop.run_until_complete(turns(5))
        loop.close()
        asyncio.set_event_loop(None)
    assert capsys.readouterr().out == "ok\n"


@pytest.mark.asyncio
async def test_basic_api(capsys: pytest.CaptureFixture[str]) -> None:
    """`async with` on the deprecated request()."""
    async with ScriptedServer() as server:
        url = server.url()

        async def fetch() -> None:
            async with keepwarm.request("GET", url) as resp:
                assert resp.status == 200
                print(await resp.text())  # noqa: T201

        with pytest.warns(DeprecationWarning):
            await fetch()
    assert capsys.readouterr().out == "ok\n"


@pytest.mark.asyncio
async def test_response_object() -> None:
    """`async with` on a response that was awaited before."""
    async with ScriptedServer() as server, keepwarm.ClientSession() as client_session:
        url = server.url()

        resp = await client_session.get(url)
        async with resp:
            assert resp.status == 200

        assert resp.closed
        assert server.open == 1
