"""Rows L-16 to L-18: BasicAuth."""

import inspect

import pytest

from keepwarm import BasicAuth


def test_l_16_basic_auth() -> None:
    """(login, password, encoding), with the reference's defaults; None is a ValueError."""
    auth = BasicAuth("user")
    assert auth == ("user", "", "latin1")
    assert (auth.login, auth.password, auth.encoding) == ("user", "", "latin1")
    assert list(inspect.signature(BasicAuth).parameters) == ["login", "password", "encoding"]
    for arguments in ((None,), ("user", None)):
        with pytest.raises(ValueError, match="None"):
            BasicAuth(*arguments)  # type: ignore[arg-type]


def test_l_17_a_colon_in_the_login() -> None:
    """RFC 7617 forbids it: the server would split elsewhere."""
    with pytest.raises(ValueError, match="colon"):
        BasicAuth("a:b", "c")
    assert BasicAuth("a", "b:c").password == "b:c"


@pytest.mark.parametrize(
    ("auth", "value"),
    [
        (BasicAuth("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (BasicAuth("ü", "", "latin1"), "Basic /Do="),
        (BasicAuth("ü", "", "utf-8"), "Basic w7w6"),
    ],
)
def test_l_18_encode(auth: BasicAuth, value: str) -> None:
    """Basic and base64, as text."""
    assert (type(auth.encode()), auth.encode()) == (str, value)
