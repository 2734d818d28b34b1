"""ClientRequest: one request, checked and encoded before anything is sent."""

from typing import Any, Final

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
    """A request that is ready for the wire. `head` is the whole head; for a small body in memory `wire` is head and
    body in one, else it is the head alone and `payload` follows.

    `may_replay` says whether sending it twice does no harm: the method is idempotent (RFC 9110 9.2.2) or the caller
    gave an Idempotency-Key. `limits` and `read_until_eof` are for reading the answer (see ResponseParser.start).
    """

    __slots__ = (
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
        self.expects_continue = payload is not None and (
            expect100 or (own.get("expect") or defaults.get("expect") or "").lower() == "100-continue"
        )
        connection = [v for value in own.getall("connection") for v in value.lower().split(",")]
        self.wants_close = force_close or "close" in [token.strip() for token in connection]
        self.may_replay = method in IDEMPOTENT_METHODS or "idempotency-key" in own.names

        parts = [b"%b %b HTTP/%d.%d\r\n" % (method.encode("ascii"), target.request_target, *version)]
        if "host" not in names and "host" not in skip_auto_headers:
            parts.append(b"Host: " + target.host + b"\r\n")
        parts.append(defaults.merge(own, skip_auto_headers))
        parts.append(self._content_type(names, skip_auto_headers))
        parts.append(self.framing.lines)
        if "connection" not in names:
            if self.wants_close and version != HttpVersion10:
                parts.append(b"Connection: close\r\n")
            elif version == HttpVersion10 and not self.wants_close:
                parts.append(b"Connection: keep-alive\r\n")
        if self.expects_continue and "expect" not in names:
            parts.append(b"Expect: 100-continue\r\n")
        auth = auth or target.auth
        if auth is not None:
            if "authorization" in own.names:
                raise InvalidInput("auth and an Authorization header exclude each other: give one", argument="auth")
            if "authorization" not in names:
                parts.append(encode_field("Authorization", auth.encode()))
        parts.append(b"\r\n")
        self._set_wire(b"".join(parts))

    def _set_wire(self, head: bytes) -> None:
        payload = self.payload
        small = payload is None or (payload.body is not None and len(payload.body) <= ONE_WRITE)
        self.is_streamed = not small or self.framing.chunked or self.expects_continue
        if self.is_streamed or payload is None or payload.body is None:
            self.wire = head
        else:
            self.wire = head + payload.body

    def _content_type(self, names: frozenset[str], skip: frozenset[str]) -> bytes:
        payload = self.payload
        if payload is None or payload.content_type is None or "content-type" in names or "content-type" in skip:
            return b""
        return encode_field("Content-Type", payload.content_type)

    @property
    def can_repeat_body(self) -> bool:
        """Whether the body could be sent once more."""
        return self.payload is None or self.payload.replayable

    def __repr__(self) -> str:
        return f"<ClientRequest {self.method} {self.target.url!r}>"
