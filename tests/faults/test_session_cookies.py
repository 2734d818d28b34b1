"""Cookies through a session: who gets which, what a peer can put into them, and what the jar makes of it."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.cookies import CookieJar
from keepwarm.client.errors import ClientProtocolError, InvalidInput
from keepwarm.client.session import ClientSession
from tests.support.calling import PLAIN_AND_TLS, Conserved, fetch, serve
from tests.support.http1 import Request, ok, response
from tests.support.server import ScriptedServer, answering
from tests.support.sites import A, B, Page, at, caller, moved, pages

pytestmark = pytest.mark.asyncio

PARENT = "keepwarm.test"


def setting(*cookies: str) -> bytes:
    """An answer that sets these cookies."""
    return response(body=b"ok", headers=[("Set-Cookie", cookie) for cookie in cookies])


async def visit(calls: ClientSession, url: str) -> None:
    async with calls.get(url) as resp:
        assert resp.status == 200
        await resp.read()


async def cookies_sent(calls: ClientSession, server: ScriptedServer, path: str = "/", host: str = A) -> list[str]:
    """The cookies that the server sees of a call, sorted."""
    await visit(calls, at(server, path, host))
    lines = server.requests[-1].header_all("Cookie")
    assert len(lines) <= 1
    return sorted(lines[0].split("; ")) if lines else []


@PLAIN_AND_TLS
@pytest.mark.fault("C12")
@pytest.mark.parametrize("how", ["cookies=", "session.cookies", "cookie_jar"])
async def test_cookies_of_the_caller_go_to_the_first_origin(tls: bool, how: str) -> None:
    """K2: the origin of the first request gets them, on every path; another host, port or scheme does not."""
    async with serve(tls=tls) as server, serve(tls=tls) as other_port, serve(tls=not tls) as other_scheme:
        given = {"sid": "1", "theme": "dark"}
        async with caller(cookies=given if how == "cookies=" else None) as calls:
            if how == "session.cookies":
                calls.cookies.update(given)
            elif how == "cookie_jar":
                calls.cookie_jar.add(given)
            expected = ["sid=1", "theme=dark"]
            assert await cookies_sent(calls, server, "/deep/path") == expected
            assert await cookies_sent(calls, server, "/", B) == []
            assert await cookies_sent(calls, other_port) == []
            assert await cookies_sent(calls, other_scheme) == []
            assert await cookies_sent(calls, server) == expected


@PLAIN_AND_TLS
@pytest.mark.fault("C12", "C01")
async def test_a_redirect_never_binds_a_cookie_of_the_caller(tls: bool) -> None:
    """K2: a cookie given while a call is under way waits for the next call; the target of a redirect is no caller."""

    def answer(request: Request) -> bytes:
        if request.target != "/start":
            return ok(nonce=request.nonce)
        calls.cookies["tok"] = "secret"
        return moved(at(other, "/x", B))

    async with serve(answering(answer), tls=tls) as server, serve(tls=tls) as other, caller() as calls:
        await visit(calls, at(server, "/start"))
        assert [request.header_all("Cookie") for request in other.requests] == [[]]
        assert await cookies_sent(calls, server) == ["tok=secret"]
        assert await cookies_sent(calls, other, "/", B) == []


@pytest.mark.fault("C12")
async def test_each_host_its_own() -> None:
    """Cookies of two hosts with one name do not mix, whatever the order of the answers."""
    table: dict[str, Page] = {"/set": lambda request: setting(f"who={request.header('Host')[0]}")}
    async with serve(pages(table)) as server, caller() as calls:
        for host in (A, B):
            await visit(calls, at(server, "/set", host))
        assert await cookies_sent(calls, server, host=A) == ["who=a"]
        assert await cookies_sent(calls, server, host=B) == ["who=b"]


@PLAIN_AND_TLS
@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    ("domain", "to_a", "to_b"),
    [
        ("keepwarm.test", True, True),
        (".keepwarm.test", True, True),
        ("KeepWarm.TEST", True, True),
        ("a.keepwarm.test", True, False),
        ("b.keepwarm.test", False, False),
        ("evil.test", False, False),
        ("warm.test", False, False),
        ("test", False, False),
        ("keepwarm.test.", False, False),
        ("127.0.0.1", False, False),
        ("x.a.keepwarm.test", False, False),
        ("", True, False),
    ],
)
async def test_the_domain_of_a_cookie(tls: bool, domain: str, to_a: bool, to_b: bool) -> None:
    """A domain that the host is not in is refused; one that it is in reaches the whole domain; case is nothing."""
    async with serve(pages({"/set": setting(f"c=1; Domain={domain}")}), tls=tls) as server, caller() as calls:
        await visit(calls, at(server, "/set"))
        assert await cookies_sent(calls, server, host=A) == (["c=1"] if to_a else [])
        assert await cookies_sent(calls, server, host=B) == (["c=1"] if to_b else [])


@pytest.mark.fault("C13")
async def test_an_address_and_a_single_label_are_hosts_only() -> None:
    """A cookie with the very address as its Domain is for that address alone."""
    async with serve(pages({"/set": setting("c=1; Domain=127.0.0.1")})) as server, caller() as calls:
        await visit(calls, at(server, "/set", "127.0.0.1"))
        assert await cookies_sent(calls, server, host="127.0.0.1") == ["c=1"]
        assert await cookies_sent(calls, server, host="localhost") == []


@pytest.mark.fault("C13")
async def test_public_suffixes_of_the_callers_list() -> None:
    """With a list of public suffixes, a cookie for one of them is refused."""
    jar = CookieJar(is_public_suffix=lambda domain: domain == PARENT)
    async with serve(pages({"/set": setting(f"c=1; Domain={PARENT}")})) as server, caller(cookies=jar) as calls:
        await visit(calls, at(server, "/set"))
        assert await cookies_sent(calls, server) == []


@PLAIN_AND_TLS
@pytest.mark.fault("C14")
async def test_paths_end_at_a_slash(tls: bool) -> None:
    """/any is not /anybad; without a Path it is the directory of the request."""
    table: dict[str, Page] = {
        "/set": setting("p=1; Path=/any", "root=1; Path=/", "odd=1; Path=relative"),
        "/dir/set": setting("dir=1"),
    }
    async with serve(pages(table), tls=tls) as server, caller() as calls:
        for path in table:
            await visit(calls, at(server, path))
        expected = {
            "/any": ["p=1"], "/any/": ["p=1"], "/any/x?y": ["p=1"], "/any?y": ["p=1"], "/anybad": [], "/": [],
            "/di": [], "/dir": ["dir=1"], "/dir/": ["dir=1"], "/dir/x": ["dir=1"], "/dirt": [],
        }  # fmt: skip
        for path, cookies in expected.items():
            assert await cookies_sent(calls, server, path) == sorted([*cookies, "odd=1", "root=1"]), path


@pytest.mark.fault("C14", "C03")
async def test_secure_cookies_stay_on_tls() -> None:
    """Set over https they are not sent over http; set over http they are not taken, nor do they hide a Secure one."""
    plain_page: dict[str, Page] = {"/set": setting("safe=stolen", "s2=1; Secure", "__Host-h=1; Path=/", "plain=1")}
    secure_page: dict[str, Page] = {"/set": setting("safe=1; Secure", "__Host-x=1; Secure; Path=/")}
    async with serve(pages(secure_page), tls=True) as secure, serve(pages(plain_page)) as plain, caller() as calls:
        await visit(calls, at(secure, "/set"))
        await visit(calls, at(plain, "/set"))
        assert await cookies_sent(calls, secure) == ["__Host-x=1", "plain=1", "safe=1"]
        assert await cookies_sent(calls, plain) == ["plain=1"]


@pytest.mark.fault("C15")
async def test_host_only_survives_the_file(tmp_path: Path) -> None:
    """Without a Domain a cookie is for the exact host: at once, and in another session that loads the jar."""
    file = tmp_path / "cookies.json"
    cookies = setting("mine=1; Max-Age=3600", f"ours=1; Domain={A}; Max-Age=3600")
    async with serve(pages({"/set": cookies})) as server:
        async with caller() as calls:
            await visit(calls, at(server, "/set"))
            assert await cookies_sent(calls, server, host=A) == ["mine=1", "ours=1"]
            calls.cookie_jar.save(file)
        jar = CookieJar()
        jar.load(file)
        async with caller(cookies=jar) as calls:
            assert await cookies_sent(calls, server, host=A) == ["mine=1", "ours=1"]
            assert await cookies_sent(calls, server, host=f"x.{A}") == ["ours=1"]
            assert await cookies_sent(calls, server, host=B) == []


@pytest.mark.parametrize("empty", ["never filled", "emptied"])
async def test_cookies_that_come_after_the_jar_was_cleared(tmp_path: Path, empty: str) -> None:
    """A jar that was cleared, or that loads a file, in the middle of a session goes on to be asked."""
    file = tmp_path / "cookies.json"
    async with serve(pages({"/set": setting("sid=1; Max-Age=3600")})) as server, caller() as calls:
        if empty == "emptied":
            await visit(calls, at(server, "/set"))
        calls.cookie_jar.clear()
        assert await cookies_sent(calls, server) == []
        await visit(calls, at(server, "/set"))
        assert await cookies_sent(calls, server) == ["sid=1"]
        calls.cookie_jar.save(file)
        async with caller() as others:
            others.cookie_jar.load(file)
            assert await cookies_sent(others, server) == ["sid=1"]


# What a peer puts into a cookie


@PLAIN_AND_TLS
@pytest.mark.fault("C17")
async def test_odd_bytes_cost_their_cookie_only(tls: bool) -> None:
    """No name, no '=', too long: left out, without harm to the others. What RFC 6265 takes is sent back byte for byte,
    odd as it may be."""
    bad = [b"=noname", b"noequals", b"", b";", b"long=" + b"x" * 4096]
    odd = [b"tab=a\tb", b"sp ace=1", b"\xff\xfe=1", b"bytes=\x80", b"n\xc3\xa4me=\xc3\xbc", b"o=x;\tPath=\x80"]
    values = [b"first=1", *bad, *odd, b"last=1"]
    fields = b"".join(b"Set-Cookie: " + value + b"\r\n" for value in values)
    page = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n"
    async with serve(pages({"/set": page}), tls=tls) as server, caller() as calls:
        watch = Conserved(calls, server)
        async with calls.get(at(server, "/set")) as resp:
            assert {"first", "last"} <= set(resp.cookies)
        sent = [text.encode("latin-1") for text in await cookies_sent(calls, server)]
        assert sent == sorted([b"first=1", b"last=1", b"o=x", *odd[:-1]])
        await watch.healthy()


@PLAIN_AND_TLS
@pytest.mark.fault("C17", "F34")
@pytest.mark.parametrize("control", [0x00, 0x01, 0x0B, 0x1B, 0x7F])
async def test_control_bytes_are_no_header(tls: bool, control: int) -> None:
    """A control byte makes the whole head invalid (F34): a protocol error, and no cookie of it is kept."""
    page = b"HTTP/1.1 200 OK\r\nSet-Cookie: good=1\r\nSet-Cookie: a=b%cc\r\nContent-Length: 0\r\n\r\n" % control
    async with serve(pages({"/set": page}), tls=tls) as server, caller() as calls:
        watch = Conserved(calls, server)
        with pytest.raises(ClientProtocolError):
            await calls.get(at(server, "/set"))
        assert await cookies_sent(calls, server) == []
        await watch.healthy()


@pytest.mark.fault("C18", "R13")
@pytest.mark.parametrize("bad", ["=x", "a=\tb", 'q="' + "\\" * 6000 + '"', "b=1; Domain=evil.test"])
async def test_a_head_full_of_bad_cookies(bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """As many as fit into a head: nothing is kept of the refused, and at most one line is logged for the response."""
    caplog.set_level(logging.DEBUG, logger="keepwarm")
    count = min(120, 60_000 // (len(bad) + 14))
    async with serve(pages({"/set": setting(*[bad] * count, "good=1")})) as server, caller() as calls:
        async with calls.get(at(server, "/set")) as resp:
            assert "good" in resp.cookies
        sent = await cookies_sent(calls, server)
        assert "good=1" in sent and len(sent) <= 2
    lines = [record for record in caplog.records if record.name.startswith("keepwarm.client.cookie")]
    assert len([record for record in lines if record.levelno >= logging.WARNING]) <= 1
    assert len(lines) <= 2  # the jar's, and that of resp.cookies


@PLAIN_AND_TLS
@pytest.mark.fault("C21")
async def test_a_hundred_answers_at_once(tls: bool) -> None:
    """Each sets a cookie of its own and one that all share: none is lost, and the shared one is one of theirs."""

    def answer(request: Request) -> bytes:
        number = request.target.removeprefix("/set")
        return ok(nonce=request.nonce, headers=[("Set-Cookie", f"c{number}=1"), ("Set-Cookie", f"shared={number}")])

    async with serve(answering(answer), tls=tls) as server, caller(limit=20) as calls:
        await asyncio.gather(*(fetch(calls, at(server, f"/set{k}")) for k in range(100)))
        assert len(calls.cookie_jar) == 101
        assert {f"c{k}" for k in range(100)} | {"shared"} == set(calls.cookies)
        assert int(calls.cookies["shared"].value) in range(100)


@pytest.mark.fault("C21")
async def test_the_last_answer_wins() -> None:
    """Two calls in flight; the answer that comes last decides, not the call that began last."""
    turn = asyncio.Event()

    async def respond(peer: Any) -> None:
        request = await peer.request()
        if request.target == "/early":
            await turn.wait()
        peer.send(setting(f"c={request.target[1:]}"))
        await peer.until_closed()

    async with serve(respond) as server, caller() as calls:
        early = asyncio.create_task(visit(calls, at(server, "/early")))
        await server.until_requests(1)
        await visit(calls, at(server, "/late"))
        assert calls.cookies["c"].value == "late"
        turn.set()
        await early
        assert calls.cookies["c"].value == "early"


@PLAIN_AND_TLS
@pytest.mark.fault("O11")
async def test_one_cookie_header(tls: bool) -> None:
    """The caller's header, `cookies=` and the jar make one header; the nearer to the call, the stronger."""
    table: dict[str, Page] = {"/set": setting("jar=j; Path=/", "both=jar; Path=/")}
    async with serve(pages(table), tls=tls) as server, caller(cookies={"session": "s"}) as calls:
        await visit(calls, at(server, "/set"))
        async with calls.get(at(server), headers={"cookie": "own=1; both=own"}, cookies={"call": "c", "both": "c"}):
            pass
        (line,) = server.requests[-1].header_all("Cookie")
        assert line.startswith("own=1; both=own; call=c; ")
        assert sorted(line.split("; ")[3:]) == ["jar=j", "session=s"]


