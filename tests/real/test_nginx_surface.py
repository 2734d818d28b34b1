"""nginx and what a call can be beyond a GET: redirects, ranges, gzip, 100-continue, chunks, HTTP/1.0, large heads."""

import gzip
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import keepwarm
from benchmarks.nginx import HOST, Nginx, free_port, running

pytestmark = pytest.mark.asyncio

FILE_SIZE = 1_000_000
TEXT = b"a line of text that can be compressed\n" * 20_000
WHO = '{"connection":$connection,"requests":$connection_requests,"method":"$request_method","length":"$content_length"}'

# The first port is the site, the second closes after each answer.
HTTP = """
    large_client_header_buffers 8 64k;
    client_max_body_size 4m;
    log_format line '$connection $connection_requests $request_method $uri $status "$http_expect"';
    server {
        listen @SITE;
        keepalive_timeout 3600s;
        access_log {directory}/access.log line;
        location = /who { return 200 '@WHO'; }
        location = /301 { return 301 /who; }
        location = /302 { return 302 /who; }
        location = /303 { return 303 /who; }
        location = /307 { return 307 /store/moved; }
        location = /308 { return 308 /store/moved; }
        location = /loop { return 302 /loop; }
        location = /away { return 302 http://@CLOSING/who; }
        location /folder { root {directory}; }
        location /chain/3 { return 302 /chain/2; }
        location /chain/2 { return 302 chain-1; }
        location /chain/chain-1 { absolute_redirect off; return 302 //$http_host/who?q=1; }
        location = /file { root {directory}; max_ranges 5; }
        location /packed/ { alias {directory}/; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }
        location = /static.gz { root {directory}; add_header Content-Encoding gzip; default_type text/plain; }
        location = /cookies {
            add_header Set-Cookie "a=1; Path=/";
            add_header Set-Cookie "b=2; HttpOnly";
            return 200 'ok';
        }
        location = /seen { return 200 '$http_cookie'; }
        location = /large { add_header X-One $http_x_large; return 200 'ok'; }
        location /store/ { root {directory}; dav_methods PUT DELETE; create_full_put_path on; }
        location = /refused { client_max_body_size 1k; proxy_pass http://@CLOSING/who; }
        location = /old { proxy_pass http://@CLOSING/who; proxy_http_version 1.0; proxy_buffering off; }
        location = /protected { auth_basic "site"; auth_basic_user_file {directory}/users; alias {directory}/small; }
    }
    server {
        listen @CLOSING;
        keepalive_timeout 0;
        location = /who { return 200 '@WHO'; }
        location = /file { root {directory}; }
        location = /chunked { root {directory}; gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0; }
    }
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx."""

    directory: Path
    base: str
    closing: str

    def logged(self) -> list[str]:
        """What nginx wrote down: connection, number on it, method, path, status, expectation."""
        return (self.directory / "access.log").read_text().splitlines()


def write_files(directory: Path) -> None:
    (directory / "file").write_bytes(os.urandom(FILE_SIZE))
    (directory / "text").write_bytes(TEXT)
    (directory / "chunked").write_bytes(TEXT)
    (directory / "static.gz").write_bytes(gzip.compress(TEXT))
    (directory / "small").write_bytes(b"in")
    (directory / "users").write_text("user:{PLAIN}pass word\n")
    (directory / "folder").mkdir()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("nginx-surface")
    write_files(directory)
    ports = free_port(), free_port()
    config = HTTP.replace("@SITE", f"{HOST}:{ports[0]}").replace("@CLOSING", f"{HOST}:{ports[1]}").replace("@WHO", WHO)
    with running(Nginx(directory, config, ports)):
        yield Site(directory, f"http://{HOST}:{ports[0]}", f"http://{HOST}:{ports[1]}")


def session(limit: int = 1, **options: Any) -> keepwarm.ClientSession:
    return keepwarm.ClientSession(connector=keepwarm.TCPConnector(limit=limit), **options)


async def who(calls: keepwarm.ClientSession, url: str, **options: Any) -> dict[str, Any]:
    async with calls.get(url, **options) as resp:
        assert resp.status == 200
        found: dict[str, Any] = json.loads(await resp.read())
        return found


