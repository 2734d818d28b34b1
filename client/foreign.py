"""unknown_argument: what to use here instead of options that other clients have."""

import inspect
from collections.abc import Iterable
from typing import Final

from keepwarm.pool.tcp_connector import TCPConnector

_TLS: Final = "TLS is the connector's: ClientSession(connector=TCPConnector(ssl_context=..., verify_ssl=...))"
_PIN: Final = "certificates are pinned by the connector: ClientSession(connector=TCPConnector(fingerprint=...))"
_PROXY: Final = "a proxy is a connector: ClientSession(connector=ProxyConnector(...))"
_HEAD: Final = "how large the head of an answer may be is an option of the session: limits=HeadLimits(...)"
_TRACE: Final = "there are no traces; connector.subscribe(listener) tells of every call, timings=True times each"
_HTTP: Final = "HTTP/1.1 is spoken; there is no option for it"
_REDIRECTS: Final = "redirects are an option of each call: allow_redirects=False, max_redirects=..."
_BUFFER: Final = "the buffer of a body is not adjustable; a body that is not read stops its sender"

_HINTS: Final = {
    "ssl": _TLS,
    "ssl_context": _TLS,
    "verify_ssl": _TLS,
    "fingerprint": _PIN,
    "server_hostname": "the name in the certificate is the host of the URL; a Resolver can send that name anywhere",
    "verify": _TLS,
    "cert": "a certificate of our own is the connector's: ClientSession(connector=TCPConnector(client_cert=...))",
    "ssl_shutdown_timeout": "a TLS goodbye has a quarter of a second; it needs no option",
    "proxy": _PROXY,
    "proxy_auth": _PROXY,
    "proxy_headers": _PROXY,
    "proxies": _PROXY,
    "mounts": _PROXY,
    "transport": "it is connector=..., for instance ClientSession(connector=TCPConnector(...))",
    "uds": "a unix socket is a connector: ClientSession(connector=UnixConnector(path))",
    "trust_env": f"proxies and logins of the environment are not read; {_PROXY}",
    "read_bufsize": _BUFFER,
    "max_line_size": _HEAD,
    "max_field_size": _HEAD,
    "max_headers": _HEAD,
    "http1": _HTTP,
    "http2": _HTTP,
    "follow_redirects": _REDIRECTS,
    "content": "it is data=...",
    "event_hooks": "there are no hooks; connector.subscribe(listener) tells of every call and connection",
    "requote_redirect_url": "what is not legal in a Location is percent-encoded, the rest stays; it needs no option",
    "trace_configs": _TRACE,
    "trace_request_ctx": _TRACE,
    "upload_tracker": _TRACE,
    "middlewares": "there are no middlewares; a request_class and a response_class can do their work",
    "read_timeout": "use timeout=ClientTimeout(total=...) or timeout=ClientTimeout(read=...)",
    "conn_timeout": "use ClientSession(connector=TCPConnector(conn_timeout=...))",
    "json_serialize": "it is an option of the session",
    "json_serialize_bytes": "json_serialize may return bytes",
    "auto_decompress": "it is an option of the session",
    "max_body_size": "it is an option of the session",
    "ping_interval": "it is heartbeat=...; half as long again is waited for an answer",
    "ping_timeout": "it is half of heartbeat=...",
    "open_timeout": "it is handshake_timeout=...",
    "close_timeout": "it is timeout=...",
    "max_size": "it is max_msg_size=...",
    "subprotocols": "it is protocols=[...]",
    "additional_headers": "it is headers=...",
    "unsafe": "cookies of a host that is an IP address are kept, for exactly that host; it needs no option",
    "quote_cookie": "a value is quoted if it has characters that RFC 6265 does not allow; it needs no option",
    "treat_as_secure_origin": "cookies with Secure go over https, and over nothing else",
    "fallback_charset_resolver": "text() and json() take an encoding; without one it is detected",
}


#: What is given to the session by those who look for the options of the pool.
_CONNECTORS: Final = frozenset(inspect.signature(TCPConnector).parameters) - {"unknown"}


def unknown_argument(function: str, names: Iterable[str]) -> TypeError | None:
    """The error for an argument that `function` has not but other clients, or our connectors, have: it says what to use
    instead. None if there is no such name among `names`."""
    for name in names:
        hint = _HINTS.get(name)
        if hint is None and name in _CONNECTORS:
            hint = f"it is an option of the connector: ClientSession(connector=TCPConnector({name}=...))"
        if hint is not None:
            return TypeError(f"{function} has no argument '{name}': {hint}")
    return None
