"""CookieStore: cookies by key, by host and by name, within limits."""

from collections.abc import Iterator
from typing import Final

from keepwarm.client.cookie import Cookie, Key, is_address
from keepwarm.pool.clock import NEVER

# How many hosts the answers are remembered of.
_HOSTS: Final = 1024


class CookieStore:
    """Holds cookies and finds those of a host in one dict lookup. Knows nothing of policy.

    `by_key` has all of them; `changes` grows with each change. When a domain has more than `max_per_domain` cookies, or
    all together are more than `max_total`, those go that were not sent for the longest time, insecure ones first
    (RFC 6265bis, 5.7). Cookies without a domain, which the caller gave and no request has used, only count towards the
    total.
    """

    __slots__ = (
        "_by_domain",
        "_by_name",
        "_for_host",
        "_next_expiry",
        "_serial",
        "by_key",
        "changes",
        "max_per_domain",
        "max_total",
    )

    def __init__(self, max_per_domain: int, max_total: int) -> None:
        self.max_per_domain = max_per_domain
        self.max_total = max_total
        self.changes = 0
        self._serial = 0
        # The same dict for good: sessions look at it to see whether there is anything to ask for.
        self.by_key: dict[Key, Cookie] = {}
        self._by_domain: dict[str, dict[Key, Cookie]] = {}
        self._by_name: dict[str, dict[Key, Cookie]] = {}
        self._for_host: dict[str, tuple[Cookie, ...]] = {}
        self._next_expiry = NEVER

    def __len__(self) -> int:
        return len(self.by_key)

    def __iter__(self) -> Iterator[Cookie]:
        """In the order of creation."""
        return iter(sorted(self.by_key.values(), key=_created))

    def get(self, key: Key) -> Cookie | None:
        return self.by_key.get(key)

    def named(self, name: str) -> list[Cookie]:
        """All cookies of this name, the one that changed last at the end."""
        found = self._by_name.get(name)
        return sorted(found.values(), key=_changed) if found else []

    def unbound(self) -> list[Cookie]:
        """The cookies without a domain."""
        found = self._by_domain.get("")
        return list(found.values()) if found else []

    def for_host(self, host: str) -> tuple[Cookie, ...]:
        """The cookies for a normalised host in the order of RFC 6265, 5.4: longer paths first, then older ones."""
        found = self._for_host.get(host)
        if found is None:
            found = self._look_up(host)
            if len(self._for_host) >= _HOSTS:
                self._for_host.clear()
            self._for_host[host] = found
        return found

    def _look_up(self, host: str) -> tuple[Cookie, ...]:
        found = list(self._by_domain.get(host, {}).values())
        domain = host
        while not is_address(host):
            domain = domain.partition(".")[2]
            if not domain:
                break
            found += [cookie for cookie in self._by_domain.get(domain, {}).values() if not cookie.host_only]
        found.sort(key=_sending_order)
        return tuple(found)

    def touch(self, cookie: Cookie) -> None:
        """Note that the cookie was sent."""
        self._serial += 1
        cookie.used = self._serial

    def put(self, new: Cookie) -> Cookie:
        """Store the cookie in place of one with the same key, which passes on its age. Returns the stored one."""
        key = new.key
        cookie = self.by_key.get(key)
        if cookie is None:
            cookie = new
            self._enter(cookie)
            cookie.created = self._serial + 1
        else:
            cookie.take(new)
        self._changed(cookie)
        self._make_room(cookie.domain)
        return cookie

    def amend(self, cookie: Cookie, draft: Cookie) -> None:
        """Let a stored cookie become `draft`; one that stands in its new place goes and passes on its age."""
        self._leave(cookie)
        other = self.by_key.get(draft.key)
        if other is not None:
            self._leave(other)
            cookie.created = min(cookie.created, other.created)
        cookie.take(draft)
        self._enter(cookie)
        self._changed(cookie)
        self._make_room(cookie.domain)

    def remove(self, cookie: Cookie) -> None:
        """Take a stored cookie out."""
        self._leave(cookie)
        self.changes += 1
        self._for_host.clear()

    def clear(self) -> None:
        """Take all out."""
        for index in (self.by_key, self._by_domain, self._by_name, self._for_host):
            index.clear()
        self._next_expiry = NEVER
        self.changes += 1

    def expire(self, now: float) -> None:
        """Take out what is over by `now`. One comparison when nothing is."""
        if now < self._next_expiry:
            return
        over = [cookie for cookie in self.by_key.values() if cookie.expires is not None and cookie.expires <= now]
        for cookie in over:
            self.remove(cookie)
        self._next_expiry = min([c.expires for c in self.by_key.values() if c.expires is not None], default=NEVER)

    def _changed(self, cookie: Cookie) -> None:
        self._serial += 1
        cookie.changed = cookie.used = self._serial
        if cookie.expires is not None and cookie.expires < self._next_expiry:
            self._next_expiry = cookie.expires
        self.changes += 1
        self._for_host.clear()

    def _enter(self, cookie: Cookie) -> None:
        key = cookie.key
        self.by_key[key] = cookie
        self._by_domain.setdefault(cookie.domain, {})[key] = cookie
        self._by_name.setdefault(cookie.name, {})[key] = cookie

    def _leave(self, cookie: Cookie) -> None:
        key = cookie.key
        del self.by_key[key]
        for index, entry in ((self._by_domain, cookie.domain), (self._by_name, cookie.name)):
            del index[entry][key]
            if not index[entry]:
                del index[entry]

    def _make_room(self, domain: str) -> None:
        if domain:
            shelf = self._by_domain[domain]
            if len(shelf) > self.max_per_domain:
                self._evict(list(shelf.values()), len(shelf) - self.max_per_domain)
        excess = len(self.by_key) - self.max_total
        if excess > 0:
            # A few more than needed, so that a stream of new cookies does not cost a scan each.
            self._evict(list(self.by_key.values()), excess + self.max_total // 16)

    def _evict(self, cookies: list[Cookie], count: int) -> None:
        cookies.sort(key=_value_to_keep)
        for cookie in cookies[:count]:
            self.remove(cookie)


def _created(cookie: Cookie) -> int:
    return cookie.created


def _changed(cookie: Cookie) -> int:
    return cookie.changed


def _sending_order(cookie: Cookie) -> tuple[int, int]:
    return -len(cookie.path), cookie.created


def _value_to_keep(cookie: Cookie) -> tuple[bool, int]:
    return cookie.secure, cookie.used
