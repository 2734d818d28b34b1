"""ClientTimeout."""

import dataclasses
import math

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.timeout import DEFAULT_TIMEOUT, NO_TIMEOUT, ClientTimeout, coerce_timeout

FIELDS = ("total", "pool", "connect", "read")


def test_defaults() -> None:
    assert dataclasses.astuple(ClientTimeout()) == (300.0, None, None, None)
    assert ClientTimeout() == DEFAULT_TIMEOUT


@pytest.mark.fault("T25")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [0, 0.0, None, math.inf])
def test_none_of_it(field: str, value: float | None) -> None:
    """0, None and infinity all mean no limit, and read back as None."""
    assert getattr(ClientTimeout(**{field: value}), field) is None


@pytest.mark.fault("T25")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [1, 2.5, 1e-9])
def test_seconds(field: str, value: float) -> None:
    """Every positive number is taken as it is, as a float."""
    seconds = getattr(ClientTimeout(**{field: value}), field)
    assert seconds == value and type(seconds) is float


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [-1, -0.1, math.nan, -math.inf, True, False, "3", b"3", [], 10**400])
def test_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"timeout\.{field}") as caught:
        ClientTimeout(**{field: value})  # type: ignore[arg-type]
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == f"timeout.{field}"


def test_frozen_and_small() -> None:
    timeout = ClientTimeout()
    with pytest.raises(dataclasses.FrozenInstanceError):
        timeout.total = 1  # type: ignore[misc]
    assert not hasattr(timeout, "__dict__")


def test_coerce() -> None:
    own = ClientTimeout(read=3)
    assert coerce_timeout(own) is own
    assert coerce_timeout(5) == ClientTimeout(total=5)
    assert coerce_timeout(0) == coerce_timeout(None) == NO_TIMEOUT
    assert dataclasses.astuple(NO_TIMEOUT) == (None, None, None, None)


@pytest.mark.parametrize("value", ["5", True, -1, math.nan, object(), (1, 2)])
def test_coerce_refuses(value: object) -> None:
    with pytest.raises(ValueError, match="timeout") as caught:
        coerce_timeout(value)
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == "timeout"
