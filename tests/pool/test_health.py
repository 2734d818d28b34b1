"""Which address a dial tries first: even loads, leaving the dead alone, letting them back. No sockets here."""

from random import Random

import pytest

from keepwarm.pool.address import Address
from keepwarm.pool.health import MOST_KEPT, AddressHealth, AddressPolicy, Choice
from tests.support.dialing import InOrder, ipv4, ipv6
from tests.support.fakes import FakeClock

FOUR = tuple(ipv4(80, f"127.0.0.{n}") for n in range(1, 5))
EIGHT = tuple(ipv4(80, f"127.0.0.{n}") for n in range(1, 9))


def health(clock: FakeClock, random: Random | None = None, **options: float) -> AddressHealth:
    return AddressHealth(clock.now, AddressPolicy(**options), random or InOrder())  # type: ignore[arg-type]


def fail(books: AddressHealth, address: Address, times: int = 3) -> None:
    for _ in range(times):
        books.failed(address)


def first(books: AddressHealth, addresses: tuple[Address, ...] = FOUR) -> Address:
    """What the next dial would try first; the dial is given up at once."""
    choice = books.choose(addresses)
    choice.over()
    return choice.order[0]


# Load


@pytest.mark.parametrize("seed", range(5))
def test_four_hundred_connections_are_spread_evenly(seed: int) -> None:
    """Eight addresses get 40 to 60 each, with dials under way ten at a time."""
    books = health(FakeClock(), Random(seed))
    choices: list[Choice] = []
    for _ in range(40):
        dials = [books.choose(EIGHT) for _ in range(10)]
        for dial in dials:
            dial.won(dial.order[0])
        choices += dials
    assert sum(books.load(address) for address in EIGHT) == 400
    assert all(40 <= books.load(address) <= 60 for address in EIGHT)
    for choice in choices:
        choice.over()
    assert [books.load(address) for address in EIGHT] == [0] * 8


@pytest.mark.parametrize("seed", range(5))
def test_dials_that_start_together_are_spread(seed: int) -> None:
    """A dial counts from its beginning: four hundred at once see each other."""
    books = health(FakeClock(), Random(seed))
    choices = [books.choose(EIGHT) for _ in range(400)]
    assert all(40 <= books.load(address) <= 60 for address in EIGHT)
    for choice in choices:
        choice.over()


def test_of_two_that_are_drawn_the_less_loaded_is_first() -> None:
    books = health(FakeClock())
    one, two = FOUR[:2]
    held = [books.choose((one,)) for _ in range(2)]
    assert books.choose((one, two)).order == (two, one)
    assert books.choose((one, two)).order == (two, one)
    assert books.choose((one, two)).order == (one, two)
    assert len(held) == 2


def test_a_connection_is_a_load_of_the_address_that_won() -> None:
    """The first choice was overtaken: the load moves, and ends once."""
    books = health(FakeClock())
    choice = books.choose(FOUR)
    choice.won(FOUR[2], [FOUR[0]])
    assert [books.load(address) for address in FOUR] == [0, 0, 1, 0]
    choice.over()
    choice.over()
    assert [books.load(address) for address in FOUR] == [0, 0, 0, 0]


def test_families_keep_their_places() -> None:
    """The choice is made within each family (RFC 8305): who had IPv6 in front still has."""
    books = health(FakeClock(), Random(3))
    mixed = (ipv6(80, "::1"), ipv4(80), ipv6(80, "::2"), ipv4(80, "127.0.0.2"), ipv4(80, "127.0.0.3"))
    for _ in range(50):
        order = books.choose(mixed).order
        assert [a.family for a in order] == [a.family for a in mixed]
        assert set(order) == set(mixed)


# Setting aside


@pytest.mark.fault("D08")
def test_three_failures_in_a_row_set_an_address_aside() -> None:
    """It comes last until its time is over; a success in between starts the count anew."""
    books = health(FakeClock())
    dead = FOUR[0]
    fail(books, dead, 2)
    assert first(books) == dead
    books.works(dead)
    fail(books, dead, 2)
    assert first(books) == dead
    books.failed(dead)
    assert books.choose(FOUR).order == (*FOUR[1:], dead)


