"""Options that the connectors of other clients have."""

import inspect
from typing import Any

import pytest

from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.foreign import unknown_option
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector

#: What TCPConnector of aiohttp 3 has and ours has not.
AIOHTTP = ["ssl", "ttl_dns_cache", "dns_cache_max_size", "enable_cleanup_closed", "timeout_ceil_threshold"]
AIOHTTP += ["happy_eyeballs_delay", "interleave", "socket_factory", "ssl_shutdown_timeout"]
#: The same of httpx's AsyncHTTPTransport and its Limits.
HTTPX = ["verify", "cert", "trust_env", "http1", "http2", "limits", "proxy", "uds", "local_address", "retries"]
HTTPX += ["socket_options", "max_connections", "max_keepalive_connections", "keepalive_expiry"]
SESSIONS = ["headers", "auth", "cookies", "base_url", "retry", "timeout"]


@pytest.mark.parametrize("name", AIOHTTP + HTTPX + SESSIONS)
def test_options_of_others_are_refused_with_advice(name: str) -> None:
    """A TypeError that names the option and says what to use instead."""
    option: Any = {name: 1}
    with pytest.raises(TypeError, match=rf"^TCPConnector has no argument '{name}': (?!help)\w+"):
        TCPConnector(**option)


def test_the_advice_names_options_that_exist() -> None:
    """Each `name=` of an advice for a connector is a parameter of it."""
    for name, advised in (("ssl", "verify_ssl"), ("ttl_dns_cache", "dns"), ("keepalive_expiry", "keepalive_timeout")):
        assert f"{advised}" in str(unknown_option("TCPConnector", [name]))
        assert advised in inspect.signature(TCPConnector).parameters
    for name, advised in (("cert", "client_cert"), ("cert", "ca_file"), ("max_connections", "limit_total")):
        assert f"{advised}=" in str(unknown_option("UnixConnector", [name], looks_up=False))
        assert advised in inspect.signature(UnixConnector).parameters


@pytest.mark.parametrize("connector", [TCPConnector, ProxyConnector, UnixConnector])
def test_an_option_that_nobody_has(connector: type[BaseConnector]) -> None:
    """The error names the connector that was called, and leaves nothing to warn about."""
    place = () if connector is TCPConnector else ("http://p",) if connector is ProxyConnector else ("/s",)
    option: Any = {"limmit": 3}
    name = connector.__name__
    with pytest.raises(TypeError, match=rf"^{name} has no argument 'limmit': help\({name}\) lists those it has$"):
        connector(*place, **option)


@pytest.mark.parametrize("name", ["use_dns_cache", "dns", "resolver", "family", "local_addr", "ttl_dns_cache"])
def test_a_unix_socket_looks_nothing_up(name: str) -> None:
    option: Any = {name: None}
    with pytest.raises(TypeError, match=rf"^UnixConnector has no argument '{name}': it is an option of TCPConnector; "):
        UnixConnector("/s", **option)


@pytest.mark.parametrize("name", ["ssl", "proxy_headers", "happy_eyeballs_delay"])
def test_options_of_others_for_a_proxy(name: str) -> None:
    option: Any = {name: None}
    with pytest.raises(TypeError, match=rf"^ProxyConnector has no argument '{name}': (?!help)\w+"):
        ProxyConnector("http://p", **option)


def test_a_number_for_all_hosts() -> None:
    """aiohttp's limit_per_host is a number; that is `limit` here."""
    option: Any = {"limit_per_host": 5}
    with pytest.raises(TypeError, match=r"got 5; one number for every host is limit=\.\.\.$"):
        TCPConnector(**option)
