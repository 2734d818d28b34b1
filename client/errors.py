"""What can go wrong in HTTP, below the tree of keepwarm.pool.errors.

    ClientError                                 keepwarm.pool.errors
        InvalidInput (also ValueError)          an argument that cannot be used; raised before any byte is sent
        ClientTimeoutError
            ReadTimeoutError                    the peer was silent for too long
            TotalTimeoutError                   the whole call took too long
        ClientHttpProcessingError
            ClientRequestError                  send: the request could not be written
            ClientResponseError                 head, body: there is no usable response
                ClientProtocolError             what came is not valid HTTP (also BadHttpMessage)
                    HeadTooLarge                a limit on the head was passed (also LineTooLong)
                WSServerHandshakeError          the server did not agree to a WebSocket (also HttpProcessingError)
                ResponseDisconnected            the peer went away before a response (also ServerDisconnectedError)
                ClientPayloadError              the body is incomplete or undecodable (also ServerDisconnectedError)
                    BodyTooLarge                more than max_body_size
                ContentTypeError                the body is of another type than the caller asked for
                InvalidRedirect                 a redirect to nowhere (also ValueError)
                TooManyRedirects
    HttpProcessingError                         code, message, headers; not a ClientError
        HttpProxyError, HttpMethodNotAllowed
        BadHttpMessage
            HttpBadRequest, ContentEncodingError, TransferEncodingError, LineTooLong, InvalidHeader, BadStatusLine
    DisconnectedError                           not a ClientError
        ServerDisconnectedError
        ClientDisconnectedError
            WSClientDisconnectedError
    ParserError
        LineLimitExceededParserError

The second and third tree keep the names and the constructors of the reference, so its handlers go on to work; what
keepwarm raises itself belongs to the first one as well. Everything carries `endpoint`, `phase` and `reused` where
there is something to say, and survives pickling.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keepwarm.pool.errors import ClientError, ClientTimeoutError, printable, rebuild_error
from keepwarm.pool.errors import InvalidInput as InvalidInput
from keepwarm.pool.proxy_errors import HttpProcessingError as HttpProcessingError
from keepwarm.pool.proxy_errors import HttpProxyError as HttpProxyError

if TYPE_CHECKING:
    from keepwarm.client.request_info import RequestInfo

    Headers = Mapping[str, str]


class ReadTimeoutError(ClientTimeoutError):
    """The peer sent nothing for `ClientTimeout.read` seconds."""


class TotalTimeoutError(ClientTimeoutError):
    """The call, from the first line to the last byte of the body, took longer than `ClientTimeout.total` seconds."""


class HttpMethodNotAllowed(HttpProcessingError):
    """The resource does not allow the method."""

    code = 405


class BadHttpMessage(HttpProcessingError):
    """A message that is not valid HTTP."""

    code = 400

    def __init__(self, message: str, *, headers: "Headers | None" = None, **context: Any) -> None:
        HttpProcessingError.__init__(self, message=message, headers=headers, **context)


class HttpBadRequest(BadHttpMessage):
    """A request that is not valid HTTP."""

    message = "Bad Request"

    def __init__(self, message: str = "Bad Request", *, headers: "Headers | None" = None, **context: Any) -> None:
        BadHttpMessage.__init__(self, message, headers=headers, **context)


class ContentEncodingError(BadHttpMessage):
    """The body cannot be decoded."""


class TransferEncodingError(BadHttpMessage):
    """The transfer coding is broken."""


class LineTooLong(BadHttpMessage):
    """A line of the head is longer than allowed. `line` says which one, `limit` is in bytes."""

    def __init__(self, line: str, limit: int | str = "Unknown", **context: Any) -> None:
        BadHttpMessage.__init__(self, f"got more than {limit} bytes when reading {line}", **context)
        self.line = line
        self.limit = limit


class InvalidHeader(BadHttpMessage):
    """A header field that was received is malformed. `hdr` is its text, escaped and cut."""

    def __init__(self, hdr: bytes | str, **context: Any) -> None:
        self.hdr = printable(hdr)
        BadHttpMessage.__init__(self, f"Invalid HTTP Header: {self.hdr}", **context)


class BadStatusLine(BadHttpMessage):
    """The status line is malformed. `line` is its text, escaped and cut, and the only argument."""

    def __init__(self, line: bytes | str = "", **context: Any) -> None:
        self.line = printable(line) if line else repr(line)
        BadHttpMessage.__init__(self, f"Bad status line {self.line}", **context)
        self.args = (self.line,)


class DisconnectedError(Exception):
    """Base of the errors that tell of a lost peer."""


class ServerDisconnectedError(DisconnectedError):
    """The server went away."""


class ClientDisconnectedError(DisconnectedError):
    """The client went away."""


class WSClientDisconnectedError(ClientDisconnectedError):
    """The WebSocket client went away."""


class ParserError(Exception):
    """Base of the parser's errors."""


