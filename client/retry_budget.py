"""RetryBudget: how many retries an endpoint may get, as a share of its calls."""

from collections import OrderedDict
from typing import Final

from keepwarm.pool.endpoint import Endpoint

# Calls and retries of the last WINDOW seconds count, in two halves: the older one is dropped as a whole.
WINDOW: Final = 10.0
_HALF: Final = WINDOW / 2
# Endpoints that are remembered; the one that was called longest ago makes room.
MOST_ENDPOINTS: Final = 1024


class RetryBudget:
    """The calls to one endpoint and their retries, of the last ten seconds. Times are of the pool's clock."""

    __slots__ = ("_calls", "_earlier_calls", "_earlier_retries", "_retries", "_since")

    def __init__(self, now: float) -> None:
        self._since = now
        self._calls = self._retries = 0
        self._earlier_calls = self._earlier_retries = 0

    def called(self, now: float) -> None:
        """A call begins."""
        self._roll(now)
        self._calls += 1

    def take(self, now: float, share: float, floor: float) -> bool:
        """Whether one more retry is within `share` of the calls and `floor` retries a second; it counts then."""
        self._roll(now)
        most = share * (self._calls + self._earlier_calls) + floor * WINDOW
        if self._retries + self._earlier_retries + 1 > most:
            return False
        self._retries += 1
        return True

    def _roll(self, now: float) -> None:
        passed = now - self._since
        if passed < _HALF:
            return
        is_next = passed < WINDOW
        self._earlier_calls, self._calls = self._calls if is_next else 0, 0
        self._earlier_retries, self._retries = self._retries if is_next else 0, 0
        self._since = self._since + _HALF if is_next else now


class RetryBudgets:
    """The budgets of one session, by endpoint."""

    __slots__ = ("_budgets",)

    def __init__(self) -> None:
        self._budgets: OrderedDict[Endpoint, RetryBudget] = OrderedDict()

    def of(self, endpoint: Endpoint, now: float) -> RetryBudget:
        budget = self._budgets.get(endpoint)
        if budget is None:
            budget = self._budgets[endpoint] = RetryBudget(now)
            if len(self._budgets) > MOST_ENDPOINTS:
                self._budgets.popitem(last=False)
        else:
            self._budgets.move_to_end(endpoint)
        return budget

    def __len__(self) -> int:
        return len(self._budgets)
