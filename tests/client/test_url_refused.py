"""URLs that are refused before any I/O, and tricks with the host."""

import pytest
import yarl

from keepwarm.client.url import parse_target
from keepwarm.pool.endpoint import make_endpoint
from keepwarm.pool.errors import InvalidURL


@pytest.mark.fault("O03", "X11")
@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0xD800, 0xDC80, 0xDFFF])
@pytest.mark.parametrize(
    "url",
    ["{}http://h/", "ht{}tp://h/", "http{}://h/", "http:{}//h/", "http://h{}/", "http://{}h/", "http://u{}:p@h/",
     "http://[::1{}]/", "http://h:8{}0/", "http://h/a{}b", "http://h/?a{}b", "http://h/#a{}b", "http://h/{}"],
)  # fmt: skip
def test_control_characters(url: str, code: int) -> None:
    """No control character is let in, dropped or repaired, wherever in the URL it stands."""
    for text in (url.format(chr(code)), url.format("\r\n" + chr(code))):
        with pytest.raises(InvalidURL, match="url"):
            parse_target(text)


@pytest.mark.fault("O03", "X11")
@pytest.mark.parametrize(
    "url",
    [" http://h/", "ht tp://h/", "http ://h/", "http: //h/", "http:// h/", "http://h /", "http://a b/",
     "http://h :80/", "http://h: 80/", "http://u p@h/", "http://h\u00a0/", "http://h\u3000x/"],
)  # fmt: skip
def test_blanks_outside_path_and_query(url: str) -> None:
    """A blank is percent-encoded in path, query and fragment only."""
    with pytest.raises(InvalidURL):
        parse_target(url)


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "scheme"),
        ("/path", "scheme"),
        ("//h/path", "scheme"),
        ("h", "scheme"),
        ("h:80/", "scheme"),
        ("example.com/a", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://h/", "scheme"),
        ("unix://h/", "scheme"),
        ("httpx://h/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("http:", "no host"),
        ("http:h", "no host"),
        ("http:/h", "no host"),
        ("http:\\\\h/", "no host"),
        ("http://", "no host"),
        ("http:///path", "no host"),
        ("http://?q", "no host"),
        ("http://#f", "no host"),
        ("http://:80/", "no host"),
        ("http://u:p@/", "no host"),
        ("http://u:p@:80/", "no host"),
        ("http://./", "host"),
        ("http://a..b/", "host"),
        ("http://-/", "host"),
        ("http://h!/", "host"),
        ("http://a,b/", "host"),
        (f"http://{'a' * 64}/", "host"),
        (f"http://{'a.' * 127}a/", "host"),
    ],
)
def test_scheme_and_host(url: str, part: str) -> None:
    """A URL without a known scheme or without a legal host is refused; the error says which."""
    with pytest.raises(InvalidURL, match=part):
        parse_target(url)


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "port",
    ["0", "00", "65536", "99999", "100000", "-1", "+80", "8_0", "80a", "0x50", "\u0668\u0660", "\uff18\uff10",
     "80:80", "80\u200b", "1" * 5000],
)  # fmt: skip
def test_ports(port: str) -> None:
    """A port is a number from 1 to 65535 in ASCII digits."""
    with pytest.raises(InvalidURL, match="port"):
        parse_target(f"http://h:{port}/")
    with pytest.raises(InvalidURL, match="port"):
        parse_target(f"http://[::1]:{port}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "host",
    ["[::1", "::1]", "::1", "1::2:80", "[h]", "[127.0.0.1]", "[]", "[::1]x", "x[::1]", "[::1]]", "[[::1]]",
     "[::1][::1]", "[::1]@h]", "[v1.fe80]", "[v1.a:b]", "[::g]", "[1:2]", "[::1%]", "[::1%25]x", "[::1%a b]",
     "[::1%a/b]", "[:localhost[]].google", "127.0.0.1[::1]"],
)  # fmt: skip
def test_brackets(host: str) -> None:
    """Brackets hold one IPv6 address, and an IPv6 address has brackets."""
    with pytest.raises(InvalidURL):
        parse_target(f"http://{host}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "host",
    ["a@b@c", "good.com\\@evil.com", "good.com\\evil.com", "\\\\evil.com", "[x]@h", "u:[p@h", "@evil@h", "a%40b",
     "%67ood.com", "good.com%2fevil", "h%00", "h%0d%0a", "h%", "<h>", "h|i"],
)  # fmt: skip
def test_tricks_with_the_authority(host: str) -> None:
    """What two parsers may read as two hosts is refused."""
    with pytest.raises(InvalidURL):
        parse_target(f"http://{host}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "char",
    ["\uff0f", "\u2100", "\uff1f", "\uff03", "\uff20", "\uff1a", "\uff3c", "\u2047", "\uff05", "\uff3b", "\u2a74"],
)  # fmt: skip
def test_characters_that_normalise_to_delimiters(char: str) -> None:
    """A host that NFKC turns into one with a delimiter is refused."""
    for host in (f"good.com{char}evil.com", f"{char}h", f"h{char}"):
        with pytest.raises(InvalidURL, match="host means"):
            parse_target(f"http://{host}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "label",
    ["xn--example-", "xn--a", "xn--abc-", "xn--", "xn---", "xn--999999999999", "xn--a\u00fc",
     "xn--" + "\uff45\uff56\uff49\uff4c".encode("punycode").decode(),
     "xn--" + "e\uff0fvil".encode("punycode").decode(), "xn--" + "a\u3000b".encode("punycode").decode()],
)  # fmt: skip
def test_labels_in_disguise(label: str) -> None:
    """An xn-- label that stands for plain ASCII, for a delimiter or for nothing is refused."""
    for host in (label, f"{label}.com", f"www.{label.upper()}.com"):
        with pytest.raises(InvalidURL):
            parse_target(f"http://{host}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "1.2.3.4.5", "256.1.1.1", "1.2.3.0x4"])
def test_legacy_addresses(host: str) -> None:
    """Addresses in forms that resolvers read differently are refused."""
    with pytest.raises(InvalidURL):
        parse_target(f"http://{host}/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "url",
    ["http://good.com//evil.com/x", "http://good.com//evil.com:1@x/", "http://good.com/@evil.com",
     "http://good.com?@evil.com", "http://good.com#@evil.com/", "http://good.com/\\evil.com",
     "http://u:x@good.com/http://evil.com/", "http://GOOD.com:80/[::1]", "http://good\u3002com/",
     "http://u:p@evil.com@good.com/"],
)  # fmt: skip
def test_the_connect_target_is_the_parsed_host(url: str) -> None:
    """Endpoint, Host header and text name one and the same host."""
    target = parse_target(url)
    assert target.endpoint == make_endpoint("good.com", 80)
    assert target.host == b"good.com"
    assert target.url.startswith("http://good.com/")
    assert target.request_target.startswith(b"/")


@pytest.mark.fault("O03")
@pytest.mark.parametrize(
    "url",
    [
        yarl.URL("http://h/a b", encoded=True),
        yarl.URL("http://h/?\u00fc", encoded=True),
        yarl.URL.build(scheme="http", host="h", path="/a\r\nX: y", encoded=True),
        yarl.URL.build(scheme="http", host="h\r\nX: y", path="/", encoded=True),
        yarl.URL.build(scheme="http", authority="a@b@c", path="/", encoded=True),
        yarl.URL.build(scheme="http", host="h", path="/", query_string="a b", encoded=True),
        yarl.URL("/relative"),
        yarl.URL("ftp://h/"),
        yarl.URL("http://h:0/"),
    ],
)
def test_objects_are_checked_too(url: yarl.URL) -> None:
    """A yarl.URL that was built without encoding is no way around the checks."""
    with pytest.raises(InvalidURL):
        parse_target(url)


@pytest.mark.parametrize("url", [None, b"http://h/", 5, object(), ["http://h/"]])
def test_other_types(url: object) -> None:
    with pytest.raises(TypeError, match="url"):
        parse_target(url)  # type: ignore[arg-type]


def test_refusals_are_value_errors() -> None:
    """C-03."""
    with pytest.raises(ValueError):
        parse_target("http://:80/")


@pytest.mark.fault("F49")
def test_error_text_is_short_and_escaped() -> None:
    """A long or hostile URL does not flood the error text."""
    with pytest.raises(InvalidURL) as caught:
        parse_target("http://h\x1b[31m/" + "a" * 100_000)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250


@pytest.mark.parametrize("url", ["localhost:8080/a", "127.0.0.1:8080", "example.com/a", "/a", ""])
def test_a_url_without_a_scheme_is_told_what_to_write(url: str) -> None:
    with pytest.raises(InvalidURL, match=r"write it in front, or give the session a base_url for relative ones$"):
        parse_target(url)


def test_a_wrong_scheme_needs_no_advice() -> None:
    with pytest.raises(InvalidURL, match=r"the scheme must be http, https, ws or wss$"):
        parse_target("ftp://example.com/")
