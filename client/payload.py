"""make_payload: from the arguments `data` and `json` to a Payload (SURFACE C-07 to C-11, C-17)."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from json import dumps
from typing import Any, Final
from urllib.parse import urlencode

from keepwarm.client.errors import InvalidInput
from keepwarm.client.file_payload import OCTET_STREAM, FilePayload
from keepwarm.client.pairs import text_pairs
from keepwarm.client.source import Bytes, BytesPayload, Payload
from keepwarm.client.stream_payload import StreamPayload

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


def make_payload(
    data: Any = None,
    json: Any = None,
    *,
    encoding: str = "utf-8",
    json_serialize: Callable[[Any], str | bytes] = dumps,
    content_length: int | None = None,
) -> Payload | None:
    """The body that `data` or `json` means; None when there is none.

    `data` may be

    - bytes, bytearray, memoryview, or a str, which is encoded with `encoding`: sent as application/octet-stream;
    - a mapping (a multidict gives each value of a name), or a list or tuple of pairs: a form, urlencoded;
    - a file-like object in binary mode: sent from its position to its end, see :class:`FilePayload`;
    - an iterable or async iterable of bytes, generators included: sent in chunks, or as `content_length` bytes.

    Everything empty or otherwise false is no body (SURFACE C-11). `json`, unless None, is put through
    `json_serialize` and sent as application/json. `content_length` is the declared length, in bytes; a body that
    knows its own must agree.

    Raises InvalidInput, a ValueError, for both `data` and `json`, for a file in text mode, for text that `encoding`
    cannot express and for a wrong `content_length`; TypeError for other types. All of it before any I/O.
    """
    if json is not None:
        if data is not None:
            raise InvalidInput("give data or json, not both", argument="json")
        payload: Payload | None = _json_payload(json, json_serialize)
    else:
        payload = _data_payload(data, encoding)
    if content_length is not None:
        _declare(payload, content_length)
    return payload


def _declare(payload: Payload | None, length: object) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise InvalidInput(
            f"content_length must be a number of bytes from 0 up, got {length!r}", argument="content_length"
        )
    if payload is not None:
        payload.declare(length)
    elif length:
        raise InvalidInput(f"content_length is {length} but there is no data to send", argument="content_length")


def _json_payload(value: object, serialize: Callable[[Any], str | bytes]) -> Payload:
    text = serialize(value)
    if isinstance(text, str):
        return BytesPayload(_encode(text, "utf-8", "json"), JSON)
    if isinstance(text, bytes):
        return BytesPayload(text, JSON)
    raise TypeError(f"json_serialize must return str or bytes, got {type(text).__name__}")


def _data_payload(data: Any, encoding: str) -> Payload | None:
    if isinstance(data, memoryview):
        # What can change is copied, and so is a view that does not count in bytes.
        data = data if data.readonly and data.contiguous and data.format == "B" and data.ndim == 1 else data.tobytes()
    if not data:
        return None
    body: Bytes | None = None
    if isinstance(data, (bytes, memoryview)):
        body = data
    elif isinstance(data, bytearray):
        body = bytes(data)
    elif isinstance(data, str):
        body = _encode(data, encoding, "data")
    if body is not None:
        return BytesPayload(body, OCTET_STREAM)
    if isinstance(data, Mapping) or (isinstance(data, (list, tuple)) and isinstance(data[0], (list, tuple))):
        return BytesPayload(encode_form(data, encoding), FORM)
    return _stream_payload(data)


def _stream_payload(data: Any) -> Payload:
    # A stream reader has a coroutine for read(), so it is asked for its asynchronous iteration first.
    if isinstance(data, AsyncIterable):
        return StreamPayload(data, OCTET_STREAM)
    if callable(getattr(data, "read", None)):
        return FilePayload(data)
    if isinstance(data, Iterable):
        return StreamPayload(data, OCTET_STREAM, repeatable=isinstance(data, (list, tuple)))
    raise TypeError(
        "data must be bytes, str, a mapping, a file in binary mode, or an (async) iterable of bytes, "
        f"got {type(data).__name__}"
    )


def encode_form(data: object, encoding: str = "utf-8") -> bytes:
    """A mapping or an iterable of pairs as application/x-www-form-urlencoded.

    Names are str, values str, int or float. Raises TypeError for other types, InvalidInput for what `encoding` cannot
    express; both name `data`.
    """
    pairs = text_pairs(data, "data")
    try:
        return urlencode(pairs, encoding=encoding).encode("ascii")
    except (LookupError, UnicodeError) as exc:
        raise _not_encodable(encoding, "data", exc) from None


def _encode(text: str, encoding: str, argument: str) -> bytes:
    try:
        return text.encode(encoding)
    except (LookupError, UnicodeError) as exc:
        raise _not_encodable(encoding, argument, exc) from None


def _not_encodable(encoding: str, argument: str, exc: Exception) -> InvalidInput:
    if isinstance(exc, UnicodeError):
        return InvalidInput(f"{argument} cannot be written in {encoding!r}", argument=argument)
    return InvalidInput(f"encoding is unknown: {encoding!r}", argument="encoding")
