"""Calls on a scripted server: what the server saw, and what came back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from keepwarm import ClientSession
from tests.support.http1 import Request, ok
from tests.support.server import Script, ScriptedServer, answer_all, answering


@asynccontextmanager
async def calling(*scripts: Script, **options: Any) -> AsyncIterator[tuple[ClientSession, ScriptedServer]]:
    """A session with `options` and a server that plays `scripts` (default: answers everything)."""
    async with ScriptedServer(*(scripts or (answer_all,))) as server, ClientSession(**options) as session:
        yield session, server


async def seen(method: str = "GET", path: str = "/", *, of: dict[str, Any] | None = None, **arguments: Any) -> Request:
    """What the server saw of one request, made by a session with the options `of`."""
    async with calling(**(of or {})) as (session, server):
        async with session.request(method, server.url(path), **arguments) as resp:
            await resp.read()
        return server.requests[0]


def routes(**answers: bytes) -> Script:
    """A script that answers /name with `answers["name"]`, and anything else with `ok()`."""
    return answering(lambda request: answers.get(request.target.lstrip("/").partition("?")[0], ok()))


def with_answer(make: Callable[[], bytes] | bytes) -> Script:
    """A script that answers every request with these bytes."""
    return answering(lambda _: make if isinstance(make, bytes) else make())
