"""send: one request over a pool, one answer; twice on the wire only where that can do no harm."""

from keepwarm.client.attempts import Attempt, Trail, failed, peer_of
from keepwarm.client.call_record import CallRecord
from keepwarm.client.errors import ResponseDisconnected
from keepwarm.client.exchange import Exchange
from keepwarm.client.h1_channel import H1Channel
from keepwarm.client.request import ClientRequest
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool.channel import Channel
from keepwarm.pool.errors import ClientError
from keepwarm.pool.pool import Pool


async def send(
    pool: Pool, request: ClientRequest, timeout: ClientTimeout, deadline: float, *, may_replay: bool
) -> Exchange:
    """Lease, write, and wait for the head. `deadline` is a time of the pool's clock.

    With `may_replay` the request is sent once more, on a new connection, when a reused one turns out dead before a
    byte of the answer and rule K7 allows it (see `_is_harmless`). The answer's `trail`, or the `tried` of
    the error, tells of both times. Whatever ends the wait, cancellation included, closes the connection that was used.
    """
    record = None
    if pool.events is not None or request.options.timings:
        record = CallRecord(pool.events, pool.clock.now, request)
    fresh = False
    earlier: tuple[Attempt, ...] = ()
    while True:
        channel = None if fresh else pool.try_lease(request.endpoint)
        if channel is None:
            channel = await _acquire(pool, request, timeout, deadline, record, earlier)
        if not isinstance(channel, H1Channel):
            pool.close_channel(channel, "protocol", politely=False)
            error = TypeError(f"the connector made {channel!r}, not the channel that its request asked for")
            if record is not None:
                record.ended(None, error)
            raise error
        exchange = channel.send(request, deadline, timeout.read, record)
        try:
            await exchange.head_waiter
        except ResponseDisconnected as error:
            exchange.abort()
            if error.reused and not error.response_begun:
                pool.retire_older(channel)
            if not (may_replay and _is_harmless(request, error)):
                _give_up(error, record, earlier)
                raise
            if record is not None:
                record.replayed(error)
            may_replay = False
            fresh = True
            earlier = (failed(1, error),)
        except BaseException as error:
            exchange.abort()
            _give_up(error, record, earlier)
            raise
        else:
            if fresh:
                exchange.trail = Trail(earlier, 0.0, channel.number, peer_of(channel))
            return exchange


async def _acquire(
    pool: Pool,
    request: ClientRequest,
    timeout: ClientTimeout,
    deadline: float,
    record: CallRecord | None,
    earlier: tuple[Attempt, ...],
) -> Channel:
    """A connection; a new one for a request that was sent before."""
    answer_by = deadline
    if timeout.connect is not None:
        deadline = min(deadline, pool.clock.now() + timeout.connect)
    if record is not None:
        record.queued()
    try:
        return await pool.acquire(
            request.endpoint, pool_timeout=timeout.pool, deadline=deadline, fresh=bool(earlier), answer_by=answer_by
        )
    except BaseException as error:
        _give_up(error, record, earlier)
        raise


def _give_up(error: BaseException, record: CallRecord | None, earlier: tuple[Attempt, ...]) -> None:
    """The call failed."""
    if record is not None:
        record.ended(None, error)
    if earlier and isinstance(error, ClientError):
        error.tried = (*earlier, failed(len(earlier) + 1, error))


def _is_harmless(request: ClientRequest, error: ResponseDisconnected) -> bool:
    """K7: the connection was reused, no response byte arrived, the body can be sent again, and sending twice does no
    harm or did not begin."""
    return bool(
        error.reused
        and not error.response_begun
        and request.can_repeat_body
        and (request.may_replay or error.request_sent is False)
    )
