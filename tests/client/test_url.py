"""Targets: what a URL means, and the cache."""

import pytest
import yarl
from multidict import CIMultiDict, MultiDict, MultiDictProxy

from keepwarm.client.url import CACHED_URL_LIMIT, Target, TargetCache, join_url, parse_target
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import InvalidURL


@pytest.mark.parametrize(
    ("url", "endpoint", "request_target", "host"),
    [
        ("http://example.com", ("example.com", 80, False), b"/", b"example.com"),
        ("https://example.com/", ("example.com", 443, True), b"/", b"example.com"),
        ("ws://example.com/chat", ("example.com", 80, False), b"/chat", b"example.com"),
        ("wss://example.com:444/chat", ("example.com", 444, True), b"/chat", b"example.com:444"),
        ("HTTP://EXAMPLE.com:80/A", ("example.com", 80, False), b"/A", b"example.com"),
        ("http://example.com:443/", ("example.com", 443, False), b"/", b"example.com:443"),
        ("http://example.com:/", ("example.com", 80, False), b"/", b"example.com"),
        ("http://example.com./", ("example.com", 80, False), b"/", b"example.com"),
        ("http://example.com?q", ("example.com", 80, False), b"/?q", b"example.com"),
        ("http://example.com#f", ("example.com", 80, False), b"/", b"example.com"),
        ("http://example.com/a/../b", ("example.com", 80, False), b"/b", b"example.com"),
        ("http://127.0.0.1:8080/x", ("127.0.0.1", 8080, False), b"/x", b"127.0.0.1:8080"),
        ("http://[::1]/", ("::1", 80, False), b"/", b"[::1]"),
        ("http://[0:0:0:0:0:0:0:1]:8080/", ("::1", 8080, False), b"/", b"[::1]:8080"),
        ("http://b\u00fccher.example/", ("xn--bcher-kva.example", 80, False), b"/", b"xn--bcher-kva.example"),
        ("http://XN--BCHER-KVA.example/", ("xn--bcher-kva.example", 80, False), b"/", b"xn--bcher-kva.example"),
        ("http://my_host/", ("my_host", 80, False), b"/", b"my_host"),
    ],
)
def test_parts(url: str, endpoint: tuple[str, int, bool], request_target: bytes, host: bytes) -> None:
    target = parse_target(url)
    assert target.endpoint == Endpoint(*endpoint)
    assert target.request_target == request_target
    assert target.host == host
    assert target.auth is None
    again = parse_target(yarl.URL(url))
    assert (again.endpoint, again.request_target, again.host, again.url) == (
        target.endpoint,
        target.request_target,
        target.host,
        target.url,
    )


@pytest.mark.parametrize(
    ("url", "request_target"),
    [
        ("http://h/a b", b"/a%20b"),
        ("http://h/?a b", b"/?a+b"),
        ("http://h/\u00fc?\u00fc=\u20ac", b"/%C3%BC?%C3%BC=%E2%82%AC"),
        ("http://h/%7Euser/%41", b"/~user/A"),
        ("http://h/a%2Fb", b"/a%2Fb"),
        ("http://h/100%", b"/100%25"),
        ("http://h/%0d%0aX:%20y", b"/%0D%0AX:%20y"),
        ("http://h/a\\b?c\\d", b"/a%5Cb?c%5Cd"),
        ('http://h/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
        ("http://h/a\u2028b\u00a0", b"/a%E2%80%A8b%C2%A0"),
        ("http://h/?a=1&a=2;b=%26", b"/?a=1&a=2;b=%26"),
    ],
)
def test_path_and_query_are_percent_encoded(url: str, request_target: bytes) -> None:
    assert parse_target(url).request_target == request_target


def test_final_text() -> None:
    """K-08: the text has no user name or password; the fragment stays in it and is not sent."""
    target = parse_target("https://nick:pwd@B\u00fccher.example:8443/a b?q=\u00fc#part two", {"x": 1})
    assert target.url == "https://xn--bcher-kva.example:8443/a%20b?q=%C3%BC&x=1#part%20two"
    assert target.request_target == b"/a%20b?q=%C3%BC&x=1"
    assert repr(target) == f"<Target {target.url!r}>"


def test_zone_of_an_address() -> None:
    """The zone says which interface to dial; it never reaches the peer (RFC 6874, 3)."""
    for text in ("http://[fe80::1%25eth0]:8080/", "http://[fe80::1%eth0]:8080/"):
        target = parse_target(text)
        assert target.endpoint == Endpoint("fe80::1%eth0", 8080, False)
        assert target.host == b"[fe80::1]:8080"
        assert parse_target(target.url).endpoint == target.endpoint


def test_the_text_is_stable() -> None:
    for url in ("http://h", "http://h/%7E?a b#c d", "https://b\u00fccher.example:8443/\u00fc?\u00fc"):
        target = parse_target(url)
        again = parse_target(target.url)
        assert (again.url, again.request_target) == (target.url, target.request_target)


# params


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": "1", "b": 2, "c": 1.5}, "a=1&b=2&c=1.5"),
        (MultiDict([("a", "1"), ("b", "2"), ("a", "3")]), "a=1&b=2&a=3"),
        (MultiDictProxy(MultiDict([("a", "1"), ("a", "3")])), "a=1&a=3"),
        (CIMultiDict([("A", "1"), ("a", "3")]), "A=1&a=3"),
        ([("a", "1"), ("b", "2"), ("a", "3")], "a=1&b=2&a=3"),
        ((("a", "1"), ("a", "1")), "a=1&a=1"),
        (iter([("a", "1")]), "a=1"),
        ({"a b": "c&d=e+f;#?"}, "a+b=c%26d%3De%2Bf%3B%23?"),
        ({"\u00fc": "\u20ac"}, "%C3%BC=%E2%82%AC"),
        ({"a": "%41"}, "a=%2541"),
        ({"a": "x\r\nX: y\x00"}, "a=x%0D%0AX:+y%00"),
        ({"a": ""}, "a="),
    ],
)
def test_params(params: object, query: str) -> None:
    """C-04, C-05: names and values are encoded; order and repeats are kept."""
    if not hasattr(params, "__next__"):
        assert parse_target("http://h/p?x=y", params).request_target == f"/p?x=y&{query}".encode()
    assert parse_target("http://h/p#f", params).request_target == f"/p?{query}".encode()


