"""Cookies under random input."""

import re
from http.cookies import SimpleCookie

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepwarm.client.cookie import default_path, domain_match, path_match
from keepwarm.client.cookie_date import LATEST, format_cookie_date, parse_cookie_date
from keepwarm.client.cookie_given import encode_value
from keepwarm.client.cookie_header import cookie_header
from keepwarm.client.cookie_morsel import unquote
from keepwarm.client.cookie_parse import parse_set_cookie
from keepwarm.client.cookie_response import response_cookies
from keepwarm.client.cookies import CookieJar
from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import encode_field
from keepwarm.pool.endpoint import Endpoint, make_endpoint

NOW = 1_750_000_000.0
WORDS = ["a", "b", "=", ";", "; ", " ", "\t", ",", '"', "\\", "/", ".", "\x00", "\n", "\u00fc", "\udcff", "\ud800",
         "Domain=", "Path=/", "Secure", "HttpOnly", "Max-Age=", "Expires=", "-1", "60", "example.org", "org", "co.uk",
         "127.0.0.1", "__Host-", "__Secure-", "Fri, 07 Aug 2099 08:04:19 GMT", "SameSite=Lax"]  # fmt: skip
# st.text() alone never makes a surrogate, and hardly ever a known word.
FIELDS = st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(
    st.characters(codec=None, exclude_categories=()), max_size=40
)
HOSTS = ["example.org", "a.example.org", "b.a.example.org", "badexample.org", "example.org.evil.net", "org",
         "localhost", "shop.co.uk", "co.uk", "127.0.0.1", "10.127.0.0", "xn--mnchen-3ya.example"]  # fmt: skip
ENDPOINTS = st.builds(make_endpoint, st.sampled_from(HOSTS), st.none(), st.booleans())
PATHS = st.lists(st.sampled_from(["/", "a", "b", "ab", "?"]), max_size=6).map(lambda parts: "/" + "".join(parts))
DOMAIN_NAMES = [*HOSTS, *("." + host for host in HOSTS), "0.0.1", "1", "ample.org", "Example.ORG", "example.org."]
DOMAINS = st.sampled_from(DOMAIN_NAMES)
COOKIES = st.builds(
    lambda name, domain, path, rest: f"{name}=1; Domain={domain}; Path={path}{rest}",
    st.sampled_from("abc"),
    DOMAINS | st.just(""),
    PATHS,
    st.sampled_from(["", "; Secure", "; Max-Age=60", "; HttpOnly"]),
)


@pytest.mark.fault("C17", "C18")
@settings(max_examples=300)
@given(st.lists(FIELDS, max_size=6), ENDPOINTS)
def test_nothing_a_peer_sends_raises(fields: list[str], endpoint: Endpoint) -> None:
    """Whatever the fields hold, they are parsed, stored or refused, shown and sent again as one legal header line."""
    jar = CookieJar(now=lambda: NOW)
    jar.update_from_response(fields, endpoint, "/")
    shown = response_cookies(fields)
    assert len(shown) == len({c.name for c in map(parse_set_cookie, fields) if c is not None})
    header = jar.header_for(endpoint, "/")
    if header is not None:
        line = encode_field("Cookie", header)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line[:-2])


@pytest.mark.fault("C13", "C14", "C15")
@settings(max_examples=300)
@given(st.lists(st.tuples(COOKIES, ENDPOINTS, PATHS), max_size=8), st.lists(st.tuples(ENDPOINTS, PATHS), max_size=4))
def test_no_cookie_goes_astray(
    responses: list[tuple[str, Endpoint, str]], requests: list[tuple[Endpoint, str]]
) -> None:
    """A cookie goes only to its own host or, if a Domain was accepted, to hosts that match it; never from https to
    http if Secure; only below its path. A host that names no Domain is alone."""
    jar = CookieJar(now=lambda: NOW)
    for number, (field, endpoint, path) in enumerate(responses):
        # The value tells where the cookie came from.
        jar.update_from_response([field.replace("=1;", f"={number};", 1)], endpoint, path)
    for endpoint, path in requests:
        for sent in (jar.header_for(endpoint, path) or "").split("; ") if jar.header_for(endpoint, path) else []:
            field, source, _ = responses[int(sent.partition("=")[2])]
            parsed = parse_set_cookie(field)
            assert parsed is not None
            if parsed.domain is None:
                assert endpoint.host == source.host
            else:
                assert domain_match(source.host, parsed.domain) and domain_match(endpoint.host, parsed.domain)
                assert "." in parsed.domain or endpoint.host == source.host
            assert endpoint.is_ssl or not parsed.secure
            assert path_match(path.partition("?")[0], parsed.path or "/")


@pytest.mark.fault("C13")
@pytest.mark.parametrize("domain", DOMAIN_NAMES)
@pytest.mark.parametrize("host", HOSTS)
def test_domain_match_by_labels(host: str, domain: str) -> None:
    """Told again label by label: the domain's labels are the host's last ones, and an address matches only itself."""
    labels, last = host.split("."), domain.split(".")
    expected = host == domain if host.replace(".", "").isdigit() else labels[-len(last) :] == last
    assert domain_match(host, domain) is expected


@given(PATHS, PATHS)
def test_path_match_by_segments(path: str, cookie_path: str) -> None:
    """Told again: what lies below begins with the cookie's path and a slash."""
    folder = cookie_path if cookie_path.endswith("/") else cookie_path + "/"
    assert path_match(path, cookie_path) is (path == cookie_path or path.startswith(folder))
    assert path_match(path, default_path(path))


@given(st.integers(-11_644_473_600, LATEST))
def test_dates_round_trip(when: int) -> None:
    """Every second from 1601 to 9999 is written and read back."""
    assert parse_cookie_date(format_cookie_date(when)) == when


@given(FIELDS)
def test_any_text_is_a_date_or_none(text: str) -> None:
    when = parse_cookie_date(text)
    assert when is None or -11_644_473_600 <= when <= LATEST


@pytest.mark.fault("O11")
@settings(max_examples=300)
@given(st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), max_size=30))
def test_given_values_round_trip(value: str) -> None:
    """A value of printable ASCII is one cookie on the wire, and a reader that unquotes gets it back."""
    coded = encode_value("a", value)
    assert ";" not in coded and "," not in coded
    if coded != value:
        assert unquote(coded) == value == SimpleCookie(f"a={coded}")["a"].value


@pytest.mark.fault("O11")
@settings(max_examples=300)
@given(st.dictionaries(FIELDS, FIELDS, max_size=3))
def test_given_cookies_are_refused_or_safe(cookies: dict[str, str]) -> None:
    """Any text is refused with InvalidInput or becomes one header with as many cookies as were given."""
    try:
        header = cookie_header(cookies)
    except InvalidInput:
        return
    assert (header is None) is (not cookies)
    if header is not None:
        assert header.isascii() and header.isprintable()
        assert [part.partition("=")[0] for part in header.split("; ")] == list(cookies)


@settings(max_examples=200)
@given(st.lists(st.tuples(COOKIES, ENDPOINTS), max_size=40), st.integers(1, 5), st.integers(1, 12))
def test_limits_hold(responses: list[tuple[str, Endpoint]], per_domain: int, total: int) -> None:
    """Neither limit is ever passed."""
    jar = CookieJar(now=lambda: NOW, max_per_domain=per_domain, max_total=total)
    for field, endpoint in responses:
        jar.update_from_response([field], endpoint, "/")
        kept = [cookie.domain for cookie in jar]
        assert len(kept) <= total
        assert all(kept.count(domain) <= per_domain for domain in kept)
