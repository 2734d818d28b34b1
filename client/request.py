"""ClientRequest: one request, checked and encoded before anything is sent."""

import asyncio
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, Final, NamedTuple, Self

from keepwarm.client.compressing import CompressedPayload, compress_payload
from keepwarm.client.cookie_header import cookie_header, merge_cookie_headers
from keepwarm.client.errors import ClientPayloadError, InvalidInput
from keepwarm.client.file_payload import OCTET_STREAM
from keepwarm.client.framing import COUNTED, Framing, frame_body
from keepwarm.client.headers import HeaderBlock, check_skip, encode_field, encode_headers
from keepwarm.client.method import IDEMPOTENT_METHODS, check_method
from keepwarm.client.options import DEFAULT_OPTIONS, RequestOptions
from keepwarm.client.payload import make_payload
from keepwarm.client.redirects import BODY_FIELDS, CREDENTIAL_FIELDS, Redirect
from keepwarm.client.source import BytesPayload, Payload
from keepwarm.client.url import Target
from keepwarm.client.version import HttpVersion, HttpVersion10, check_version
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.proxy import ForwardProxy

# A body up to this size goes out with the head in one write; a larger one is sent piece by piece, under back-pressure.
ONE_WRITE: Final = 65536

# Of the session's headers: the cookies go into one line with all others, and no body needs no description.
_JOINED: Final = frozenset({"cookie"})
_WITHOUT_BODY: Final = BODY_FIELDS | _JOINED
_LOGIN: Final = frozenset({"authorization"})
_PROXY_LOGIN: Final = frozenset({"proxy-authorization"})


class _Given(NamedTuple):
    """What the caller gave, checked: what the next request of a chain of redirects is made from."""

    headers: HeaderBlock
    skip: frozenset[str]
    cookies: str | None
    auth: BasicAuth | None
    version: HttpVersion
    chunked: Any


