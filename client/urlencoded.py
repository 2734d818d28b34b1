"""encode_form: a form as application/x-www-form-urlencoded (SURFACE C-07)."""

from typing import Final
from urllib.parse import urlencode

from keepwarm.client.pairs import text_pairs
from keepwarm.client.text import not_encodable

FORM: Final = "application/x-www-form-urlencoded"


def encode_form(data: object, encoding: str = "utf-8") -> bytes:
    """A mapping or an iterable of pairs as application/x-www-form-urlencoded.

    Names are str, values str, int or float. Raises TypeError for other types, InvalidInput for what `encoding` cannot
    express; both name `data`.
    """
    pairs = text_pairs(data, "data")
    try:
        return urlencode(pairs, encoding=encoding).encode("ascii")
    except LookupError:
        is_known = False
    except UnicodeError:
        is_known = True
    raise not_encodable(encoding, "data", is_known=is_known)
