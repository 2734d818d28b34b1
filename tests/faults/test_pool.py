"""The limit, the queue and the end of the pool, seen through whole calls over real sockets."""

import asyncio
import random
from typing import Any

import pytest

from keepwarm.client.errors import ClientResponseError, TotalTimeoutError
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.errors import (
    ClientTimeoutError,
    ConnectError,
    ConnectTimeoutError,
    PoolClosedError,
    PoolTimeoutError,
)
from tests.support.calling import PLAIN_AND_TLS, Conserved, WatchedConnector, fetch, nonce_of, numbers, serve, session
from tests.support.dialing import black_hole
from tests.support.leaks import turns
from tests.support.server import Answer, Handler, Peer, RecvRequest, Repeat, Stall, answer_all, ok, unserved_port

pytestmark = pytest.mark.asyncio


def held_until(event: asyncio.Event) -> Handler:
    """Answers every request, none before the event."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await event.wait()
            peer.send(ok(nonce=request.nonce))

    return script


def start(*calls: Any) -> list["asyncio.Task[Any]"]:
    return [asyncio.create_task(call) for call in calls]


# The limit


@PLAIN_AND_TLS
@pytest.mark.fault("P01")
async def test_dials_count_against_the_limit(tls: bool) -> None:
    """limit=4 and nine callers: never more than four sockets, while they dial and after."""
    connector = WatchedConnector(limit=4)
    connector.gate = asyncio.Event()
    release = asyncio.Event()
    async with serve(held_until(release), tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        tasks = start(*(fetch(calls, server.url(f"/{k}")) for k in range(9)))
        await server.until_accepted(4)
        await turns(20)
        stats = numbers(calls)
        assert (stats.open, stats.dialling, stats.waiting, server.accepted) == (4, 4, 9, 4)
        connector.gate.set()
        await server.until_requests(4)
        stats = numbers(calls)
        assert (stats.open, stats.leased, stats.waiting, server.accepted) == (4, 4, 5, 4)
        release.set()
        assert await asyncio.gather(*tasks) == [f"/{k}" for k in range(9)]
        assert (server.accepted, connector.begun) == (4, 4)
        await watch.healthy()


@pytest.mark.fault("P01")
async def test_a_dial_that_fails_gives_its_place_to_the_next() -> None:
    """The slot of a dial that did not work is free again, and nobody is left waiting for it."""
    with unserved_port() as port:
        async with session(limit=2) as calls:
            url = f"http://127.0.0.1:{port}/"
            results = await asyncio.gather(*(fetch(calls, url) for _ in range(6)), return_exceptions=True)
            assert [type(result) for result in results] == [ConnectError] * 6
            stats = numbers(calls)
            assert (stats.open, stats.waiting, stats.dial_failures) == (0, 0, 6)


@pytest.mark.fault("P18")
async def test_a_refused_dial_fails_one_caller_only() -> None:
    """Each refusal is the error of one caller; the next one dials for itself. Once the server is back, all is well."""
    connector = WatchedConnector(limit=1)
    async with session(connector) as calls:
        with unserved_port() as port:
            tasks = start(*(fetch(calls, f"http://127.0.0.1:{port}/{k}") for k in range(3)))
            for number, task in enumerate(tasks):
                with pytest.raises(ConnectError, match="refused"):
                    await task
                assert not any(other.done() for other in tasks[number + 1 :])
            assert connector.begun == 3
        async with serve(port=port) as server:
            watch = Conserved(calls, server)
            await watch.healthy()


# The queue


@PLAIN_AND_TLS
@pytest.mark.fault("P02")
async def test_the_queue_is_served_in_the_order_of_arrival(tls: bool) -> None:
    """A hundred queue at limit=2; each that is done is followed by a newcomer, and no newcomer overtakes."""
    async with serve(tls=tls) as server, session(limit=2) as calls:
        watch = Conserved(calls, server)
        arrived = 0

        async def caller(number: int) -> None:
            nonlocal arrived
            assert await fetch(calls, server.url(f"/{number}")) == f"/{number}"
            if arrived < 200:
                arrived += 1
                newcomers.append(asyncio.create_task(caller(arrived - 1)))

        newcomers: list[asyncio.Task[None]] = []
        arrived = 100
        await asyncio.gather(*(caller(number) for number in range(100)))
        for task in newcomers:  # grows while it is walked through
            await task
        for connection in server.connections:
            order = [int(request.target[1:]) for request in connection.requests]
            assert order == sorted(order)
        order = [int(request.target[1:]) for request in server.requests]
        # Two connections: neighbours may change places on the wire, nothing else may.
        assert max(abs(place - number) for place, number in enumerate(order)) <= 1
        assert server.accepted == 2
        await watch.healthy()


@pytest.mark.fault("P03")
async def test_callers_that_are_cancelled_leave_the_queue_at_once() -> None:
    """Every second of a hundred is cancelled: gone from the queue, and the others are served in order."""
    release = asyncio.Event()
    async with serve(held_until(release)) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        holder = asyncio.create_task(fetch(calls, server.url("/holder")))
        await server.until_requests(1)
        tasks = start(*(fetch(calls, server.url(f"/{k}")) for k in range(100)))
        await turns(1)
        assert numbers(calls).waiting == 100
        for task in tasks[::2]:
            task.cancel()
        await turns(1)
        assert numbers(calls).waiting == 50
        assert all(task.cancelled() for task in tasks[::2])
        release.set()
        assert await asyncio.gather(*tasks[1::2]) == [f"/{k}" for k in range(1, 100, 2)]
        assert [request.target for request in server.requests[1:]] == [f"/{k}" for k in range(1, 100, 2)]
        assert await holder == "/holder"
        assert server.accepted == 1
        await watch.healthy()


@pytest.mark.fault("P19")
async def test_a_busy_endpoint_does_not_starve_another() -> None:
    """limit_total=2: a caller for a second endpoint is served before those that queued later for the first."""
    async with serve() as busy, serve() as other, session(limit_total=2) as calls:
        watch = Conserved(calls, busy, other)
        order: list[str] = []

        async def caller(url: str, path: str) -> None:
            assert await fetch(calls, url + path) == "/" + path
            order.append(path)

        first = start(*(caller(busy.url(), f"a{k}") for k in range(10)))
        await turns(1)
        late = start(caller(other.url(), "b"), *(caller(busy.url(), f"c{k}") for k in range(10)))
        await asyncio.gather(*first, *late)
        assert order.index("b") <= 12
        assert numbers(calls).open <= 2
        await watch.settled()


@pytest.mark.fault("P46")
async def test_waiting_too_long_for_the_limit_is_an_error_of_its_own() -> None:
    """timeout.pool ends the wait for a slot: PoolTimeoutError, not a connect timeout; the queue is empty again."""
    release = asyncio.Event()
    async with serve(held_until(release)) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        holder = asyncio.create_task(fetch(calls, server.url("/holder")))
        await server.until_requests(1)
        with pytest.raises(PoolTimeoutError, match=r"limit 1, .*leased 1, idle 0") as caught:
            await calls.get(server.url("/x"), timeout=ClientTimeout(pool=0.02))
        assert caught.value.phase == "wait"
        assert not isinstance(caught.value, ConnectTimeoutError)
        assert numbers(calls).waiting == 0
        release.set()
        assert await holder == "/holder"
        await watch.healthy()


@pytest.mark.fault("P46")
@pytest.mark.parametrize("limit", [ClientTimeout(total=0.02), ClientTimeout(connect=0.02), 0.02])
async def test_the_other_limits_end_the_wait_too(limit: Any) -> None:
    """timeout.total and timeout.connect include the wait for a slot."""
    release = asyncio.Event()
    async with serve(held_until(release)) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        holder = asyncio.create_task(fetch(calls, server.url("/holder")))
        await server.until_requests(1)
        with pytest.raises(ClientTimeoutError) as caught:
            await calls.get(server.url("/x"), timeout=limit)
        assert caught.value.phase == "wait"
        release.set()
        assert await holder == "/holder"
        await watch.healthy()


@pytest.mark.fault("P46")
async def test_a_dial_that_takes_too_long_is_a_connect_timeout() -> None:
    """conn_timeout is told apart from waiting for the pool: it says where the dial was."""
    with black_hole() as port:
        async with session(conn_timeout=0.03, limit=1) as calls:
            with pytest.raises(ConnectTimeoutError, match=f"127.0.0.1:{port}") as caught:
                await calls.get(f"http://127.0.0.1:{port}/")
            assert caught.value.phase == "connect"
            assert numbers(calls).open == 0


# Churn


@PLAIN_AND_TLS
@pytest.mark.fault("P20")
async def test_churn_leaves_every_slot_free(tls: bool) -> None:
    """Twenty tasks on four slots, cancelled at random turns: nobody gets another's answer, all slots come back."""
    chance = random.Random(20)
    async with serve(tls=tls) as server, session(limit=4) as calls:
        watch = Conserved(calls, server)
        outcomes = {"served": 0, "cancelled": 0}

        async def worker(name: int) -> None:
            for number in range(15):
                path = f"/{name}-{number}"
                task = asyncio.create_task(fetch(calls, server.url(path)))
                if chance.random() < 0.5:
                    await turns(chance.randrange(12))
                    task.cancel()
                try:
                    assert await task == path
                    outcomes["served"] += 1
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1
                assert numbers(calls).open <= 4

        await asyncio.gather(*(worker(name) for name in range(20)))
        assert outcomes["served"] > 100
        assert outcomes["cancelled"] > 30
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("P42")
async def test_a_server_that_closes_after_each_answer_stops_nobody(tls: bool) -> None:
    """Twenty clients, ten calls each, five slots, and the server ends every connection: all calls finish."""
    async with serve([Answer()], tls=tls) as server, session(limit=5) as calls:
        watch = Conserved(calls, server)

        async def client(name: int) -> None:
            for number in range(10):
                path = f"/{name}-{number}"
                assert await fetch(calls, server.url(path)) == path

        await asyncio.gather(*(client(name) for name in range(20)))
        targets = {request.target for request in server.requests}
        assert len(targets) == 200
        await watch.settled()


