"""Job: what a client process is asked to do. It travels as one JSON argument."""

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Final, Literal, Protocol, Self

JSON_HEADERS = {"Content-Type": "application/json"}
BODY_SIZE = 1024
BODY = b'{"pad":"' + b"x" * (BODY_SIZE - 10) + b'"}'

PIECE: Final = b"x" * 65536
PIECES: Final = 160

# "post" sends BODY, "upload" PIECES times PIECE. What the others do says `benchmarks.ws_calls`.
Kind = Literal["get", "post", "upload", "ws-echo", "ws-stream", "ws-mib", "ws-send", "ws-idle"]


async def pieces() -> AsyncIterator[bytes]:
    """The body of an upload: 10 MiB, of which nobody is told the length."""
    for _ in range(PIECES):
        yield PIECE


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of call, made `at_once` at a time.

    `expect` is the length of the answer's body in bytes, of a WebSocket's last message; an answer of another length
    ends the run. With `keepalive` False each call opens and closes a connection of its own. With `unix_path` all
    connections go there, and the host of the URL is a name only; with `proxy`, a URL, they go through that one. With
    `resumption` they may take up earlier TLS sessions. A call of a WebSocket takes or sends `messages`.
    """

    url: str
    at_once: int
    expect: int
    kind: Kind = "get"
    keepalive: bool = True
    ca_file: str | None = None
    fast_tls: bool = False
    unix_path: str | None = None
    proxy: str | None = None
    resumption: bool = True
    messages: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    @property
    def is_websocket(self) -> bool:
        return self.kind.startswith("ws-")

    @property
    def ws_url(self) -> str:
        """The URL with the scheme of WebSockets."""
        return self.url.replace("http", "ws", 1)

    def tls_context(self) -> ssl.SSLContext | None:
        """A verifying context that trusts the run's own certificate authority; None for a plain job."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


class Client(Protocol):
    """An open client. `call` makes one call and returns the body; any status but 200 raises."""

    async def call(self) -> bytes | str: ...

    async def close(self) -> None: ...


def unexpected(status: int, url: str) -> RuntimeError:
    return RuntimeError(f"{url} answered with the status {status}, expected 200")
