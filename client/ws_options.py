"""WSOptions: what a caller asks of a WebSocket, checked before anything is sent."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from keepwarm.client.errors import InvalidInput
from keepwarm.client.headers import encode_headers
from keepwarm.pool.limits import check_count, check_seconds
from keepwarm.ws.deflate import DeflateOffer
from keepwarm.ws.handshake import check_origin, check_protocols, new_key, upgrade_fields
from keepwarm.ws.protocol import MAX_FRAGMENTS, MAX_MSG_SIZE

# The handshake makes these itself, or has an argument for them.
_RESERVED: Final = {
    "upgrade": "the handshake sets it",
    "connection": "the handshake sets it",
    "sec-websocket-key": "the handshake makes a new one",
    "sec-websocket-version": "the handshake sets it",
    "sec-websocket-protocol": "use protocols=",
    "sec-websocket-extensions": "use compress=",
}
_COMPRESS: Final = "True, False, the bits of the window (9 to 15) or a DeflateOffer"


class WSOptions(NamedTuple):
    """See `ClientSession.ws_connect`; made by `check_options`."""

    protocols: tuple[str, ...]
    timeout: float | None
    receive_timeout: float | None
    autoclose: bool
    autoping: bool
    heartbeat: float | None
    origin: str | None
    deflate: DeflateOffer | None
    max_msg_size: int | None
    max_fragments: int | None

    def fields(self, key: str) -> list[tuple[str, str]]:
        """The header fields that ask for the upgrade."""
        return upgrade_fields(key, protocols=self.protocols, origin=self.origin, deflate=self.deflate)


def check_options(
    *,
    protocols: Iterable[str] = (),
    timeout: float | None = 10.0,
    receive_timeout: float | None = None,
    autoclose: bool = True,
    autoping: bool = True,
    heartbeat: float | None = None,
    origin: str | None = None,
    compress: "bool | int | DeflateOffer" = False,
    max_msg_size: int | None = MAX_MSG_SIZE,
    max_fragments: int | None = MAX_FRAGMENTS,
) -> WSOptions:
    """The arguments of a call. Raises InvalidInput, a ValueError, or TypeError that names the argument."""
    try:
        return WSOptions(
            check_protocols(protocols),
            check_seconds("timeout", timeout),
            check_seconds("receive_timeout", receive_timeout),
            bool(autoclose),
            bool(autoping),
            check_seconds("heartbeat", heartbeat),
            check_origin(origin),
            _deflate(compress),
            check_count("max_msg_size", max_msg_size or None),
            check_count("max_fragments", max_fragments or None),
        )
    except InvalidInput:
        raise
    except ValueError as exc:
        text = str(exc)
        raise InvalidInput(text, argument=text.partition(" ")[0].rstrip(":")) from None


def with_upgrade(headers: Any, options: WSOptions, key: str) -> list[tuple[str, str]]:
    """The caller's headers and those of the handshake. Raises InvalidInput for one that is the handshake's."""
    block = encode_headers(headers)
    fields = [(line.partition(b":")[0].decode("ascii"), value) for _, value, line in block.fields]
    for name, _, _ in block.fields:
        if name in _RESERVED:
            raise InvalidInput(f"headers: {name} cannot be given: {_RESERVED[name]}", argument="headers")
    if options.origin is not None and "origin" in block.names:
        raise InvalidInput("headers: Origin is given twice: leave out origin= or the header", argument="headers")
    return fields + options.fields(key)


def _deflate(compress: object) -> DeflateOffer | None:
    if isinstance(compress, DeflateOffer):
        return compress
    if isinstance(compress, bool) or compress is None:
        return DeflateOffer() if compress else None
    if isinstance(compress, int):
        # 0 is no compression, else the bits of the window, as aiohttp takes it.
        if compress and not 9 <= compress <= 15:
            raise InvalidInput(f"compress must be {_COMPRESS}, got {compress!r}", argument="compress")
        return DeflateOffer(client_max_window_bits=compress) if compress else None
    raise TypeError(f"compress must be {_COMPRESS}, got {compress!r}")


def new_handshake(headers: Any, options: WSOptions) -> tuple[str, list[tuple[str, str]]]:
    """A fresh key, and the header fields of the request that carries it."""
    key = new_key()
    return key, with_upgrade(headers, options, key)
