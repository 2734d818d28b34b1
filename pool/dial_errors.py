"""What a failed dial says: what was attempted, on what, what came of it, what to change."""

import errno
import ssl
from collections.abc import Sequence

from keepwarm.pool.dial import DialRequest
from keepwarm.pool.errors import ConnectError, ConnectTimeoutError, TLSError, printable
from keepwarm.pool.race import BindError, error_text
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_contexts import TLSFileError

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

_HINTS = {
    errno.ECONNREFUSED: "Check that the server runs and listens on this port",
    errno.ETIMEDOUT: "Check that the host is up and that no firewall drops the packets",
    errno.ENETUNREACH: "This machine has no route there; restrict `family` if it lacks IPv6",
    errno.EHOSTUNREACH: "Check that the host is up, and the route to it",
    errno.EMFILE: "This process is out of descriptors: raise its limit (ulimit -n), or set `limit_total`",
    errno.ENFILE: "This machine is out of descriptors",
    errno.EADDRNOTAVAIL: "All local ports to this address are taken, or the address is not usable from here: keep "
    "connections alive, or set `limit`",
}
_BIND_HINT = "Check `local_addr`: it must be an address of this machine, of the family to call, and the port free"
_CONNECT_HINT = "Check the address and the port"

# What OpenSSL says when the other side does not speak TLS.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
_SELF_SIGNED = (18, 19)
_UNKNOWN_ISSUER = (2, 20, 21)
_OUT_OF_DATE = (9, 10)
_WRONG_NAME = (62, 64)


def beginning(req: DialRequest, reason: str) -> str:
    """How every such message begins (F-19)."""
    return f"Cannot connect to host {req.host}:{req.port} ssl:{req.ssl} [{reason}]"


def connect_error(
    req: DialRequest, errors: Sequence[OSError], *, reason: str | None = None, hint: str | None = None
) -> ConnectError:
    """No address connected. `errors` has at least one entry; every address tried is in ``req.attempts``.

    `reason` and `hint` are for what the errors alone do not tell.
    """
    first = errors[0]
    if reason is None:
        reasons = list(dict.fromkeys(error_text(error) for error in errors))
        reason = reasons[0] if len(reasons) == 1 else f"all {len(errors)} addresses failed"
    hint = hint or _connect_hint(errors)
    tried = "; ".join(f"{address}: {outcome}" for address, outcome in req.attempts)
    text = f"{beginning(req, reason)} tried {tried}. {hint}" if tried else f"{beginning(req, reason)}. {hint}"
    error = ConnectError(first.errno or errno.ECONNABORTED, text, endpoint=req.endpoint, phase=req.phase, reused=False)
    error.attempts = tuple(req.attempts)
    return error


def _connect_hint(errors: Sequence[OSError]) -> str:
    if any(isinstance(error, BindError) for error in errors):
        return _BIND_HINT
    return next((_HINTS[error.errno] for error in errors if error.errno in _HINTS), _CONNECT_HINT)


def tls_error(req: DialRequest, cause: Exception, peer: str | None, kind: type[TLSError] = TLSError) -> TLSError:
    """The handshake with `peer` (an address) failed, or what it led to is of no use. None: it was not begun."""
    reason, hint = _tls_reason(cause)
    number = cause.errno if isinstance(cause, OSError) and cause.errno else errno.EPROTO
    what = "TLS was not begun" if peer is None else f"TLS with {peer} failed"
    text = f"{beginning(req, reason)} {what}. {hint}"
    error = kind(number, text, endpoint=req.endpoint, phase="tls", reused=False)
    error.attempts = tuple(req.attempts)
    return error


def handshake_timeout_error(req: DialRequest, options: TLSOptions, peer: str) -> ConnectTimeoutError:
    """The handshake took longer than handshake_timeout."""
    return ConnectTimeoutError(
        f"Connection timeout to host {req.host}:{req.port} ssl:{req.ssl} [the TLS handshake with {peer} took longer "
        f"than handshake_timeout={options.handshake_timeout:g} s] Check that the port speaks TLS, or raise "
        "handshake_timeout",
        endpoint=req.endpoint,
        phase="tls",
        reused=False,
    )


class WrongALPN(OSError):
    """The server chose a protocol that keepwarm does not speak."""


def _tls_reason(cause: Exception) -> tuple[str, str]:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {printable(cause.verify_message or str(cause), 200)}", _verify_hint(cause)
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or ""
        said = printable(reason.replace("_", " ").lower() or str(cause))
        if reason in _NOT_TLS:
            return f"the server does not speak TLS on this port: {said}", "Check the port, or use http instead of https"
        return said, "Check the TLS versions, ciphers and client certificate that the server asks for"
    if isinstance(cause, WrongALPN):
        return str(cause), "Let the ssl_context offer http/1.1 only: set_alpn_protocols(['http/1.1'])"
    if isinstance(cause, ConnectionError):
        text = "the server closed the connection during the TLS handshake"
        return text, "Check that the port speaks TLS, and whether the server wants a client certificate"
    number = getattr(cause, "errno", None)
    said = str(cause.strerror) if isinstance(cause, TLSFileError) else printable(error_text(cause), 200)
    if number in _NO_DESCRIPTORS:
        return said, _HINTS[number]
    if isinstance(cause, TLSFileError):
        return said, "Check that the file is there, in PEM form, and that this process may read it"
    return said, "Check the port and the ssl_context"


def _verify_hint(cause: ssl.SSLCertVerificationError) -> str:
    code = cause.verify_code
    if code in _WRONG_NAME:
        return "Use a host name that stands in the certificate"
    if code in _OUT_OF_DATE:
        return "Renew the server's certificate, or set this machine's clock"
    if code in _SELF_SIGNED or code in _UNKNOWN_ISSUER:
        return "Give a ca_file or an ssl_context that trusts the issuer, or let the server send its chain"
    return "Check the server's certificate chain, or give an ssl_context that trusts it"
