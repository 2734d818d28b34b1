"""Target: what a URL means for a request, and a cache from URL text to Target.

yarl parses, quotes and encodes. Before it sees a URL, the text passes a stricter grammar: yarl is lenient in ways
that make two parsers see two hosts (it drops tabs and line ends, for example), and the host that is dialled must be
the host that the caller sees.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import quote, urljoin

import yarl

from keepwarm.client.memo import Memo
from keepwarm.client.pairs import repeated, text_pairs
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.endpoint import DEFAULT_PORTS, Endpoint, make_endpoint
from keepwarm.pool.errors import InvalidURL, printable

_SECURE: Final = {"http": False, "https": True, "ws": False, "wss": True}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_AUTHORITY: Final = re.compile(r"//([^/?#]*)")
_HOST_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::(.*))?", re.DOTALL)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_FORBIDDEN_IN_HOST: Final = frozenset(' /?#@:%\\[]<>^|"`')
# Control characters, surrogates, blanks and line ends.
_NO_LETTERS: Final = frozenset({"Cc", "Cs", "Zs", "Zl", "Zp"})
_VISIBLE: Final = re.compile(r"[!-~]+")
# All that is visible, but for what would begin a fragment.
_LEGAL_QUERY: Final = re.compile(r"[!\"$-~]*")
_VISIBLE_IN_QUERY: Final = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
# What stands before a host is a user name and password, and in a broken URL anything that comes before an '@', also
# one that is written in another way.
_USERINFO: Final = re.compile("//[^/?#]*@")
_UP_TO_AT: Final = re.compile(r"\A((?:https?|wss?)://)?.*(?:@|%40|\uff20|\ufe6b)", re.DOTALL | re.IGNORECASE)

# A URL of this length is made up for one request; keeping it would only keep memory.
CACHED_URL_LIMIT: Final = 2048


class Target:
    """What a URL means for a request. Read-only by convention: one Target serves many requests.

    - `endpoint`: where to connect.
    - `request_target`: path and query as they go on the wire, at least ``b"/"``.
    - `host`: the value of the Host header.
    - `url`: the URL as text, without user name and password, with its fragment (SURFACE K-08).
    - `auth`: BasicAuth from the URL's user name and password, or None (SURFACE C-03).
    """

    __slots__ = ("auth", "endpoint", "host", "request_target", "url")

    def __init__(
        self, endpoint: Endpoint, request_target: bytes, host: bytes, url: str, auth: BasicAuth | None
    ) -> None:
        self.endpoint = endpoint
        self.request_target = request_target
        self.host = host
        self.url = url
        self.auth = auth

    def __repr__(self) -> str:
        return f"<Target {self.url!r}>"


def parse_target(url: str | yarl.URL, params: object = None) -> Target:
    """The target of `url` with `params` appended to its query (SURFACE C-03 to C-06).

    `params` is a mapping (a multidict gives each value of a name), an iterable of pairs, or a str, which is used as
    it is and so must be encoded already; blanks and characters that are no ASCII are encoded, and so is '#'. Names are
    str, values str, int, float, or a list or tuple of them, which repeats the name.

    Schemes are http, https, ws and wss. A blank, a non-ASCII character or a backslash in path, query or fragment is
    percent-encoded; in the host nothing is repaired. Raises InvalidURL, a ValueError that says which part is wrong,
    and TypeError for arguments of a wrong type. The fragment is not sent.
    """
    text = _text(url)
    scheme, port = _check_text(text)
    parsed, reason = _parsed(text, is_quoted=not isinstance(url, str))
    if parsed is None:
        raise InvalidURL(f"url '{shown_url(text)}': {reason}")
    try:
        endpoint = make_endpoint(_ascii_host(parsed), port, _SECURE[scheme])
        auth = _auth(parsed)
    except ValueError as exc:
        raise InvalidURL(f"url '{shown_url(text)}': {exc}") from None
    target = _with_params(parsed.raw_path_qs or "/", params)
    if not target.startswith("/") or not _VISIBLE.fullmatch(target):
        raise InvalidURL(f"url '{shown_url(text)}': the path or the query is not percent-encoded")
    host = _host_text(endpoint, endpoint.host.partition("%")[0])
    final = f"{scheme}://{_host_text(endpoint, endpoint.host.replace('%', '%25'))}{target}"
    if parsed.raw_fragment:
        final = f"{final}#{parsed.raw_fragment}"
    return Target(endpoint, target.encode("ascii"), host.encode("ascii"), final, auth)


def _parsed(text: str, *, is_quoted: bool) -> tuple[yarl.URL | None, str]:
    """The URL, or why it is none. The parser's own error may hold a password, so nothing is raised from here that
    would keep it as its context."""
    try:
        # A yarl.URL is quoted already, or was built as if it were; it is not quoted twice.
        return yarl.URL(text, encoded=is_quoted), ""
    except ValueError as exc:
        return None, shown_url(str(exc))


def _text(url: object) -> str:
    if isinstance(url, str):
        return str.__str__(url)
    if not isinstance(url, yarl.URL):
        raise TypeError(f"url must be a str or a yarl.URL, got {type(url).__name__}")
    try:
        return str(url)
    except ValueError:
        pass  # its text may have the password in it
    raise InvalidURL("url cannot be put into text: its parts make no URL")


def _check_text(text: str) -> tuple[str, int | None]:
    """Scheme and port of a URL whose parts are where every parser sees them. Raises InvalidURL."""
    found = _CONTROL.search(text)
    if found:
        raise InvalidURL(f"url '{shown_url(text)}': character {found[0]!r} at position {found.start()} is not text")
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in _SECURE:
        advice = "" if "://" in text else "; write it in front, or give the session a base_url for relative ones"
        raise InvalidURL(f"url '{shown_url(text)}': the scheme must be http, https, ws or wss{advice}")
    match = _AUTHORITY.match(text, match.end())
    if match is None:
        raise InvalidURL(f"url '{shown_url(text)}': no host; '{scheme}:' must be followed by '//'")
    authority = match[1]
    for bad, name in (("\\", "a backslash"), (" ", "a blank")):
        if bad in authority:
            raise InvalidURL(f"url '{shown_url(text)}': {name} in the host part")
    userinfo, _, host_port = authority.rpartition("@")
    login = userinfo.partition(":")[0]
    if "@" in login or "[" in userinfo or "]" in userinfo:
        raise InvalidURL(f"url '{shown_url(text)}': '@', '[' and ']' in a user name must be percent-encoded")
    return scheme, _check_host_port(host_port, text)


def _check_host_port(host_port: str, text: str) -> int | None:
    match = _HOST_PORT.fullmatch(host_port)
    if match is None or (match[1][:1] == "[" and ":" not in match[1]):
        raise InvalidURL(f"url '{shown_url(text)}': the brackets of the host must hold one IPv6 address")
    host, port = match.groups()
    if not host:
        hint = "; an IPv6 address needs brackets" if host_port.count(":") > 1 else ""
        raise InvalidURL(f"url '{shown_url(text)}': no host{hint}")
    if host[0] != "[":
        normal = unicodedata.normalize("NFKC", host)
        if not _FORBIDDEN_IN_HOST.isdisjoint(normal):
            raise InvalidURL(f"url '{shown_url(text)}': the host means '{shown_url(normal)}', which is no host name")
    if not port:
        return None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise InvalidURL(f"url '{shown_url(text)}': the port must be a number from 1 to 65535")
    return int(port)


def _ascii_host(parsed: yarl.URL) -> str:
    """The host in its ASCII form, when reading it back gives no other name. Raises ValueError."""
    host = parsed.raw_host or ""
    for label in host.lower().split("."):
        if label.startswith("xn--"):
            _check_a_label(label)
    return host


def _check_a_label(label: str) -> None:
    """Refuse an ``xn--`` label that no name encodes to: pure ASCII in disguise, or not punycode at all."""
    encoded = label[4:]
    try:
        decoded = encoded.encode("ascii").decode("punycode")
        back = decoded.encode("punycode").decode("ascii")
    except (UnicodeError, OverflowError):
        raise ValueError(f"the host's label {printable(label)!r} is not punycode") from None
    normal = unicodedata.normalize("NFKC", decoded)
    if decoded.isascii() or normal.isascii() or back.lower() != encoded:
        raise ValueError(f"the host's label {printable(label)!r} is another name in disguise")
    if not _FORBIDDEN_IN_HOST.isdisjoint(normal) or any(unicodedata.category(c) in _NO_LETTERS for c in decoded):
        raise ValueError(f"the host's label {printable(label)!r} decodes to characters that no host has")


def _auth(parsed: yarl.URL) -> BasicAuth | None:
    login, password = parsed.user or "", parsed.password or ""
    if not login and not password:
        return None
    # Percent-encoded bytes are UTF-8 in a URL, so UTF-8 is what the URL's author meant.
    encoding = "latin1" if login.isascii() and password.isascii() else "utf-8"
    auth = BasicAuth(login, password, encoding)
    auth.encode()  # a lone surrogate is refused here, before any I/O
    return auth


def _with_params(path_query: str, params: object) -> str:
    if params is None:
        return path_query
    query = _legal_query(params) if isinstance(params, str) else encode_params(params)
    if not query:
        return path_query
    path, mark, present = path_query.partition("?")
    return f"{path}?{present}&{query}" if mark and present else f"{path}?{query}"


def _legal_query(query: str) -> str:
    """A query that is encoded already, with what cannot stand in a request line encoded too (SURFACE C-06)."""
    query = str.__str__(query)
    found = _CONTROL.search(query)
    if found:
        # The query itself is not shown: keys of an API stand there.
        raise InvalidURL(f"params: character {found[0]!r} at position {found.start()} is not text")
    return query if _LEGAL_QUERY.fullmatch(query) else quote(query, safe=_VISIBLE_IN_QUERY)


def encode_params(params: object) -> str:
    """A mapping or an iterable of pairs as a query string. Raises TypeError and InvalidURL, which name `params`."""
    pairs = text_pairs(repeated(params, "params"), "params")
    if not pairs:
        return ""
    if any(_SURROGATE.search(part) for pair in pairs for part in pair):
        raise InvalidURL("params holds a lone surrogate, which no encoding can express")
    return yarl.URL.build(query=pairs).raw_query_string


def _host_text(endpoint: Endpoint, host: str) -> str:
    if ":" in host:
        host = f"[{host}]"
    return host if endpoint.port == DEFAULT_PORTS[endpoint.is_ssl] else f"{host}:{endpoint.port}"


def shown_url(text: str) -> str:
    """A URL that is in doubt, fit for a message: no password in it.

    Everything before the last '@' is cut: where the parts of a bad URL are, nobody knows.
    """
    return printable(_UP_TO_AT.sub(r"\1...", _USERINFO.sub("//", text, count=1), count=1))


def join_url(base: str, url: object) -> str:
    """`url` relative to `base` (RFC 3986, 5.2). Raises InvalidURL for what is not text."""
    if not isinstance(url, (str, yarl.URL)):
        raise InvalidURL(f"the URL must be a str or a yarl.URL, got {type(url).__name__}")
    text = str(url)
    joined = joined_url(base, text)
    if joined is None:
        raise InvalidURL(f"url '{shown_url(text)}' cannot be read as a URL")
    return joined


def joined_url(base: str, text: str) -> str | None:
    """As :func:`join_url`, but None for what cannot be read: the parser's error may hold a password."""
    try:
        return urljoin(base, text)
    except ValueError:
        return None


