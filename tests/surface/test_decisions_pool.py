"""Section A, pins, limits and keys: what was decided where the reference is silent."""

import asyncio
import hashlib
import ssl
import warnings

import pytest

import keepwarm
from keepwarm import BaseConnector, ClientSession, TCPConnector, WeakFingerprintWarning
from tests.support.bad_certificates import foreign
from tests.support.certificates import client_context, der, leaf, server_context
from tests.support.server import (
    ScriptedServer,
    unserved_port,
)
from tests.surface.calls import calling

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(("length", "warns"), [(16, True), (20, True), (32, False)])
def test_a_18_the_length_says_which_digest(length: int, warns: bool) -> None:
    """MD5 and SHA-1 are accepted with a warning, SHA-256 without."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert TCPConnector(fingerprint=bytes(length)).fingerprint == bytes(length)
    assert [warning.category for warning in caught] == ([WeakFingerprintWarning] if warns else [])


@pytest.mark.parametrize("length", [0, 15, 31, 33, 64])
def test_a_18_other_lengths(length: int) -> None:
    """Nothing else is a digest."""
    with pytest.raises(ValueError, match="fingerprint"):
        TCPConnector(fingerprint=bytes(length))


async def test_a_19_a_pin_does_not_replace_the_chain() -> None:
    """The right fingerprint on a certificate that nobody vouches for is refused all the same."""
    pin = hashlib.sha256(der(foreign())).digest()
    async with ScriptedServer(ssl=server_context(certificate=foreign())) as server:
        async with ClientSession(connector=TCPConnector(ssl_context=client_context(), fingerprint=pin)) as session:
            with pytest.raises(keepwarm.TLSError, match="certificate verify failed"):
                await session.get(server.url())
        assert server.requests == []


def test_a_21_verify_ssl_off_and_a_context() -> None:
    """They contradict each other."""
    with pytest.raises(ValueError, match="verify_ssl"):
        TCPConnector(verify_ssl=False, ssl_context=ssl.create_default_context())


async def test_a_22_the_triple_is_the_key() -> None:
    """Equal (host, port, is_ssl) share connections, whatever the spelling; another host of the same address not."""
    async with calling() as (session, server):
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "127.0.0.1"):
            async with session.get(f"http://{host}:{server.port}/{host}"):
                pass
        assert server.accepted == 2
        connector = session.connector
        assert connector is not None
        assert sorted(connector.stats().endpoints) == [
            ("127.0.0.1", server.port, False),
            ("localhost", server.port, False),
        ]


@pytest.mark.parametrize("kind", [BaseConnector, TCPConnector])
def test_a_23_limits_that_are_none(kind: type[BaseConnector]) -> None:
    """None is no limit; 0 and less are refused."""
    assert kind(limit=None).limit is None
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            kind(limit=limit)


async def test_a_23_no_slot_is_lost() -> None:
    """Dials that fail and callers that give up leave a limit of 1 as it was."""
    async with calling(connector=TCPConnector(limit=1)) as (session, server):
        with unserved_port() as port:
            for _ in range(3):
                with pytest.raises(keepwarm.ClientOSError):
                    await session.get(f"http://127.0.0.1:{port}/")
        async with session.get(server.url()):
            waiting = asyncio.ensure_future(session.get(server.url()))
            await asyncio.sleep(0)
        (await waiting).close()
        held = await connect(session, server)
        given_up = asyncio.ensure_future(session.get(server.url()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        held.release()
        async with session.get(server.url()) as resp:
            assert resp.status == 200


async def connect(session: ClientSession, server: ScriptedServer) -> keepwarm.Connection:
    assert session.connector is not None
    return await session.connector.connect(keepwarm.ClientRequest("GET", server.url()))


async def test_a_24_every_open_socket_counts() -> None:
    """Idle ones and dials too: a limit of 2 is 2 sockets."""
    async with calling(connector=TCPConnector(limit=2)) as (session, server):

        async def fetch() -> None:
            async with session.get(server.url()) as resp:
                await resp.read()

        await asyncio.gather(*[fetch() for _ in range(8)])
        await asyncio.gather(*[fetch() for _ in range(8)])
        assert len(server.requests) == 16
        assert server.accepted == 2


def test_a_18_a_pin_is_read_only() -> None:
    """What is pinned cannot be changed behind the connections' back."""
    connector = TCPConnector(fingerprint=hashlib.sha256(der(leaf())).digest())
    with pytest.raises(AttributeError):
        connector.fingerprint = None  # type: ignore[misc]
