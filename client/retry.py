"""RetryPolicy: which calls are tried again, how often, and after which pauses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keepwarm.client.backoff import Backoff
from keepwarm.client.cookie_date import parse_cookie_date
from keepwarm.client.errors import HttpProxyError, InvalidInput, ResponseDisconnected
from keepwarm.client.exchange import Exchange
from keepwarm.client.method import IDEMPOTENT_METHODS, check_method
from keepwarm.client.request import ClientRequest
from keepwarm.pool.clock import wall_time
from keepwarm.pool.dns_flight import is_final
from keepwarm.pool.errors import (
    ClientError,
    ConnectError,
    ConnectTimeoutError,
    DNSError,
    ProxyConnectionError,
    TLSError,
    printable,
)
from keepwarm.pool.limits import check_flag, check_seconds

STATUSES: Final = frozenset({429, 502, 503, 504})
_BACKOFF: Final = Backoff(first=0.1, longest=10.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Try a call again when it is likely to help and can do no harm. A session without one tries once.

    - `attempts` (3, at least 1): tries in all, the first included; 1 never tries again. The replay of a request whose
      reused connection had died is not counted: the server had closed it before the request.
    - `backoff` (Backoff(first=0.1, factor=2.0, longest=10.0), seconds): the pause before the second try is a random
      part of 0.1 s, that before the third of 0.2 s, and so on. Its `tries` must be None: `attempts` is that.
    - `statuses` (429, 502, 503, 504): answers that are given up for another try. Set() for none.
    - `methods` (those that are idempotent by RFC 9110 9.2.2): the methods of requests that may be sent again after
      they were sent. A request with an Idempotency-Key is one of them, whatever its method.
    - `errors` (True): try again when no connection could be made, and when the peer went away before a byte of the
      answer. Where no byte of the request had gone out, that is for all methods. Not for what will be the same the next
      time: a certificate or a pin that does not fit, a name that does not exist, a refusal of a proxy that is not one
      of `statuses`; and never for a limit of ours, of time or of connections.
    - `respect_retry_after` (True): wait as long as the answer asks for (RFC 9110 10.2.3), and then the backoff.
      `longest_retry_after` (60.0, seconds; 0: no bound): an answer that asks for more is given to the caller.
    - `budget` (0.1, from 0 to 1) and `budget_floor` (1.0 a second, from 0): of the last ten seconds' calls to an
      endpoint, so large a part may be retries, and so many more a second. What is beyond that is not tried again.

    A body that can be read once is not sent again once it was begun. No pause goes past the call's time limit: the last
    error or answer is given at once instead. Raises TypeError or ValueError that names the option.
    """

    attempts: int = 3
    backoff: Backoff = _BACKOFF
    statuses: frozenset[int] = STATUSES
    methods: frozenset[str] = IDEMPOTENT_METHODS
    errors: bool = True
    respect_retry_after: bool = True
    longest_retry_after: float = 60.0
    budget: float = 0.1
    budget_floor: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError(f"RetryPolicy: attempts must be a whole number from 1 up, got {self.attempts!r}")
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"RetryPolicy: backoff must be a Backoff, got {self.backoff!r}")
        if self.backoff.tries is not None:
            raise ValueError(f"RetryPolicy: give attempts={self.backoff.tries + 1} in place of backoff.tries")
        object.__setattr__(self, "statuses", _check_statuses(self.statuses))
        object.__setattr__(self, "methods", _check_methods(self.methods))
        for name in ("errors", "respect_retry_after"):
            check_flag(f"RetryPolicy: {name}", getattr(self, name))
        longest = check_seconds("longest_retry_after", self.longest_retry_after)
        object.__setattr__(self, "longest_retry_after", math.inf if longest is None else longest)
        for name, most in (("budget", 1.0), ("budget_floor", math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise ValueError(f"RetryPolicy: {name} must be a number from 0 to {most:g}, got {value!r}")

    def may_repeat(self, request: ClientRequest) -> bool:
        """Whether the request may be sent again although the server may have done what it asks for."""
        if not request.can_repeat_body:
            return False
        # What allows a replay and is no idempotent method is an Idempotency-Key.
        has_key = request.may_replay and request.method not in IDEMPOTENT_METHODS
        return has_key or request.method in self.methods

    def allows_error(self, request: ClientRequest, error: ClientError) -> bool:
        """Whether the call may be tried again after this error."""
        if not self.errors or not request.can_repeat_body:
            return False
        if isinstance(error, ResponseDisconnected):
            return not error.response_begun and (error.request_sent is False or self.may_repeat(request))
        if isinstance(error, HttpProxyError):
            return error.code in self.statuses
        if isinstance(error, ProxyConnectionError):
            cause = error.__cause__
            return not isinstance(cause, ClientError) or self.allows_error(request, cause)
        if isinstance(error, DNSError):
            return not is_final(error)
        if isinstance(error, TLSError):
            return isinstance(error.__cause__, ConnectionError)
        return isinstance(error, (ConnectError, ConnectTimeoutError))

    def allows_answer(self, request: ClientRequest, exchange: Exchange) -> bool:
        """Whether the call may be tried again in place of this answer."""
        head = exchange.head
        return head is not None and head.status in self.statuses and self.may_repeat(request)

    def pause(self, tries: int, chance: float, exchange: Exchange | None = None) -> float | None:
        """Seconds to wait after so many tries, of which the last had this answer, if any; None: too long to wait.
        `chance` is a number from 0 to 1."""
        seconds = self.backoff.pause(tries, chance)
        if exchange is None or exchange.head is None or not self.respect_retry_after:
            return seconds
        asked = retry_after(exchange.head.headers.get("Retry-After"))
        return None if asked > self.longest_retry_after else asked + seconds


def retry_after(text: str | None) -> float:
    """The seconds that a Retry-After asks for: a number, or until a date. 0 for none, and for one that is neither."""
    if text is None:
        return 0.0
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text) if len(text) < 20 else math.inf
    # All forms of RFC 9110 5.6.7 are dates of cookies too.
    date = parse_cookie_date(text)
    return 0.0 if date is None else max(0.0, date - wall_time())


def check_retry(retry: object) -> RetryPolicy | None:
    """The argument `retry`; None for a policy that never tries again. Raises InvalidInput."""
    if retry is None:
        return None
    if not isinstance(retry, RetryPolicy):
        raise InvalidInput(
            f"retry must be a RetryPolicy(attempts=...) or None, got {type(retry).__name__}", argument="retry"
        )
    return retry if retry.attempts > 1 else None


def _check_statuses(statuses: Iterable[int]) -> frozenset[int]:
    if isinstance(statuses, (str, bytes)) or not isinstance(statuses, Iterable):
        raise TypeError(f"RetryPolicy: statuses must be a set of numbers, got {statuses!r}")
    for status in (found := frozenset(statuses)):
        if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"RetryPolicy: statuses must be numbers from 400 to 599, got {status!r}")
    return found


def _check_methods(methods: Iterable[str]) -> frozenset[str]:
    if isinstance(methods, (str, bytes)) or not isinstance(methods, Iterable):
        raise TypeError(f"RetryPolicy: methods must be a set of names, got {printable(repr(methods))}")
    try:
        return frozenset(check_method(method) for method in methods)
    except InvalidInput as exc:
        raise ValueError(f"RetryPolicy: methods: {exc}") from None
