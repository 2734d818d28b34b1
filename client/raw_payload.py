"""raw_payload: bodies that are no form: bytes, text, files, iterables (SURFACE C-08 to C-10)."""

import inspect
from collections.abc import AsyncIterable, Iterable
from typing import Any

from keepwarm.client.body import StreamReader
from keepwarm.client.file_payload import OCTET_STREAM, FilePayload
from keepwarm.client.source import Bytes, BytesPayload, Payload
from keepwarm.client.stream_payload import StreamPayload, piece_bytes
from keepwarm.client.text import encode_text


def raw_payload(data: Any, encoding: str = "utf-8", argument: str = "data") -> Payload:
    """The body that `data` is: a Payload, bytes, bytearray, memoryview, text in `encoding`, a file in binary mode, or
    an (async) iterable of bytes. A StreamReader gives its bytes as they arrive, a DataQueue its items.

    Raises InvalidInput for a file that cannot be read and for text that `encoding` cannot express; TypeError, naming
    `argument`, for everything else.
    """
    if isinstance(data, Payload):
        return data
    if isinstance(data, str):
        return BytesPayload(encode_text(data, encoding, argument), OCTET_STREAM)
    body = memory_bytes(data)
    if body is not None:
        return BytesPayload(body, OCTET_STREAM)
    # A stream reader has a coroutine for read(), so it is asked for its asynchronous iteration first.
    if isinstance(data, StreamReader):
        return StreamPayload(data.iter_any(), OCTET_STREAM)
    if isinstance(data, AsyncIterable):
        return StreamPayload(data, OCTET_STREAM)
    if is_file(data):
        return FilePayload(data, argument)
    if isinstance(data, (list, tuple)):
        for piece in data:
            piece_bytes(piece, argument)
        return StreamPayload(data, OCTET_STREAM, repeatable=True)
    if isinstance(data, Iterable):
        return StreamPayload(data, OCTET_STREAM)
    raise TypeError(_refusal(data, argument))


def is_file(data: object) -> bool:
    """Whether `data` is meant to be read as a file."""
    return callable(getattr(data, "read", None)) and not isinstance(data, AsyncIterable) and not isinstance(data, type)


def memory_bytes(data: object) -> Bytes | None:
    """Bytes, or a view of bytes, that nobody can change any more; None when `data` is no bytes-like object."""
    if type(data) is bytes:
        return data
    if isinstance(data, (bytes, bytearray)):
        return memoryview(data).tobytes()  # whatever a class of the caller's says of its length
    if isinstance(data, memoryview):
        # What can change is copied, and so is a view that does not count in bytes.
        return data if _is_fixed(data) and data.contiguous and data.format == "B" and data.ndim == 1 else data.tobytes()
    return None


def _is_fixed(view: memoryview) -> bool:
    """Whether nobody can change what the view shows: `toreadonly` gives a view of what others can still change."""
    return view.readonly and (view.obj is None or memoryview(view.obj).readonly)


def _refusal(data: object, argument: str) -> str:
    if inspect.iscoroutine(data):
        return (
            f"{argument} is a coroutine; await it and give what it returns, or give an async generator that yields "
            "the bytes"
        )
    if inspect.isasyncgenfunction(data) or inspect.isgeneratorfunction(data) or inspect.iscoroutinefunction(data):
        return f"{argument} is the function {data.__name__}, not what it gives; call it"
    return (
        f"{argument} must be bytes, str, a file in binary mode, an (async) iterable of bytes, a form or a Payload, "
        f"got {type(data).__name__}"
    )
