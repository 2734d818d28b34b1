"""CookieJar: what it keeps and what it sends, beyond the corpus."""

import logging
from http.cookies import SimpleCookie

import pytest

from keepwarm.client.cookies import CookieJar
from keepwarm.client.errors import InvalidInput
from keepwarm.pool.endpoint import Endpoint, make_endpoint

HOST = make_endpoint("home.example.org")
TLS = make_endpoint("home.example.org", is_ssl=True)
OTHER = make_endpoint("other.example.net")


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1_750_000_000.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.time


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def jar(wall: Wall) -> CookieJar:
    return CookieJar(now=wall)


# Cookies from the caller


@pytest.mark.fault("C12")
@pytest.mark.parametrize(
    "other",
    [
        OTHER,
        make_endpoint("sub.home.example.org"),
        make_endpoint("example.org"),
        make_endpoint("home.example.org", 8080),
        TLS,
    ],
)
def test_given_cookies_stay_with_their_origin(other: Endpoint) -> None:
    """K2: cookies given for the session go to the origin of the first request, and to no other scheme, host, port."""
    jar = CookieJar({"a": "1", "b": "2"})
    assert jar.header_for(HOST, "/") == "a=1; b=2"
    assert jar.header_for(other, "/") is None
    assert jar.header_for(HOST, "/deep/er?x=1") == "a=1; b=2"


@pytest.mark.fault("C12")
def test_given_cookies_with_a_domain(jar: CookieJar) -> None:
    """A Morsel that names a domain goes there, whoever comes first."""
    jar.add(_morsel("a=1; Domain=.Example.org; Path=/x; Secure"))
    assert jar.header_for(OTHER, "/x") is None
    assert jar.header_for(HOST, "/x") is None
    assert jar.header_for(TLS, "/") is None
    assert jar.header_for(TLS, "/x/y") == "a=1"


@pytest.mark.parametrize("domain", ["localhost", "10.0.0.1"])
def test_given_domain_that_can_have_no_hosts_below(jar: CookieJar, domain: str) -> None:
    """For an address or a single label a given domain means exactly that host."""
    jar.add(_morsel(f"a=1; Domain={domain}"))
    assert jar.header_for(make_endpoint(domain), "/") == "a=1"
    assert jar.header_for(make_endpoint("sub.localhost"), "/") is None
    assert [cookie.host_only for cookie in jar] == [True]


def test_given_morsels_keep_value_and_attributes(jar: CookieJar, wall: Wall) -> None:
    """B-04: the coded value of a Morsel is kept; Max-Age outdoes Expires; numbers in `expires` count from now."""
    jar.add(_morsel('a="x y"; Max-Age=10; Expires=Fri, 07 Aug 1998 08:04:19 GMT; HttpOnly; SameSite=Lax'))
    later = _morsel("b=1")
    later["b"]["expires"] = 20
    jar.add(later)
    first, second = jar
    assert (first.value, first.http_only, first.same_site) == ('"x y"', True, "Lax")
    assert (first.expires, second.expires) == (wall.time + 10, wall.time + 20)
    assert jar.header_for(HOST, "/") == 'a="x y"; b=1'


def test_given_again(jar: CookieJar) -> None:
    """The last of a name counts, before the first request and after it."""
    jar.add([("a", "1"), ("b", "2"), ("a", 3)])
    assert jar.header_for(HOST, "/") == "a=3; b=2"
    jar.add({"a": "4"})
    assert jar.header_for(HOST, "/") == "a=4; b=2"
    assert len(jar) == 2


def test_server_replaces_a_given_cookie(jar: CookieJar) -> None:
    """A response may change what the caller gave; then it is a cookie of the host like any other."""
    jar.add({"a": "1"})
    jar.header_for(HOST, "/")
    jar.update_from_response(["a=2; Path=/"], HOST, "/")
    assert jar.header_for(make_endpoint("home.example.org", 8080), "/") == "a=2"


@pytest.mark.fault("O11")
@pytest.mark.parametrize(
    ("cookies", "error"),
    [
        ({"a": "1", "b\r\n": "2"}, InvalidInput),
        ({"a": "1", "b": "2\r\nX: 1"}, InvalidInput),
        ({"a": "1", "b": None}, TypeError),
        ({"a": "1", "b": True}, TypeError),
        ({"a": "1", 2: "b"}, TypeError),
        ("a=1", TypeError),
        ([("a", "1", "/")], TypeError),
    ],
)
def test_bad_cookies_are_all_or_nothing(jar: CookieJar, cookies: object, error: type[Exception]) -> None:
    """What cannot be sent is refused with the argument's name, and nothing of it is kept."""
    with pytest.raises(error, match="cookies"):
        jar.add(cookies)
    assert len(jar) == 0


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("domain", "exa mple.org"),
        ("domain", "a\r\nb"),
        ("domain", "1.2.3"),
        ("path", "relative"),
        ("path", "/a;b"),
        ("path", "/\u00e9"),
        ("path", "/a\r\nb"),
        ("expires", "never"),
        ("expires", float("nan")),
        ("expires", 10**400),
        ("max-age", "soon"),
        ("samesite", "a;b"),
    ],
)
def test_bad_attributes_of_given_morsels(jar: CookieJar, attribute: str, value: object) -> None:
    cookies = _morsel("a=1")
    dict.__setitem__(cookies["a"], attribute, value)
    with pytest.raises(InvalidInput, match="cookies"):
        jar.add(cookies)
    assert len(jar) == 0


