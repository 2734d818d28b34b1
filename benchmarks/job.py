"""Job: what a client process is asked to do. It travels as one JSON argument."""

import json
import ssl
from dataclasses import asdict, dataclass
from typing import Protocol, Self

JSON_HEADERS = {"Content-Type": "application/json"}
BODY_SIZE = 1024
BODY = b'{"pad":"' + b"x" * (BODY_SIZE - 10) + b'"}'


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of call, made `at_once` at a time.

    `expect` is the length of the answer's body in bytes; an answer of another length ends the run. With
    `keepalive` False each call opens and closes a connection of its own.
    """

    url: str
    at_once: int
    expect: int
    post: bool = False
    keepalive: bool = True
    ca_file: str | None = None
    fast_tls: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def tls_context(self) -> ssl.SSLContext | None:
        """A verifying context that trusts the run's own certificate authority; None for a plain job."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


class Client(Protocol):
    """An open client. `call` makes one call and returns the body; any status but 200 raises."""

    async def call(self) -> bytes: ...

    async def close(self) -> None: ...


def unexpected(status: int, url: str) -> RuntimeError:
    return RuntimeError(f"{url} answered with the status {status}, expected 200")
