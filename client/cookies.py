"""CookieJar: which cookies are kept, and which go where (RFC 6265, 5.3 and 5.4)."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Never

from keepwarm.client.cookie import Cookie, default_path, domain_match, is_address, path_match, request_path
from keepwarm.client.cookie_file import PathName, load_cookies, save_cookies
from keepwarm.client.cookie_given import Judge, check_coded, coded_pairs, given_cookie
from keepwarm.client.cookie_parse import SetCookie, parse_set_cookie
from keepwarm.client.cookie_store import CookieStore
from keepwarm.client.foreign import unknown_argument
from keepwarm.pool.clock import wall_time
from keepwarm.pool.endpoint import Endpoint

logger: Final = logging.getLogger(__name__)

# What browsers allow; the least that RFC 6265, 6.1 asks for is 50 and 3000.
MAX_PER_DOMAIN: Final = 180
MAX_TOTAL: Final = 3000
# Servers take 8 to 16 KiB for a line of the head or for all of it; what is longer is refused there.
MAX_HEADER: Final = 16384


class CookieJar:
    """Cookies of a session. Everything is synchronous; not for use from several threads.

    Cookies from responses follow RFC 6265, with the hardening of RFC 6265bis: a Secure cookie is neither set nor
    replaced over http, the name prefixes ``__Host-`` and ``__Secure-`` are kept to, control characters make a cookie
    unusable. A Domain that is an IP address, a single label or a public suffix is refused, unless it is the host
    itself; the cookie is then for that host only. Public suffixes of several labels (``co.uk``) are known only to
    `is_public_suffix`, a function from a lower-case domain to bool, which must not raise: the list changes weekly and
    does not come with keepwarm. Ports do not part the cookies of a host.

    Cookies from the caller (`cookies`, `add`, the view) that name no domain go to the origin of the first request
    that is made with them, scheme, host and port, and nowhere else.

    `now` gives the wall clock in seconds since 1970. At most `max_per_domain` cookies (180) are kept for a domain and
    `max_total` (3000) in all; those not sent for the longest time go first. A request takes along
    16 KiB of them. ``len()`` counts and iterating gives the live cookies, oldest first.
    """

    __slots__ = ("_is_public_suffix", "_judge", "_now", "_store", "kept")

    def __init__(
        self,
        cookies: object = None,
        *,
        now: Callable[[], float] = wall_time,
        is_public_suffix: Callable[[str], bool] | None = None,
        max_per_domain: int = MAX_PER_DOMAIN,
        max_total: int = MAX_TOTAL,
        **unknown: Never,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            raise unknown_argument("CookieJar", unknown) or TypeError(f"CookieJar has no argument '{name}'")
        for argument, limit in (("max_per_domain", max_per_domain), ("max_total", max_total)):
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ValueError(f"{argument} must be a whole number above 0, got {limit!r}")
        self._now = now
        self._is_public_suffix = is_public_suffix
        self._judge = Judge(now, self._is_narrow)
        self._store = CookieStore(max_per_domain, max_total)
        #: Whether it is empty is all that this is for. It may hold cookies that have expired.
        self.kept: Collection[object] = self._store.by_key
        if cookies is not None:
            self.add(cookies)

    # What responses bring

    def update_from_response(self, values: Iterable[str], endpoint: Endpoint, path: str) -> None:
        """Store the cookies of one response. Never raises because of what a peer sent.

        `values` are the Set-Cookie fields in their order, `endpoint` and `path` (or the whole request-target) those
        of the request. A field that is no cookie, or one for somebody else, is left out without harm to the others;
        that is logged at level debug, once a call.
        """
        store = self._store
        path = request_path(path)
        now = self._now()
        store.expire(now)
        refused = 0
        for value in values:
            parsed = parse_set_cookie(value)
            cookie = None if parsed is None else self._judged(parsed, endpoint, path, now)
            if cookie is None:
                refused += 1
            elif cookie.expires is None or cookie.expires > now:
                store.put(cookie)
            else:
                old = store.get(cookie.key)
                if old is not None:
                    store.remove(old)
        if refused:
            logger.debug("%s: %d Set-Cookie fields were refused", endpoint, refused)

    def _judged(self, parsed: SetCookie, endpoint: Endpoint, path: str, now: float) -> Cookie | None:
        """The cookie to store, or None if it is refused (RFC 6265, 5.3; prefixes: RFC 6265bis, 4.1.3)."""
        host, _, is_ssl = endpoint
        host_only = True
        domain = parsed.domain
        if domain is not None:
            if not domain_match(host, domain):
                return None
            host_only = self._is_narrow(domain)
            if host_only and domain != host:
                return None
        cookie = Cookie(
            parsed.name,
            parsed.value,
            domain=host if host_only or domain is None else domain,
            host_only=host_only,
            path=default_path(path) if parsed.path is None else parsed.path,
            secure=parsed.secure,
            http_only=parsed.http_only,
            same_site=parsed.same_site,
            expires=parsed.expires if parsed.max_age is None else now + parsed.max_age,
        )
        if not is_ssl and (parsed.secure or self._hides_secure(cookie)):
            return None
        prefix = parsed.name[:9].lower()
        if prefix == "__secure-" and not parsed.secure:
            return None
        if prefix.startswith("__host-") and not (parsed.secure and domain is None and parsed.path == "/"):
            return None
        return cookie

    def _is_narrow(self, domain: str) -> bool:
        """Whether a cookie may be for exactly this domain only."""
        if is_address(domain) or "." not in domain:
            return True
        return self._is_public_suffix is not None and bool(self._is_public_suffix(domain))

    def _hides_secure(self, new: Cookie) -> bool:
        """Whether a cookie from http would stand in for a Secure one of its name (RFC 6265bis, 5.7 step 16)."""
        return any(
            old.secure
            and (domain_match(old.domain, new.domain) or domain_match(new.domain, old.domain))
            and path_match(new.path, old.path)
            for old in self._store.named(new.name)
        )

    # What requests take along

    def header_for(self, endpoint: Endpoint, path: str, *, binds: bool = True) -> str | None:
        """The value of the Cookie header for a request, None for none. `path` may be the whole request-target.

        At most 16 KiB: cookies in the order of RFC 6265, 5.4 until the next one does not fit; the first goes in any
        case. So a server that sets many large cookies does not make every request a huge one. Costs next to nothing
        when the jar has no cookie for the host. Cookies of the caller that no request has used yet now belong to
        `endpoint`, unless `binds` is False: for where a peer, and not the caller, chose the endpoint.
        """
        store = self._store
        if not store:
            return None
        if binds:
            for cookie in store.unbound():
                self._bind(cookie, endpoint)
        host, _, is_ssl = endpoint
        found = store.for_host(host)
        if not found:
            return None
        path = request_path(path)
        now: float | None = None
        parts: list[str] = []
        room = MAX_HEADER
        for cookie in found:
            if cookie.expires is not None:
                now = self._now() if now is None else now
                if cookie.expires <= now:
                    store.remove(cookie)
                    continue
            if cookie.secure and not is_ssl:
                continue
            if cookie.origin is not None and cookie.origin != endpoint:
                continue
            if path_match(path, cookie.path):
                part = f"{cookie.name}={cookie.value}"
                if parts and len(part) > room:
                    break
                room -= len(part) + 2
                store.touch(cookie)
                parts.append(part)
        return "; ".join(parts) if parts else None

    def _bind(self, cookie: Cookie, endpoint: Endpoint) -> None:
        draft = cookie.copy()
        draft.domain = endpoint.host
        draft.origin = endpoint
        self._store.amend(cookie, draft)

    # What the caller does

    def add(self, cookies: object) -> None:
        """Add cookies of the caller: a mapping or pairs from name to str, int, float or Morsel.

        The coded value and the attributes of a Morsel are kept; a domain in it is where the cookie goes, else the
        origin of the first request. Morsels of another jar's view keep their scope. Raises InvalidInput or TypeError,
        naming `cookies`, when one of them cannot be used; then none is added.
        """
        now = self._now()
        made = [given_cookie(*item, self._judge) for item in coded_pairs(cookies)]
        for cookie in made:
            if cookie.expires is None or cookie.expires > now:
                self._store.put(cookie)

    def named(self, name: str) -> list[Cookie]:
        """The live cookies of this name, the one that changed last at the end."""
        self._store.expire(self._now())
        return self._store.named(name)

    def edit(self, cookie: Cookie, changes: Mapping[str, Any]) -> None:
        """Change a cookie: attributes as http.cookies names them, and `value`, which is the coded one.

        All changes are made, or none when one of them raises InvalidInput or TypeError. A cookie that is no longer in
        the jar is left alone. A cookie that expires by it is removed.
        """
        if self._store.get(cookie.key) is not cookie:
            return
        draft = cookie.copy()
        for attribute in sorted(changes, key="max-age".__eq__):
            if attribute == "value":
                draft.value = check_coded(cookie.name, changes[attribute])
            elif attribute != "max-age" or "expires" not in changes or changes[attribute] not in ("", None):
                self._judge.apply(draft, attribute, changes[attribute])
        self._store.amend(cookie, draft)
        self._store.expire(self._now())

    def remove(self, name: str) -> bool:
        """Remove all cookies of this name, whatever their domain and path. Whether there were any."""
        found = self.named(name)
        for cookie in found:
            self._store.remove(cookie)
        return bool(found)

    def clear(self, matches: Callable[[Cookie], bool] | None = None) -> None:
        """Remove all cookies, or those for which `matches` is true."""
        if matches is None:
            self._store.clear()
            return
        for cookie in [cookie for cookie in self._store if matches(cookie)]:
            self._store.remove(cookie)

    # The file

    def save(self, path: PathName) -> None:
        """Write the live cookies, those of the session too, to a JSON file which only its owner may read.

        The file is replaced in one step. This blocks; raises OSError.
        """
        save_cookies(self, path)

    def load(self, path: PathName) -> None:
        """Replace the jar's cookies by those in a file that `save` wrote; what is over is left out.

        This blocks. Raises OSError, and InvalidInput, naming `path`, for any other file; pickles are never loaded.
        The jar is unchanged then.
        """
        cookies = load_cookies(path)
        now = self._now()
        self._store.clear()
        for cookie in cookies:
            if not cookie.host_only and self._is_narrow(cookie.domain):
                cookie.host_only = True
            if cookie.expires is None or cookie.expires > now:
                self._store.put(cookie)

    # What is in it

    @property
    def changes(self) -> int:
        """A number that grows with each change, expiry included."""
        self._store.expire(self._now())
        return self._store.changes

    def __len__(self) -> int:
        self._store.expire(self._now())
        return len(self._store)

    def __bool__(self) -> bool:
        # Each call of a session asks, and most jars are empty.
        return bool(self._store.by_key) and len(self) > 0

    def __iter__(self) -> Iterator[Cookie]:
        self._store.expire(self._now())
        return iter(self._store)

    def __repr__(self) -> str:
        return f"<CookieJar with {len(self._store)} cookies>"
