"""unknown_option: what to use here instead of options that the connectors of other clients have."""

from collections.abc import Iterable
from typing import Final

_TLS: Final = "the certificate checks are verify_ssl=False, fingerprint=... and ssl_context=..., one option for each"
_CERT: Final = "authorities are ca_file=..., a certificate of our own is client_cert=(certfile, keyfile)"
_RACE: Final = "the addresses of a host are always raced, 250 ms apart (RFC 8305); it needs no option"
_GOODBYE: Final = "a TLS goodbye has a quarter of a second, then the socket is closed; it needs no option"
_IDLE: Final = "the idle time is keepalive_timeout=...; how many may be idle is bounded by limit"
_SOCKET: Final = "the socket options that can be set are tcp_keepalive=TCPKeepAlive(...) and local_addr=(host, port)"
_HTTP: Final = "HTTP/1.1 is spoken; there is no option for it"
_SESSION: Final = "it is an option of the session: ClientSession(connector=..., {}=...)"
_PROXY: Final = "a proxy is a connector of its own: ProxyConnector('http://user:password@proxy:3128')"

_HINTS: Final = {
    "ssl": _TLS,
    "verify": f"{_TLS}; {_CERT}",
    "cert": _CERT,
    "cafile": _CERT,
    "enable_cleanup_closed": _GOODBYE,
    "disable_cleanup_closed": _GOODBYE,
    "ssl_shutdown_timeout": _GOODBYE,
    "happy_eyeballs_delay": _RACE,
    "interleave": _RACE,
    "socket_factory": _SOCKET,
    "socket_options": _SOCKET,
    "keepalive": _IDLE,
    "keepalive_expiry": _IDLE,
    "max_keepalive_connections": _IDLE,
    "max_connections": "the limit of all endpoints together is limit_total=..., that of one endpoint is limit=...",
    "limits": "connections are bounded by limit=... at each endpoint and by limit_total=... together",
    "timeout": "making a connection is bounded by conn_timeout=... (seconds); a call by ClientSession(timeout=...)",
    "connect_timeout": "making a connection is bounded by conn_timeout=... (seconds)",
    "timeout_ceil_threshold": "time limits are not rounded; it needs no option",
    "http1": _HTTP,
    "http2": _HTTP,
    "retries": "retries are an option of the session: ClientSession(connector=..., retry=RetryPolicy(...))",
    "headers": _SESSION.format("headers"),
    "auth": _SESSION.format("auth"),
    "cookies": _SESSION.format("cookies"),
    "base_url": _SESSION.format("base_url"),
    "retry": _SESSION.format("retry"),
    "proxy": _PROXY,
    "trust_env": f"proxies of the environment are not read; {_PROXY}",
    "proxy_headers": "header fields of CONNECT cannot be set, but for the login: proxy_auth=BasicAuth(...)",
    "uds": "a unix socket is a connector of its own: UnixConnector(path)",
    "path": "a unix socket is a connector of its own: UnixConnector(path)",
}

_DNS: Final = "answers are kept as their records say: use_dns_cache=True; bounds are dns=DNSOptions({}=...)"

#: Of connectors that look names up.
_NAME_HINTS: Final = {
    "ttl_dns_cache": _DNS.format("max_ttl"),
    "dns_cache_max_size": _DNS.format("max_entries"),
    "nameservers": "name servers are dns=DNSOptions(nameservers=[...])",
    "local_address": "it is local_addr=(host, port); port 0 is any",
    "proxy_auth": _PROXY,
}

#: Of connectors that look nothing up.
_NAMELESS: Final = "it is an option of TCPConnector; over a unix socket no name is looked up and no address is chosen"
_TCP_ONLY: Final = (*_NAME_HINTS, "use_dns_cache", "dns", "resolver", "family", "local_addr", "tcp_keepalive")


def unknown_option(connector: str, names: Iterable[str], *, looks_up: bool = True) -> TypeError:
    """The error for the first of `names`, which `connector` has not: it says what to use instead, where that is known.
    `looks_up`: whether this connector looks names up."""
    name = next(iter(names))
    hint = _HINTS.get(name)
    if hint is None and looks_up:
        hint = _NAME_HINTS.get(name)
    if hint is None and not looks_up and name in _TCP_ONLY:
        hint = _NAMELESS
    return TypeError(f"{connector} has no argument '{name}': {hint or f'help({connector}) lists those it has'}")