def at_rest(calls: keepwarm.ClientSession) -> bool:
    """Promise G2: nothing leased, nobody waiting, every open socket idle or on its way out."""
    assert calls.connector is not None
    total = calls.connector.stats().total
    return total.leased == total.waiting == total.dialling == 0 and total.open == total.idle + total.closing


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_on_one_connection(web: Site, status: int) -> None:
    """Each hop and the call behind it take the same connection; nginx's short page is drained."""
    async with session() as calls:
        for number in range(1, 20, 2):
            async with calls.get(f"{web.base}/{status}") as resp:
                seen = await resp.json()
                assert [hop.status for hop in resp.history] == [status]
            assert (seen["requests"], resp.url) == (number + 1, f"{web.base}/who")
        assert at_rest(calls)


async def test_a_chain_of_all_kinds_of_locations(web: Site) -> None:
    """An absolute path, a relative one, one without a scheme."""
    async with session() as calls, calls.get(f"{web.base}/chain/3") as resp:
        assert [hop.url.removeprefix(web.base) for hop in resp.history] == ["/chain/3", "/chain/2", "/chain/chain-1"]
        assert resp.url == f"{web.base}/who?q=1"


async def test_a_folder_gets_its_slash(web: Site) -> None:
    """nginx's own redirect, with an absolute Location; the folder itself is forbidden."""
    async with session() as calls, calls.get(f"{web.base}/folder") as resp:
        assert (resp.status, [hop.status for hop in resp.history]) == (403, [301])
        assert resp.url == f"{web.base}/folder/"


@pytest.mark.fault("C08")
async def test_a_loop(web: Site) -> None:
    async with session() as calls:
        with pytest.raises(keepwarm.TooManyRedirects) as caught:
            await calls.get(f"{web.base}/loop")
        assert len(caught.value.history) == 11
        assert at_rest(calls)
        assert (await who(calls, f"{web.base}/who"))["requests"] == 12


async def test_to_another_server(web: Site) -> None:
    """The first connection stays idle, the second is closed by its server."""
    async with session() as calls:
        async with calls.get(f"{web.base}/away", headers={"Authorization": "secret"}) as resp:
            assert resp.url == f"{web.closing}/who"
        assert (await who(calls, f"{web.base}/who"))["requests"] == 2
        assert at_rest(calls)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_put_goes_along(web: Site, status: int, size: int) -> None:
    """The file that nginx stores is the whole body, though it was sent to another place first."""
    body = os.urandom(size)
    async with session() as calls:
        async with calls.put(f"{web.base}/{status}", data=body) as resp:
            assert (resp.status in (201, 204), resp.method) == (True, "PUT")
        assert (web.directory / "store/moved").read_bytes() == body
        assert at_rest(calls)


# Ranges and conditions


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=-5", FILE_SIZE - 5, FILE_SIZE),
        (f"bytes={FILE_SIZE - 10}-", FILE_SIZE - 10, FILE_SIZE),
    ],
)
async def test_a_range(web: Site, asked: str, start: int, stop: int) -> None:
    """206 and exactly these bytes."""
    whole = (web.directory / "file").read_bytes()
    async with session() as calls, calls.get(f"{web.base}/file", headers={"Range": asked}) as resp:
        assert (resp.status, await resp.read()) == (206, whole[start:stop])
        assert resp.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{FILE_SIZE}"


async def test_ranges_that_are_none(web: Site) -> None:
    """416 beyond the end, several ranges as multipart, 304 for what is known."""
    async with session() as calls:
        async with calls.get(f"{web.base}/file", headers={"Range": f"bytes={FILE_SIZE}-"}) as resp:
            assert (resp.status, resp.headers["Content-Range"]) == (416, f"bytes */{FILE_SIZE}")
        async with calls.get(f"{web.base}/file", headers={"Range": "bytes=0-9,20-29"}) as resp:
            assert (resp.status, resp.content_type) == (206, "multipart/byteranges")
            assert len(await resp.read()) == int(resp.headers["Content-Length"])
        async with calls.head(f"{web.base}/file") as resp:
            etag = resp.headers["ETag"]
        async with calls.get(f"{web.base}/file", headers={"If-None-Match": etag}) as resp:
            assert (resp.status, await resp.read()) == (304, b"")
        assert (await who(calls, f"{web.base}/who"))["requests"] == 5


