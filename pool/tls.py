"""TLS: its options, as one value."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from keepwarm.pool.lazy import lazy_module
from keepwarm.pool.limits import check_seconds
from keepwarm.pool.pin_set import PinSet
from keepwarm.pool.pins import Pin, PinReport, make_pins, warn_if_weak
from keepwarm.pool.tls_contexts import ClientCertificate, ContextSource, Path, check_path

aiofastnet: Any
try:
    aiofastnet = lazy_module("aiofastnet")
except ImportError:  # the extra "fast" is not installed
    aiofastnet = None

# What both loops and aiofastnet take for "no limit": they refuse 0 and put a minute of their own in place of None.
NO_LIMIT = 365 * 86400.0
# How long a closed connection waits for the peer's close_notify. Nothing is gained by the answer: ours is on its way
# before the wait starts, RFC 8446 6.1 lets us close without it, and HTTP frames its bodies itself. The wait is only
# long enough to flush what was written last. The loops' own 30 s would keep a socket for each mute peer.
SHUTDOWN_TIMEOUT = 0.25
# close_notify is sent at once, the answer is not waited for.
NO_WAIT = 0.001


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How TLS is done; fixed for each connector, so that a pool never mixes two identities (T09).

    - `verify_ssl` (True): check the certificate chain and the host name. False accepts any certificate.
    - `ssl_context` (None): the caller's own context, used as it is; excludes ``verify_ssl=False`` (A-21).
    - `ca_file` (None): a file with the authorities to trust, in PEM form, in place of the system's; `client_cert`
      (None): (certfile, keyfile) or (certfile, keyfile, password), what we show to a server that asks. They go into a
      context of ours: neither can be combined with `ssl_context`, nor `ca_file` with ``verify_ssl=False``.
    - `fingerprint` (None): the binary digest that the certificate must have (G-03); `pins` (none): more of them, or
      of public keys, for every host, or a mapping or PinSet by host pattern. Checked in addition to the chain (A-19).
    - `pin_report` (None): is called with the FingerprintMismatch, which then is not raised: pins are only watched.
    - `resumption` (False): take up earlier sessions where everything is the same, see `tls_sessions`. Not with
      `fast_tls`, whose engine cannot.
    - `fast_tls` (False): use the transport of the aiofastnet package. Less CPU per byte; the same behaviour.
    - `handshake_timeout` (None, seconds): 0 or None is no limit besides conn_timeout.
    - `shutdown_timeout` (0.25 s): how long a closing connection waits for the peer's goodbye; 0 or None does not wait.

    Raises ValueError or TypeError, naming the argument, and ImportError when `fast_tls` cannot be had.
    """

    verify_ssl: bool = True
    ssl_context: ssl.SSLContext | None = None
    fingerprint: bytes | None = None
    pins: Iterable[Pin | bytes] | Mapping[str, Iterable[Pin | bytes]] | PinSet = ()
    fast_tls: bool = False
    handshake_timeout: float | None = None
    shutdown_timeout: float | None = SHUTDOWN_TIMEOUT
    ca_file: Path | None = None
    client_cert: ClientCertificate | tuple[Path | str | bytes | None, ...] | None = None
    pin_report: PinReport | None = None
    resumption: bool = False
    # `fingerprint` and those of `pins` that hold for every host.
    required_pins: tuple[Pin, ...] = field(init=False, repr=False, compare=False)
    contexts: ContextSource = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_bool("verify_ssl", self.verify_ssl)
        _check_bool("fast_tls", self.fast_tls)
        self.check_context(self.ssl_context)
        _check_bool("resumption", self.resumption, "tls_resumption")
        if self.pin_report is not None and not callable(self.pin_report):
            raise TypeError(f"pin_report must be a function of one argument or None, got {self.pin_report!r}")
        check_seconds("handshake_timeout", self.handshake_timeout)
        check_seconds("shutdown_timeout", self.shutdown_timeout)
        if self.fast_tls:
            _check_fast_tls()
        self._set_pins()
        client_cert = _client_certificate(self.client_cert)
        if self.ca_file is not None:
            check_path("ca_file", self.ca_file)
            if not self.verify_ssl:
                raise ValueError("verify_ssl=False and ca_file exclude each other: leave one out")
        object.__setattr__(self, "client_cert", client_cert)
        contexts = ContextSource(self.verify_ssl, self.ssl_context, self.ca_file, client_cert)
        object.__setattr__(self, "contexts", contexts)

    def _set_pins(self) -> None:
        by_host: PinSet | None = None
        if isinstance(self.pins, PinSet):
            by_host = self.pins
        elif isinstance(self.pins, Mapping):
            by_host = PinSet(self.pins)
        required = make_pins(self.fingerprint, self.pins if by_host is None else ())  # type: ignore[arg-type]
        object.__setattr__(self, "required_pins", required)
        listed = required if self.fingerprint is None else required[1:]
        object.__setattr__(self, "pins", listed if by_host is None else by_host)

    def warn_if_weak(self, stacklevel: int) -> None:
        """Issue WeakFingerprintWarning where a pin is a digest of MD5 or SHA-1; `stacklevel` counts from the caller."""
        several = self.pins.patterns.values() if isinstance(self.pins, PinSet) else ()
        warn_if_weak(chain(self.required_pins, *several), stacklevel + 1)

    def pins_for(self, host: str) -> tuple[Pin, ...]:
        """All pins that hold for a normalised host: one of them must fit."""
        return self.required_pins + self.pins.for_host(host) if isinstance(self.pins, PinSet) else self.required_pins

    @property
    def handshake_limit(self) -> float:
        """`handshake_timeout` as the transports take it (T25)."""
        return self.handshake_timeout or NO_LIMIT

    @property
    def shutdown_limit(self) -> float:
        """`shutdown_timeout` as the transports take it (T25)."""
        return self.shutdown_timeout or NO_WAIT

    def check_context(self, ssl_context: object) -> None:
        """Raise TypeError or ValueError unless `ssl_context` is None or can take the place of the present context."""
        if ssl_context is None:
            return
        if not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, got {type(ssl_context).__name__}")
        if not self.verify_ssl:
            raise ValueError("verify_ssl=False and ssl_context exclude each other: set verify_mode on the context")
        for name, value in (("ca_file", self.ca_file), ("client_cert", self.client_cert)):
            if value is not None:
                raise ValueError(f"{name} and ssl_context exclude each other: load it into the context yourself")

    def build_context(self) -> ssl.SSLContext:
        """The context, built here and now if need be: that blocks for tens of milliseconds (G-17)."""
        return self.contexts.build()

    async def context(self) -> ssl.SSLContext:
        """The context, built on a worker thread if need be (T21). Cancelling does not stop others who wait for it.

        Raises OSError when the certificate authorities or `client_cert` cannot be read.
        """
        return await self.contexts.get()


def _check_bool(option: str, value: object, name: str | None = None) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name or option} must be True or False, got {value!r}")


def _client_certificate(given: object) -> ClientCertificate | None:
    if given is None or isinstance(given, ClientCertificate):
        return given
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        # The value is not shown: a password may stand in it.
        raise TypeError(
            f"client_cert must be (certfile, keyfile) or (certfile, keyfile, password), got {type(given).__name__}"
        )
    return ClientCertificate(*given)


def _check_fast_tls() -> None:
    if aiofastnet is None:
        raise ImportError("fast_tls=True needs the package aiofastnet: pip install 'keepwarm[fast]', or leave it out")
    if aiofastnet.openssl_compat.OPENSSL_DYN_LIBS is None:
        raise ImportError("fast_tls=True needs a Python that is linked with OpenSSL dynamically; this one is not")
