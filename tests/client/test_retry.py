"""RetryPolicy and its budget: what may be tried again, after which pause, how often. Pure."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from keepwarm.client.backoff import Backoff
from keepwarm.client.errors import HttpProxyError, InvalidInput, ResponseDisconnected
from keepwarm.client.options import RequestOptions
from keepwarm.client.request import ClientRequest
from keepwarm.client.retry import RetryPolicy, check_retry, retry_after
from keepwarm.client.retry_budget import MOST_ENDPOINTS, WINDOW, RetryBudget, RetryBudgets
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import (
    ClientError,
    ConnectError,
    ConnectTimeoutError,
    DNSError,
    FingerprintMismatch,
    PoolFullError,
    PoolTimeoutError,
    ProxyConnectionError,
    TLSError,
)

POLICY = RetryPolicy()
GET, POST = ClientRequest("GET", "http://a.test/"), ClientRequest("POST", "http://a.test/", data=b"x")
KEYED = ClientRequest("POST", "http://a.test/", data=b"x", headers={"Idempotency-Key": "1"})


def gone(*, sent: bool = True, begun: bool = False) -> ResponseDisconnected:
    return ResponseDisconnected("gone", request_sent=sent, response_begun=begun)


def caused(error: ClientError, cause: BaseException) -> ClientError:
    error.__cause__ = cause
    return error


# Which errors


@pytest.mark.parametrize(
    ("error", "get", "post"),
    [
        (ConnectError(111, "refused"), True, True),
        (ConnectTimeoutError("slow"), True, True),
        (gone(), True, False),
        (gone(sent=False), True, True),
        (gone(begun=True), False, False),
        (DNSError(-3, "try again"), True, True),
        (DNSError(-2, "no such name"), False, False),
        (caused(TLSError(0, "hung up"), ConnectionResetError()), True, True),
        (TLSError(0, "bad certificate"), False, False),
        (FingerprintMismatch(b"1", b"2", "a.test", 443), False, False),
        (ProxyConnectionError("proxy is gone"), True, True),
        (caused(ProxyConnectionError("proxy"), TLSError(0, "bad certificate")), False, False),
        (HttpProxyError("busy", code=503), True, True),
        (HttpProxyError("who are you", code=407), False, False),
        (PoolTimeoutError("full"), False, False),
        (PoolFullError("full"), False, False),
    ],
)
def test_errors(error: ClientError, get: bool, post: bool) -> None:
    """What may help and can do no harm; a request that was sent is sent again only if it is idempotent."""
    assert POLICY.allows_error(GET, error) is get
    assert POLICY.allows_error(POST, error) is post
    assert not RetryPolicy(errors=False).allows_error(GET, error)


def test_an_idempotency_key_makes_it_idempotent() -> None:
    assert POLICY.allows_error(KEYED, gone())
    assert not POLICY.may_repeat(POST)
    assert POLICY.may_repeat(KEYED)


def test_methods_are_what_the_caller_says() -> None:
    """In any case; those that it leaves out are not repeated, though they are idempotent."""
    policy = RetryPolicy(methods=frozenset({"post"}))
    assert policy.may_repeat(POST)
    assert not policy.may_repeat(GET)


# Pauses


def test_the_pause_grows_and_is_left_to_chance() -> None:
    """Full jitter: from nothing to 0.1, 0.2, 0.4 ... 10 seconds."""
    assert [POLICY.pause(tries, 0.0) for tries in (1, 2, 3, 20)] == pytest.approx([0.1, 0.2, 0.4, 10.0])
    assert [POLICY.pause(tries, 1.0) for tries in (1, 2, 3, 20)] == [0.0] * 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        (" 7 ", 7),
        ("120", 120),
        ("-1", 0),
        ("1.5", 0),
        ("soon", 0),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after_in_seconds(text: str | None, seconds: float) -> None:
    """What is no number of seconds asks for nothing."""
    assert retry_after(text) == seconds


def test_retry_after_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time until then; a date that has passed is now."""
    now = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
    monkeypatch.setattr("keepwarm.client.retry.wall_time", now.timestamp)
    assert retry_after(format_datetime(now.replace(second=30), usegmt=True)) == 30
    assert retry_after(format_datetime(now.replace(year=2025), usegmt=True)) == 0
    assert retry_after("Friday, 01-May-26 12:01:00 GMT") == retry_after("Fri May  1 12:01:00 2026") == 60


