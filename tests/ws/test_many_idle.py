"""Many WebSockets that have nothing to say: what they cost the event loop."""

import asyncio
import gc

import pytest

from tests.support.calling import serve, session
from tests.support.ws_peer import echo

pytestmark = pytest.mark.asyncio

MANY = 100


def timers() -> int:
    """How many timers of any event loop there are."""
    gc.collect()
    return sum(type(held).__name__ == "TimerHandle" for held in gc.get_objects())


async def test_there_is_one_timer_for_all_heartbeats() -> None:
    """However many WebSockets have a heartbeat, the pool's clock sweeps them with one timer, and they have no task."""
    before = timers()
    own = [asyncio.get_running_loop().call_later(60.0, print) for _ in range(3)]
    assert timers() == before + 3  # they can be counted
    for timer in own:
        timer.cancel()
    del own, timer
    async with serve(echo) as server, session(limit=MANY) as calls:
        first = await calls.ws_connect(server.url("/ws"), heartbeat=30.0)
        one, tasks = timers(), len(asyncio.all_tasks())
        rest = [await calls.ws_connect(server.url("/ws"), heartbeat=30.0) for _ in range(MANY - 1)]
        assert timers() <= one + 1
        assert len(asyncio.all_tasks()) - tasks <= MANY - 1  # the server's, one for each connection
        for ws in (first, *rest):
            await ws.close()
