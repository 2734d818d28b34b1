"""Patterns: the requests of a session whose like differ in the body alone."""

from typing import Any

from keepwarm.client.file_payload import OCTET_STREAM
from keepwarm.client.memo import Memo
from keepwarm.client.request import ClientRequest
from keepwarm.client.source import Payload

PatternKey = tuple[str, str, str | None, tuple[tuple[str, str], ...]]

# More than this is no habit, and comparing it would cost more than it saves.
MOST_HEADERS = 8
# Patterns are kept by the hundred, each with its headers several times over. What is longer is made anew each time.
MOST_TEXT = 8192


def pattern_key(method: object, url: str, headers: Any, payload: Payload) -> PatternKey | None:
    """The key of a request's like, for a memo; None where that cannot be told at a glance."""
    if type(method) is not str or payload.body is None:
        return None
    if not headers:
        return method, url, payload.content_type, ()
    if type(headers) is not dict or len(headers) > MOST_HEADERS:
        return None
    items = tuple(headers.items())
    for name, value in items:
        if type(name) is not str or type(value) is not str:
            return None
    return method, url, payload.content_type, items


class Patterns:
    """Requests that were checked and encoded once, by what they have in common; ready for another body.

    Beside them, by URL alone, one pattern for POSTs of bytes: most programs send one shape to one place.
    """

    __slots__ = ("_by_key", "_posts")

    def __init__(self) -> None:
        self._by_key: Memo[PatternKey, ClientRequest] = Memo()
        self._posts: Memo[str, tuple[dict[str, str], tuple[str, ...], ClientRequest]] = Memo()

    def get(self, key: PatternKey) -> ClientRequest | None:
        """The pattern of the requests with this key."""
        return self._by_key.get(key)

    def put(self, key: PatternKey, request: ClientRequest) -> None:
        """Remember what others like this request can be made from, if they can."""
        method, url, content_type, items = key
        if sum(len(name) + len(value) for name, value in items) > MOST_TEXT:
            return
        pattern = request.pattern()
        if pattern is None:
            return
        self._by_key.put(key, pattern)
        if method == "POST" and content_type == OCTET_STREAM:
            fields = dict(items)
            self._posts.put(url, (fields, tuple(fields), pattern))

    def post(self, url: str, data: bytes, headers: Any) -> ClientRequest | None:
        """A POST of bytes with nothing of its own but headers; None where the long way has to tell."""
        known = self._posts.get(url)
        if known is None or not data:
            return None
        fields, names, pattern = known
        if headers:
            if type(headers) is not dict or headers != fields:
                return None
            if len(names) > 1 and tuple(headers) != names:
                return None  # in another order
            for value in headers.values():
                if type(value) is not str:
                    return None  # it has its own idea of what it is equal to
        elif fields:
            return None
        return pattern.with_body(data)
