"""ProxyConnector: its options, what it shows of them, and what it shows to nobody."""

import pickle
import ssl
from typing import Any

import pytest
import yarl

from keepwarm.client.errors import HttpProcessingError
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientConnectionError, ClientError, ProxyConnectionError
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.proxy_errors import HttpProxyError
from keepwarm.pool.tcp_connector import TCPConnector

SECRET = "s3cret"
SECRET_LINE = b"Proxy-Authorization: Basic bWU6czNjcmV0\r\n"


@pytest.mark.fault("X18")
def test_connections_are_closed_by_default() -> None:
    """Kept connections are for those who ask for them; all else is as for TCPConnector."""
    connector, plain = ProxyConnector("http://some.proxy.com"), TCPConnector()
    assert connector.force_close is True
    assert ProxyConnector("http://some.proxy.com", force_close=False).force_close is False
    for name in ("conn_timeout", "keepalive_timeout", "limit", "limits", "family", "verify_ssl", "dns_cache"):
        assert getattr(connector, name) == getattr(plain, name)
    assert (connector.share_forward, connector.forward_proxy.shared) == (False, None)
    assert plain.forward_proxy is None


@pytest.mark.parametrize(
    ("url", "shown", "endpoint"),
    [
        ("http://some.proxy.com", "http://some.proxy.com", ("some.proxy.com", 80, False)),
        ("http://some.proxy.com:3128/", "http://some.proxy.com:3128/", ("some.proxy.com", 3128, False)),
        ("HTTPS://Some.Proxy.com", "HTTPS://Some.Proxy.com", ("some.proxy.com", 443, True)),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ("127.0.0.1", 8080, False)),
        ("http://[::1]:8080", "http://[::1]:8080", ("::1", 8080, False)),
        ("http://me:s3cret@p.test:81", "http://p.test:81", ("p.test", 81, False)),
        ("http://me@p.test", "http://p.test", ("p.test", 80, False)),
        ("http://@p.test", "http://p.test", ("p.test", 80, False)),
        (yarl.URL("http://me:s3cret@p.test:81"), "http://p.test:81", ("p.test", 81, False)),
    ],
)
def test_the_proxy_is_shown_without_its_user(url: Any, shown: str, endpoint: tuple[str, int, bool]) -> None:
    connector = ProxyConnector(url, share_forward=True)
    assert connector.proxy == shown
    # The key that plain targets share is never one of a tunnel.
    assert connector.forward_proxy.shared == Endpoint(endpoint[0], endpoint[1], False)
    assert connector.share_forward


@pytest.mark.parametrize(
    ("userinfo", "auth"),
    [
        ("me:s3cret", BasicAuth("me", SECRET)),
        ("m%65:s3cret", BasicAuth("me", SECRET)),
        ("me:%40%3A%2F", BasicAuth("me", "@:/")),
        ("me:a:b", BasicAuth("me", "a:b")),
        ("me", BasicAuth("me", "")),
        (":s3cret", BasicAuth("", SECRET)),
        ("m%C3%A9:x", BasicAuth("m\u00e9", "x", "utf-8")),
    ],
)
def test_a_user_in_the_url_is_the_login(userinfo: str, auth: BasicAuth) -> None:
    """Percent-encoded bytes are UTF-8."""
    connector = ProxyConnector(f"http://{userinfo}@p.test")
    assert connector.proxy_auth == auth
    assert connector.forward_proxy.credentials == f"Proxy-Authorization: {auth.encode()}\r\n".encode()


def test_proxy_auth_goes_before_the_user_in_the_url() -> None:
    auth = BasicAuth("me", SECRET)
    connector = ProxyConnector("http://you:other@p.test", proxy_auth=auth)
    assert connector.proxy_auth is auth
    assert connector.forward_proxy.credentials == SECRET_LINE
    assert ProxyConnector("http://p.test").proxy_auth is None
    assert ProxyConnector("http://p.test").forward_proxy.credentials == b""


