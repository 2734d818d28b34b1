"""tinyproxy in front of nginx: a proxy that answers in HTTP/1.0."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import keepwarm
from tests.real.conftest import Site
from tests.real.tinyproxy import LOGIN, PASSWORD, running_tinyproxy

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as found:
        yield found


def session_for(site: Site, port: int, password: str = PASSWORD, **options: Any) -> keepwarm.ClientSession:
    auth = keepwarm.BasicAuth(LOGIN, password)
    options = {"ssl_context": site.tls, "force_close": False, "proxy_auth": auth} | options
    return keepwarm.ClientSession(connector=keepwarm.ProxyConnector(f"http://127.0.0.1:{port}", **options))


async def who(session: keepwarm.ClientSession, base: str) -> tuple[int, int]:
    """(number of the connection, number of the request on it), both as nginx counts them."""
    async with session.get(base + "/who") as response:
        assert response.status == 200
        seen = json.loads(await response.read())
    return seen["connection"], seen["requests"]


async def test_a_tunnel_is_kept(site: Site, port: int) -> None:
    """nginx sees one connection with all requests on it."""
    async with session_for(site, port, fingerprint=site.fingerprint) as session:
        seen = [await who(session, site.secure) for _ in range(20)]
    assert [number for _, number in seen] == list(range(1, 21))
    assert len({connection for connection, _ in seen}) == 1


async def test_plain_requests(site: Site, port: int) -> None:
    """It passes on that the connection is kept, and closes it all the same: each call gets its answer."""
    async with session_for(site, port) as session:
        seen = [await who(session, site.plain) for _ in range(5)]
    assert [number for _, number in seen] == [1] * 5
    assert len({connection for connection, _ in seen}) == 5


@pytest.mark.fault("X02")
async def test_a_wrong_login(site: Site, port: int) -> None:
    """tinyproxy says 407 to no login and 401 to a wrong one; both refuse the tunnel."""
    for auth, status in ((None, 407), (keepwarm.BasicAuth(LOGIN, "wrong"), 401)):
        async with session_for(site, port, proxy_auth=auth) as session:
            with pytest.raises(keepwarm.HttpProxyError) as caught:
                await session.get(site.secure + "/who")
            assert caught.value.code == status
            assert "proxy_auth" in str(caught.value)
            async with session.get(site.plain + "/who") as response:
                assert response.status == status


@pytest.mark.fault("X02")
async def test_nobody_there(site: Site, port: int) -> None:
    """The proxy cannot connect."""
    async with session_for(site, port) as session:
        with pytest.raises(keepwarm.HttpProxyError) as caught:
            await session.get("https://127.0.0.1:1/")
        assert caught.value.code >= 500