# The end


@PLAIN_AND_TLS
@pytest.mark.fault("P47")
async def test_close_tells_everybody_who_waits_in_one_tick(tls: bool) -> None:
    """A hundred callers in the queue, one in flight, two dialling: one turn after close() all have PoolClosedError."""
    async with serve([RecvRequest(), Stall()], tls=tls) as server, session(limit=3) as calls:
        watch = Conserved(calls, server)
        tasks = start(fetch(calls, server.url("/first")))
        await server.until_requests(1)
        tasks += start(*(fetch(calls, server.url(f"/{k}")) for k in range(102)))
        await turns(2)
        stats = numbers(calls)
        assert (stats.leased, stats.dialling, stats.waiting) == (1, 2, 102)
        closing = calls.close()
        await turns(1)
        assert all(task.done() for task in tasks)
        assert {type(task.exception()) for task in tasks} == {PoolClosedError}
        await closing
        await watch.settled()


@PLAIN_AND_TLS
@pytest.mark.fault("P48")
@pytest.mark.parametrize("stubborn", [False, True], ids=["cancelled", "completes"])
async def test_a_dial_that_completes_after_close_is_closed(tls: bool, stubborn: bool) -> None:
    """close() while the dial is under way: the caller has PoolClosedError, and the late socket is closed."""
    connector = WatchedConnector()
    connector.gate = asyncio.Event()
    connector.stubborn = stubborn
    async with serve(tls=tls) as server, session(connector) as calls:
        watch = Conserved(calls, server)
        (task,) = start(fetch(calls, server.url("/x")))
        await connector.until_made(1)
        closing = calls.close()
        with pytest.raises(PoolClosedError):
            await task
        await closing
        assert connector.stats().total.open == 0
        await server.until_idle()
        await watch.settled()
        assert server.connections[0].requests == []