# The budget


def test_retries_are_a_share_of_calls_and_a_floor() -> None:
    """With a tenth and one a second: ten in ten seconds for nothing, and one for each ten calls."""
    budget = RetryBudget(0.0)
    assert sum(budget.take(0.0, 0.1, 1.0) for _ in range(100)) == 10
    for _ in range(100):
        budget.called(1.0)
    assert sum(budget.take(1.0, 0.1, 1.0) for _ in range(100)) == 10


def test_without_a_floor_it_is_the_share_alone() -> None:
    budget = RetryBudget(0.0)
    for _ in range(59):
        budget.called(0.0)
    assert sum(budget.take(0.0, 0.1, 0.0) for _ in range(100)) == 5


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_over_a_long_time_the_share_holds(share: float) -> None:
    """Every call fails and wants two retries, for ten minutes."""
    budget = RetryBudget(0.0)
    calls = retries = 0
    for tick in range(6000):
        now = tick / 10
        for _ in range(5):
            budget.called(now)
            calls += 1
            retries += budget.take(now, share, 0.0) + budget.take(now, share, 0.0)
    assert share * calls * 0.9 < retries <= share * calls


def test_old_calls_do_not_count() -> None:
    """After ten seconds without any there is the floor."""
    budget = RetryBudget(0.0)
    for _ in range(1000):
        budget.called(0.0)
    assert budget.take(WINDOW - 0.001, 0.1, 0.0)
    assert not budget.take(2 * WINDOW, 0.1, 0.0)


def test_budgets_are_bounded() -> None:
    """The endpoint that was called longest ago makes room."""
    budgets = RetryBudgets()
    first = budgets.of(make_endpoint("h0.test", 80, False), 0.0)
    for n in range(MOST_ENDPOINTS + 1):
        budgets.of(make_endpoint(f"h{n}.test", 80, False), 0.0)
    assert len(budgets) == MOST_ENDPOINTS
    assert budgets.of(make_endpoint("h0.test", 80, False), 0.0) is not first


def test_options_share_their_budgets() -> None:
    """A call with a policy of its own, or on a foreign origin, is counted with the others."""
    options = RequestOptions(retry=POLICY)
    other = options.retrying(RetryPolicy(attempts=5))
    assert other is not options and other.retry != options.retry
    assert options.retrying(POLICY) is options
    assert other.budgets is options.budgets is options.foreign.budgets is other.foreign.budgets
    assert other.foreign.retry is other.retry


# Arguments


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("attempts", 0),
        ("attempts", 2.0),
        ("attempts", True),
        ("backoff", 1.0),
        ("attempts=4", None),
        ("statuses", 503),
        ("statuses", "503"),
        ("statuses", {200}),
        ("statuses", {"503"}),
        ("methods", "GET"),
        ("methods", {"G T"}),
        ("methods", {"CONNECT"}),
        ("longest_retry_after", -1),
        ("budget", 1.1),
        ("budget", "0.1"),
        ("budget_floor", -1),
    ],
)
def test_what_cannot_be_is_refused(option: str, value: Any) -> None:
    """The error names the option."""
    given = {"backoff": Backoff(tries=3)} if value is None else {option: value}
    with pytest.raises((TypeError, ValueError), match=option):
        RetryPolicy(**given)


def test_the_argument() -> None:
    """A policy of one attempt is none; anything else is refused by name."""
    assert check_retry(None) is None
    assert check_retry(RetryPolicy(attempts=1)) is None
    assert check_retry(POLICY) is POLICY
    with pytest.raises(InvalidInput, match=r"retry must be a RetryPolicy\(attempts=\.\.\.\) or None") as caught:
        check_retry(3)
    assert caught.value.argument == "retry"
