"""Options that a cookie jar or a session has elsewhere."""

from typing import Any

import pytest

from keepwarm.client.cookies import CookieJar
from keepwarm.client.session import ClientSession
from keepwarm.client.ws_calls import WebSocketCalls
from keepwarm.pool.endpoint import Endpoint


@pytest.mark.parametrize("name", ["unsafe", "quote_cookie", "treat_as_secure_origin"])
def test_options_of_other_jars_are_refused_with_advice(name: str) -> None:
    """A TypeError that names the option and says why it is not needed."""
    option: Any = {name: True}
    with pytest.raises(TypeError, match=rf"CookieJar has no argument '{name}': \w+"):
        CookieJar(**option)


def test_an_option_that_nobody_has() -> None:
    option: Any = {"nothing": True}
    with pytest.raises(TypeError, match=r"CookieJar has no argument 'nothing'$"):
        CookieJar(**option)


def test_cookies_of_an_address_are_kept() -> None:
    """As the advice says."""
    jar = CookieJar()
    jar.update_from_response(["a=1"], Endpoint("127.0.0.1", 80, False), "/")
    assert jar.header_for(Endpoint("127.0.0.1", 80, False), "/") == "a=1"
    assert jar.header_for(Endpoint("127.0.0.2", 80, False), "/") is None


@pytest.mark.parametrize("name", ["limit", "limit_total", "keepalive_timeout", "use_dns_cache", "family", "pins"])
def test_options_of_the_connector_are_refused_with_advice(name: str) -> None:
    """The advice shows the connector inside the session, ready to be copied."""
    option: Any = {name: 1}
    advice = rf"it is an option of the connector: ClientSession\(connector=TCPConnector\({name}=\.\.\.\)\)$"
    with pytest.raises(TypeError, match=rf"^ClientSession has no argument '{name}': {advice}"):
        ClientSession(**option)


@pytest.mark.parametrize(
    "name", ["verify", "cert", "http2", "proxies", "mounts", "transport", "follow_redirects", "uds"]
)
def test_options_of_httpx_are_refused_with_advice(name: str) -> None:
    option: Any = {name: 1}
    with pytest.raises(TypeError, match=rf"^ClientSession has no argument '{name}': \w+"):
        ClientSession(**option)


WEBSOCKETS = [
    "ssl",
    "proxy",
    "verify_ssl",
    "ping_interval",
    "ping_timeout",
    "max_size",
    "subprotocols",
    "close_timeout",
]


@pytest.mark.parametrize("name", WEBSOCKETS)
def test_options_of_other_websockets_are_refused_with_advice(name: str) -> None:
    """At the call, before anything is awaited."""
    option: Any = {name: 1}
    with pytest.raises(TypeError, match=rf"^ws_connect has no argument '{name}': (?!help)\w+"):
        WebSocketCalls().ws_connect("ws://h/", **option)


def test_an_option_that_no_websocket_has() -> None:
    option: Any = {"hearbeat": 1}
    with pytest.raises(TypeError, match=r"^ws_connect has no argument 'hearbeat': help\(ClientSession\.ws_connect\)"):
        WebSocketCalls().ws_connect("ws://h/", **option)
