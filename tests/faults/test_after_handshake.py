"""FAULTS T18: what a TLS server sends to an idle connection that is no application data."""

import socket
import ssl
from pathlib import Path

import pytest

from keepwarm.pool.tls_contexts import make_context
from tests.support.calling import Conserved, WatchedConnector, fetch, numbers, serve, session
from tests.support.certificates import server_context
from tests.support.dialing import until
from tests.support.http1 import ok
from tests.support.leaks import Baseline, turns
from tests.support.records import CIPHER, ServerRecords, telling_context
from tests.support.server import Handler, Peer, ScriptedServer

pytestmark = pytest.mark.asyncio

both = pytest.mark.parametrize("fast_tls", [False, True], ids=["loop", "fast"])


def by_hand(key_log: Path, records: list[ServerRecords]) -> Handler:
    """A script that answers each request with records made by hand, and shows them to the test."""

    async def answer(peer: Peer) -> None:
        if peer.tls is not None:
            assert peer.tls.cipher == CIPHER
        records.append(mine := ServerRecords(key_log))
        while True:
            request = await peer.request()
            peer.send_raw(mine.data(ok(nonce=request.nonce)))

    return answer


@both
@pytest.mark.fault("T18")
@pytest.mark.parametrize("count", [0, 2, 16])
async def test_tickets_of_the_handshake(fast_tls: bool, count: int) -> None:
    """A server sends the tickets it likes; the connection is kept and serves again."""
    context = server_context()
    context.num_tickets = count
    connector = WatchedConnector(fast_tls=fast_tls)
    async with ScriptedServer(ssl=context) as server, session(connector) as calls:
        for path in ("/a", "/b", "/c"):
            assert await fetch(calls, server.url(path)) == path
            await turns(5)
        assert server.accepted == 1 and numbers(calls).idle == 1


@both
@pytest.mark.fault("T18")
@pytest.mark.parametrize("seen", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("what", ["ticket", "key-update", "key-update-to-answer"])
async def test_one_message_keeps_the_connection(fast_tls: bool, what: str, seen: bool, tmp_path: Path) -> None:
    """A late ticket or a KeyUpdate on an idle connection, read by then or not: the next call goes over it."""
    key_log, records = tmp_path / "keys", list[ServerRecords]()
    connector = WatchedConnector(fast_tls=fast_tls)
    server = ScriptedServer(by_hand(key_log, records), ssl=telling_context(key_log))
    async with server, session(connector) as calls:
        assert await fetch(calls, server.url("/before")) == "/before"
        mine = records[0]
        message = mine.ticket() if what == "ticket" else mine.key_update(answer=what == "key-update-to-answer")
        server.connections[0].send_raw(message)
        if seen:
            await turns(10)
        for path in ("/after", "/later"):
            assert await fetch(calls, server.url(path)) == path
        assert server.accepted == 1 and numbers(calls).idle == 1
        assert server.connections[0].tls_error is None


@both
@pytest.mark.fault("T18")
async def test_data_between_key_updates_is_stray(fast_tls: bool, tmp_path: Path) -> None:
    """A KeyUpdate does not hide what follows it: a response that nobody asked for costs the connection."""
    key_log, records = tmp_path / "keys", list[ServerRecords]()
    connector = WatchedConnector(fast_tls=fast_tls)
    server = ScriptedServer(by_hand(key_log, records), ssl=telling_context(key_log))
    async with server, session(connector) as calls:
        proof = Conserved(calls, server)
        assert await fetch(calls, server.url("/before")) == "/before"
        server.connections[0].send_raw(records[0].key_update() + records[0].data(ok(nonce="/forged")))
        assert await fetch(calls, server.url("/after")) == "/after"
        assert server.accepted == 2
        await proof.settled(idle=1)


@both
@pytest.mark.fault("T18")
async def test_a_flood_ends_with_the_idle_time(fast_tls: bool, tmp_path: Path) -> None:
    """KeyUpdates without end do not lengthen an idle connection's life, and other calls are served meanwhile."""
    key_log, records = tmp_path / "keys", list[ServerRecords]()
    connector = WatchedConnector(fast_tls=fast_tls, keepalive_timeout=0.2)
    server = ScriptedServer(by_hand(key_log, records), ssl=telling_context(key_log))
    async with server, serve() as other, session(connector) as calls:
        assert await fetch(calls, server.url("/before")) == "/before"
        peer, served = server.connections[0], 0
        while not peer.closed:
            peer.send_raw(b"".join(records[0].key_update(answer=True) for _ in range(50)))
            assert await fetch(calls, other.url("/meanwhile")) == "/meanwhile"
            served += 1
        assert served > 1 and numbers(calls).retired["idle"] >= 1
        assert await fetch(calls, server.url("/after")) == "/after"
        assert server.accepted == 2


@both
@pytest.mark.fault("T18")
async def test_answers_that_are_not_read(fast_tls: bool, tmp_path: Path, baseline: Baseline) -> None:
    """A server that asks for KeyUpdates and reads none costs its connection, before they fill the memory."""
    key_log, records = tmp_path / "keys", list[ServerRecords]()
    connector = WatchedConnector(fast_tls=fast_tls, keepalive_timeout=None)
    server = ScriptedServer(by_hand(key_log, records), ssl=telling_context(key_log), rcvbuf=4096)
    async with server, session(connector) as calls:
        proof = Conserved(calls, server)
        assert await fetch(calls, server.url("/before")) == "/before"
        channel, peer = connector.channels[0], server.connections[0]
        assert channel.transport is not None
        channel.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer.pause()
        for _ in range(100):
            if channel.transport.is_closing() or peer.lost:
                break
            peer.send_raw(b"".join(records[0].key_update(answer=True) for _ in range(500)))
            await turns(5)
        assert channel.transport.is_closing()
        peer.abort()
        await until(lambda: peer.lost)
        if fast_tls:
            # aiofastnet gives up by itself, sooner than its buffer lets it ask us to pause, and tells the loop.
            assert [error for error in baseline.errors if "no writable capacity" not in error] == []
            baseline.errors.clear()
        await proof.settled(idle=0)
        assert await fetch(calls, server.url("/after")) == "/after"


@pytest.mark.fault("T18")
def test_renegotiation_is_refused() -> None:
    """The contexts of keepwarm's own never renegotiate (TLS 1.2)."""
    for verify_ssl in (True, False):
        assert make_context(verify_ssl).options & ssl.OP_NO_RENEGOTIATION