@pytest.mark.fault("O11")
@pytest.mark.parametrize(
    "cookies",
    [{"a": "x\r\ny"}, {"a": "x\x00"}, {"a\r\n": "1"}, {"a;b": "1"}, {"a b": "1"}, {"ä": "1"}, {"a": "ä"}, {"": "1"},
     {"a=b": "1"}, [("ok", "1"), ("a", "\x7f")]],
    ids=repr,
)  # fmt: skip
async def test_a_cookie_that_no_header_can_hold(cookies: Any) -> None:
    """Refused before any I/O, by the call and by the session, with an error that names the argument."""
    async with serve() as server, caller() as calls:
        with pytest.raises(InvalidInput, match="cookies"):
            await calls.get(at(server), cookies=cookies)
        assert server.accepted == 0
        with pytest.raises(InvalidInput, match="cookies"):
            calls.cookie_jar.add(cookies)
        assert len(calls.cookie_jar) == 0
    with pytest.raises(InvalidInput, match="cookies"):
        caller(cookies=cookies)


async def test_a_cookie_header_that_is_not_ascii() -> None:
    """The caller's own header goes out as it is given, with the jar's cookies behind it."""
    async with serve() as server, caller(cookies={"jar": "j"}) as calls:
        async with calls.get(at(server), headers={"Cookie": "own=\u00fc"}):
            pass
        assert server.requests[0].header("Cookie").encode("latin-1") == "own=\u00fc; jar=j".encode()


@pytest.mark.fault("O11")
async def test_what_needs_quotes_gets_them() -> None:
    """A semicolon or a comma in a value is quoted as http.cookies does, so no second cookie can be smuggled in."""
    async with serve() as server, caller() as calls:
        async with calls.get(at(server), cookies={"a": "x; admin=1", "b": 'say "hi"', "c": "1,2"}):
            pass
        assert server.requests[0].header("Cookie") == 'a="x\\073 admin=1"; b="say \\"hi\\""; c="1\\0542"'
