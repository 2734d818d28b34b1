"""ContextStore: contexts that are built again while they are in use."""

import asyncio
import ssl
import threading

import pytest

from keepwarm.pool.tls_contexts import ContextStore
from tests.support.dialing import until

pytestmark = pytest.mark.asyncio


class Building:
    """Builds contexts; the first one takes until `go_on` is set."""

    def __init__(self) -> None:
        self.begun: list[ssl.SSLContext] = []
        self.go_on = threading.Event()

    def __call__(self, verify_ssl: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.begun.append(context)
        if len(self.begun) == 1:
            self.go_on.wait(10)
        return context


async def test_reloads_that_overtake_each_other() -> None:
    """The one that was asked for last has read the newest files: another that ends later does not undo it."""
    building = Building()
    store = ContextStore(building)
    first = asyncio.create_task(store.prepare(True))
    await until(lambda: building.begun)
    (await store.prepare(True))()
    building.go_on.set()
    (await first)()
    assert store.found(True) is building.begun[1]
    (await store.prepare(True))()
    assert store.found(True) is building.begun[2]


async def test_what_is_prepared_counts_when_it_is_called() -> None:
    """Until then everybody gets the present context."""
    building = Building()
    building.go_on.set()
    store = ContextStore(building)
    present = await store.get(True)
    renew = await store.prepare(True)
    assert store.found(True) is present
    renew()
    assert store.found(True) is building.begun[1] and await store.get(True) is building.begun[1]