async def test_a_download_in_ranges_is_the_file(web: Site) -> None:
    """Ten pieces, one after the other over one connection."""
    digest, step = hashlib.sha256(), FILE_SIZE // 10
    async with session() as calls:
        for start in range(0, FILE_SIZE, step):
            async with calls.get(f"{web.base}/file", headers={"Range": f"bytes={start}-{start + step - 1}"}) as resp:
                digest.update(await resp.read())
        assert (await who(calls, f"{web.base}/who"))["requests"] == 11
    assert digest.hexdigest() == hashlib.sha256((web.directory / "file").read_bytes()).hexdigest()


# Codings and chunks


async def test_gzip_on_the_fly(web: Site) -> None:
    """nginx compresses as it sends, in chunks: read whole, by lines, and as it came."""
    async with session() as calls, session(auto_decompress=False) as raw:
        async with calls.get(f"{web.base}/packed/text") as resp:
            assert (resp.headers["Content-Encoding"], resp.headers["Transfer-Encoding"]) == ("gzip", "chunked")
            assert await resp.read() == TEXT
        async with calls.get(f"{web.base}/packed/text") as resp:
            assert b"".join([line async for line in resp.content]) == TEXT
        async with raw.get(f"{web.base}/packed/text", headers={"Accept-Encoding": "gzip"}) as resp:
            assert gzip.decompress(await resp.read()) == TEXT
        async with raw.get(f"{web.base}/packed/text") as resp:
            assert "Content-Encoding" not in resp.headers and await resp.read() == TEXT
        assert (await who(calls, f"{web.base}/who"))["requests"] == 3


async def test_a_file_that_is_compressed_already(web: Site) -> None:
    """With a length, and a range of it, which nothing can decode: the error says so."""
    async with session() as calls:
        async with calls.get(f"{web.base}/static.gz") as resp:
            assert await resp.read() == TEXT
        with pytest.raises(keepwarm.ContentDecodingError):
            async with calls.get(f"{web.base}/static.gz", headers={"Range": "bytes=5-50"}) as resp:
                await resp.read()
        assert at_rest(calls)


# Bodies of requests