# Domain rules that need an option


@pytest.mark.fault("C13")
def test_public_suffix(wall: Wall) -> None:
    """A public suffix known to the caller is refused as a Domain, except from that very host, and then for it only."""
    jar = CookieJar(now=wall, is_public_suffix={"co.uk", "github.io"}.__contains__)
    shop = make_endpoint("shop.co.uk")
    jar.update_from_response(["a=1; Domain=co.uk", "b=2; Domain=.CO.UK", "c=3; Domain=shop.co.uk"], shop, "/")
    assert jar.header_for(shop, "/") == "c=3"
    assert jar.header_for(make_endpoint("evil.co.uk"), "/") is None
    pages = make_endpoint("github.io")
    jar.update_from_response(["d=4; Domain=github.io"], pages, "/")
    assert jar.header_for(pages, "/") == "d=4"
    assert jar.header_for(make_endpoint("evil.github.io"), "/") is None


@pytest.mark.fault("C14")
def test_http_cannot_hide_a_secure_cookie(jar: CookieJar) -> None:
    """A cookie set over http never takes the place of a Secure one, nor stands before it."""
    jar.update_from_response(["a=good; Secure; Path=/login; Domain=example.org"], TLS, "/")
    http = ["a=bad; Path=/login; Domain=example.org", "a=bad; Path=/login/en", "a=bad; Domain=example.org; Path=/login"]
    jar.update_from_response([*http, "a=; Path=/login; Domain=example.org; Max-Age=0"], HOST, "/")
    assert jar.header_for(TLS, "/login/en") == "a=good"
    jar.update_from_response(["a=other; Path=/"], HOST, "/")
    assert jar.header_for(TLS, "/login") == "a=good; a=other"


# Time


def test_expiry(jar: CookieJar, wall: Wall) -> None:
    """A cookie is sent until its time, and is gone at it."""
    jar.update_from_response(["a=1; Max-Age=10", "b=2"], HOST, "/")
    wall.time += 9.9
    assert jar.header_for(HOST, "/") == "a=1; b=2"
    assert len(jar) == 2
    wall.time += 0.1
    assert jar.header_for(HOST, "/") == "b=2"
    assert [cookie.name for cookie in jar] == ["b"]


def test_expiry_without_a_request(jar: CookieJar, wall: Wall) -> None:
    jar.update_from_response(["a=1; Max-Age=10", "b=2; Max-Age=20", "c=3"], HOST, "/")
    wall.time += 15
    assert len(jar) == 2
    wall.time += 15
    assert [cookie.name for cookie in jar] == ["c"]


def test_max_age_renews(jar: CookieJar, wall: Wall) -> None:
    jar.update_from_response(["a=1; Max-Age=10"], HOST, "/")
    wall.time += 9
    jar.update_from_response(["a=1; Max-Age=10"], HOST, "/")
    wall.time += 9
    assert jar.header_for(HOST, "/") == "a=1"


def test_an_idle_jar_costs_nothing(jar: CookieJar, wall: Wall) -> None:
    """Neither an empty jar nor cookies of other hosts or without a term ask for the time."""
    assert jar.header_for(HOST, "/") is None
    jar.update_from_response(["a=1"], HOST, "/")
    asked = wall.asked
    assert jar.header_for(OTHER, "/") is None
    assert jar.header_for(HOST, "/") == "a=1"
    assert wall.asked == asked


# Limits


def test_limit_of_a_domain(wall: Wall) -> None:
    """The cookie that was not sent for the longest time goes first, and other domains are not touched."""
    jar = CookieJar(now=wall, max_per_domain=3)
    jar.update_from_response(["keep=1"], OTHER, "/")
    jar.update_from_response(["a=1; Path=/a", "b=1; Path=/b", "c=1; Path=/c"], HOST, "/")
    assert jar.header_for(HOST, "/a") == "a=1"
    jar.update_from_response(["d=1; Path=/d"], HOST, "/")
    assert sorted(cookie.name for cookie in jar) == ["a", "c", "d", "keep"]


