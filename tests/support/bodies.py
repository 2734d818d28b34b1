"""What the tests of request bodies share: making payloads and draining them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from keepwarm.client.payload import make_payload
from keepwarm.client.source import Payload


def made(data: Any = None, **kwargs: Any) -> Payload:
    payload = make_payload(data, **kwargs)
    assert payload is not None
    return payload


async def pieces(payload: Payload) -> list[bytes]:
    return [bytes(piece) async for piece in payload.chunks()]


async def body(payload: Payload) -> bytes:
    return b"".join(await pieces(payload))


class Failing:
    """Takes pieces until the source fails; says what was handed out and how it failed."""

    def __init__(self) -> None:
        self.sent = b""

    async def drain(self, payload: Payload) -> Exception:
        try:
            async for piece in payload.chunks():
                self.sent += piece
        except Exception as exc:
            return exc
        pytest.fail("the body ended as if it were complete")


async def agen(*parts: object) -> AsyncIterator[Any]:
    for part in parts:
        yield part


def gen(*parts: object) -> Iterator[Any]:
    yield from parts
