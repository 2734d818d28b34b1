"""HttpVersion: the protocol version of a message."""

from typing import Final, NamedTuple

from keepwarm.client.errors import InvalidInput


class HttpVersion(NamedTuple):
    """``HttpVersion(1, 1)`` is HTTP/1.1."""

    major: int
    minor: int


HttpVersion10: Final = HttpVersion(1, 0)
HttpVersion11: Final = HttpVersion(1, 1)

_BY_TEXT: Final = {"1.0": HttpVersion10, "1.1": HttpVersion11}


def check_version(version: object) -> HttpVersion:
    """The version to send: HttpVersion10 or HttpVersion11, from one of them or from "1.0" or "1.1" (SURFACE C-18).

    Anything else raises InvalidInput. The answer is always one of the two constants, so no text of the caller can
    reach the request line.
    """
    if version is HttpVersion11:
        return HttpVersion11
    if type(version) is str and version in _BY_TEXT:
        return _BY_TEXT[version]
    if type(version) is HttpVersion or type(version) is tuple:
        for known in _BY_TEXT.values():
            if version == known:
                return known
    raise InvalidInput(
        f"version must be HttpVersion(1, 0), HttpVersion(1, 1), '1.0' or '1.1', got {type(version).__name__}",
        argument="version",
    )
