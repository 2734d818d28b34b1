"""Requests as the scripted server reads them, and responses for it to send."""

import itertools
from collections.abc import Iterable

_serial = itertools.count(1)


class Request:
    """One request off the wire. Header names keep their spelling; `header()` looks past it."""

    __slots__ = ("body", "chunks", "head", "headers", "method", "target", "trailers", "version")

    def __init__(self, head: bytes) -> None:
        """Parse `head`, which ends in the empty line. Raises ValueError on what no client may send."""
        self.head = head
        line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, self.version = _request_line(line)
        self.headers = parse_fields(fields)
        self.body = b""
        self.chunks: list[bytes] = []
        self.trailers: list[tuple[str, str]] = []

    def header(self, name: str, default: str = "") -> str:
        """The first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), default)

    def header_all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def nonce(self) -> str:
        """The mark that the test put on the request: its X-Nonce, else its target."""
        return self.header("x-nonce") or self.target

    @property
    def is_chunked(self) -> bool:
        return self.header("transfer-encoding").lower() == "chunked"

    @property
    def content_length(self) -> int:
        """The declared length; 0 without one. Raises ValueError if the request contradicts itself."""
        lengths = self.header_all("content-length")
        if len(lengths) > 1 or (lengths and (self.is_chunked or not lengths[0].isdecimal())):
            raise ValueError(f"a request with an unclear length: {self.head!r}")
        return int(lengths[0]) if lengths else 0

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


def _request_line(line: bytes) -> tuple[str, str, str]:
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3 or not all(parts) or "\n" in parts[1] or "\r" in parts[1]:
        raise ValueError(f"not a request line: {line!r}")
    return parts[0], parts[1], parts[2]


def parse_fields(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """Header or trailer lines as pairs. Raises ValueError on a malformed one."""
    fields = []
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip() or any(mark in line for mark in (b"\r", b"\n", b"\0")):
            raise ValueError(f"not a header line: {line!r}")
        fields.append((name, value.strip(" \t")))
    return fields


def response(
    status: str = "200 OK",
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    length: int | None = None,
    version: str = "HTTP/1.1",
) -> bytes:
    """A response with a Content-Length: of the body, or `length` where it is to lie."""
    fields = [*headers, ("Content-Length", str(len(body) if length is None else length))]
    return head(status, fields, version=version) + body


def head(status: str = "200 OK", headers: Iterable[tuple[str, str]] = (), *, version: str = "HTTP/1.1") -> bytes:
    """A status line and exactly these headers."""
    lines = [f"{version} {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def ok(body: bytes = b"ok", headers: Iterable[tuple[str, str]] = (), *, nonce: str | None = None) -> bytes:
    """A 200 with an X-Nonce: the given one (`request.nonce` shows whose answer it is), else a fresh number."""
    mark = nonce if nonce is not None else f"n{next(_serial)}"
    return response("200 OK", body, [("X-Nonce", mark), *headers])


def chunked(
    chunks: Iterable[bytes],
    headers: Iterable[tuple[str, str]] = (),
    *,
    trailers: Iterable[tuple[str, str]] = (),
    nonce: str | None = None,
) -> bytes:
    """A 200 in chunks, whole."""
    mark = nonce if nonce is not None else f"n{next(_serial)}"
    start = head("200 OK", [("X-Nonce", mark), *headers, ("Transfer-Encoding", "chunked")])
    end = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1")
    return start + b"".join(chunk(data) for data in chunks) + b"0\r\n" + end + b"\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk with its size line."""
    return b"%x\r\n%b\r\n" % (len(data), data)
