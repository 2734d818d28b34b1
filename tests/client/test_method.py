"""Request methods."""

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.client.method import check_method

TOKEN = set("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("given", "sent"), [("GET", "GET"), ("get", "GET"), ("PaTcH", "PATCH"), ("m-search", "M-SEARCH")]
)
def test_upper_case(given: str, sent: str) -> None:
    """C-02."""
    assert check_method(given) == sent


@pytest.mark.fault("O01")
@pytest.mark.parametrize("position", [0, 1, 3])
def test_every_character(position: int) -> None:
    """Only characters of a token pass, at the beginning, inside and at the end."""
    for code in [*range(0x180), 0x2028, 0x212A, 0xFF21, 0xDC0D]:
        text = "GET"[:position] + chr(code) + "GET"[position:]
        if chr(code) in TOKEN:
            assert check_method(text) == text.upper()
        else:
            with pytest.raises(InvalidInput, match="method"):
                check_method(text)


@pytest.mark.fault("O01")
@pytest.mark.parametrize("method", ["", "GET / HTTP/1.1\r\nX: y", "GET\n", b"GET", None, 1])
def test_refused(method: object) -> None:
    """What is no method is refused by an error that names the argument."""
    with pytest.raises(ValueError, match="method") as caught:
        check_method(method)
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == "method"


@pytest.mark.fault("O01")
def test_a_str_of_its_own_kind_cannot_lie() -> None:
    """A subclass of str with its own upper() does not get its text through."""

    class Odd(str):
        def upper(self) -> str:
            return "GET\r\nX: y"

    assert check_method(Odd("get")) == "GET"


@pytest.mark.parametrize("method", ["CONNECT", "connect"])
def test_connect_is_no_request(method: str) -> None:
    with pytest.raises(InvalidInput, match="ProxyConnector"):
        check_method(method)