@pytest.mark.parametrize("text", ["a=%41&b=c+d", "a", "=", "a=b;c|d<>", "a=1?b=/"])
def test_params_as_text(text: str) -> None:
    """C-06: a str is sent as it is."""
    assert parse_target("http://h/", text).request_target == f"/?{text}".encode()
    assert parse_target("http://h/?x", text).request_target == f"/?x&{text}".encode()


@pytest.mark.parametrize("params", [None, "", {}, [], (), MultiDict()])
def test_no_params(params: object) -> None:
    assert parse_target("http://h/p?x=%2F", params).request_target == b"/p?x=/"


@pytest.mark.fault("O03")
@pytest.mark.parametrize("params", ["a\r\nX: y", "a\x00", "a\tb", "\x7f", "\udcff"])
def test_params_as_text_must_be_encoded(params: str) -> None:
    """A str with anything that would break the request line is refused."""
    with pytest.raises(InvalidURL, match="params"):
        parse_target("http://h/", params)


@pytest.mark.parametrize(
    "params",
    [5, b"a=b", [("a", None)], {"a": True}, {"a": b"x"}, {"a": [[1]]}, {"a": {"b": 1}}, {1: "a"}, ["ab"], {"a"}],
)
def test_params_of_wrong_types(params: object) -> None:
    with pytest.raises(TypeError, match="params"):
        parse_target("http://h/", params)


@pytest.mark.parametrize("params", [{"a": float("nan")}, {"a": "\ud800"}])
def test_params_without_a_spelling(params: object) -> None:
    with pytest.raises(ValueError, match="params"):
        parse_target("http://h/", params)


# userinfo


@pytest.mark.fault("C06")
@pytest.mark.parametrize(
    ("userinfo", "auth"),
    [
        ("nick:pwd", BasicAuth("nick", "pwd")),
        ("nick", BasicAuth("nick", "")),
        ("nick:", BasicAuth("nick", "")),
        (":pwd", BasicAuth("", "pwd")),
        ("n%40x:p%3Aw%2Fd", BasicAuth("n@x", "p:w/d")),
        ("user:p@ss", BasicAuth("user", "p@ss")),
        ("\u00fc:\u20ac", BasicAuth("\u00fc", "\u20ac", "utf-8")),
        ("%C3%BC:x", BasicAuth("\u00fc", "x", "utf-8")),
        ("", None),
        (":", None),
    ],
)
def test_userinfo(userinfo: str, auth: BasicAuth | None) -> None:
    """Name and password of a URL become BasicAuth and are nowhere else (C-03)."""
    target = parse_target(f"http://{userinfo}@example.com/")
    assert target.auth == auth
    assert target.endpoint == Endpoint("example.com", 80, False)
    assert (target.host, target.url) == (b"example.com", "http://example.com/")
    assert "pwd" not in repr(target)