class LineLimitExceededParserError(ParserError):
    """A line is longer than `limit` bytes."""

    def __init__(self, msg: str, limit: int) -> None:
        super().__init__(msg)
        self.limit = limit

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return rebuild_error, (type(self), self.args, dict(self.__dict__))


class ClientHttpProcessingError(ClientError):
    """Base of the errors between a healthy connection and a usable response."""


class ClientRequestError(ClientHttpProcessingError):
    """The request could not be written: its body failed, or did not have the announced length."""

    phase = "send"


class ClientResponseError(ClientHttpProcessingError):
    """There is no usable response.

    Where an answer came, `status`, `message` (the reason phrase) and `headers` are its own; else they are 0, ``""`` and
    None. `request_info` says what was asked, where that is known, and `history` holds the responses that redirected.
    Responses do not survive pickling, so a copy that went through pickle has no history.
    """

    status: int = 0
    message: str = ""
    headers: "Headers | None" = None
    request_info: "RequestInfo | None" = None
    history: tuple[Any, ...] = ()

    code: int  # the same as `status`, but 400 for a bad message, as its other base says

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "code":
                return self.status
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        state = dict(self.__dict__)
        if "history" in state:
            state["history"] = ()
        return rebuild_error, (type(self), self.args, state)


class WSServerHandshakeError(ClientResponseError, HttpProcessingError):
    """The server did not agree to speak WebSocket.

    `code`, which is `status` too, and `headers` are those of its answer, `message` says what is wrong with it, and
    `body` is the first 64 KiB of what it said instead.
    """

    phase = "head"
    code: int = 0
    message: str
    headers: "Headers | None"
    body: bytes = b""

    def __init__(
        self,
        *,
        code: int = 0,
        message: str = "",
        headers: "Headers | None" = None,
        body: bytes = b"",
        **context: Any,
    ) -> None:
        HttpProcessingError.__init__(self, code=code, message=message, headers=headers, **context)
        self.status = code
        self.body = body


class ClientProtocolError(ClientResponseError, BadHttpMessage):
    """What the peer sent is not valid HTTP. The connection was closed; nothing more is read from it."""

    phase: str | None = "head"

    def __init__(self, message: str, *, headers: "Headers | None" = None, **context: Any) -> None:
        HttpProcessingError.__init__(self, message=message, headers=headers, **context)
        self.args = (message,)


class HeadTooLarge(ClientProtocolError, LineTooLong):
    """The head of a response passed one of the limits. `line` says what was read, `limit` is in the unit it names."""

    def __init__(self, line: str, limit: int | str = "Unknown", *, unit: str = "bytes", **context: Any) -> None:
        text = f"the response has more than {limit} {unit} in {line}; the limit is an option of the session"
        ClientProtocolError.__init__(self, text, **context)
        self.line = line
        self.limit = limit


class ResponseDisconnected(ClientResponseError, ServerDisconnectedError):
    """The peer went away before it answered.

    `request_sent` is False when no byte of the request can have left the process, True when some may have, None when
    that is not known; `written` says "none", "part" or "all". `response_begun` is True when part of a response had
    arrived. `connection` is the number of the connection, `address` the peer's.
    """

    phase = "head"
    request_sent: bool | None = None
    response_begun: bool = False
    written: str | None = None
    connection: int | None = None
    address: str | None = None

    def __init__(
        self,
        message: str,
        *,
        request_sent: bool | None = None,
        response_begun: bool = False,
        written: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        if written is not None:
            self.written = written
        if response_begun:
            self.response_begun = True
        if request_sent is not None:
            self.request_sent = request_sent


class ClientPayloadError(ClientResponseError, ServerDisconnectedError):
    """The body of a response is incomplete or cannot be decoded.

    `expected` and `received` count bytes; None where the framing does not say. It is a ServerDisconnectedError too,
    because the reference's handlers wait for that one.
    """

    phase: str | None = "body"
    expected: int | None = None
    received: int | None = None

    def __init__(
        self, message: str, *, expected: int | None = None, received: int | None = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        if expected is not None:
            self.expected = expected
        if received is not None:
            self.received = received


class BodyTooLarge(ClientPayloadError):
    """The body of a response has more than `max_body_size` bytes; `expected` is that limit. The rest was not read."""


class ContentTypeError(ClientResponseError):
    """The body is whole, but its media type is not the one that the caller asked for (`json(content_type=...)`)."""

    phase = "body"


class InvalidRedirect(ClientResponseError, ValueError):
    """The answer redirects to nowhere, or to a place that cannot be used."""

    phase = "head"


class TooManyRedirects(ClientResponseError):
    """More than `max_redirects` redirects.

    `history` holds the responses that redirected, in order, and `urls` where each of them came from. A copy that went
    through pickle has the `urls` only.
    """

    phase = "head"

    def __init__(self, message: str, *, history: Sequence[Any] = (), urls: Sequence[str] = (), **context: Any) -> None:
        super().__init__(message, **context)
        self.history = tuple(history)
        self.urls = tuple(urls)
