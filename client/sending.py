"""send: one request over a pool, one answer; twice on the wire only where that can do no harm."""

from keepwarm.client.call_record import CallRecord
from keepwarm.client.errors import ResponseDisconnected
from keepwarm.client.exchange import Exchange
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.request import ClientRequest
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.channel import Channel
from keepwarm.pool.pool import Pool


async def send(
    pool: Pool, request: ClientRequest, timeout: ClientTimeout, deadline: float, *, may_replay: bool
) -> Exchange:
    """Lease, write, and wait for the head. `deadline` is a time of the pool's clock.

    With `may_replay` the request is sent once more, on a new connection, when a reused one turns out dead before a
    byte of the answer and rule K7 allows it (see `_is_harmless`). Whatever ends the wait, cancellation included,
    closes the connection that was used.
    """
    record = None
    if pool.events is not None or request.options.timings:
        record = CallRecord(pool.events, pool.clock.now, request)
    fresh = False
    while True:
        channel = None if fresh else pool.try_lease(request.endpoint)
        if channel is None:
            channel = await _acquire(pool, request, timeout, deadline, fresh, record)
        if not isinstance(channel, H1Channel):
            pool.close_channel(channel, "protocol", politely=False)
            raise TypeError(f"the connector made {channel!r}, not the channel that its request asked for")
        exchange = channel.send(request, deadline, timeout.read, record)
        try:
            await exchange.head_waiter
        except ResponseDisconnected as error:
            exchange.abort()
            if not (may_replay and _is_harmless(request, error)):
                if record is not None:
                    record.ended(None, error)
                raise
            if record is not None:
                record.replayed(error)
            may_replay = False
            fresh = True
            pool.retire_older(channel)
        except BaseException as error:
            exchange.abort()
            if record is not None:
                record.ended(None, error)
            raise
        else:
            return exchange


async def _acquire(
    pool: Pool,
    request: ClientRequest,
    timeout: ClientTimeout,
    deadline: float,
    fresh: bool,
    record: CallRecord | None,
) -> Channel:
    answer_by = deadline
    if timeout.connect is not None:
        deadline = min(deadline, pool.clock.now() + timeout.connect)
    if record is not None:
        record.queued()
    try:
        return await pool.acquire(
            request.endpoint, pool_timeout=timeout.pool, deadline=deadline, fresh=fresh, answer_by=answer_by
        )
    except BaseException as error:
        if record is not None:
            record.ended(None, error)
        raise


def _is_harmless(request: ClientRequest, error: ResponseDisconnected) -> bool:
    """K7: the connection was reused, no response byte arrived, the body can be sent again, and sending twice does no
    harm or did not begin."""
    return bool(
        error.reused
        and not error.response_begun
        and request.can_repeat_body
        and (request.may_replay or error.request_sent is False)
    )
