"""BaseConnector, row by row (SURFACE F-01 to F-19)."""

import asyncio
import gc
import inspect
from typing import Any

import pytest

from keepwarm.pool import states
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ConnectTimeoutError, PoolTimeoutError
from keepwarm.pool.limits import Limits
from tests.support.fake_channels import A, B, FakeChannel
from tests.support.fake_connector import TO_A, TO_B, FakeConnector, Wanted
from tests.support.leaks import turns

pytestmark = pytest.mark.asyncio

REFERENCE = ["conn_timeout", "keepalive_timeout", "limit", "share_cookies", "force_close", "loop"]


def test_f01_keyword_only() -> None:
    """The reference's parameters in its order, each by keyword; what is ours comes behind."""
    parameters = list(inspect.signature(BaseConnector.__init__).parameters.values())[1:]
    assert [parameter.name for parameter in parameters][:6] == REFERENCE
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(TypeError):
        BaseConnector(1.0)  # type: ignore[call-arg]


def test_defaults() -> None:
    """F-02, F-03, F-04, F-07: as the reference says."""
    connector = BaseConnector()
    assert (connector.conn_timeout, connector.keepalive_timeout, connector.limit) == (None, 30.0, None)
    assert (connector.force_close, connector.loop, connector.closed) == (False, None, False)
    assert connector.limits == Limits()


def test_attributes_say_what_was_given() -> None:
    """F-10, F-11, and what is ours."""
    connector = BaseConnector(
        conn_timeout=1,
        keepalive_timeout=2,
        limit=3,
        force_close=True,
        limit_total=4,
        max_waiting=5,
        pool_timeout=6,
    )
    assert (connector.conn_timeout, connector.keepalive_timeout, connector.limit) == (1.0, 2.0, 3)
    assert (connector.force_close, connector.limits) == (True, Limits(3, 4, 5, 6.0))


@pytest.mark.parametrize("zero", [0, None])
def test_zero_is_no_timeout(zero: float | None) -> None:
    """F-02, F-03 (A-04, A-05)."""
    connector = BaseConnector(conn_timeout=zero, keepalive_timeout=zero)
    assert (connector.conn_timeout, connector.keepalive_timeout) == (None, None)


@pytest.mark.fault("P39")
@pytest.mark.parametrize("name", ["closed", "force_close", "limit", "limits", "keepalive_timeout", "conn_timeout"])
def test_read_only(name: str) -> None:
    """F-09, F-10, F-11: an attempt to change them raises."""
    connector = BaseConnector()
    with pytest.raises(AttributeError):
        setattr(connector, name, 1)


@pytest.mark.fault("P39")
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"limit": 0}, ValueError, "limit must be at least 1"),
        ({"limit": -1}, ValueError, "limit must be at least 1"),
        ({"limit": 1.5}, TypeError, "limit must be a whole number"),
        ({"limit_total": 0}, ValueError, "limit_total must be at least 1"),
        ({"max_waiting": True}, TypeError, "max_waiting must be a whole number"),
        ({"pool_timeout": -1}, ValueError, "pool_timeout must be 0 or None"),
        ({"keepalive_timeout": "30"}, TypeError, "keepalive_timeout must be a number"),
        ({"conn_timeout": float("nan")}, ValueError, "conn_timeout must be 0 or None"),
        ({"loop": 1}, TypeError, "loop must be an asyncio event loop or None, got 1"),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Refused at construction, by name; and the half-made connector goes without a word."""
    with pytest.raises(error, match=f"^{text}"):
        BaseConnector(**options)
    gc.collect()


def test_f06_share_cookies_is_deprecated() -> None:
    """A warning at the line of the construction; cookies and update_cookies() are there with and without it."""
    with pytest.warns(DeprecationWarning, match="share_cookies is deprecated") as caught:
        connector = BaseConnector(share_cookies=True)
    assert [str(warning.filename) for warning in caught] == [__file__]
    connector.update_cookies({"a": "1"})
    connector.update_cookies([("b", "2"), ("a", "3")])
    assert {name: morsel.value for name, morsel in connector.cookies.items()} == {"a": "3", "b": "2"}
    assert BaseConnector().cookies == {}


async def test_f02_conn_timeout() -> None:
    """It bounds a dial, and the text is the reference's."""
    async with FakeConnector(conn_timeout=0.01) as connector:
        connector.is_stuck = True
        with pytest.raises(
            ConnectTimeoutError, match=r"^Connection timeout to host a\.example:80 ssl:False \["
        ) as caught:
            await connector.connect(TO_A)
        assert isinstance(caught.value, asyncio.TimeoutError)
        assert connector.stats().total.open == 0


async def test_f03_keepalive_timeout() -> None:
    """A released connection is closed when it has been idle for so long."""
    async with FakeConnector(keepalive_timeout=0.01) as connector:
        connection = await connector.connect(TO_A)
        connection.release()
        await connector.made[0].lost.wait()
        assert connector.stats().total.retired == {"idle": 1}


