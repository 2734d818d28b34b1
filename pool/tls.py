"""TLS: its options, and the contexts that connectors share.

Loading the certificate authorities takes tens of milliseconds, so a context is built once for each configuration, on a
worker thread, and shared by all connectors of the process (T21). Sessions are never resumed: what a connection was
allowed to do, and which pins it met, is decided by its own full handshake (T08, T10).
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from keepwarm.pool.lazy import lazy_module
from keepwarm.pool.limits import check_seconds
from keepwarm.pool.pins import Pin, make_pins, warn_if_weak

aiofastnet: Any
try:
    aiofastnet = lazy_module("aiofastnet")
except ImportError:  # the extra "fast" is not installed
    aiofastnet = None

ALPN_PROTOCOLS = ["http/1.1"]
# What both loops and aiofastnet take for "no limit": they refuse 0 and put a minute of their own in place of None.
NO_LIMIT = 365 * 86400.0
# How long a closed connection waits for the peer's close_notify. Nothing is gained by the answer: ours is on its way
# before the wait starts, RFC 8446 6.1 lets us close without it, and HTTP frames its bodies itself. The wait is only
# long enough to flush what was written last. The loops' own 30 s would keep a socket for each mute peer.
SHUTDOWN_TIMEOUT = 0.25
# close_notify is sent at once, the answer is not waited for.
NO_WAIT = 0.001

# From `__post_init__` over the generated `__init__` and a connector's constructor to the code that calls that one.
_WARN_ABOVE = 4


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How TLS is done; fixed for each connector, so that a pool never mixes two identities (T09).

    - `verify_ssl` (True): check the certificate chain and the host name. False accepts any certificate.
    - `ssl_context` (None): the caller's own context, used as it is; excludes ``verify_ssl=False`` (A-21).
    - `fingerprint` (None): the binary digest that the certificate must have (G-03); `pins` (none): more of them, or
      of public keys. Checked in addition to the chain (A-19).
    - `fast_tls` (False): use the transport of the aiofastnet package. Less CPU per byte; the same behaviour.
    - `handshake_timeout` (None, seconds): 0 or None is no limit besides conn_timeout.
    - `shutdown_timeout` (0.25 s): how long a closing connection waits for the peer's goodbye; 0 or None does not wait.

    Raises ValueError or TypeError, naming the argument, and ImportError when `fast_tls` cannot be had.
    """

    verify_ssl: bool = True
    ssl_context: ssl.SSLContext | None = None
    fingerprint: bytes | None = None
    pins: Iterable[Pin | bytes] = ()
    fast_tls: bool = False
    handshake_timeout: float | None = None
    shutdown_timeout: float | None = SHUTDOWN_TIMEOUT
    # `fingerprint` and `pins` together.
    required_pins: tuple[Pin, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_bool("verify_ssl", self.verify_ssl)
        _check_bool("fast_tls", self.fast_tls)
        if self.ssl_context is not None and not isinstance(self.ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, got {type(self.ssl_context).__name__}")
        if self.ssl_context is not None and not self.verify_ssl:
            raise ValueError("verify_ssl=False and ssl_context exclude each other: set verify_mode on the context")
        check_seconds("handshake_timeout", self.handshake_timeout)
        check_seconds("shutdown_timeout", self.shutdown_timeout)
        if self.fast_tls:
            _check_fast_tls()
        required = make_pins(self.fingerprint, self.pins)
        object.__setattr__(self, "required_pins", required)
        object.__setattr__(self, "pins", required if self.fingerprint is None else required[1:])
        warn_if_weak(required, _WARN_ABOVE)

    @property
    def handshake_limit(self) -> float:
        """`handshake_timeout` as the transports take it (T25)."""
        return self.handshake_timeout or NO_LIMIT

    @property
    def shutdown_limit(self) -> float:
        """`shutdown_timeout` as the transports take it (T25)."""
        return self.shutdown_timeout or NO_WAIT

    def build_context(self) -> ssl.SSLContext:
        """The context, built here and now if need be: that blocks for tens of milliseconds (G-17)."""
        return self.ssl_context or CONTEXTS.build(self.verify_ssl)

    async def context(self) -> ssl.SSLContext:
        """The context, built on a worker thread if need be (T21). Cancelling does not stop others who wait for it.

        Raises OSError when the certificate authorities cannot be read.
        """
        return self.ssl_context or await CONTEXTS.get(self.verify_ssl)


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _check_fast_tls() -> None:
    if aiofastnet is None:
        raise ImportError("fast_tls=True needs the package aiofastnet: pip install 'keepwarm[fast]', or leave it out")
    if aiofastnet.openssl_compat.OPENSSL_DYN_LIBS is None:
        raise ImportError("fast_tls=True needs a Python that is linked with OpenSSL dynamically; this one is not")


def make_context(verify_ssl: bool) -> ssl.SSLContext:
    """A new client context: TLS 1.2 and up, no renegotiation, ALPN http/1.1, the system's certificate authorities
    unless `verify_ssl` is False.

    Raises OSError when the authorities cannot be read, for instance for lack of descriptors (R05). The standard
    library would ignore that and give a context that trusts nobody, for ever.
    """
    if verify_ssl:
        paths = ssl.get_default_verify_paths()
        context = ssl.create_default_context(cafile=paths.cafile, capath=paths.capath)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Within TLS 1.2 a server could ask for a new handshake, again and again, and show another certificate in it (T18).
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    return context


class ContextStore:
    """One context for each configuration. Two threads that build the same one at once end up with one of the two."""

    __slots__ = ("_contexts", "_make", "_under_way")

    def __init__(self, make: Callable[[bool], ssl.SSLContext] = make_context) -> None:
        self._make = make
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, bool], asyncio.Future[ssl.SSLContext]] = {}

    def build(self, verify_ssl: bool) -> ssl.SSLContext:
        """The context; builds it on the calling thread."""
        found = self._contexts.get(verify_ssl)
        return found or self._contexts.setdefault(verify_ssl, self._make(verify_ssl))

    async def get(self, verify_ssl: bool) -> ssl.SSLContext:
        """The context; builds it on a worker thread, once for all who ask meanwhile. A failure is not kept."""
        found = self._contexts.get(verify_ssl)
        if found is not None:
            return found
        key = (asyncio.get_running_loop(), verify_ssl)
        under_way = self._under_way.get(key)
        if under_way is None:
            self._forget_closed_loops()
            under_way = key[0].run_in_executor(None, self.build, verify_ssl)
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(under_way)

    def _forget_closed_loops(self) -> None:
        for key in [key for key in self._under_way if key[0].is_closed()]:
            del self._under_way[key]


CONTEXTS = ContextStore()
