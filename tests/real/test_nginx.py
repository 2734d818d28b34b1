"""nginx over HTTP/1.1 and TLS. What was reused is read from nginx's own numbers, not from ours."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest

import keepwarm
from tests.real.conftest import BIG_SIZE, CHUNKED_SIZE, HEADER_PIECE, REQUESTS_EACH, Site
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

both_transports = pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])


def session_for(
    site: Site, limit: int = 4, fast_tls: bool = False, fingerprint: bytes | None = None
) -> keepwarm.ClientSession:
    connector = keepwarm.TCPConnector(limit=limit, ssl_context=site.tls, fast_tls=fast_tls, fingerprint=fingerprint)
    return keepwarm.ClientSession(connector=connector)


def total_of(session: keepwarm.ClientSession) -> keepwarm.EndpointStats:
    assert session.connector is not None
    return session.connector.stats().total


def base_of(site: Site, secure: bool) -> str:
    return site.secure if secure else site.plain


async def who(session: keepwarm.ClientSession, base: str) -> tuple[int, int]:
    """(number of the connection, number of the request on it), both as nginx counts them."""
    async with session.get(base + "/who") as response:
        assert response.status == 200
        seen = json.loads(await response.read())
    return seen["connection"], seen["requests"]


async def ask(session: keepwarm.ClientSession, base: str, calls: int, at_once: int) -> list[tuple[int, int]]:
    """`calls` calls of `who`, `at_once` at a time; in no order."""
    left = iter(range(calls))

    async def caller() -> list[tuple[int, int]]:
        return [await who(session, base) for _ in left]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(caller()) for _ in range(at_once)]
    return [seen for task in tasks for seen in task.result()]


def at_rest(session: keepwarm.ClientSession) -> bool:
    """Promise G2: nothing leased, nobody waiting, and every open socket is idle or on its way out."""
    total = total_of(session)
    return total.leased == total.waiting == total.dialling == 0 and total.open == total.idle + total.closing


@both_transports
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop-tls", "fast-tls"])
async def test_a_thousand_gets_use_four_connections(site: Site, secure: bool, fast_tls: bool) -> None:
    """With limit=4 nginx sees at most four connections, and every request on one of them."""
    async with session_for(site, fast_tls=fast_tls) as session:
        seen = await ask(session, base_of(site, secure), calls=1000, at_once=16)
        assert at_rest(session)
    connections = {connection for connection, _ in seen}
    assert len(seen) == 1000
    assert len(connections) <= 4
    assert len(set(seen)) == 1000  # no number of a request came twice on one connection
    assert sum(max(number for c, number in seen if c == one) for one in connections) == 1000


@both_transports
async def test_one_caller_keeps_one_connection(site: Site, secure: bool) -> None:
    """Calls one after another all go over the connection that was used last."""
    async with session_for(site, limit=10) as session:
        seen = await ask(session, base_of(site, secure), calls=50, at_once=1)
    assert [number for _, number in seen] == list(range(1, 51))
    assert len({connection for connection, _ in seen}) == 1


@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop-tls", "fast-tls"])
async def test_the_right_pin_connects(site: Site, fast_tls: bool) -> None:
    """A certificate with the pinned SHA-256 fingerprint is accepted."""
    async with session_for(site, fingerprint=site.fingerprint, fast_tls=fast_tls) as session:
        assert (await who(session, site.secure))[1] == 1


@pytest.mark.fault("T05")
@pytest.mark.parametrize("fast_tls", [False, True], ids=["loop-tls", "fast-tls"])
async def test_a_wrong_pin_sends_nothing(site: Site, fast_tls: bool) -> None:
    """With another pin the call fails with both fingerprints, and nginx logs no request."""
    wrong = hashlib.sha256(b"another certificate").digest()
    async with session_for(site, fingerprint=wrong, fast_tls=fast_tls) as session:
        with pytest.raises(keepwarm.FingerprintMismatch) as caught:
            await session.get(site.secure + "/who?wrong-pin")
        assert (caught.value.expected, caught.value.got) == (wrong, site.fingerprint)
        assert at_rest(session)
        assert total_of(session).open == 0
        assert total_of(session).dials == 1  # not tried again either
    assert not [line for line in site.logged() if "wrong-pin" in line]


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"p" * size


@both_transports
@pytest.mark.parametrize("size", [0, 1, 1024, 70_000, 3_000_000])
async def test_a_post_arrives_whole(site: Site, secure: bool, size: int) -> None:
    """nginx reads as many bytes of body as were given, and the connection is used again."""
    async with session_for(site, limit=1) as session:
        for _ in range(2):
            async with session.post(base_of(site, secure) + "/length", data=b"b" * size) as response:
                assert response.status == 200
                assert int(await response.read() or b"0") == size
        assert (await who(session, base_of(site, secure)))[1] == 3


@both_transports
async def test_a_chunked_post_arrives_whole(site: Site, secure: bool) -> None:
    """A body of unknown length is sent in chunks; nginx counts its bytes."""
    async with session_for(site, limit=1) as session:
        async with session.post(base_of(site, secure) + "/length", data=pieces(50, 4000)) as response:
            assert int(await response.read()) == 200_000
        assert (await who(session, base_of(site, secure)))[1] == 2


async def test_what_was_put_can_be_fetched(site: Site) -> None:
    """Every byte value survives the way to the server and back."""
    body = bytes(range(256)) * 1000
    async with session_for(site) as session:
        async with session.put(site.plain + "/store/bytes", data=body) as response:
            assert response.status in (201, 204)
        async with session.get(site.plain + "/store/bytes") as response:
            assert await response.read() == body
        async with session.delete(site.plain + "/store/bytes") as response:
            assert response.status == 204
        assert at_rest(session)


@both_transports
async def test_a_chunked_answer(site: Site, secure: bool) -> None:
    """An answer without Content-Length is read to its last chunk, and the connection is used again."""
    async with session_for(site, limit=1) as session:
        async with session.get(base_of(site, secure) + "/chunked") as response:
            assert response.headers["transfer-encoding"] == "chunked"
            assert await response.read() == b"0123456789" * (CHUNKED_SIZE // 10)
        assert (await who(session, base_of(site, secure)))[1] == 2


@pytest.mark.fault("F07", "F09")
async def test_answers_without_a_body(site: Site) -> None:
    """HEAD with a Content-Length and 204 end at once; the connection is used again."""
    async with session_for(site, limit=1) as session:
        async with session.head(site.plain + "/big") as response:
            assert response.headers["content-length"] == str(BIG_SIZE)
            assert await response.read() == b""
        async with session.get(site.plain + "/empty") as response:
            assert (response.status, await response.read()) == (204, b"")
        assert (await who(session, site.plain))[1] == 3


async def test_a_large_header(site: Site) -> None:
    """A header line of 6,000 bytes is within the limits."""
    async with session_for(site, limit=1) as session:
        async with session.get(site.plain + "/header") as response:
            assert response.headers["x-large"] == HEADER_PIECE * 4
            assert await response.read() == b"ok"
        assert (await who(session, site.plain))[1] == 2


@pytest.mark.fault("F38")
async def test_a_header_beyond_the_limit(site: Site) -> None:
    """A header line of 9,000 bytes is refused, its connection is dropped, and the next call works."""
    async with session_for(site, limit=1) as session:
        first, _ = await who(session, site.plain)
        with pytest.raises(keepwarm.ClientError):
            await session.get(site.plain + "/header-too-large")
        assert at_rest(session)
        second, number = await who(session, site.plain)
        assert (second != first, number) == (True, 1)


@pytest.mark.fault("P29")
@both_transports
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
async def test_a_server_that_hangs_up_on_every_request(site: Site, secure: bool, warm: bool) -> None:
    """No answer on a fresh connection is an error at once; on a reused one, after a single repeat on a new one."""
    base = base_of(site, secure)
    async with session_for(site) as session:
        if warm:
            await who(session, base)
        before = len(site.logged())
        with pytest.raises(keepwarm.ClientError):
            await session.get(base + "/drop")
        assert at_rest(session)
        await who(session, base)
    tries = [line for line in site.logged()[before:] if "/drop" in line]
    assert len(tries) == (2 if warm else 1)


@pytest.mark.fault("P27")
@both_transports
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
async def test_a_restart_is_not_seen(site: Site, secure: bool, noticed: bool) -> None:
    """After a restart of the server all idle connections are stale; neither GET nor POST shows it.

    Unnoticed: the loop does not turn meanwhile, so nobody has read that the connections ended. They must be found out
    when they are taken.
    """
    base = base_of(site, secure)
    async with session_for(site) as session:
        await ask(session, base, calls=40, at_once=4)
        site.nginx.stop()
        if noticed:
            await turns(200)
            assert total_of(session).open == 0
        site.nginx.start()
        async with session.post(base + "/length", data=b"12345") as response:
            assert await response.read() == b"5"
        seen = await ask(session, base, calls=40, at_once=4)
        assert len(seen) == 40
        assert at_rest(session)


@both_transports
async def test_a_reload_while_calls_are_made(site: Site, secure: bool) -> None:
    """nginx takes a new configuration: old workers close their connections one by one, and no call fails."""
    base = base_of(site, secure)
    async with session_for(site, limit=8) as session:
        calls = asyncio.create_task(ask(session, base, calls=2000, at_once=8))
        await asyncio.sleep(0.02)
        site.nginx.reload()
        assert len(await calls) == 2000
        assert at_rest(session)


async def test_a_server_that_closes_after_n_requests(site: Site) -> None:
    """Each connection serves its ten requests and no call is lost between two."""
    async with session_for(site, limit=1) as session:
        seen = await ask(session, site.short, calls=10 * REQUESTS_EACH, at_once=4)
        assert at_rest(session)
    served: dict[int, list[int]] = {}
    for connection, number in seen:
        served.setdefault(connection, []).append(number)
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in served.values())
    assert max(map(len, served.values())) == REQUESTS_EACH
    # A worker that an earlier reload replaces may end one connection before its ten requests are over.
    assert len(served) in (10, 11)


@pytest.mark.fault("P24")
async def test_a_server_that_closes_idle_connections_in_a_hurry(site: Site) -> None:
    """Requests that cross the server's close of an idle connection are repeated unseen."""
    pauses = [0.036, 0.038, 0.039, 0.040, 0.0405, 0.041, 0.042, 0.044]
    async with session_for(site, limit=4) as session:
        for pause in pauses * 3:
            seen = await ask(session, site.hasty, calls=4, at_once=4)
            assert len(seen) == 4
            await asyncio.sleep(pause)
        assert total_of(session).leased == 0


@both_transports
async def test_a_big_download_in_pieces(site: Site, secure: bool) -> None:
    """Eight MiB read in pieces are the file, and the connection is used again."""
    expected = hashlib.sha256((site.directory / "big").read_bytes()).hexdigest()
    got = hashlib.sha256()
    async with session_for(site, limit=1) as session:
        async with session.get(base_of(site, secure) + "/big") as response:
            async for piece in response.content.iter_chunked(65_536):
                assert len(piece) <= 65_536
                got.update(piece)
        assert got.hexdigest() == expected
        assert (await who(session, base_of(site, secure)))[1] == 2


@pytest.mark.fault("T16")
@both_transports
async def test_a_big_download_that_is_given_up(site: Site, secure: bool) -> None:
    """Leaving in the middle drops the connection; the next call gets a new one and its own answer."""
    async with session_for(site, limit=1) as session:
        first, _ = await who(session, base_of(site, secure))
        async with session.get(base_of(site, secure) + "/big") as response:
            assert len(await response.content.read(1000)) > 0
            response.close()
        second, number = await who(session, base_of(site, secure))
        assert (second != first, number) == (True, 1)
