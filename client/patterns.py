"""pattern_key: what calls have in common that differ in the body alone."""

from typing import Any

from keepwarm.client.source import Payload

PatternKey = tuple[str, str, str | None, tuple[tuple[str, str], ...]]

# More than this is no habit, and comparing it would cost more than it saves.
MOST_HEADERS = 8


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