async def test_f04_limit() -> None:
    """Per endpoint; the next caller waits for a connection that comes free."""
    async with FakeConnector(limit=1, pool_timeout=60) as connector:
        first = await connector.connect(TO_A)
        other = await connector.connect(TO_B)
        waiting = asyncio.get_running_loop().create_task(connector.connect(TO_A))
        await turns(3)
        assert not waiting.done()
        first.release()
        second = await waiting
        assert second.channel is connector.made[0]
        second.release()
        other.release()


@pytest.mark.fault("P46")
async def test_pool_timeout() -> None:
    """Ours: how long a caller waits for the limit."""
    async with FakeConnector(limit=1, pool_timeout=0.01) as connector:
        first = await connector.connect(TO_A)
        with pytest.raises(PoolTimeoutError, match="raise limit or pool_timeout"):
            await connector.connect(TO_A)
        first.release()


async def test_f05_the_endpoint_is_the_key() -> None:
    """(host, port, is_ssl): one difference, another connection."""
    async with FakeConnector() as connector:
        for endpoint in (A, B, A._replace(port=81), A._replace(is_ssl=True), A):
            (await connector.connect(Wanted(endpoint))).release()
        requests = [(request.host, request.port, request.ssl) for request in connector.requests]
        assert requests == [
            ("a.example", 80, False),
            ("b.example", 80, False),
            ("a.example", 81, False),
            ("a.example", 80, True),
        ]


@pytest.mark.fault("P35")
async def test_f07_force_close() -> None:
    """Each connection is closed on release."""
    async with FakeConnector(force_close=True) as connector:
        for _ in range(2):
            (await connector.connect(TO_A)).release()
        assert len(connector.made) == 2
        await turns(1)
        assert [channel.state for channel in connector.made] == [states.CLOSED] * 2


async def test_f08_loop() -> None:
    """The given one, or the one that runs at the first connect."""
    loop = asyncio.get_running_loop()
    for given in (loop, None):
        async with FakeConnector(loop=given) as connector:
            assert connector.loop is given
            (await connector.connect(TO_A)).release()
            assert connector.loop is loop


async def test_f13_connect() -> None:
    """A free connection, or a new one; the newest free one first."""
    async with FakeConnector() as connector:
        one, two = await connector.connect(TO_A), await connector.connect(TO_A)
        one.release()
        two.release()
        newest = await connector.connect(TO_A)
        assert newest.channel is connector.made[1]
        newest.release()


@pytest.mark.fault("P10")
async def test_f13_cancelled() -> None:
    """A caller that is cancelled keeps nothing, and warns of nothing."""
    async with FakeConnector() as connector:
        task = asyncio.get_running_loop().create_task(connector.connect(TO_A))
        await turns(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await turns(2)
        assert connector.stats().total.leased == 0


async def test_f14_without_create_connection() -> None:
    """F-16: the base class can be made; only connect fails, and says what is missing."""
    connector = BaseConnector()
    with pytest.raises(NotImplementedError, match="BaseConnector does not say how to connect"):
        await connector.connect(TO_A)
    assert connector.stats().total.open == 0


async def test_f14_overridden_with_the_protocol_of_the_pool() -> None:
    """A subclass gets where to connect to, and gives (transport, protocol); the pool does the rest."""
    async with FakeConnector() as connector:
        connection = await connector.connect(TO_A)
        (request,) = connector.requests
        assert isinstance(request, DialRequest)
        assert repr(request) == "<DialRequest http://a.example:80 in resolve>"
        assert connection.channel is connector.made[0]
        connection.release()


async def test_f14_overridden_wrongly() -> None:
    """The caller is told, and no slot is lost."""

    class Wrong(FakeConnector):
        async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
            transport, _ = await super()._create_connection(req)
            return transport, asyncio.Protocol()

    async with Wrong(limit=1) as connector:
        for _ in range(2):
            with pytest.raises(TypeError, match="_create_connection must return"):
                await connector.connect(TO_A)
        assert connector.stats().total.open == 0


async def test_one_connector_speaks_one_protocol() -> None:
    """A second one is refused."""
    async with FakeConnector() as connector:
        connector.speak(FakeChannel)

        class Other(FakeChannel):
            pass

        with pytest.raises(RuntimeError, match=r"this connector speaks .*FakeChannel.* already, not .*Other"):
            connector.speak(Other)


async def test_f18_the_release_rule() -> None:
    """A connection that is not fit to be kept is closed on release, whatever force_close says."""
    async with FakeConnector() as connector:
        connection = await connector.connect(TO_A)
        connector.made[0].wire.feed(b"unread parser output")
        connection.release()
        await turns(1)
        assert connector.stats().total.retired == {"stray_bytes": 1}
