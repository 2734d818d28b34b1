"""Cookie: one stored cookie, and where it may go (RFC 6265, 5.1.3, 5.1.4 and 5.3)."""

from typing import Self

from keepwarm.pool.endpoint import Endpoint

Key = tuple[str, str, str]


class Cookie:
    """One cookie of a jar. Read-only for all but the jar.

    `domain` is a host or a domain in lower case; empty while a cookie of the caller waits for its first request.
    `host_only`: for exactly that host, not for its subdomains. `origin`: set for a cookie that the caller gave without
    a domain; it goes to this endpoint alone (K2). `by_caller`: the caller made it, with a domain or
    without. `expires`: seconds since 1970, None for the length of the session.
    `created`, `changed` and `used` are serial numbers of the jar's events.
    """

    __slots__ = (
        "by_caller",
        "changed",
        "created",
        "domain",
        "expires",
        "host_only",
        "http_only",
        "name",
        "origin",
        "path",
        "same_site",
        "secure",
        "used",
        "value",
    )

    def __init__(
        self,
        name: str,
        value: str,
        *,
        domain: str = "",
        host_only: bool = True,
        path: str = "/",
        secure: bool = False,
        http_only: bool = False,
        same_site: str = "",
        expires: float | None = None,
        origin: Endpoint | None = None,
        by_caller: bool = False,
    ) -> None:
        self.name = name
        self.value = value
        self.domain = domain
        self.host_only = host_only
        self.path = path
        self.secure = secure
        self.http_only = http_only
        self.same_site = same_site
        self.expires = expires
        self.origin = origin
        self.by_caller = by_caller
        self.created = self.changed = self.used = 0

    @property
    def key(self) -> Key:
        """What tells cookies apart: domain, path, name (RFC 6265, 5.3 step 11)."""
        return self.domain, self.path, self.name

    @property
    def is_given(self) -> bool:
        """Whether the caller gave it without a domain, and no response has replaced it since (K2)."""
        return not self.domain or self.origin is not None

    @property
    def is_callers(self) -> bool:
        """Whether the caller made it, and no response has replaced it since."""
        return self.by_caller or self.is_given

    def take(self, other: "Cookie") -> None:
        """Become the other cookie, all but the serial numbers."""
        self.name = other.name
        self.value = other.value
        self.domain = other.domain
        self.host_only = other.host_only
        self.path = other.path
        self.secure = other.secure
        self.http_only = other.http_only
        self.same_site = other.same_site
        self.expires = other.expires
        self.origin = other.origin
        self.by_caller = other.by_caller

    def copy(self) -> Self:
        """A cookie like this one, in no jar."""
        twin = type(self)(self.name, self.value)
        twin.take(self)
        return twin

    def __repr__(self) -> str:
        # The value may be a credential.
        return f"<Cookie {self.name!r} for {self.domain or 'the first origin'}{self.path}>"


def is_address(host: str) -> bool:
    """Whether a normalised host is an IP address: no normalised name has a colon or ends with a number."""
    return ":" in host or host.rpartition(".")[2].isdigit()


def domain_match(host: str, domain: str) -> bool:
    """Whether `host` is `domain` or a name below it (RFC 6265, 5.1.3). Both are in lower case."""
    return host == domain or (bool(domain) and host.endswith("." + domain) and not is_address(host))


def path_match(path: str, cookie_path: str) -> bool:
    """Whether `path` is `cookie_path` or lies below it, with the border at a slash (RFC 6265, 5.1.4)."""
    if not path.startswith(cookie_path):
        return False
    size = len(cookie_path)
    return len(path) == size or cookie_path[-1:] == "/" or path[size] == "/"


def default_path(path: str) -> str:
    """The path of a cookie that names none: that of the request up to its last slash (RFC 6265, 5.1.4)."""
    return path[: path.rfind("/")] or "/" if path[:1] == "/" else "/"


def request_path(target: str) -> str:
    """The path in a request target, without the query."""
    path = target.partition("?")[0] if "?" in target else target
    return path if path[:1] == "/" else "/"