def test_limit_prefers_secure_cookies(wall: Wall) -> None:
    """A flood of plain cookies does not push out the Secure ones."""
    jar = CookieJar(now=wall, max_per_domain=3)
    jar.update_from_response(["sid=1; Secure; Path=/"], TLS, "/")
    jar.update_from_response([f"flood{number}=1" for number in range(100)], HOST, "/")
    assert len(jar) == 3
    assert "sid=1" in (jar.header_for(TLS, "/") or "")


def test_limit_of_all(wall: Wall) -> None:
    """The total holds over many domains, and the ones in use stay."""
    jar = CookieJar(now=wall, max_total=32)
    jar.update_from_response(["used=1"], HOST, "/")
    for number in range(200):
        jar.update_from_response(["a=1"], make_endpoint(f"h{number}.example.net"), "/")
        assert jar.header_for(HOST, "/") == "used=1"
        assert len(jar) <= 32
    assert len(jar) >= 30


def test_expired_cookies_make_room_first(wall: Wall) -> None:
    jar = CookieJar(now=wall, max_per_domain=2)
    jar.update_from_response(["old=1", "short=1; Max-Age=5"], HOST, "/")
    wall.time += 6
    jar.update_from_response(["new=1"], HOST, "/")
    assert jar.header_for(HOST, "/") == "old=1; new=1"


@pytest.mark.parametrize("limits", [{"max_total": 0}, {"max_per_domain": -1}, {"max_total": True}])
def test_limits_are_checked(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        CookieJar(**limits)  # type: ignore[arg-type]


# Responses


@pytest.mark.fault("C21")
def test_many_responses() -> None:
    """100 responses that come in any order lose no cookie; of one name the last response wins."""
    jar = CookieJar()
    for number in range(100):
        jar.header_for(HOST, "/")
        jar.update_from_response([f"c{number}={number}", f"last={number}"], HOST, "/")
    sent = (jar.header_for(HOST, "/") or "").split("; ")
    assert sorted(sent) == sorted([*(f"c{number}={number}" for number in range(100)), "last=99"])


@pytest.mark.fault("R13")
def test_refusals_are_quiet(jar: CookieJar, caplog: pytest.LogCaptureFixture) -> None:
    """A hostile response writes nothing at the default level and one line at debug."""
    with caplog.at_level(logging.DEBUG):
        jar.update_from_response(["bad"] * 1000 + ["a=1; Domain=example.com"] * 1000, HOST, "/")
    assert [(record.levelname, record.args) for record in caplog.records] == [("DEBUG", (HOST, 2000))]
    assert len(jar) == 0


def test_clear(jar: CookieJar) -> None:
    jar.update_from_response(["a=1", "b=2; Path=/x"], HOST, "/")
    jar.update_from_response(["a=3"], OTHER, "/")
    jar.clear(lambda cookie: cookie.domain == OTHER.host)
    assert jar.header_for(OTHER, "/") is None
    assert jar.remove("a") and not jar.remove("a")
    assert jar.header_for(HOST, "/x") == "b=2"
    jar.clear()
    assert len(jar) == 0 and jar.header_for(HOST, "/x") is None


def test_values_do_not_show() -> None:
    jar = CookieJar({"sid": "geheim"})
    assert "geheim" not in repr(jar) + repr(list(jar))


def _morsel(text: str) -> "SimpleCookie":
    return SimpleCookie(text)


# The bound of a header


def test_a_header_has_16_kib_at_most(jar: CookieJar) -> None:
    """In their order until the next one does not fit; what is not sent counts as unused."""
    values = [f"c{number}={'v' * 3000}; Path=/" for number in range(20)]
    jar.update_from_response(values, HOST, "/")
    header = jar.header_for(HOST, "/")
    assert header is not None
    assert len(header) <= 16384
    assert [part.partition("=")[0] for part in header.split("; ")] == ["c0", "c1", "c2", "c3", "c4"]
    assert len(jar) == 20


def test_a_header_of_16_kib_is_full(jar: CookieJar) -> None:
    """The bound itself is allowed, a byte more is not."""
    jar.add({f"c{number}": "v" * (4096 - 5) for number in range(3)})
    jar.add({"d0": "v" * (4096 - 3)})
    header = jar.header_for(HOST, "/")
    assert header is not None
    assert len(header) == 16384
    jar.add({"d0": "v" * (4096 - 2)})
    header = jar.header_for(HOST, "/")
    assert header is not None
    assert "d0" not in header


def test_the_first_cookie_is_sent_whatever_its_length(jar: CookieJar) -> None:
    """A cookie of the caller is never left out for its own size alone."""
    jar.add({"large": "v" * 20_000, "small": "v"})
    assert jar.header_for(HOST, "/") == "large=" + "v" * 20_000
