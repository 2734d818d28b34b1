"""upstr: a header name in upper case."""

from typing import Self


class upstr(str):
    """Text in upper case, for code that spells header names so: ``upstr("accept") == "ACCEPT"``.

    Takes what str takes; bytes are decoded, as UTF-8 unless `encoding` says otherwise. Header names are compared
    without regard to case everywhere, so a plain str does as well.
    """

    __slots__ = ()

    def __new__(cls, value: object = "", encoding: str = "utf-8", errors: str = "strict") -> Self:
        text = str(value, encoding, errors) if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
        return super().__new__(cls, text.upper())

    def upper(self) -> Self:
        """The text itself."""
        return self
