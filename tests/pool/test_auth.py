"""BasicAuth (SURFACE L-16 to L-18)."""

import base64
import pickle

import pytest

from keepwarm.client.errors import InvalidInput
from keepwarm.pool.auth import BasicAuth


def test_fields_and_defaults() -> None:
    """L-16: a named tuple of login, password and encoding."""
    auth = BasicAuth("nick")
    assert auth == ("nick", "", "latin1")
    assert (auth.login, auth.password, auth.encoding) == ("nick", "", "latin1")
    assert isinstance(auth, tuple)


def test_encode() -> None:
    """L-18: the scheme and base64, as a str."""
    assert BasicAuth("nick", "pwd").encode() == "Basic bmljazpwd2Q="


@pytest.mark.parametrize(
    ("arguments", "name"), [((None,), "login"), (("a", None), "password"), (("a", "b", None), "encoding")]
)
def test_none_is_refused(arguments: tuple[str, ...], name: str) -> None:
    """L-16: None is a ValueError that names the argument."""
    with pytest.raises(ValueError, match=name) as caught:
        BasicAuth(*arguments)
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == name


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="login"):
        BasicAuth(b"nick")  # type: ignore[arg-type]


@pytest.mark.fault("C22")
def test_colon_in_login() -> None:
    """A colon in the login is refused (L-17); in the password it is fine."""
    with pytest.raises(ValueError, match="colon"):
        BasicAuth("ni:ck", "pwd")
    assert BasicAuth.decode(BasicAuth("nick", "p:w:d").encode()).password == "p:w:d"


@pytest.mark.fault("C22")
@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_control_characters(code: int) -> None:
    """No control character gets into login or password, CR and LF included."""
    for arguments in ((f"a{chr(code)}b",), ("a", f"{chr(code)}b")):
        with pytest.raises(ValueError, match="control"):
            BasicAuth(*arguments)


@pytest.mark.fault("C22")
def test_text_beyond_latin1() -> None:
    """Text that the encoding cannot express is a clear ValueError without the password in it."""
    auth = BasicAuth("nick", "geheim\u20ac")
    with pytest.raises(ValueError, match="utf-8") as caught:
        auth.encode()
    assert "geheim" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    token = BasicAuth("nick", "geheim\u20ac", "utf-8").encode().removeprefix("Basic ")
    assert base64.b64decode(token) == "nick:geheim\u20ac".encode()


def test_long_credentials_stay_on_one_line() -> None:
    assert "\n" not in BasicAuth("a" * 500, "b" * 500).encode()


def test_unknown_encoding() -> None:
    with pytest.raises(ValueError, match="encoding") as caught:
        BasicAuth("a", "b", "no-such").encode()
    assert isinstance(caught.value, InvalidInput) and caught.value.argument == "encoding"


@pytest.mark.parametrize("encoding", ["latin1", "utf-8"])
def test_decode_reverses_encode(encoding: str) -> None:
    auth = BasicAuth("n\u00fcck", "p\u00e4ss", encoding)
    assert BasicAuth.decode(auth.encode(), encoding) == auth


@pytest.mark.parametrize(
    "header",
    ["", "Bearer abc", "Basic", "Basic !!!", "Basic bmljaw==", "Basic YTpi\u20ac", "Basic YQpiOmM=", "Basic YTpi YTpi"],
)
def test_decode_refuses(header: str) -> None:
    with pytest.raises(ValueError):
        BasicAuth.decode(header)


def test_decode_takes_any_case_of_the_scheme() -> None:
    assert BasicAuth.decode("bAsIc YTpi") == BasicAuth("a", "b")


def test_repr_hides_the_password_and_pickle_keeps_it() -> None:
    auth = BasicAuth("nick", "geheim")
    assert "geheim" not in repr(auth) and "nick" in repr(auth)
    assert pickle.loads(pickle.dumps(auth)) == auth
