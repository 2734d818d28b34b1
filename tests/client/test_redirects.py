"""Redirects as a pure function: A-15 to A-17, C-33, C-34, FAULTS C01 to C10."""

import pytest

from keepwarm.client.errors import ClientPayloadError, InvalidInput, InvalidRedirect
from keepwarm.client.head import ResponseHead
from keepwarm.client.headers import DefaultHeaders
from keepwarm.client.options import RequestOptions
from keepwarm.client.redirects import check_redirects, follow
from keepwarm.client.request import ClientRequest
from keepwarm.client.url import parse_target
from keepwarm.pool.auth import BasicAuth


def answer(status: int, location: str | None = "/next", name: str = "Location") -> ResponseHead:
    field = b"" if location is None else f"{name}: {location}\r\n".encode()
    raw = b"HTTP/1.1 %d Moved\r\n%bContent-Length: 0\r\n\r\n" % (status, field)
    return ResponseHead(raw, framing=1, length=0, keep_alive=True)


def lines(request: ClientRequest) -> dict[str, str]:
    head = request.wire.partition(b"\r\n\r\n")[0].decode()
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}


def step(request: ClientRequest, status: int, location: str) -> ClientRequest:
    redirect = follow(request.method, request.target, answer(status, location))
    assert redirect is not None
    return request.redirected(redirect)


@pytest.mark.fault("C05", "C07")
@pytest.mark.parametrize(
    ("status", "method", "then", "keeps"),
    [
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", False),
        (303, "GET", "GET", False),
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (301, "PUT", "PUT", True),
        (302, "DELETE", "DELETE", True),
        (301, "HEAD", "HEAD", True),
        (307, "POST", "POST", True),
        (308, "POST", "POST", True),
        (308, "PATCH", "PATCH", True),
    ],
)
def test_method_and_body(status: int, method: str, then: str, keeps: bool) -> None:
    """A-16: what becomes of the method, and whether the body goes along."""
    redirect = follow(method, parse_target("http://a.example/x"), answer(status))
    assert redirect is not None
    assert (redirect.method, redirect.keeps_body) == (then, keeps)
    assert redirect.same_origin


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 306, 399, 400])
def test_other_answers_are_not_redirects(status: int) -> None:
    assert follow("GET", parse_target("http://a.example/"), answer(status)) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c=d", "http://a.example/b?c=d"),
        ("b", "http://a.example/x/b"),
        ("../b", "http://a.example/b"),
        ("?q=1", "http://a.example/x/y?q=1"),
        ("//b.example/z", "http://b.example/z"),
        ("https://a.example/z", "https://a.example/z"),
        (" /blank ", "http://a.example/blank"),
        ("/ü", "http://a.example/%C3%BC"),
    ],
)
def test_where_it_leads(location: str, url: str) -> None:
    """C-34: relative to the request's URL; what is not ASCII is encoded (FAULTS C10)."""
    redirect = follow("GET", parse_target("http://a.example/x/y"), answer(302, location))
    assert redirect is not None and redirect.target.url == url


def test_the_fragment_is_inherited() -> None:
    """RFC 9110 10.2.2."""
    target = parse_target("http://a.example/x#here")
    kept, replaced = follow("GET", target, answer(302, "/y")), follow("GET", target, answer(302, "/y#there"))
    assert kept is not None and kept.target.url == "http://a.example/y#here"
    assert replaced is not None and replaced.target.url == "http://a.example/y#there"


def test_uri_stands_in_for_location() -> None:
    """C-34: the old header is accepted."""
    redirect = follow("GET", parse_target("http://a.example/x"), answer(302, "/y", "URI"))
    assert redirect is not None and redirect.target.url == "http://a.example/y"


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    "location",
    [None, "ftp://a.example/", "file:///etc/passwd", "javascript:alert(1)", "http://", "http://a b/", "http://[::1/",
     "http://a.example:99999/", "http://a@b@c/", "\\\\evil.example/x", "http://a.example\\@b.example/"],
)  # fmt: skip
def test_hostile_locations(location: str | None) -> None:
    """A clear error that is a ClientResponseError and a ValueError (C-33), or a path of the same host."""
    target = parse_target("http://a.example/x")
    try:
        redirect = follow("GET", target, answer(302, location))
    except InvalidRedirect as error:
        assert isinstance(error, ValueError) and error.endpoint == target.endpoint
    else:
        assert location in ("http://", "\\\\evil.example/x")
        assert redirect is not None and redirect.target.endpoint == target.endpoint


@pytest.mark.fault("C06")
@pytest.mark.parametrize(
    "location",
    ["http://n:geheim@[::1/", "http://n:geheim@h]/", "http://n:geheim/x@h/", "https://n:geheim@h:0/", "n:geheim@h"],
)
def test_errors_do_not_show_the_password_of_a_location(location: str) -> None:
    """A Location that cannot be followed is shown without its user name and password."""
    with pytest.raises(InvalidRedirect) as caught:
        follow("GET", parse_target("http://a.example/x"), answer(302, location))
    assert "geheim" not in str(caught.value)


