"""OuterTransport: the transport of a TLS connection, fit to carry TLS once more."""

import asyncio
from typing import Any


def carrier(transport: asyncio.Transport) -> Any:
    """What to give to the loop's `start_tls` for this transport."""
    if isinstance(transport, asyncio.Transport) and transport.get_extra_info("ssl_object") is not None:
        return OuterTransport(transport)
    return transport


class OuterTransport:
    """asyncio's transport for TLS, with a `_force_close` that works.

    Before Python 3.13 its own raises TypeError. The inner TLS calls it when its handshake fails, for instance because
    of the certificate, and whoever waits for the handshake gets that error instead of the reason. uvloop's transports
    are no asyncio.Transports and need nothing.
    """

    __slots__ = ("_transport",)

    # What asyncio asks a transport before it starts TLS over it.
    _start_tls_compatible = True

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _force_close(self, exc: BaseException | None) -> None:
        self._transport.abort()