async def parts(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"p" * size


@pytest.mark.fault("F17")
@pytest.mark.parametrize("kind", ["bytes", "chunks"])
async def test_expect_100_continue(web: Site, kind: str) -> None:
    """nginx says 100 when it wants the body; the connection is used again."""
    async with session() as calls:
        for number in range(3):
            data: Any = os.urandom(100_000) if kind == "bytes" else parts(10, 10_000)
            async with calls.put(f"{web.base}/store/expected", data=data, expect100=True) as resp:
                assert resp.status in (201, 204)
            assert (web.directory / "store/expected").stat().st_size == 100_000
            assert (await who(calls, f"{web.base}/who"))["requests"] == 2 * number + 2
    assert any("/store/expected" in line and "100-continue" in line for line in web.logged())


@pytest.mark.fault("F16", "F17")
@pytest.mark.parametrize("expect100", [False, True])
async def test_a_body_that_is_too_large_for_the_server(web: Site, expect100: bool) -> None:
    """413 before the body was sent, or in the middle of it: the answer arrives, and the next call is well."""
    async with session() as calls:
        for _ in range(5):
            async with calls.post(f"{web.base}/refused", data=bytes(3_000_000), expect100=expect100) as resp:
                assert resp.status == 413
                assert b"413" in await resp.read()
            assert (await who(calls, f"{web.base}/who"))["method"] == "GET"
        assert at_rest(calls)


async def test_a_chunked_put_is_the_file(web: Site) -> None:
    async with session() as calls:
        async with calls.put(f"{web.base}/store/chunks", data=parts(200, 5_000)) as resp:
            assert resp.status in (201, 204)
        assert (web.directory / "store/chunks").read_bytes() == b"p" * 1_000_000
        assert (await who(calls, f"{web.base}/who"))["requests"] == 2


# HTTP/1.0 and connections that are not kept


@pytest.mark.fault("F44")
async def test_http_1_0(web: Site) -> None:
    """Asked in 1.0, nginx keeps the connection only because it was asked to; without that it is closed."""
    async with session(version=keepwarm.HttpVersion10) as calls:
        for number in (1, 2, 3):
            assert (await who(calls, f"{web.base}/who"))["requests"] == number
        async with calls.get(f"{web.base}/who", headers={"Connection": "close"}) as resp:
            assert (await resp.json())["requests"] == 4
        assert (await who(calls, f"{web.base}/who"))["requests"] == 1


@pytest.mark.fault("F30", "F44")
async def test_a_body_that_only_the_end_delimits(web: Site) -> None:
    """In 1.0 there are no chunks: a body that nginx compresses on the fly ends with the connection."""
    async with session(version=keepwarm.HttpVersion10) as calls:
        async with calls.get(f"{web.base}/packed/text", headers={"Accept-Encoding": "identity"}) as resp:
            assert await resp.read() == TEXT
        async with calls.get(f"{web.closing}/chunked", headers={"Accept-Encoding": "gzip"}) as resp:
            assert not {"Content-Length", "Transfer-Encoding"} & set(resp.headers)
            assert await resp.read() == TEXT
        assert at_rest(calls)


async def test_a_server_that_keeps_nothing(web: Site) -> None:
    """Connection: close after each answer, small or large: a new connection each time, and no call fails."""
    async with session() as calls:
        seen = [(await who(calls, f"{web.closing}/who"))["requests"] for _ in range(20)]
        assert seen == [1] * 20
        async with calls.get(f"{web.closing}/file") as resp:
            assert await resp.read() == (web.directory / "file").read_bytes()
        assert at_rest(calls)


async def test_an_upstream_that_speaks_1_0(web: Site) -> None:
    """nginx in between asks in 1.0 and gives the answer on unbuffered."""
    async with session() as calls:
        for _ in range(3):
            assert (await who(calls, f"{web.base}/old"))["method"] == "GET"
        assert (await who(calls, f"{web.base}/who"))["requests"] == 4


# Heads


@pytest.mark.parametrize("size", [1, 1000, 8000])
async def test_large_headers_both_ways(web: Site, size: int) -> None:
    """What goes out in a header comes back in one; 8,000 bytes are within the limits."""
    value = "x" * size
    async with session() as calls:
        async with calls.get(f"{web.base}/large", headers={"X-Large": value}) as resp:
            assert resp.headers["X-One"] == value
        assert (await who(calls, f"{web.base}/who"))["requests"] == 2


@pytest.mark.fault("F38")
async def test_a_header_beyond_the_limit_and_the_option(web: Site) -> None:
    """More than 8 KiB in one line is refused, unless the session's limits allow it."""
    value = "x" * 20_000
    async with session() as calls, session(limits=keepwarm.HeadLimits(line=32_768)) as patient:
        with pytest.raises(keepwarm.ClientResponseError, match="8192"):
            await calls.get(f"{web.base}/large", headers={"X-Large": value})
        assert at_rest(calls)
        async with patient.get(f"{web.base}/large", headers={"X-Large": value}) as resp:
            assert resp.headers["X-One"] == value


async def test_a_request_head_that_is_too_large(web: Site) -> None:
    """nginx refuses a header of 100 kB with 400 or 431 and hangs up; that is an answer, and the next call is well."""
    async with session() as calls:
        async with calls.get(f"{web.base}/who", headers={"X-Large": "x" * 100_000}) as resp:
            assert resp.status in (400, 431, 494)
        assert (await who(calls, f"{web.base}/who"))["requests"] == 1


async def test_cookies(web: Site) -> None:
    """Two Set-Cookie fields, sent back with the next call in one header."""
    async with session() as calls:
        async with calls.get(f"{web.base}/cookies") as resp:
            assert set(resp.cookies) == {"a", "b"}
        async with calls.get(f"{web.base}/seen") as resp:
            assert sorted((await resp.text()).split("; ")) == ["a=1", "b=2"]


async def test_basic_auth(web: Site) -> None:
    """Wrong, right, in the URL; a refusal keeps the connection."""
    async with session() as calls:
        for auth, status in ((None, 401), (keepwarm.BasicAuth("user", "wrong"), 401)):
            async with calls.get(f"{web.base}/protected", auth=auth) as resp:
                assert (resp.status, "WWW-Authenticate" in resp.headers) == (status, True)
        async with calls.get(f"{web.base}/protected", auth=keepwarm.BasicAuth("user", "pass word")) as resp:
            assert (resp.status, await resp.read()) == (200, b"in")
        async with calls.get(f"{web.base}/protected".replace("//", "//user:pass%20word@")) as resp:
            assert resp.status == 200
        assert (await who(calls, f"{web.base}/who"))["requests"] == 5
