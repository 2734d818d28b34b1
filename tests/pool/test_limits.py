"""Limits: what is taken and what is refused, by name."""

import dataclasses
from typing import Any

import pytest

from keepwarm.pool.limits import Limits

COUNTS = [("per_endpoint", "limit"), ("total", "limit_total"), ("max_waiting", "max_waiting")]


@pytest.mark.fault("P39")
@pytest.mark.parametrize(("field", "option"), COUNTS)
@pytest.mark.parametrize("value", [0, -1, -(10**9)])
def test_counts_out_of_range(field: str, option: str, value: int) -> None:
    """Zero or less is no limit that could be kept, and not a way to say None."""
    with pytest.raises(ValueError, match=rf"^{option} must be at least 1"):
        Limits(**{field: value})


@pytest.mark.fault("P39")
@pytest.mark.parametrize(("field", "option"), COUNTS)
@pytest.mark.parametrize("value", [1.0, "1", True, False, b"", float("nan")])
def test_counts_of_the_wrong_type(field: str, option: str, value: Any) -> None:
    """A bool or a float is a slip of the caller's."""
    with pytest.raises(TypeError, match=rf"^{option} must be a whole number or None"):
        Limits(**{field: value})


@pytest.mark.fault("P39")
def test_what_is_taken() -> None:
    """None is no limit; from 1 on everything is one."""
    assert Limits() == Limits(None, None, None, None)
    assert Limits(1, 1, 1, 0.5) == Limits(per_endpoint=1, total=1, max_waiting=1, pool_timeout=0.5)


@pytest.mark.parametrize(("given", "kept"), [(None, None), (0, None), (0.0, None), (3, 3.0), (0.001, 0.001)])
def test_pool_timeout(given: float | None, kept: float | None) -> None:
    """Seconds; 0 and None mean no limit."""
    assert Limits(pool_timeout=given).pool_timeout == kept


@pytest.mark.parametrize("value", [-1, -0.001, float("inf"), float("nan")])
def test_seconds_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^pool_timeout must be"):
        Limits(pool_timeout=value)


@pytest.mark.parametrize("value", ["3", True, b"1"])
def test_seconds_of_the_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^pool_timeout must be a number of seconds or None"):
        Limits(pool_timeout=value)


@pytest.mark.fault("P39")
def test_limits_do_not_change() -> None:
    """One value for the life of a pool."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits(per_endpoint=1).per_endpoint = 2  # type: ignore[misc]
