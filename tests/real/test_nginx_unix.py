"""nginx behind unix sockets, plain and TLS. What was reused is read from nginx's own numbers, not from ours."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import keepwarm
from benchmarks.nginx import Nginx, running
from tests.support.leaks import turns
from tests.support.unix_sockets import socket_path

pytestmark = pytest.mark.asyncio

HTTP = """
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
    client_max_body_size 16m;
    server {
        listen unix:@PLAIN;
        listen unix:@SECURE ssl;
        keepalive_requests 1000000;
        keepalive_timeout 3600s;
        location = /who { return 200 '{"connection":$connection,"requests":$connection_requests,"host":"$http_host"}'; }
        location = /big { root {directory}; }
        location /store/ { root {directory}; dav_methods PUT; create_full_put_path on; }
    }
"""
BIG = bytes(range(256)) * 4096

both = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx and its two sockets."""

    nginx: Nginx
    plain: str
    secure: str
    tls: ssl.SSLContext

    def session(self, secure: bool, **options: int) -> keepwarm.ClientSession:
        path = self.secure if secure else self.plain
        return keepwarm.ClientSession(connector=keepwarm.UnixConnector(path, ssl_context=self.tls, **options))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket_path("plain") as plain:
        directory = Path(plain).parent
        secure = str(directory / "secure")
        authority.issue_cert("app.test").private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
        (directory / "big").write_bytes(BIG)
        http = HTTP.replace("@PLAIN", plain).replace("@SECURE", secure)
        with running(Nginx(directory, http, (plain, secure))) as nginx:
            yield Site(nginx, plain, secure, context)


def base(secure: bool) -> str:
    return "https://app.test" if secure else "http://app.test"


async def who(session: keepwarm.ClientSession, secure: bool) -> tuple[int, int]:
    """(number of the connection, number of the request on it), both as nginx counts them."""
    async with session.get(f"{base(secure)}/who") as response:
        seen = json.loads(await response.read())
    assert seen["host"] == "app.test"
    return seen["connection"], seen["requests"]


async def ask(session: keepwarm.ClientSession, secure: bool, calls: int, at_once: int) -> list[tuple[int, int]]:
    """`calls` calls of `who`, `at_once` at a time; in no order."""
    left = iter(range(calls))

    async def caller() -> list[tuple[int, int]]:
        return [await who(session, secure) for _ in left]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(caller()) for _ in range(at_once)]
    return [seen for task in tasks for seen in task.result()]


def open_of(session: keepwarm.ClientSession) -> int:
    assert session.connector is not None
    return session.connector.stats().total.open


@both
async def test_a_thousand_gets_use_four_connections(site: Site, secure: bool) -> None:
    """With limit=4 nginx sees at most four connections, and every request on one of them."""
    async with site.session(secure, limit=4) as session:
        seen = await ask(session, secure, calls=1000, at_once=16)
    connections = {connection for connection, _ in seen}
    assert len(set(seen)) == 1000 and len(connections) <= 4
    assert sum(max(number for c, number in seen if c == one) for one in connections) == 1000


@both
async def test_one_caller_keeps_one_connection(site: Site, secure: bool) -> None:
    """Calls one after another all go over the same connection, large bodies both ways among them."""
    async with site.session(secure) as session:
        first = await who(session, secure)
        async with session.get(f"{base(secure)}/big") as response:
            assert await response.read() == BIG
        async with session.put(f"{base(secure)}/store/{secure}", data=BIG) as response:
            assert response.status in (201, 204)
        assert await who(session, secure) == (first[0], 4)


@pytest.mark.fault("P27")
@both
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
async def test_a_restart_is_not_seen(site: Site, secure: bool, noticed: bool) -> None:
    """The server goes, its socket file with it, and comes back with a new one: no call fails."""
    async with site.session(secure) as session:
        await ask(session, secure, calls=40, at_once=4)
        site.nginx.stop()
        if noticed:
            await turns(200)
            assert open_of(session) == 0
        site.nginx.start()
        assert len(await ask(session, secure, calls=40, at_once=4)) == 40


@pytest.mark.fault("U01")
@both
async def test_while_the_server_is_down(site: Site, secure: bool) -> None:
    """The error names the path; when the server is back the same session works again."""
    async with site.session(secure) as session:
        await who(session, secure)
        site.nginx.stop()
        try:
            with pytest.raises(keepwarm.ClientOSError, match=site.secure if secure else site.plain):
                await who(session, secure)
            assert open_of(session) == 0
        finally:
            site.nginx.start()
        assert (await who(session, secure))[1] == 1


@both
async def test_a_reload_while_calls_are_made(site: Site, secure: bool) -> None:
    """Old workers close their connections one by one, and no call fails."""
    async with site.session(secure, limit=8) as session:
        calls = asyncio.create_task(ask(session, secure, calls=2000, at_once=8))
        await asyncio.sleep(0.02)
        site.nginx.reload()
        assert len(await calls) == 2000
