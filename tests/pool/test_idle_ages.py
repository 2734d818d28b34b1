"""What the ends of idle connections teach about an endpoint, and what they do not. No sockets, no clock but numbers."""

import pytest

from keepwarm.pool.clock import NEVER
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.idle_ages import FORGET_AFTER, MOST, MOST_ENDPOINTS, IdleAges
from keepwarm.pool.keepalive import HINT_MARGIN

A, B = make_endpoint("a.test", 80, False), make_endpoint("b.test", 80, False)


def taught(*ends: tuple[float, float]) -> IdleAges:
    """After ends of connections to A, each (age, time)."""
    ages = IdleAges()
    for age, now in ends:
        ages.ended(A, age, now)
    return ages


def test_three_ends_at_one_age_set_the_window() -> None:
    """A margin below the smallest of them; two are not enough, and other endpoints are not concerned."""
    ages = taught((5.0, 100), (5.2, 200))
    assert ages.window(A, 200) == NEVER
    ages.ended(A, 5.1, 300)
    assert ages.window(A, 300) == 5.0 - HINT_MARGIN
    assert ages.window(B, 300) == NEVER


def test_a_short_age_is_halved() -> None:
    """A margin of a second would leave nothing of a second and a half."""
    assert taught((1.5, 10), (1.6, 20), (1.5, 30)).window(A, 30) == 0.75


@pytest.mark.parametrize("ages", [(5.0, 9.0, 23.0), (2.0, 2.6, 3.2), (5, 9, 14, 20, 27), (60, 50, 40, 30, 20)])
def test_ages_that_differ_teach_nothing(ages: tuple[float, ...]) -> None:
    """Connections that end by accident end at any age."""
    assert taught(*((age, 100.0 * n) for n, age in enumerate(ages))).window(A, 1000) == NEVER


def test_ends_at_one_moment_are_one_observation() -> None:
    """Fifty connections that were released together, and end together, are one; three such moments are enough."""
    ages = IdleAges()
    for moment in (100.0, 200.0):
        for n in range(50):
            ages.ended(A, 10.0, moment + n / 100)
        assert ages.window(A, moment) == NEVER
    ages.ended(A, 10.0, 300.0)
    assert ages.window(A, 300.0) == 9.0


def test_a_restart_teaches_nothing() -> None:
    """It ends connections of all ages at once, however often it happens."""
    ages = IdleAges()
    for restart in range(1, 20):
        for age in (3.0, 3.1, 17.0, 29.0):
            ages.ended(A, age, 100.0 * restart)
        assert ages.window(A, 100.0 * restart + 1) == NEVER


def test_a_restart_among_true_observations_is_left_out() -> None:
    """What was known before it, and what comes after, counts on."""
    ages = taught((8, 100), (8, 200), (2, 300), (5, 300), (7.9, 300.5), (8, 400))
    assert ages.window(A, 400) == 7.0


def test_ends_of_the_youngest_teach_nothing() -> None:
    """Under load connections lie idle for milliseconds, and a rolling restart ends them at much the same age."""
    ages = taught(*((0.001 * n, 10.0 * n) for n in range(1, 50)))
    assert ages.window(A, 500) == NEVER
    assert len(ages) == 0


def test_the_latest_observations_count() -> None:
    """A server that was set to a shorter time is known after three more ends, though older ones are remembered."""
    ages = taught(*((20, 100.0 * n) for n in range(1, 6)))
    assert ages.window(A, 600) == 19.0
    for n in range(6, 9):
        ages.ended(A, 4, 100.0 * n)
    assert ages.window(A, 800) == 3.0


def test_it_is_forgotten_one_observation_at_a_time() -> None:
    """With three observations the window opens after one pause; one more end at that age shuts it again."""
    ages = taught((5, 100), (5, 200), (5, 300))
    assert ages.window(A, 300 + FORGET_AFTER - 1) == 4.0
    assert ages.window(A, 300 + FORGET_AFTER) == NEVER
    ages.ended(A, 5, 300 + FORGET_AFTER + 1)
    assert ages.window(A, 300 + FORGET_AFTER + 1) == 4.0


def test_much_evidence_is_forgotten_late_and_in_the_end() -> None:
    """Three pauses for the most that is remembered; after that nothing is left of the endpoint."""
    ages = taught(*((5, 100.0 * n) for n in range(1, 30)))
    last = 2900.0
    kept_until = last + (MOST - 2) * FORGET_AFTER
    assert ages.window(A, kept_until - 1) == 4.0
    assert ages.window(A, kept_until) == NEVER
    assert len(ages) == 1
    assert ages.window(A, last + MOST * FORGET_AFTER) == NEVER
    assert len(ages) == 0


def test_endpoints_are_bounded() -> None:
    """The one that was heard of longest ago makes room."""
    ages = IdleAges()
    for n in range(MOST_ENDPOINTS + 10):
        for now in (100, 200, 300):
            ages.ended(make_endpoint(f"h{n}.test", 80, False), 5, now)
    assert len(ages) == MOST_ENDPOINTS
    assert ages.window(make_endpoint("h0.test", 80, False), 300) == NEVER
    assert ages.window(make_endpoint(f"h{MOST_ENDPOINTS + 9}.test", 80, False), 300) == 4.0