def test_one_dial_tries_it_again_when_its_time_is_over() -> None:
    """The next dials do not wait for what becomes of it: they go elsewhere until the address is back."""
    clock = FakeClock()
    books = health(clock)
    dead = FOUR[3]
    fail(books, dead)
    clock.advance(0.999)
    assert first(books) != dead
    clock.advance(0.002)
    assert [first(books) == dead for _ in range(5)] == [True, False, False, False, False]


def test_the_time_grows_with_each_failure_to_its_longest() -> None:
    """1, 2, 4 ... 60 seconds, each ended by one dial that fails."""
    clock = FakeClock()
    books = health(clock)
    dead = FOUR[3]
    fail(books, dead)
    pauses = []
    for _ in range(9):
        waited = 0
        while first(books) != dead:
            clock.advance(0.5)
            waited += 1
        pauses.append(waited / 2)
        books.failed(dead)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_dials_that_fail_together_are_one_failure_more() -> None:
    """A hundred dials were under way when the address died: it is set aside for a second, not for a minute."""
    clock = FakeClock()
    books = health(clock)
    fail(books, FOUR[3], 100)
    clock.advance(1.001)
    assert first(books) == FOUR[3]
    fail(books, FOUR[3], 100)
    clock.advance(1.999)
    assert first(books) != FOUR[3]
    clock.advance(0.002)
    assert first(books) == FOUR[3]


def test_jitter_keeps_clients_apart() -> None:
    """A fifth less and a fifth more, at most."""
    policy = AddressPolicy()
    assert [policy.pause(3, chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 1.0, 1.2])
    assert policy.pause(10_000, 0.5) == 60.0


def test_an_address_that_works_again_is_as_good_as_any() -> None:
    clock = FakeClock()
    books = health(clock)
    fail(books, FOUR[0])
    clock.advance(1)
    choice = books.choose(FOUR)
    choice.won(FOUR[0])
    choice.served()
    assert books.set_aside(FOUR) == []
    choice.over()
    assert first(books) == FOUR[0]


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (8, 4)])
def test_never_more_than_half_are_set_aside(count: int, most: int) -> None:
    """With every address failing the others go on being tried in turn, and none is ever left out of the order."""
    books = health(FakeClock())
    addresses = EIGHT[:count]
    for address in addresses:
        fail(books, address)
    assert len(books.set_aside(addresses)) == most
    assert set(books.choose(addresses).order) == set(addresses)


def test_those_that_failed_last_are_the_ones_set_aside() -> None:
    clock = FakeClock()
    books = health(clock)
    for address in (FOUR[2], FOUR[0], FOUR[3], FOUR[1]):
        fail(books, address)
        clock.advance(0.1)
    assert books.set_aside(FOUR) == [FOUR[3], FOUR[1]]


@pytest.mark.fault("D09")
def test_a_family_that_is_cut_off_is_set_aside_as_a_whole() -> None:
    """Three dead IPv6 addresses and one that works: IPv4 comes first, though more than half are set aside."""
    books = health(FakeClock())
    dead = tuple(ipv6(80, f"::{n}") for n in range(1, 4))
    for address in dead:
        fail(books, address)
    alive = ipv4(80)
    assert books.choose((*dead, alive)).order == (alive, *dead)


def test_nothing_is_set_aside_by_a_policy_that_says_so() -> None:
    books = health(FakeClock(), most_aside=0)
    fail(books, FOUR[0], 10)
    assert first(books) == FOUR[0]


def test_failures_are_remembered_of_a_bounded_number_of_addresses() -> None:
    """The one that failed longest ago is forgotten first."""
    books = health(FakeClock())
    old, new = ipv4(1), ipv4(MOST_KEPT + 1)
    for port in range(1, MOST_KEPT + 2):
        fail(books, ipv4(port))
    assert books.set_aside((old, ipv4(65000))) == []
    assert books.set_aside((new, ipv4(65000))) == [new]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("failures", 0),
        ("failures", 1.5),
        ("failures", True),
        ("first", 0),
        ("first", -1),
        ("longest", 0.5),
        ("jitter", 1),
        ("jitter", -0.1),
        ("most_aside", 1.1),
        ("most_aside", "half"),
    ],
)
def test_what_cannot_be_is_refused(option: str, value: object) -> None:
    """The error names the option."""
    with pytest.raises((TypeError, ValueError), match=option):
        AddressPolicy(**{option: value})  # type: ignore[arg-type]
