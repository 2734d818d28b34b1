"""BasicAuth: user name and password for HTTP (RFC 7617)."""

import base64
import binascii
import re
from typing import NamedTuple

from keepwarm.pool.errors import InvalidInput

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class _Credentials(NamedTuple):
    login: str
    password: str
    encoding: str


class BasicAuth(_Credentials):
    """HTTP basic authentication.

    `login` and `password` are text, `encoding` (default latin1) is how they become bytes. Raises InvalidInput, which
    is a ValueError, for None, for a colon in the login and for control characters, and TypeError for anything that
    is not a str. The password does not show in the repr.
    """

    __slots__ = ()

    def __new__(cls, login: str, password: str = "", encoding: str = "latin1") -> "BasicAuth":
        for argument, value in (("login", login), ("password", password), ("encoding", encoding)):
            if value is None:
                raise InvalidInput(f"{argument} of BasicAuth must not be None", argument=argument)
            if not isinstance(value, str):
                raise TypeError(f"{argument} of BasicAuth must be a str, got {type(value).__name__}")
            if _CONTROL.search(value):
                raise InvalidInput(f"{argument} of BasicAuth must not contain control characters", argument=argument)
        if ":" in login:
            raise InvalidInput("login of BasicAuth must not contain a colon (RFC 7617, 2)", argument="login")
        return super().__new__(cls, login, password, encoding)

    def encode(self) -> str:
        """The value of an ``Authorization`` header. Raises InvalidInput when `encoding` cannot express the text."""
        try:
            token = f"{self.login}:{self.password}".encode(self.encoding)
        except LookupError:
            raise InvalidInput(f"encoding of BasicAuth is unknown: {self.encoding!r}", argument="encoding") from None
        except UnicodeError:
            pass  # it holds the password: ours, raised below, does not have it as its context
        else:
            return "Basic " + base64.b64encode(token).decode("ascii")
        raise InvalidInput(
            f"login or password of BasicAuth cannot be written in {self.encoding!r}; "
            "pass encoding='utf-8' if the server expects that",
            argument="encoding",
        )

    @classmethod
    def decode(cls, header: str, encoding: str = "latin1") -> "BasicAuth":
        """The credentials in the value of an ``Authorization`` header. Raises InvalidInput when it holds none."""
        if not isinstance(header, str):
            raise TypeError(f"header must be a str, got {type(header).__name__}")
        scheme, _, token = header.strip(" \t").partition(" ")
        if scheme.lower() != "basic":
            raise InvalidInput("header does not use the Basic scheme", argument="header")
        try:
            text = base64.b64decode(token.strip(" \t").encode("ascii"), validate=True).decode(encoding)
        except LookupError:
            raise InvalidInput(f"encoding is unknown: {encoding!r}", argument="encoding") from None
        except (UnicodeError, binascii.Error):
            text = None
        if text is None:
            raise InvalidInput(f"header does not hold base64 of text in {encoding!r}", argument="header")
        login, colon, password = text.partition(":")
        if not colon:
            raise InvalidInput("header has no colon between login and password", argument="header")
        return cls(login, password, encoding)

    def __repr__(self) -> str:
        return f"BasicAuth(login={self.login!r}, password=..., encoding={self.encoding!r})"
