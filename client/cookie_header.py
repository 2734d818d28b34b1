"""The Cookie header: cookies of one request, and how they join those of the jar (SURFACE P-17, FAULTS O11)."""

from collections.abc import Iterable

from keepwarm.client.cookie_given import coded_pairs


def cookie_header(cookies: object) -> str | None:
    """The value of a Cookie header for a mapping or an iterable of pairs; None if there are none.

    Names are tokens. Values are str, int, float or Morsel; what RFC 6265 allows is sent as it is, the rest is quoted,
    and a Morsel's coded value is kept. A name that comes again replaces the one before, as in a dict. Raises
    InvalidInput for control characters, for text that is not ASCII and for names that are no tokens, and TypeError
    for other types; both name `cookies`.
    """
    coded = {name: value for name, value, _ in coded_pairs(cookies)}
    return "; ".join([f"{name}={value}" for name, value in coded.items()]) or None


def merge_cookie_headers(*values: str | None) -> str | None:
    """One Cookie header out of several; None if all are empty.

    Each value may be None, and is in order of precedence: a name in an earlier one keeps out the same name in a later
    one. So the caller's own header comes first and the jar's last. What one value says twice is said twice.
    """
    seen: set[str] = set()
    parts: list[str] = []
    for value in values:
        if value:
            kept = [(name, text) for name, text in _split(value) if name not in seen]
            parts += [text for _, text in kept]
            seen.update([name for name, _ in kept])
    return "; ".join(parts) or None


def _split(value: str) -> Iterable[tuple[str, str]]:
    for part in value.split(";"):
        text = part.strip(" \t")
        if text:
            yield text.partition("=")[0].rstrip(" \t"), text
