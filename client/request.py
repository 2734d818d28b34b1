"""ClientRequest: one request, checked and encoded before anything is sent."""

from typing import Any, Final, Self

from keepwarm.client.auth import BasicAuth
from keepwarm.client.errors import InvalidInput
from keepwarm.client.framing import Framing, frame_body
from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.client.headers import NO_NAMES, DefaultHeaders, encode_field, encode_headers
from keepwarm.client.method import IDEMPOTENT_METHODS, check_method
from keepwarm.client.source import Payload
from keepwarm.client.url import Target
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11
from keepwarm.pool.endpoint import Endpoint

# A body up to this size goes out with the head in one write; a larger one is sent piece by piece, under back-pressure.
ONE_WRITE: Final = 65536


class ClientRequest:
    """A request that is ready for the wire. For a small body in memory `wire` is head and body in one, else it is the
    head alone and `payload` follows (`is_streamed`).

    `may_replay` says whether sending it twice does no harm: the method is idempotent (RFC 9110 9.2.2) or the caller
    gave an Idempotency-Key. `limits` and `read_until_eof` are for reading the answer (see ResponseParser.start).
    """

    __slots__ = (
        "_prefix",
        "endpoint",
        "expects_continue",
        "framing",
        "is_streamed",
        "limits",
        "may_replay",
        "method",
        "payload",
        "read_until_eof",
        "target",
        "version",
        "wants_close",
        "wire",
    )

    def __init__(
        self,
        method: str,
        target: Target,
        defaults: DefaultHeaders,
        *,
        headers: Any = None,
        skip_auto_headers: frozenset[str] = NO_NAMES,
        auth: BasicAuth | None = None,
        payload: Payload | None = None,
        chunked: object = None,
        expect100: bool = False,
        version: HttpVersion = HttpVersion11,
        force_close: bool = False,
        limits: HeadLimits = DEFAULT_LIMITS,
        read_until_eof: bool = True,
    ) -> None:
        self.method = method = check_method(method)
        self.limits = limits
        self.read_until_eof = read_until_eof
        self.target = target
        self.endpoint: Endpoint = target.endpoint
        self.payload = payload
        self.version = version
        own = encode_headers(headers)
        self.framing: Framing = frame_body(payload, method, own, chunked=chunked, version=version)
        names = own.names | defaults.names
        expect = own.get("expect") or defaults.get("expect") or ""
        self.expects_continue = payload is not None and (bool(expect100) or expect.lower() == "100-continue")
        self.wants_close = force_close or "close" in _tokens(own.getall("connection"))
        self.may_replay = method in IDEMPOTENT_METHODS or "idempotency-key" in own.names

        parts = [b"%b %b HTTP/%d.%d\r\n" % (method.encode("ascii"), target.request_target, *version)]
        if "host" not in names and "host" not in skip_auto_headers:
            parts.append(b"Host: " + target.host + b"\r\n")
        parts.append(defaults.merge(own, skip_auto_headers))
        parts.append(_content_type(payload, names, skip_auto_headers))
        parts.append(_authorization(auth or target.auth, own.names, names))
        if "connection" not in names:
            parts.append(self._connection())
        if self.expects_continue and not expect:
            parts.append(b"Expect: 100-continue\r\n")
        self._prefix = b"".join(parts)
        self._set_wire()

    def with_body(self, payload: Payload) -> Self:
        """The same request with another body of the same kind: in memory, with a length, of the same content type.

        What makes most calls cheap: names, values, target and credentials were checked and encoded once.
        """
        other = object.__new__(type(self))
        other.method = self.method
        other.target = self.target
        other.endpoint = self.endpoint
        other.version = self.version
        other.limits = self.limits
        other.read_until_eof = self.read_until_eof
        other.wants_close = self.wants_close
        other.may_replay = self.may_replay
        other.expects_continue = False
        other.payload = payload
        other.framing = Framing(b"Content-Length: %d\r\n" % (payload.length or 0), False, 0)
        other._prefix = self._prefix
        other._set_wire()
        return other

    @property
    def is_pattern(self) -> bool:
        """Whether `with_body` may be used: nothing in the head depends on what the body is."""
        payload = self.payload
        return (
            payload is not None
            and payload.body is not None
            and bool(self.framing.lines)
            and not self.framing.chunked
            and not self.expects_continue
        )

    def _set_wire(self) -> None:
        payload = self.payload
        head = self._prefix + self.framing.lines + b"\r\n"
        body = None if payload is None else payload.body
        small = payload is None or (body is not None and len(body) <= ONE_WRITE)
        self.is_streamed = not small or self.framing.chunked or self.expects_continue
        self.wire = head if self.is_streamed or body is None else head + body

    def _connection(self) -> bytes:
        """P-07: 1.1 keeps connections unless told, 1.0 closes them unless told."""
        if self.version == HttpVersion10:
            return b"" if self.wants_close else b"Connection: keep-alive\r\n"
        return b"Connection: close\r\n" if self.wants_close else b""

    @property
    def can_repeat_body(self) -> bool:
        """Whether the body could be sent once more."""
        return self.payload is None or self.payload.replayable

    def __repr__(self) -> str:
        return f"<ClientRequest {self.method} {self.target.url!r}>"


def _tokens(values: list[str]) -> list[str]:
    return [token.strip() for value in values for token in value.lower().split(",")]


def _content_type(payload: Payload | None, names: frozenset[str], skip: frozenset[str]) -> bytes:
    if payload is None or payload.content_type is None or "content-type" in names or "content-type" in skip:
        return b""
    return encode_field("Content-Type", payload.content_type)


def _authorization(auth: BasicAuth | None, own: frozenset[str], names: frozenset[str]) -> bytes:
    if auth is None:
        return b""
    if "authorization" in own:
        raise InvalidInput("auth and an Authorization header exclude each other: give one", argument="auth")
    return b"" if "authorization" in names else encode_field("Authorization", auth.encode())
