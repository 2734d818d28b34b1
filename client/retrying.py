"""send_retrying: `send` under a RetryPolicy."""

import random
from asyncio import sleep
from typing import Final

from keepwarm.client.attempts import Attempt, Trail, answered, failed
from keepwarm.client.exchange import Exchange
from keepwarm.client.request import ClientRequest
from keepwarm.client.retry import RetryPolicy
from keepwarm.client.retry_budget import RetryBudget
from keepwarm.client.sending import send
from keepwarm.client.timeout import ClientTimeout
from keepwarm.pool import wait_errors
from keepwarm.pool.errors import ClientError
from keepwarm.pool.pool import Pool

# A pause is slept in steps, so that the end of the pool is noticed: its clock ends with it and wakes nobody.
STEP: Final = 0.25

chance = random.random


async def send_retrying(
    pool: Pool, request: ClientRequest, timeout: ClientTimeout, deadline: float, *, may_replay: bool
) -> Exchange:
    """Like `send`, and again as the policy of the request's options says.

    An answer that is given up is drained or closed (K4) before the pause. Cancelling ends a pause at once and leaves
    nothing. What is raised in the end carries the attempts in `tried`.
    """
    policy = request.options.retry
    if policy is None or request.wants_upgrade:
        return await send(pool, request, timeout, deadline, may_replay=may_replay)
    return await _Retrying(pool, request, policy).run(timeout, deadline, may_replay)


class _Retrying:
    """One call under a policy."""

    __slots__ = ("_budget", "_earlier", "_policy", "_pool", "_request", "_tries", "_waited")

    def __init__(self, pool: Pool, request: ClientRequest, policy: RetryPolicy) -> None:
        self._pool = pool
        self._request = request
        self._policy = policy
        now = pool.clock.now()
        self._budget: RetryBudget = request.options.budgets.of(request.endpoint, now)
        self._budget.called(now)
        self._earlier: tuple[Attempt, ...] = ()
        self._tries = 0
        self._waited = 0.0

    async def run(self, timeout: ClientTimeout, deadline: float, may_replay: bool) -> Exchange:
        policy, request = self._policy, self._request
        while True:
            self._tries += 1
            try:
                # K7 allows one replay a call.
                replays = may_replay and self._tries == 1
                exchange = await send(self._pool, request, timeout, deadline, may_replay=replays)
            except ClientError as error:
                self._note(error)
                pause = self._pause(deadline, None) if policy.allows_error(request, error) else None
                if pause is None:
                    error.tried = self._earlier if len(self._earlier) > 1 else ()
                    raise
            else:
                pause = self._pause(deadline, exchange) if policy.allows_answer(request, exchange) else None
                self._mark(exchange)
                if pause is None:
                    return exchange
                await self._give_up(exchange)
            await self._sleep(pause)

    def _pause(self, deadline: float, exchange: Exchange | None) -> float | None:
        """How long to wait before the next try; None if there is to be none."""
        policy = self._policy
        if self._tries >= policy.attempts:
            return None
        pause = policy.pause(self._tries, chance(), exchange)
        now = self._pool.clock.now()
        if pause is None or now + pause >= deadline:
            return None
        return pause if self._budget.take(now, policy.budget, policy.budget_floor) else None

    def _note(self, error: ClientError) -> None:
        """An attempt, or one and its replay, failed."""
        tried = error.tried or (failed(len(self._earlier) + 1, error, self._waited),)
        self._earlier = (*self._earlier, *tried)

    def _mark(self, exchange: Exchange) -> None:
        """The exchange knows what came before it."""
        if self._earlier:
            exchange.trail = Trail(self._earlier, self._waited)

    async def _give_up(self, exchange: Exchange) -> None:
        trail: Trail = getattr(exchange, "trail", Trail())
        self._earlier = (*trail.earlier, answered(exchange, trail))
        exchange.release()
        await exchange.wait_released()

    async def _sleep(self, seconds: float) -> None:
        pool = self._pool
        now = pool.clock.now
        self._waited = seconds
        until, left = now() + seconds, seconds
        while left > 0:
            await sleep(min(left, STEP))
            if pool.closed:
                error = wait_errors.closed_meanwhile(self._request.endpoint)
                error.tried = self._earlier
                raise error
            left = until - now()
