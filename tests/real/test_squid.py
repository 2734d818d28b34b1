"""squid in front of nginx. What was reused is read from squid's log and from nginx's own numbers, not from ours."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

import keepwarm
from tests.real.conftest import BIG_SIZE, Site
from tests.real.squid import LOGIN, PASSWORD, Squid, running_squid

pytestmark = pytest.mark.asyncio

CALLS = 20


@pytest.fixture(scope="module")
def squid() -> Iterator[Squid]:
    with running_squid() as found:
        yield found


def session_for(
    site: Site, squid: Squid, login: str = f"{LOGIN}:{PASSWORD}@", **options: Any
) -> keepwarm.ClientSession:
    options = {"ssl_context": site.tls, "force_close": False} | options
    return keepwarm.ClientSession(connector=keepwarm.ProxyConnector(f"http://{login}127.0.0.1:{squid.port}", **options))


async def settled(squid: Squid) -> int:
    """How many lines squid has logged, once it has logged the end of what was before: a tunnel is logged when it is
    closed, and squid takes its time."""
    count, quiet = len(squid.logged()), 0
    while quiet < 5:
        await asyncio.sleep(0.05)
        now = len(squid.logged())
        quiet = quiet + 1 if now == count else 0
        count = now
    return count


async def who(session: keepwarm.ClientSession, base: str) -> tuple[int, int]:
    """(number of the connection, number of the request on it), both as nginx counts them."""
    async with session.get(base + "/who") as response:
        assert response.status == 200
        seen = json.loads(await response.read())
    return seen["connection"], seen["requests"]


async def test_a_tunnel_is_kept(site: Site, squid: Squid) -> None:
    """squid sees one CONNECT, nginx one connection with all requests on it."""
    before = await settled(squid)
    async with session_for(site, squid) as session:
        seen = [await who(session, site.secure) for _ in range(CALLS)]
    assert [number for _, number in seen] == list(range(1, CALLS + 1))
    assert len({connection for connection, _ in seen}) == 1
    await until_logged(squid, before + 1)
    (line,) = squid.logged()[before:]
    assert line[1:] == ["CONNECT", site.secure.removeprefix("https://"), "200", LOGIN]


async def test_a_plain_connection_is_kept(site: Site, squid: Squid) -> None:
    """All requests come from one port of ours, each with the whole URL and the login."""
    before = await settled(squid)
    async with session_for(site, squid) as session:
        for _ in range(CALLS):
            await who(session, site.plain)
    await until_logged(squid, before + CALLS)
    lines = squid.logged()[before:]
    assert len(lines) == CALLS and len({line[0] for line in lines}) == 1
    assert {tuple(line[1:]) for line in lines} == {("GET", f"{site.plain}/who", "200", LOGIN)}


async def test_plain_targets_share_connections(site: Site, squid: Squid) -> None:
    """With share_forward two servers are reached from one port; by default from two."""
    for options, ports in (({}, 2), ({"share_forward": True}, 1)):
        before = await settled(squid)
        async with session_for(site, squid, **options) as session:
            for _ in range(3):
                await who(session, site.plain)
                async with session.get(site.short + "/who") as response:
                    assert response.status == 200
        await until_logged(squid, before + 6)
        lines = squid.logged()[before:]
        assert (len(lines), len({line[0] for line in lines})) == (6, ports)


async def test_by_default_nothing_is_kept(site: Site, squid: Squid) -> None:
    before = await settled(squid)
    async with session_for(site, squid, force_close=True) as session:
        for _ in range(3):
            await who(session, site.plain)
            await who(session, site.secure)
    await until_logged(squid, before + 6)
    assert len({line[0] for line in squid.logged()[before:]}) == 6


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tunnel"])
async def test_large_bodies(site: Site, squid: Squid, secure: bool) -> None:
    base = site.secure if secure else site.plain
    body = bytes(range(256)) * 4000
    async with session_for(site, squid) as session:
        async with session.get(base + "/big") as response:
            assert len(await response.read()) == BIG_SIZE
        async with session.put(base + "/store/through-squid", data=body) as response:
            assert response.status in (201, 204)
        async with session.get(base + "/store/through-squid") as response:
            assert await response.read() == body


@pytest.mark.fault("X02")
@pytest.mark.parametrize("login", ["", "me:wrong@"])
async def test_a_wrong_login(site: Site, squid: Squid, login: str) -> None:
    """A tunnel is refused with an error, a plain request with an answer, 407 both."""
    async with session_for(site, squid, login) as session:
        with pytest.raises(keepwarm.HttpProxyError) as caught:
            await session.get(site.secure + "/who")
        error = caught.value
        assert (error.code, error.message) == (407, "Proxy Authentication Required")
        assert error.headers is not None and error.headers["Proxy-Authenticate"] == 'Basic realm="keepwarm"'
        assert b"Cache Access Denied" in error.body and "proxy_auth" in str(error)
        async with session.get(site.plain + "/who") as response:
            assert (response.status, "Proxy-Authenticate" in response.headers) == (407, True)
    async with session_for(site, squid) as session:
        assert (await who(session, site.secure))[1] == 1


@pytest.mark.fault("X02", "X17")
async def test_a_host_that_is_not_allowed_and_one_that_is_not_there(site: Site, squid: Squid) -> None:
    """403 and 503, from a proxy that looks the names up itself."""
    async with session_for(site, squid) as session:
        with pytest.raises(keepwarm.HttpProxyError) as caught:
            await session.get("https://forbidden.test/")
        assert caught.value.code == 403
        with pytest.raises(keepwarm.HttpProxyError) as caught:
            await session.get("https://127.0.0.1:1/")
        assert caught.value.code == 503


async def test_a_pin_is_checked_in_the_tunnel(site: Site, squid: Squid) -> None:
    async with session_for(site, squid, fingerprint=site.fingerprint) as session:
        assert (await who(session, site.secure))[1] == 1
    async with session_for(site, squid, fingerprint=bytes(32)) as session:
        with pytest.raises(keepwarm.FingerprintMismatch):
            await session.get(site.secure + "/who")


async def until_logged(squid: Squid, count: int) -> None:
    """squid logs a tunnel when it is closed."""
    for _ in range(200):
        if len(squid.logged()) >= count:
            return
        await asyncio.sleep(0.02)
