"""What can go wrong below HTTP, by phase.

    ClientError
        ClientConnectionError
            ClientOSError (also OSError)
                ConnectError            connect: every address that was tried, and what each said
                    DNSError            resolve: the name has no usable address
                    TLSError            tls: the handshake or the certificate
            ClientTimeoutError (also TimeoutError)
                PoolTimeoutError        wait: no connection came free in time
                ConnectTimeoutError     resolve, connect or tls took longer than conn_timeout
            FingerprintMismatch         tls: the certificate is not the pinned one
            ProxyConnectionError        connect: the proxy could not be reached
                HttpProxyError          proxy: it opens no tunnel (keepwarm.pool.proxy_errors)
            PoolFullError               wait: more callers are queued than max_waiting allows
                PoolShedError           wait: the call would not be served in time
            PoolClosedError             the connector was closed before or during the call
        InvalidInput (also ValueError)  an argument that cannot be used; raised before any byte is sent
        InvalidURL (also ValueError)    a URL that cannot be used; raised before any byte is sent

Each carries `endpoint`, `phase` (resolve, connect, proxy, tls, wait, send, head, body) and `reused` (whether the
connection had served a request before, or lain idle; None where no connection was involved), and survives pickling.
Text from a peer is escaped and cut before it gets here: see `printable`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keepwarm.pool.endpoint import Endpoint
    from keepwarm.pool.shortage import Shortage

PRINTABLE_LIMIT = 100


def printable(data: bytes | str, limit: int = PRINTABLE_LIMIT) -> str:
    """Bytes or text from a peer, fit for a message or a log line: ASCII, control characters escaped, cut at `limit`."""
    text = data[:limit].decode("latin-1") if isinstance(data, bytes) else data[:limit]
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= limit and len(data) <= limit else escaped[:limit] + "..."


def rebuild_error(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    """The error that was pickled, made without its constructor: what that takes is not in `args`."""
    error = cls.__new__(cls, *args)
    error.args = args
    if isinstance(error, OSError):
        OSError.__init__(error, *args)  # sets errno and strerror
    error.__dict__.update(state)
    return error


class ClientError(Exception):
    """Base of every error that keepwarm raises about a call."""

    endpoint: "Endpoint | None" = None
    phase: str | None = None
    reused: bool | None = None
    #: Each time that the request was sent, where that was more than once; the last one ended with this error.
    tried: tuple[Any, ...] = ()

    def __init__(
        self,
        *args: object,
        endpoint: "Endpoint | None" = None,
        phase: str | None = None,
        reused: bool | None = None,
    ) -> None:
        super().__init__(*args)
        if endpoint is not None:
            self.endpoint = endpoint
        if phase is not None:
            self.phase = phase
        if reused is not None:
            self.reused = reused

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return rebuild_error, (type(self), self.args, dict(self.__dict__))


class ClientConnectionError(ClientError):
    """The connection could not be had, or was lost."""


class ClientOSError(ClientConnectionError, OSError):
    """The operating system refused or ended the connection; `errno` and `strerror` as in OSError."""

    def __str__(self) -> str:
        # OSError would put "[Errno 111]" in front of a text that is whole without it (F-19).
        return str(self.strerror) if self.strerror is not None else super().__str__()


class ConnectError(ClientOSError):
    """No connection could be made. `attempts` lists (address, error text) for every address that was tried."""

    phase = "connect"
    attempts: tuple[tuple[str, str], ...] = ()


class DNSError(ConnectError):
    """The host name could not be resolved."""

    phase = "resolve"


class TLSError(ConnectError):
    """The TLS handshake failed, or the certificate was refused."""

    phase = "tls"


class ClientTimeoutError(ClientConnectionError, TimeoutError):
    """A time limit of the call ran out; `phase` tells where it was."""


class PoolTimeoutError(ClientTimeoutError):
    """No connection came free within pool_timeout. `shortage` has the numbers of that moment."""

    phase = "wait"

    def __init__(self, *args: object, shortage: "Shortage | None" = None, **context: Any) -> None:
        super().__init__(*args, **context)
        self.shortage = shortage


class ConnectTimeoutError(ClientTimeoutError):
    """Lookup, TCP, proxy and TLS together took longer than conn_timeout."""

    phase = "connect"


class FingerprintMismatch(ClientConnectionError):
    """The server's certificate is not the pinned one. Nothing was sent to it.

    `expected` is the first of the digests in `allowed`, `got` the certificate's own of the same kind. `blocked` is
    False where the mismatch was only reported (`pin_report`), and the connection is used.
    """

    phase = "tls"
    allowed: tuple[bytes, ...] = ()
    blocked = True

    def __init__(self, expected: bytes, got: bytes, host: str, port: int, **context: Any) -> None:
        super().__init__(expected, got, host, port, **context)
        self.expected = expected
        self.got = got
        self.host = host
        self.port = port

    def __str__(self) -> str:
        expected = " or ".join(digest.hex() for digest in self.allowed) or self.expected.hex()
        outcome = "nothing was sent" if self.blocked else "the connection is used, for pins are only reported"
        return (
            f"the certificate of {self.host}:{self.port} has the fingerprint {self.got.hex()}, "
            f"expected {expected}; {outcome}. Update the pin if the certificate was renewed"
        )

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} expected={self.expected!r} got={self.got!r} host={self.host!r} port={self.port!r}>"
        )


class ProxyConnectionError(ClientConnectionError):
    """The proxy could not be reached. `endpoint` is what the call was for, `proxy` the proxy's own, `attempts` as in
    ConnectError."""

    phase = "connect"
    proxy: "Endpoint | None" = None
    attempts: tuple[tuple[str, str], ...] = ()


class ResumptionError(TLSError):
    """The TLS handshake failed that was to take up an earlier session. A full one may succeed."""


class PoolFullError(ClientConnectionError):
    """`max_waiting` callers are queued already. `shortage` has the numbers of that moment."""

    phase = "wait"

    def __init__(self, *args: object, shortage: "Shortage | None" = None, **context: Any) -> None:
        super().__init__(*args, **context)
        self.shortage = shortage


class PoolShedError(PoolFullError):
    """The call would not have been served before its deadline, so it was refused at once (`shed`). Nothing was sent.

    `estimated_wait` is how many seconds it would have waited for a connection, `pace` how many callers a second the
    endpoint serves; `shortage.waiting` is the length of the queue.
    """

    def __init__(self, *args: object, estimated_wait: float = 0.0, pace: float = 0.0, **context: Any) -> None:
        super().__init__(*args, **context)
        self.estimated_wait = estimated_wait
        self.pace = pace


class PoolClosedError(ClientConnectionError):
    """The connector was closed before or during the call."""


class InvalidURL(ClientError, ValueError):
    """A URL, host or port that cannot be used. Raised before any byte is sent."""


class InvalidInput(ClientError, ValueError):
    """An argument that cannot be used. Nothing was sent. `argument` is its name."""

    argument: str | None = None

    def __init__(self, message: str, *, argument: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        if argument is not None:
            self.argument = argument


class WeakFingerprintWarning(UserWarning):
    """A fingerprint is given as MD5 or SHA-1; use SHA-256."""
