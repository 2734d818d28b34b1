"""Keepalive: how long a connection may lie idle, by our own choice and by what the server said."""

import dataclasses

import pytest

from keepwarm.pool.clock import NEVER
from keepwarm.pool.keepalive import HINT_CAP, HINT_MARGIN, Keepalive


@pytest.mark.fault("P30")
@pytest.mark.parametrize(("given", "window"), [(0, NEVER), (None, NEVER), (0.0, NEVER), (15, 15.0), (0.2, 0.2)])
def test_own_timeout(given: float | None, window: float) -> None:
    """0 and None keep a connection for ever (A-04)."""
    assert Keepalive(given).window(None) == window


@pytest.mark.fault("P31")
@pytest.mark.parametrize(
    ("hint", "window"),
    [
        (5, 5 - HINT_MARGIN),
        (HINT_MARGIN * 2, HINT_MARGIN),
        (HINT_MARGIN, HINT_MARGIN / 2),
        (0.5, 0.25),
        (0, 0),
        (31, 30),
        (32, 30),
        (HINT_CAP, 30),
        (HINT_CAP + 1, 30),
        (1e300, 30),
    ],
)
def test_a_hint_shortens_only(hint: float, window: float) -> None:
    """The smaller of our own and the server's less a margin, at least half of a short one."""
    assert Keepalive(30).window(hint) == window


@pytest.mark.fault("P31")
def test_a_hint_with_no_timeout_of_our_own() -> None:
    """A believable hint holds even for a pool that keeps for ever; an absurd one is as if it had not been given."""
    assert Keepalive(None).window(HINT_CAP) == HINT_CAP - HINT_MARGIN
    assert Keepalive(0).window(HINT_CAP + 0.001) == NEVER
    assert Keepalive(0).window(86400) == NEVER


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^keepalive_timeout must be"):
        Keepalive(value)


@pytest.mark.parametrize("value", ["30", True])
def test_wrong_type(value: object) -> None:
    with pytest.raises(TypeError, match=r"^keepalive_timeout must be a number"):
        Keepalive(value)  # type: ignore[arg-type]


def test_it_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Keepalive().force_close = True  # type: ignore[misc]
