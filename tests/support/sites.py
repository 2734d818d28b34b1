"""What tests of redirects and cookies share: several hosts on this machine, and servers with a page for each path."""

from collections.abc import Callable, Mapping
from typing import Any

from keepwarm.client.session import ClientSession
from tests.support.calling import WatchedConnector
from tests.support.http1 import Request, ok, response
from tests.support.resolvers import Recording
from tests.support.script import Handler, answering
from tests.support.server import ScriptedServer

# The certificate of the scripted server is good for both.
A, B = "a.keepwarm.test", "b.keepwarm.test"

Page = bytes | Callable[[Request], bytes]

REASONS = {
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
}


def caller(*, limit: int | None = None, **options: Any) -> ClientSession:
    """A session with `options`, for which every name means this machine."""
    return ClientSession(connector=WatchedConnector(resolver=Recording("127.0.0.1"), limit=limit), **options)


def at(server: ScriptedServer, path: str = "/", host: str = A, *, userinfo: str = "") -> str:
    """The URL of `path` on this server under the name `host`."""
    scheme = server.url().partition(":")[0]
    return f"{scheme}://{userinfo}{host}:{server.port}{path}"


def moved(location: str, status: int = 302, *, body: bytes = b"", cookies: tuple[str, ...] = ()) -> bytes:
    """A redirect."""
    fields = [("Location", location), *(("Set-Cookie", cookie) for cookie in cookies)]
    return response(f"{status} {REASONS[status]}", body, fields)


def pages(table: Mapping[str, Page] | None = None) -> Handler:
    """A script that answers each path with its page, and any other with `ok()` and the nonce of the request.

    The table may be filled while the script runs: a page that names the server's port needs the server first.
    """
    known = {} if table is None else table

    def respond(request: Request) -> bytes:
        page = known.get(request.target.partition("?")[0])
        if page is None:
            return ok(nonce=request.nonce)
        return page if isinstance(page, bytes) else page(request)

    return answering(respond)
