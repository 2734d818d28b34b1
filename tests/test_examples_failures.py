"""The examples of docs/failures.md do what their first lines say."""

import pytest

from examples import retry, safe_reuse
from tests.support.server import ScriptedServer

pytestmark = pytest.mark.asyncio


async def test_retry(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own server fails three times; with a URL that one is called."""
    await retry.main()
    assert capsys.readouterr().out.splitlines() == [
        "attempt 1: status 503, request written: all",
        "attempt 2: status 503, request written: all",
        "attempt 3: ResponseDisconnected, request written: all",
        "attempt 4: status 200, request written: all",
        "200 hello",
    ]
    async with ScriptedServer() as server:
        await retry.main(server.url("/x"))
        assert [request.target for request in server.requests] == ["/x"]
    assert capsys.readouterr().out.startswith("attempt 1: status 200, request written: all\n200 ")


async def test_safe_reuse(capsys: pytest.CaptureFixture[str]) -> None:
    """Three connections are ended by the server, the fourth is retired before."""
    await safe_reuse.main()
    assert capsys.readouterr().out.splitlines() == [
        "call 1: status 200; retired so far: peer_fin 1",
        "call 2: status 200; retired so far: peer_fin 2",
        "call 3: status 200; retired so far: peer_fin 3",
        "call 4: status 200; retired so far: peer_fin 3, learned 1",
    ]
