"""FilePayload: a body from a file-like object (SURFACE C-09)."""

import asyncio
import io
import mimetypes
import os
import stat
import threading
from collections.abc import AsyncIterator
from typing import Any, Final

from keepwarm.client.errors import ClientRequestError, InvalidInput
from keepwarm.client.source import Bytes, Payload
from keepwarm.client.stream_payload import piece_bytes

READ_SIZE: Final = 65536
OCTET_STREAM: Final = "application/octet-stream"


class FilePayload(Payload):
    """A body read from `file`, from its position at the time of the call to its end.

    The length is known for BytesIO and for regular files; everything else is sent in chunks. A file that can seek is
    rewound to where it began before each sending, so it can be sent again. Reading happens in a thread, save for
    BytesIO, because a pipe or a slow disk would stop the event loop; a cancelled call may leave one read running in
    its thread. The file is never closed.

    Raises InvalidInput, a ValueError, for a file in text mode, a closed one and one that is not readable; the text
    calls it `argument`.
    """

    __slots__ = ("_file", "_inline", "_lock", "_reader", "_seekable", "_start")

    def __init__(self, file: Any, argument: str = "data") -> None:
        _check_readable(file, argument)
        self._file = file
        self._inline = isinstance(file, io.BytesIO)
        self._lock = threading.Lock()
        self._reader: _FilePieces | None = None
        self._seekable = _can_seek(file)
        self._start: int = file.tell() if self._seekable else 0
        super().__init__(None, _length(file, self._start) if self._seekable else None, guess_type(file))

    @property
    def replayable(self) -> bool:
        return self._seekable or not self.started

    def open(self) -> AsyncIterator[Bytes]:
        if self._reader is not None:
            self._reader.stop()
        start = self._start if self._seekable else None
        self._reader = _FilePieces(self, self._file, self._lock, start, self._inline)
        return self._reader


class _FilePieces:
    """Reads on, and notices when somebody else moves the file in the meantime: two bodies must never mix.

    A cancelled sending may leave a read in its thread. `lock` keeps the next sending out until that read has ended,
    and `stop` keeps one that has not begun from moving the file under it.
    """

    __slots__ = ("_begun", "_file", "_inline", "_lock", "_payload", "_position", "_stopped")

    def __init__(self, payload: Payload, file: Any, lock: threading.Lock, start: int | None, inline: bool) -> None:
        self._payload = payload
        self._file = file
        self._lock = lock
        self._stopped = False
        self._inline = inline
        self._position = start
        self._begun = False

    def stop(self) -> None:
        """Leave the file alone from now on: another sending begins."""
        self._stopped = True

    def __aiter__(self) -> AsyncIterator[Bytes]:
        return self

    async def __anext__(self) -> Bytes:
        self._payload.started = True
        data = self._read() if self._inline else await asyncio.to_thread(self._read_in_turn)
        if not data:
            raise StopAsyncIteration
        return data

    def _read_in_turn(self) -> bytes:
        with self._lock:
            return b"" if self._stopped else self._read()

    def _read(self) -> bytes:
        try:
            if not self._begun and self._position is not None:
                self._file.seek(self._position)
            self._begun = True
            data = self._file.read(READ_SIZE)
            after = None if self._position is None else self._file.tell()
        except (OSError, ValueError) as exc:
            raise ClientRequestError(f"the file given as data cannot be read: {exc}") from exc
        if data is None:
            raise ClientRequestError("the file given as data is in non-blocking mode and has nothing to read")
        data = piece_bytes(data)
        if self._position is not None:
            self._position += len(data)
            if after != self._position:
                # The piece may be of another place in the file; it is not handed out.
                raise _moved()
        return data


def _moved() -> ClientRequestError:
    return ClientRequestError(
        "the file given as data was read or moved by somebody else while it was being sent; give each request a file "
        "object of its own"
    )


def _check_readable(file: Any, argument: str) -> None:
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, "encoding", None), str):
        raise InvalidInput(f"{argument} is a file in text mode; open it in binary mode ('rb')", argument=argument)
    if getattr(file, "closed", False) is True:
        raise InvalidInput(f"{argument} is a closed file", argument=argument)
    readable = getattr(file, "readable", None)
    if callable(readable) and not readable():
        raise InvalidInput(f"{argument} is a file that is not open for reading", argument=argument)


def _can_seek(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    if not callable(seekable) or not seekable():
        return False
    return callable(getattr(file, "seek", None)) and callable(getattr(file, "tell", None))


def _length(file: Any, start: int) -> int | None:
    """Bytes from `start` to the end, where that is known without reading: what has a size in the file system.

    Wrappers that decode (gzip, for one) have a descriptor too, but its size is not theirs.
    """
    if isinstance(file, io.BytesIO):
        return max(len(file.getbuffer()) - start, 0)
    inner = getattr(file, "file", file)  # what tempfile makes wraps the real one
    raw = inner.raw if isinstance(inner, (io.BufferedReader, io.BufferedRandom)) else inner
    if not isinstance(raw, io.FileIO):
        return None
    status = os.fstat(raw.fileno())
    return max(status.st_size - start, 0) if stat.S_ISREG(status.st_mode) else None


def guess_type(file: Any) -> str:
    """The media type that the file's name suggests; application/octet-stream when it suggests none."""
    name = getattr(file, "name", None)
    return type_of_name(name) if isinstance(name, str) else OCTET_STREAM


def type_of_name(name: str) -> str:
    """As :func:`guess_type`, for a name."""
    # As a path: the type of a "data:" URL would be whatever the name says.
    kind, coding = mimetypes.guess_type(f"./{name}", strict=False)
    # With a coding (".tar.gz") the type is that of the content inside, which is not what is sent.
    return OCTET_STREAM if kind is None or coding is not None else kind


def guess_filename(file: Any) -> str | None:
    """The last part of the file's name; None when it has no name, or one like <stdin>."""
    name = getattr(file, "name", None)
    if not isinstance(name, str) or (name.startswith("<") and name.endswith(">")):
        return None
    return os.path.basename(name) or None