class ClientRequest:
    """A request that is ready for the wire: what a `request_class` of a session is a subclass of.

    The parameters are those of ``ClientSession.request``; `url` may be a Target. `loop` and `response_class` are
    taken and not needed. For a small body in memory `wire` is head and body in one, else it is the head alone and
    `payload` follows (`is_streamed`). `endpoint` is where its connection leads, the key of the pool: the target's
    own, or that of a proxy whose connections the plain HTTP targets share.

    `may_replay` says whether sending it twice does no harm: the method is idempotent (RFC 9110 9.2.2) or the caller
    gave an Idempotency-Key. `read_until_eof` is for reading the answer.

    Raises InvalidInput, InvalidURL (both ValueErrors) or TypeError for an argument that cannot be used; the text names
    it.
    """

    #: Whether the request asks for another protocol, so that 101 answers it.
    wants_upgrade: ClassVar[bool] = False

    __slots__ = (
        "_body",
        "_cookie",
        "_given",
        "_opening",
        "_prefix",
        "endpoint",
        "expects_continue",
        "framing",
        "is_streamed",
        "may_replay",
        "method",
        "options",
        "read_until_eof",
        "target",
        "wants_close",
        "wire",
    )

    # All of a pattern's head up to the length of the body; others have none.
    _opening: bytes

    def __init__(
        self,
        method: str,
        url: Any,
        *,
        params: Any = None,
        headers: Any = None,
        skip_auto_headers: Iterable[str] | None = None,
        data: Any = None,
        json: Any = None,
        cookies: Any = None,
        encoding: str = "utf-8",
        auth: BasicAuth | tuple[str, str] | None = None,
        version: Any = None,
        compress: Any = None,
        chunked: Any = None,
        expect100: bool = False,
        read_until_eof: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
        response_class: Any = None,
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.method = method = check_method(method)
        self.options = options
        self.read_until_eof = bool(read_until_eof)
        self.target: Target = url if isinstance(url, Target) else options.resolve(url, params)
        self.endpoint: Endpoint = self._lease_endpoint()
        own = encode_headers(headers)
        self._given = _Given(
            headers=own,
            skip=options.skip | check_skip(skip_auto_headers) if skip_auto_headers else options.skip,
            cookies=_merged_cookies(own, cookies),
            auth=check_auth(auth, level=5),
            version=options.version if version is None else check_version(version),
            chunked=chunked,
        )
        self._cookie = self._cookie_line()
        if isinstance(data, Payload):
            self._body: Payload | bytes | None = data
        else:
            self._body = make_payload(data, json, encoding=encoding, json_serialize=options.json_serialize)
        self._set_prefix(self._set_framing(compress), bool(expect100))
        self._set_wire()

    @property
    def payload(self) -> Payload | None:
        """The body and what describes it; None without one. A pattern's bytes are described when somebody asks."""
        body = self._body
        if isinstance(body, bytes):
            body = self._body = BytesPayload(body, OCTET_STREAM)
        return body

    def _forward_proxy(self) -> ForwardProxy | None:
        """The proxy that reads this request and passes it on; none sees what goes through a tunnel."""
        return None if self.target.endpoint.is_ssl else self.options.forward_proxy

    def _lease_endpoint(self) -> Endpoint:
        proxy = self._forward_proxy()
        return self.target.endpoint if proxy is None or proxy.shared is None else proxy.shared

    def _set_framing(self, compress: Any) -> bytes:
        """Body and framing; returns the field lines of the content coding."""
        given = self._given
        compression = compress_payload(self.payload, compress, given.headers.getall("content-encoding"))
        self._body = compression.payload
        self.framing: Framing = frame_body(
            compression.payload, self.method, given.headers, chunked=given.chunked, version=given.version
        )
        return compression.lines

    def _set_prefix(self, coding: bytes, expect100: bool) -> None:
        """All of the head but cookies and framing."""
        given, target, payload = self._given, self.target, self.payload
        own, skip = given.headers, given.skip
        defaults = self.options.defaults.without(_WITHOUT_BODY if payload is None else _JOINED)
        if target.auth is not None and given.auth is None:
            defaults = defaults.without(_LOGIN)  # the URL's own login is the more particular
        proxy = self._forward_proxy()
        if proxy is None and self.options.forward_proxy is not None:
            # Inside a tunnel it would reach the origin, and is not meant for it (FAULTS X06).
            own, defaults = own.without(_PROXY_LOGIN), defaults.without(_PROXY_LOGIN)
        names = own.names | defaults.names
        expect = own.get("expect") or defaults.get("expect") or ""
        self.expects_continue = payload is not None and (expect100 or expect.lower() == "100-continue")
        connection = own.getall("connection") or defaults.block.getall("connection")
        self.wants_close = self.options.force_close or "close" in _tokens(connection)
        self.may_replay = self.method in IDEMPOTENT_METHODS or "idempotency-key" in own.names
        request_target = target.request_target
        if proxy is not None:
            request_target = b"http://%b%b" % (target.host, request_target)  # RFC 9112 3.2.2
        parts = [b"%b %b HTTP/%d.%d\r\n" % (self.method.encode("ascii"), request_target, *given.version)]
        if "host" not in names and "host" not in skip:
            parts.append(b"Host: " + target.host + b"\r\n")
        parts.append(defaults.merge(own.without(("cookie",)), skip))
        if proxy is not None and "proxy-authorization" not in names:
            parts.append(proxy.credentials)
        _check_boundary(payload, own.get("content-type") or defaults.get("content-type"))
        parts.append(_content_type(payload, names, skip))
        parts.append(coding)
        parts.append(_authorization(given.auth or target.auth or self.options.auth, names))
        if "connection" not in names:
            parts.append(_connection(given.version, self.wants_close))
        if self.expects_continue and not expect:
            parts.append(b"Expect: 100-continue\r\n")
        self._prefix = b"".join(parts)

    def _set_wire(self) -> None:
        payload, framing = self.payload, self.framing
        body = None if payload is None else payload.body
        small = payload is None or (body is not None and len(body) <= ONE_WRITE)
        self.is_streamed = not small or framing.chunked or self.expects_continue
        lines = framing.lines
        if framing is COUNTED and payload is not None:
            lines = b"Content-Length: %d\r\n" % (payload.length or 0)
        rest = b"" if self.is_streamed or body is None else body
        self.wire = b"".join((self._prefix, self._cookie, lines, b"\r\n", rest))

    # Others like it

    def pattern(self) -> Self | None:
        """What `with_body` may be called on: this request without its body, which it would keep alive. None where
        something in the head depends on what the body is."""
        payload, framing = self.payload, self.framing
        if payload is None or payload.body is None or self.expects_continue:
            return None
        # A form's boundary is seldom the same twice.
        if framing.chunked or not framing.lines or (payload.content_type or "").startswith("multipart/"):
            return None
        pattern = self._copy()
        pattern._body = None
        pattern.framing = COUNTED
        pattern._opening = self._prefix + self._cookie + b"Content-Length: "
        return pattern

    def with_body(self, payload: Payload | bytes) -> Self:
        """What this pattern makes of a body of its kind: in memory, with a length, of the same content type. Bytes are
        ``application/octet-stream``.

        What makes most calls cheap: names, values, target and credentials were checked and encoded once.
        """
        other = self._copy()
        other._body = payload
        body = payload if isinstance(payload, bytes) else payload.body
        if type(body) is bytes and len(body) <= ONE_WRITE:
            # What `_set_wire` comes to, without the questions: they take half of its time.
            other.is_streamed = False
            other.wire = b"%b%d\r\n\r\n%b" % (self._opening, len(body), body)
        else:
            other._set_wire()
        return other

    def with_cookies(self, header: str) -> Self:
        """The same request with the cookies of a jar; those that the caller gave to the call come first."""
        other = self._copy()
        other._cookie = self._cookie_line(header)
        other._set_wire()
        return other

    def _cookie_line(self, of_jar: str | None = None) -> bytes:
        """One line (P-17): the cookies of the call, of the session's headers and of the jar, in order of precedence."""
        header = merge_cookie_headers(self._given.cookies, *self.options.defaults.block.getall("cookie"), of_jar)
        return encode_field("Cookie", header) if header else b""

    def redirected(self, to: Redirect) -> "ClientRequest":
        """The request that a redirect asks for: without the body and what describes it where the method says so, and
        without any credential once the origin changes. Within the origin the cookies of the call go
        along; those of a jar do not, for each hop gets its own. A user name in the Location replaces the credentials
        that the caller gave.

        Raises ClientPayloadError if the body has to go along and cannot be read a second time.
        """
        drop = {"cookie"}
        given = self._given
        options, target, auth = self.options, to.target, given.auth
        if not to.keeps_body:
            drop |= BODY_FIELDS
        if not to.same_origin:
            drop |= CREDENTIAL_FIELDS | {"host"}
            options, auth = options.foreign, None
        if to.target.auth is not None:
            drop.add("authorization")
            auth = None
        elif to.same_origin and self.target.auth is not None:
            # As the URL's login, which it is, and not as an argument of the call.
            target = Target(target.endpoint, target.request_target, target.host, target.url, self.target.auth)
        payload = self.payload if to.keeps_body else None
        if payload is not None and not payload.replayable:
            raise ClientPayloadError(
                f"{self.method} {self.target.url} was redirected to {to.target.url} with its body, which cannot be "
                "read a second time; send bytes or a file, or use allow_redirects=False",
                endpoint=self.endpoint,
                phase="send",
            )
        return type(self)(
            to.method,
            target,
            headers=_with_coding(given.headers.without(drop), payload),
            skip_auto_headers=given.skip,
            data=payload,
            cookies=given.cookies if to.same_origin else None,
            auth=auth,
            version=given.version,
            compress=False,
            chunked=given.chunked if payload is not None else None,
            expect100=self.expects_continue and payload is not None,
            read_until_eof=self.read_until_eof,
            options=options,
        )

    def _copy(self) -> Self:
        # One by one: a loop over the names costs three times as much, and this is on the way of every POST.
        other = object.__new__(type(self))
        other._body = self._body
        other._cookie = self._cookie
        other._given = self._given
        other._prefix = self._prefix
        other.endpoint = self.endpoint
        other.expects_continue = self.expects_continue
        other.framing = self.framing
        other.may_replay = self.may_replay
        other.method = self.method
        other.options = self.options
        other.read_until_eof = self.read_until_eof
        other.target = self.target
        other.wants_close = self.wants_close
        return other

    @property
    def can_repeat_body(self) -> bool:
        """Whether the body could be sent once more."""
        return self.payload is None or self.payload.replayable

    def __repr__(self) -> str:
        return f"<ClientRequest {self.method} {self.target.url!r}>"


def _merged_cookies(own: HeaderBlock, cookies: Any) -> str | None:
    """The caller's own Cookie header and the request's cookies make one header (P-17)."""
    header = own.get("cookie")
    if header is None and cookies is None:
        return None
    return merge_cookie_headers(header, cookies if isinstance(cookies, str) else cookie_header(cookies or ()))


def check_auth(auth: Any, *, level: int = 3) -> BasicAuth | None:
    """The argument `auth`: BasicAuth or None. A tuple of login and password gives a DeprecationWarning (B-09). Raises
    InvalidInput for anything else. `level` is how far above the caller is whom the warning is for."""
    if type(auth) is tuple and len(auth) == 2:
        text = "auth as a tuple is deprecated: use BasicAuth(login, password)"
        warnings.warn(text, DeprecationWarning, stacklevel=level)
        return BasicAuth(*auth)
    if auth is not None and not isinstance(auth, BasicAuth):
        raise InvalidInput(f"auth must be a BasicAuth, got {type(auth).__name__}", argument="auth")
    return auth


def _with_coding(headers: HeaderBlock, payload: Payload | None) -> HeaderBlock:
    """What names the coding of a body that was compressed for the request before."""
    if not isinstance(payload, CompressedPayload) or "content-encoding" in headers.names:
        return headers
    return headers.plus(encode_headers([("Content-Encoding", payload.coding)]))


def _tokens(values: list[str]) -> list[str]:
    return [token.strip() for value in values for token in value.lower().split(",")]


def _check_boundary(payload: Payload | None, given: str | None) -> None:
    """A Content-Type of the caller replaces ours; for a multipart body it would take the boundary away."""
    if given is None or payload is None or not (payload.content_type or "").startswith("multipart/"):
        return
    if "boundary=" not in given.lower():
        raise InvalidInput(
            "headers: the Content-Type has no boundary, so the form in data could not be read; leave the header out, "
            "it is made from the form",
            argument="headers",
        )


def _content_type(payload: Payload | None, names: frozenset[str], skip: frozenset[str]) -> bytes:
    if payload is None or payload.content_type is None or "content-type" in names or "content-type" in skip:
        return b""
    return encode_field("Content-Type", payload.content_type)


def _connection(version: HttpVersion, wants_close: bool) -> bytes:
    """P-07: 1.1 keeps connections unless told, 1.0 closes them unless told."""
    if version == HttpVersion10:
        return b"" if wants_close else b"Connection: keep-alive\r\n"
    return b"Connection: close\r\n" if wants_close else b""


def _authorization(auth: BasicAuth | None, names: frozenset[str]) -> bytes:
    """C-14. `names` are those of the call's headers and of the session's."""
    if auth is None:
        return b""
    if "authorization" in names:
        raise InvalidInput("auth and an Authorization header exclude each other: give one", argument="auth")
    return encode_field("Authorization", auth.encode())
