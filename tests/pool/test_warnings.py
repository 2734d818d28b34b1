"""Warnings about a connector's options point at the line that has to change, whatever class was made there."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from keepwarm.pool.errors import WeakFingerprintWarning
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.unix_connector import UnixConnector


class Own(TCPConnector):
    def __init__(this, **options: Any) -> None:
        super().__init__(**options)


class OwnProxy(ProxyConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__("http://proxy.test", **options)


class Holder:
    """Makes its connector in its own constructor: that line is the one to change."""

    def __init__(self, **options: Any) -> None:
        self.connector = TCPConnector(**options)


def tcp(**options: Any) -> object:
    return TCPConnector(**options)


def own(**options: Any) -> object:
    return Own(**options)


def proxy(**options: Any) -> object:
    return ProxyConnector("http://proxy.test", **options)


def own_proxy(**options: Any) -> object:
    return OwnProxy(**options)


def unix(**options: Any) -> object:
    return UnixConnector("/run/x", **options)


OVER_TCP = [tcp, own, proxy, own_proxy, Holder]


@pytest.mark.parametrize("make", [*OVER_TCP, unix])
@pytest.mark.parametrize(
    ("options", "category"),
    [
        ({"fingerprint": bytes(16)}, WeakFingerprintWarning),
        ({"pins": {"a.test": [bytes(20)]}}, WeakFingerprintWarning),
        ({"share_cookies": True}, DeprecationWarning),
        ({"resolve": True}, DeprecationWarning),
    ],
    ids=["fingerprint", "pins", "share_cookies", "resolve"],
)
def test_the_callers_line(make: Callable[..., object], options: dict[str, Any], category: type[Warning]) -> None:
    """The line that calls the outermost constructor."""
    if make is unix and "resolve" in options:
        with pytest.raises(TypeError, match="resolve"):  # it looks nothing up
            unix(**options)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(**options)
    code = Holder.__init__.__code__ if make is Holder else make.__code__  # type: ignore[attr-defined]
    lines = {line for _, _, line in code.co_lines()} - {code.co_firstlineno}
    assert [(one.category, one.filename) for one in caught] == [(category, __file__)]
    assert caught[0].lineno in lines
