"""Histogram: fixed buckets, exact counts, percentiles within a bucket."""

import math
import random
from itertools import pairwise

import pytest

from keepwarm.pool.histogram import NOTHING, NUMBERS, SECONDS, Histogram, Recorder


def recorded(*values: float, bounds: tuple[float, ...] = SECONDS) -> Histogram:
    recorder = Recorder(bounds)
    for value in values:
        recorder.record(value)
    return recorder.taken()


def test_the_bounds_are_steps_of_one_two_and_five() -> None:
    """The same everywhere, so that histograms can be added up."""
    assert SECONDS[:4] == (0.0001, 0.0002, 0.0005, 0.001)
    assert (SECONDS[-1], NUMBERS[:5], NUMBERS[-1]) == (100_000.0, (1.0, 2.0, 5.0, 10.0, 20.0), 1_000_000.0)
    for bounds in (SECONDS, NUMBERS):
        assert all(1.9 < high / low < 2.6 for low, high in pairwise(bounds))


def test_a_value_counts_below_the_first_bound_that_it_does_not_pass() -> None:
    """At a bound, between two, below all and above all."""
    histogram = recorded(1, 2, 3, 0, 2_000_000, bounds=NUMBERS)
    assert (histogram.count, histogram.sum) == (5, 2_000_006)
    assert histogram.buckets[:3] == (2, 1, 1) and histogram.buckets[-1] == 1 and sum(histogram.buckets) == 5
    assert histogram.cumulative()[:3] == [(1.0, 2), (2.0, 3), (5.0, 4)]
    assert histogram.cumulative()[-1] == (math.inf, 5)


def test_nothing() -> None:
    """No mean and no percentile of no values."""
    nothing = recorded()
    assert nothing is NOTHING[SECONDS]
    assert (nothing.count, nothing.mean, nothing.percentile(50)) == (0, None, None)
    assert {number for _, number in nothing.cumulative()} == {0} and len(nothing.cumulative()) == len(SECONDS) + 1


def test_a_percentile_lies_in_the_bucket_of_the_exact_one() -> None:
    """For any values: within the bounds next to the value that sorting finds."""
    chance = random.Random(7)
    values = sorted(10 ** chance.uniform(-4, 2) for _ in range(1000))
    histogram = recorded(*values)
    for p in (1, 10, 50, 90, 99, 99.9, 100):
        exact = values[math.ceil(len(values) * p / 100) - 1]
        found = histogram.percentile(p)
        high = next(bound for bound in SECONDS if exact <= bound)
        low = max((bound for bound in SECONDS if bound < exact), default=0.0)
        assert found is not None and low <= found <= high
    assert histogram.mean == pytest.approx(sum(values) / 1000)


def test_the_ends_of_the_percentiles() -> None:
    """One value; one above all bounds; and what is no percentage."""
    assert recorded(0.5).percentile(100) == 0.5
    assert recorded(3e6, bounds=NUMBERS).percentile(50) == 1e6
    for p in (-1, 100.5, math.nan):
        with pytest.raises(ValueError, match="p must be a percentage from 0 to 100"):
            recorded(1.0).percentile(p)


def test_adding_up() -> None:
    """The same as counting all of them in one."""
    one, two = recorded(0.1, 5), recorded(7, 1e6)
    assert Histogram.total([one, NOTHING[SECONDS], two]) == recorded(0.1, 5, 7, 1e6)
    assert Histogram.total([], NUMBERS) is NOTHING[NUMBERS]
    recorder = Recorder()
    recorder.add(one)
    recorder.add(NOTHING[SECONDS])
    recorder.add(two)
    assert recorder.taken() == recorded(0.1, 5, 7, 1e6)


def test_what_was_taken_does_not_change() -> None:
    """A value of its own; the same one as long as nothing comes."""
    recorder = Recorder()
    recorder.record(1)
    first = recorder.taken()
    assert recorder.taken() is first
    recorder.record(1)
    assert (first.count, recorder.taken().count) == (1, 2)