@pytest.mark.fault("C06", "C22")
@pytest.mark.parametrize("url", ["http://a%0d%0ab:geheim@h/", "http://a%3Ab:geheim@h/", "http://a:geheim%00@h/"])
def test_userinfo_that_no_header_can_carry(url: str) -> None:
    """A login or password that Basic authentication cannot carry is refused, and not shown."""
    with pytest.raises(InvalidURL, match="BasicAuth") as caught:
        parse_target(url)
    assert "geheim" not in str(caught.value)


@pytest.mark.fault("C06")
@pytest.mark.parametrize(
    "url",
    [
        "http://n:geheim@h:0/", "http://n:geheim@h\r\n/", "http://n:geheim@[::1/", "foo://n:geheim@h/",
        "http://n:geheim/x@h/", "http://n:geheim?x@h/", "http://n:geheim#x@h/", "http://n:ge@heim/geheim@h/\x01",
        "http:/n:geheim@h/", "http:n:geheim@h/", "http:///n:geheim@h/", "n:geheim@h", "//n:geheim@h/",
        "http:\\\\n:geheim@h/", "http://n:geheim%40h/", "http://n:geheim\uff20h/", "http://geheim\uff20h/",
        "http://h/?next=http://n:geheim@x/\x01", "http://n:geheim@h\u2100/", "http://n:geheim@", "http://n:x@geheim@h:0/",
    ],
)  # fmt: skip
def test_errors_do_not_show_the_password(url: str) -> None:
    """Error texts have the URL without its user name and password, or what may be one, wherever it stands."""
    for parse in (parse_target, lambda text: parse_target(join_url("http://base/", text + "\x00"))):
        with pytest.raises(InvalidURL) as caught:
            parse(url)
        assert "geheim" not in str(caught.value)


# cache


class TestCache:
    def test_known_text(self) -> None:
        cache = TargetCache()
        assert cache.get("http://h/") is None
        first = cache.resolve("http://h/")
        assert cache.resolve("http://h/") is first is cache.get("http://h/")
        assert cache.get("http://h") is None

    def test_params_and_objects_go_past_it(self) -> None:
        cache = TargetCache()
        assert cache.resolve("http://h/", {"a": 1}).request_target == b"/?a=1"
        assert cache.resolve(yarl.URL("http://h/")).request_target == b"/"
        assert len(cache) == 0

    def test_never_more_than_maxsize(self) -> None:
        cache = TargetCache(8)
        for number in range(100):
            cache.resolve(f"http://h/{number}")
            assert len(cache) <= 8
        assert cache.get("http://h/99") is not None
        assert cache.get("http://h/0") is None

    def test_what_is_used_survives(self) -> None:
        cache = TargetCache(8)
        hot = cache.resolve("http://hot/")
        for number in range(100):
            cache.resolve(f"http://h/{number}")
            assert cache.get("http://hot/") is hot

    def test_a_young_hit_writes_nothing(self) -> None:
        cache = TargetCache(4)
        target = cache.resolve("http://a/")
        for _ in range(100):
            assert cache.get("http://a/") is target
        cache.resolve("http://b/")
        assert len(cache) == 2

    def test_putting_again_keeps_the_generation(self) -> None:
        cache = TargetCache(4)
        one, two = cache.resolve("http://a/"), cache.resolve("http://b/")
        cache.put("http://a/", one)
        assert cache.get("http://b/") is two and len(cache) == 2

    def test_long_text_is_not_kept(self) -> None:
        cache = TargetCache()
        cache.resolve("http://h/" + "a" * CACHED_URL_LIMIT)
        assert len(cache) == 0

    def test_refused_text_is_not_kept(self) -> None:
        cache = TargetCache()
        for _ in range(2):
            with pytest.raises(InvalidURL):
                cache.resolve("http://h:0/")
        assert len(cache) == 0

    def test_clear(self) -> None:
        cache = TargetCache(4)
        for number in range(4):
            cache.resolve(f"http://h/{number}")
        cache.clear()
        assert len(cache) == 0 and cache.get("http://h/3") is None

    @pytest.mark.parametrize("maxsize", [1, 0, -1])
    def test_maxsize_edges(self, maxsize: int) -> None:
        with pytest.raises(ValueError, match="maxsize"):
            TargetCache(maxsize)


def test_targets_are_small() -> None:
    assert not hasattr(parse_target("http://h/"), "__dict__")
    assert set(Target.__slots__) == {"auth", "endpoint", "host", "request_target", "url"}