@pytest.mark.parametrize("name", ["proxy", "proxy_auth", "forward_proxy", "share_forward"])
def test_what_it_is_made_of_stays(name: str) -> None:
    """Credentials that change in the life of a pool would be those of other connections (X09)."""
    with pytest.raises(AttributeError):
        setattr(ProxyConnector("http://p.test"), name, None)


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "p.test:3128",
        "socks5://p.test",
        "ftp://p.test",
        "ws://p.test",
        "//p.test",
        "http:p.test",
        "http://",
        "http://me:s3cret@",
        "http://:3128",
        "http://p.test:0",
        "http://p.test:65536",
        "http://p.test:port",
        "http://p.test:",
        "http://p.test/path",
        "http://p.test?query",
        "http://p.test/#fragment",
        "http://p.test\\path",
        "http://p.test\r\nX: y",
        "http://p.test\n",
        " http://p.test",
        "http://p.te st",
        "http://me\tyou@p.test",
        "http://me:s3cret@you@p.test",
        "http://me%0d%0a:s3cret@p.test",
        "http://me%3ayou:s3cret@p.test",
        "http://%ff:s3cret@p.test",
        "http://me:s3cret@p_test..x",
        "http://me:s3cret@127.1",
        "http://[::1",
        "http://::1",
    ],
)
def test_a_url_that_is_none_is_refused(proxy: str) -> None:
    """A ValueError that names the argument and shows no password, before anything is made."""
    with pytest.raises(ValueError, match=r"^proxy must be a URL") as caught:
        ProxyConnector(proxy)
    assert caught.value.argument == "proxy"  # type: ignore[attr-defined]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"proxy": None}, TypeError, "proxy must be"),
        ({"proxy": b"http://p.test"}, TypeError, "proxy must be"),
        ({"proxy_auth": ("me", SECRET)}, TypeError, "proxy_auth must be a BasicAuth or None, got tuple"),
        ({"proxy_auth": "me:s3cret"}, TypeError, "proxy_auth must be"),
        ({"share_forward": 1}, TypeError, "share_forward must be"),
        ({"proxy_verify_ssl": "no"}, TypeError, "proxy_verify_ssl must be"),
        ({"proxy_ssl_context": True}, TypeError, "proxy_ssl_context must be"),
        (
            {"proxy_verify_ssl": False, "proxy_ssl_context": ssl.create_default_context()},
            ValueError,
            "proxy_verify_ssl",
        ),
        ({"limit": 0}, ValueError, "limit"),
        ({"verify_ssl": 1}, TypeError, "verify_ssl"),
        ({"no_such_option": 1}, TypeError, "no_such_option"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        ProxyConnector(**{"proxy": "http://p.test", **options})
    assert SECRET not in str(caught.value)


@pytest.mark.fault("X02")
def test_the_password_shows_nowhere() -> None:
    """Not in the connector's repr, nor in that of what requests are given."""
    connector = ProxyConnector(f"http://me:{SECRET}@p.test:81")
    for shown in (repr(connector), str(connector), repr(connector.forward_proxy), connector.proxy):
        assert SECRET not in shown
        assert "bWU6czNjcmV0" not in shown
    assert repr(connector) == "<ProxyConnector open proxy=http://p.test:81 limit=None>"


def test_a_refusal_belongs_to_both_trees_of_errors() -> None:
    """Handlers of connection errors and of HTTP errors see it, also after pickling."""
    error = HttpProxyError(
        "no way", code=407, message="Who", headers={"A": "b"}, body=b"?", proxy=Endpoint("p", 1, False),
        endpoint=Endpoint("x", 443, True),
    )  # fmt: skip
    for kind in (HttpProcessingError, ProxyConnectionError, ClientConnectionError, ClientError):
        assert isinstance(error, kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is HttpProxyError
    for name in ("status", "code", "message", "headers", "body", "proxy", "endpoint", "phase", "reused", "args"):
        assert getattr(copy, name) == getattr(error, name)
    assert (str(copy), copy.status, copy.phase) == ("no way", 407, "proxy")
    assert (HttpProxyError(code=403, message="No").body, HttpProxyError().status) == (b"", 0)
