"""The service that is called: a small ASGI app. It repeats the number of each call, so that a mix-up would be seen."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def answer(number: int, received: int) -> bytes:
    """About 150 bytes of JSON."""
    return json.dumps(
        {
            "number": number,
            "received": received,
            "name": "a warm connection",
            "tags": ["keepalive", "pool", "asyncio"],
            "price": 12.5,
            "in_stock": True,
            "note": "served on loopback",
        }
    ).encode()


async def read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def echo(receive: Receive, send: Send) -> None:
    """A WebSocket that sends back what it gets."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": event["text"]})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """``GET`` or ``POST /items/NUMBER``, and a WebSocket anywhere."""
    if scope["type"] == "websocket":
        await echo(receive, send)
        return
    body = await read_body(receive)
    number = scope["path"].rpartition("/")[2]
    content = answer(int(number), len(body)) if number.isdigit() else b"{}"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200 if number.isdigit() else 404, "headers": headers})
    await send({"type": "http.response.body", "body": content})