@pytest.mark.fault("C06")
def test_errors_of_urllib_do_not_show_the_password_of_a_location() -> None:
    """urllib quotes the whole authority, with the password, when a character of the host hides another."""
    head = ResponseHead(
        "HTTP/1.1 302 Found\r\nLocation: http://n:geheim@h\u2100/\r\nContent-Length: 0\r\n\r\n".encode(),
        framing=1,
        length=0,
        keep_alive=True,
    )
    with pytest.raises(InvalidRedirect) as caught:
        follow("GET", parse_target("http://a.example/x"), head)
    assert "geheim" not in str(caught.value)


@pytest.mark.fault("C01", "C02", "C03")
@pytest.mark.parametrize(
    "location", ["http://b.example/", "http://a.example:81/", "https://a.example/", "http://a.example.evil/"]
)
def test_credentials_stay_behind_and_never_come_back(location: str) -> None:
    """A-17: every credential header, in any case and number, auth and cookies; also on the way back."""
    defaults = DefaultHeaders({"authorization": "Bearer s", "COOKIE": "s=1", "X-Kept": "d"})
    options = RequestOptions(defaults=defaults)
    request = ClientRequest(
        "GET",
        "http://a.example/x",
        headers=[("Proxy-Authorization", "p"), ("Cookie", "own=1"), ("X-Kept-Too", "1"), ("Host", "a.example")],
        cookies={"c": "2"},
        options=options,
    )
    away = step(request, 302, location)
    home = step(away, 302, "http://a.example/y")
    for following in (away, home):
        fields = lines(following)
        assert not {"authorization", "cookie", "proxy-authorization"} & set(fields)
        assert fields["x-kept"] == "d" and fields["x-kept-too"] == "1"
    assert lines(away)["host"] == away.target.host.decode()


@pytest.mark.fault("C01")
def test_auth_goes_along_within_the_origin_only() -> None:
    request = ClientRequest("GET", "http://a.example/x", auth=BasicAuth("u", "p"))
    assert "authorization" in lines(step(request, 302, "/y"))
    assert "authorization" not in lines(step(request, 302, "http://b.example/y"))
    whole_session = ClientRequest("GET", "http://a.example/x", options=RequestOptions(auth=BasicAuth("u", "p")))
    assert "authorization" not in lines(step(whole_session, 302, "http://b.example/y"))
    assert "authorization" not in lines(step(step(whole_session, 302, "http://b.example/y"), 302, "/z"))


@pytest.mark.fault("C06")
def test_userinfo_is_for_its_own_origin() -> None:
    """A user name and password in a URL or a Location become Authorization for that origin, and nothing else."""
    request = ClientRequest("GET", "http://u:p%40ss@a.example/x")
    assert lines(request)["authorization"] == BasicAuth("u", "p@ss").encode()
    assert b"p%40ss" not in request.wire and "p@ss" not in request.target.url
    assert "authorization" in lines(step(request, 302, "/y"))
    away = step(request, 302, "http://v:w@b.example/")
    assert lines(away)["authorization"] == BasicAuth("v", "w").encode()
    assert "authorization" not in lines(step(away, 302, "http://a.example/"))


@pytest.mark.fault("C05")
def test_what_describes_a_body_goes_with_it() -> None:
    headers = {"Content-Type": "text/x", "Content-Language": "de", "X-Kept": "1"}
    request = ClientRequest("POST", "http://a.example/x", data=b"body", headers=headers)
    moved = step(request, 303, "/y")
    assert moved.payload is None
    assert not {name for name in lines(moved) if name.startswith("content-") or name == "transfer-encoding"}
    assert lines(moved)["x-kept"] == "1"
    kept = step(request, 307, "/y")
    assert kept.wire.endswith(b"\r\n\r\nbody") and lines(kept)["content-type"] == "text/x"


@pytest.mark.fault("C07")
def test_a_body_that_cannot_be_read_again_is_an_error() -> None:
    request = ClientRequest("POST", "http://a.example/x", data=(piece for piece in [b"a"]))
    assert request.payload is not None
    request.payload.started = True
    with pytest.raises(ClientPayloadError, match="cannot be read a second time"):
        step(request, 307, "/y")
    assert step(request, 303, "/y").payload is None


@pytest.mark.parametrize("most", [-1, True, 1.5, "10"])
def test_max_redirects_is_checked(most: object) -> None:
    with pytest.raises(InvalidInput, match="max_redirects"):
        check_redirects(most)


def test_no_redirects_at_all() -> None:
    """A-15: 0 and None follow none."""
    assert check_redirects(None) == check_redirects(0) == 0