class BaseUrl:
    """What URLs that are not absolute are relative to: the `base_url` of a session.

    A user name and password in it are for all URLs of its origin that have none of their own, and for no other.
    Raises as :func:`parse_target` does.
    """

    __slots__ = ("_endpoint", "_login", "_text")

    def __init__(self, url: object) -> None:
        target = parse_target(url)  # type: ignore[arg-type]  # whatever it is
        auth = target.auth
        self._text = target.url
        self._endpoint = target.endpoint
        self._login = "" if auth is None else f"{quote(auth.login, safe='')}:{quote(auth.password, safe='')}@"

    def join(self, url: object) -> str:
        """`url` relative to the base. Raises InvalidURL for what cannot be read."""
        joined = join_url(self._text, url)
        if not self._login:
            return joined
        target = parse_target(joined)
        if target.auth is not None or target.endpoint != self._endpoint:
            return joined
        scheme, _, rest = joined.partition("//")
        return f"{scheme}//{self._login}{rest}"

    def __repr__(self) -> str:
        return f"<BaseUrl {self._text!r}>"


class TargetCache(Memo[str, Target]):
    """From URL text to Target."""

    __slots__ = ()

    def resolve(self, url: str | yarl.URL, params: object = None) -> Target:
        """What :func:`parse_target` says, from the cache where `url` is plain text without `params`."""
        if type(url) is not str or params is not None:
            return parse_target(url, params)
        target = self.get(url)
        if target is None:
            target = parse_target(url)
            if len(url) <= CACHED_URL_LIMIT:
                self.put(url, target)
        return target
