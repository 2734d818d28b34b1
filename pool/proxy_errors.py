"""What a proxy says: HttpProxyError, and the base of all errors that tell of an HTTP message."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDictProxy, MultiDictProxy

from keepwarm.pool.errors import ProxyConnectionError, rebuild_error

if TYPE_CHECKING:
    from keepwarm.pool.endpoint import Endpoint

    Headers = Mapping[str, str]


class HttpProcessingError(Exception):
    """Base of the errors that tell of an HTTP message.

    `code` is a status code or 0, `message` a text, `headers` those of the message or None.
    """

    code: int = 0
    message: str = ""
    headers: "Headers | None" = None
    endpoint: "Endpoint | None" = None
    phase: str | None = None
    reused: bool | None = None

    def __init__(
        self,
        *,
        code: int | None = None,
        message: str = "",
        headers: "Headers | None" = None,
        endpoint: "Endpoint | None" = None,
        phase: str | None = None,
        reused: bool | None = None,
    ) -> None:
        if code is not None:
            self.code = code
        self.message = message
        if isinstance(headers, (MultiDictProxy, CIMultiDictProxy)):
            headers = headers.copy()  # a proxy cannot be pickled
        self.headers = headers
        if endpoint is not None:
            self.endpoint = endpoint
        if phase is not None:
            self.phase = phase
        if reused is not None:
            self.reused = reused
        Exception.__init__(self, f"{self.code}, message='{message}'")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return rebuild_error, (type(self), self.args, dict(self.__dict__))


class HttpProxyError(ProxyConnectionError, HttpProcessingError):
    """The proxy refused to open a tunnel, or did not answer CONNECT as HTTP asks.

    `code` is its status (0 if there was none to read), `message` its reason, `headers` its header fields, `body` the
    beginning of its answer's body. It is a ClientError too, by way of ProxyConnectionError.
    """

    phase = "proxy"
    body: bytes = b""

    def __init__(
        self,
        text: str | None = None,
        *,
        code: int | None = None,
        message: str = "",
        headers: "Headers | None" = None,
        body: bytes = b"",
        proxy: "Endpoint | None" = None,
        **context: Any,
    ) -> None:
        HttpProcessingError.__init__(self, code=code, message=message, headers=headers, **context)
        if text is not None:
            self.args = (text,)
        if body:
            self.body = body
        if proxy is not None:
            self.proxy = proxy

    @property
    def status(self) -> int:
        """The same as `code`."""
        return self.code