@pytest.mark.fault("P48")
async def test_a_closed_session_refuses_at_once() -> None:
    """After close() a call is refused before any I/O."""
    async with serve() as server, session() as calls:
        await fetch(calls, server.url("/x"))
        await calls.close()
        with pytest.raises(RuntimeError, match="closed"):
            await calls.get(server.url("/y"))
        assert len(server.requests) == 1


@pytest.mark.fault("P12", "P46")
async def test_the_slot_of_a_call_that_timed_out_is_free_for_the_next() -> None:
    """limit=1, the peer is silent: the timeout ends the first call, and the queue moves on to a new connection."""
    async with serve([RecvRequest(), Stall()], answer_all) as server, session(limit=1) as calls:
        watch = Conserved(calls, server)
        first, second = start(
            fetch(calls, server.url("/1"), timeout=ClientTimeout(total=0.03)), fetch(calls, server.url("/2"))
        )
        with pytest.raises(TotalTimeoutError):
            await first
        assert await second == "/2"
        await watch.healthy()


@pytest.mark.fault("P37")
@PLAIN_AND_TLS
async def test_leftovers_of_one_exchange_are_never_seen_in_the_next(tls: bool) -> None:
    """Surplus bytes, cut bodies, cancelled reads, resets: the call after each of them sees its own answer only."""

    async def surplus(peer: Peer) -> None:
        request = await peer.request()
        peer.send(ok(nonce=request.nonce) + ok(nonce="/stray"))

    async def cut(peer: Peer) -> None:
        request = await peer.request()
        peer.send(ok(b"x" * 100, nonce=request.nonce)[:-50])

    async def reset(peer: Peer) -> None:
        await peer.request()
        peer.rst()

    async def speaks_late(peer: Peer) -> None:
        await Answer().run(peer)
        peer.send(ok(nonce="/stray"))
        await Repeat([Answer()]).run(peer)

    async with serve(surplus, cut, reset, speaks_late, answer_all, tls=tls) as server, session() as calls:
        watch = Conserved(calls, server)
        seen: list[str] = []
        for number in range(8):
            try:
                got = await calls.get(server.url(f"/{number}"))
                seen.append(await nonce_of(got))
            except ClientResponseError as exc:
                seen.append(type(exc).__name__)
        assert seen == ["/0", "ClientPayloadError", "ResponseDisconnected", "/3", "/4", "/5", "/6", "/7"]
        await watch.healthy()
