"""make_payload: from the arguments `data` and `json` to a Payload (SURFACE C-07 to C-11, C-17)."""

from collections.abc import AsyncIterable, Callable, Mapping
from io import StringIO
from json import dumps
from typing import Any, Final

from keepwarm.client.errors import InvalidInput
from keepwarm.client.file_payload import OCTET_STREAM
from keepwarm.client.formdata import FormData
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.raw_payload import is_file, raw_payload
from keepwarm.client.source import BytesPayload, Payload
from keepwarm.client.text import encode_text

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
    - a mapping (a multidict gives each value of a name), or a list or tuple of pairs or files: a form, see
      :class:`FormData`, urlencoded, or multipart if it holds anything but text and numbers;
    - a :class:`FormData` or a :class:`MultipartWriter`;
    - a StringIO: the text from its position to its end, as a str;
    - a file-like object in binary mode: sent from its position to its end, see :class:`FilePayload`;
    - an iterable or async iterable of bytes, generators, StreamReader and DataQueue included: sent in chunks, or as
      `content_length` bytes;
    - a :class:`Payload`.

    Everything empty or otherwise false is no body (SURFACE C-11); streams and files are not asked. A FormData without
    fields is an empty form. `json`, unless None, is put through `json_serialize` and sent as application/json.
    `content_length` is the declared length, in bytes; a body that knows its own must agree.

    Raises InvalidInput, a ValueError, for both `data` and `json`, for a file in text mode, for text that `encoding`
    cannot express and for a wrong `content_length`; TypeError for other types, a bare coroutine among them. All of it
    before any I/O.
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
        return BytesPayload(encode_text(text, "utf-8", "json"), JSON)
    if isinstance(text, bytes):
        return BytesPayload(text, JSON)
    raise TypeError(f"json_serialize must return str or bytes, got {type(text).__name__}")


def _data_payload(data: Any, encoding: str) -> Payload | None:
    if type(data) is bytes:  # most bodies, and the questions below cost more than the answer
        return BytesPayload(data, OCTET_STREAM) if data else None
    # A queue that waits for its first item has no length yet, so streams are not asked whether they are empty.
    if data is None or not (isinstance(data, AsyncIterable) or is_file(data) or data):
        return None
    if isinstance(data, FormData):
        return data(encoding)
    if isinstance(data, StringIO):
        # Text in memory, and no file whose bytes would be another matter.
        if data.closed:
            raise InvalidInput("data is a closed file", argument="data")
        return BytesPayload(encode_text(data.read(), encoding, "data"), OCTET_STREAM)
    if isinstance(data, MultipartWriter):
        return data.payload()
    if _is_form(data):
        return FormData(data)(encoding)
    return raw_payload(data, encoding)


def _is_form(data: Any) -> bool:
    if isinstance(data, Mapping):
        return True
    return isinstance(data, (list, tuple)) and (isinstance(data[0], (list, tuple, Mapping)) or is_file(data[0]))
