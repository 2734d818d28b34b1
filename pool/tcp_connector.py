"""TCPConnector: the options of TCP, DNS and TLS, and the dialer that is made of them."""

import asyncio
import ssl
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Never

from keepwarm.pool.clock import Clock
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.dialer import Dialer, LocalAddr, check_family, check_local_addr
from keepwarm.pool.dns_cache import DNSCache
from keepwarm.pool.dns_follow import Follower
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.foreign import unknown_option
from keepwarm.pool.fork import never_collect
from keepwarm.pool.health import AddressHealth, AddressPolicy
from keepwarm.pool.leak_finder import OnLeak
from keepwarm.pool.origin import constructor_level
from keepwarm.pool.pin_set import PinSet
from keepwarm.pool.pins import Pin, PinReport
from keepwarm.pool.race import TCPKeepAlive
from keepwarm.pool.resolver import Resolver, SplitResolver
from keepwarm.pool.shedding import Shedding
from keepwarm.pool.stats import PoolStats
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_connector import TLSConnector
from keepwarm.pool.tls_contexts import ClientCertificate, Path

_KEEPALIVE = TCPKeepAlive()


class TCPConnector(TLSConnector):
    """Connects over TCP, with TLS for ``https``.

    All parameters are keyword-only and fixed for the connector's life. Those of BaseConnector (`conn_timeout`,
    `keepalive_timeout`, `limit`, `share_cookies`, `force_close`, `loop`, and the extensions `limit_total`,
    `max_waiting`, `pool_timeout`, `limit_per_host`, `shed`, `leak_after`, `on_leak`, `learn_idle`, `max_age`,
    `max_age_jitter`, `max_uses`, `min_idle`) mean what they mean there. Besides:

    - `verify_ssl` (True): check the certificate chain and the host name. False accepts any certificate; it cannot be
      combined with `ssl_context`.
    - `fingerprint` (None): the binary SHA-256 digest of the certificate in DER form, 32 bytes. The server must
      present that certificate, else FingerprintMismatch before a byte is sent, and no other address is tried. It is
      checked in addition to the chain. SHA-1 (20 bytes) and MD5 (16) give WeakFingerprintWarning.
    - `use_dns_cache` (None, which means False unless `dns` is given): keep the answers of lookups as long as they
      hold, and keep the names of open connections up to date. `resolve` is its deprecated name.
    - `family` (0): socket.AF_INET or socket.AF_INET6 for one kind of address only, 0 for both.
    - `ssl_context` (None): an ssl.SSLContext to use as it is. By default one that trusts the system's
      authorities, wants TLS 1.2 and offers http/1.1, shared by all connectors.
    - `local_addr` (None): (host, port) to connect from; port 0 is any.

    Extensions:

    - `pins` (none): more pins, of which one must fit: SHA-256 digests of certificates, or PublicKeyPin. Or a
      mapping from host patterns to such lists, or a PinSet; `fingerprint` counts for every host beside them.
    - `pin_report` (None): a function that is called with the FingerprintMismatch in place of raising it, to try out
      pins: nothing is blocked.
    - `ca_file` (None): the authorities to trust in place of the system's, a file in PEM form. `client_cert` (None):
      (certfile, keyfile) or (certfile, keyfile, password), shown to servers that ask for one. Read when the first
      connection is made, and by `reload_tls`. Not together with `ssl_context`.
    - `tls_resumption` (False): a connection to an endpoint that was connected to before skips what was proved then.
      Less work for both sides, above all for the server, and one round trip less with TLS 1.2. A session is used once,
      for the same endpoint and options within this connector, and at most an hour after the certificate was checked;
      pins are compared again. Not done with `fast_tls`. Off by default, because CPython leaks 6.5 KiB each time it
      reads a session (seen in 3.11 and 3.13): worth it where handshakes are few and far.
    - `resolver` (None): a Resolver of yours; you close it. None asks hosts file, name servers and system as fit.
    - `dns` (None): a DNSOptions: how long answers are used, which name servers are asked and how patiently. The name
      servers and their time limits cannot be combined with a `resolver`.
    - `fast_tls` (False): do TLS with the aiofastnet package (the extra "fast"): a third of the CPU per call, the same
      behaviour. ImportError if it is not installed.
    - `handshake_timeout` (None, seconds): for the TLS handshake alone; 0 or None leaves it to `conn_timeout`.
    - `tcp_keepalive` (TCPKeepAlive(idle=60, interval=15, count=4), seconds): probes on silent connections, None for
      none.

    - `addresses` (AddressPolicy()): when an address of a host with several is left alone because it fails, and for how
      long. New connections go to the less loaded of two addresses drawn at random, whatever it says.

    Several addresses are raced, 250 ms apart (RFC 8305). Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        *,
        verify_ssl: bool = True,
        fingerprint: bytes | None = None,
        use_dns_cache: bool | None = None,
        family: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        conn_timeout: float | None = None,
        keepalive_timeout: float | None = 30,
        limit: int | None = None,
        share_cookies: bool = False,
        force_close: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        local_addr: LocalAddr | None = None,
        resolve: bool | None = None,
        limit_total: int | None = None,
        max_waiting: int | None = None,
        pool_timeout: float | None = None,
        max_age: float | None = None,
        max_age_jitter: float = 0.1,
        max_uses: int | None = None,
        min_idle: int | Mapping[str, int] = 0,
        limit_per_host: Mapping[str, int | None] | None = None,
        shed: bool | Shedding = False,
        pins: Iterable[Pin | bytes] | Mapping[str, Iterable[Pin | bytes]] | PinSet | None = None,
        resolver: Resolver | None = None,
        dns: DNSOptions | None = None,
        fast_tls: bool = False,
        handshake_timeout: float | None = None,
        tcp_keepalive: TCPKeepAlive | None = _KEEPALIVE,
        pin_report: PinReport | None = None,
        ca_file: Path | None = None,
        client_cert: ClientCertificate | tuple[Path | str | bytes | None, ...] | None = None,
        tls_resumption: bool = False,
        leak_after: float | None = None,
        on_leak: OnLeak | None = None,
        addresses: AddressPolicy | None = None,
        learn_idle: bool = True,
        **unknown: Never,
    ) -> None:
        self._closed = True  # BaseConnector.__del__ has nothing to warn about until all is checked
        if unknown:
            raise unknown_option(type(self).__name__, unknown)
        tls = TLSOptions(
            verify_ssl,
            ssl_context,
            fingerprint,
            () if pins is None else pins,
            fast_tls,
            handshake_timeout,
            ca_file=ca_file,
            client_cert=client_cert,
            pin_report=pin_report,
            resumption=tls_resumption,
        )
        self._dns_options = _check_dns(dns, resolver)
        level = constructor_level(self)
        self._use_dns_cache = _use_dns_cache(use_dns_cache, resolve, default=dns is not None, stacklevel=level)
        self._family = check_family(family)
        self._local_addr = check_local_addr(local_addr)
        if tcp_keepalive is not None and not isinstance(tcp_keepalive, TCPKeepAlive):
            raise TypeError(f"tcp_keepalive must be a TCPKeepAlive or None, got {tcp_keepalive!r}")
        self._tcp_keepalive = tcp_keepalive
        if addresses is not None and not isinstance(addresses, AddressPolicy):
            raise TypeError(f"addresses must be an AddressPolicy or None, got {addresses!r}")
        self._address_policy = addresses or AddressPolicy()
        self._health: AddressHealth | None = None
        self._given_resolver = resolver
        self._own_resolver: SplitResolver | None = None
        self._dns: DNSCache | None = None
        self._follower: Follower | None = None
        self._dialer: Dialer | None = None
        super().__init__(
            tls,
            conn_timeout=conn_timeout,
            keepalive_timeout=keepalive_timeout,
            limit=limit,
            share_cookies=share_cookies,
            force_close=force_close,
            loop=loop,
            limit_total=limit_total,
            max_waiting=max_waiting,
            pool_timeout=pool_timeout,
            max_age=max_age,
            max_age_jitter=max_age_jitter,
            max_uses=max_uses,
            min_idle=min_idle,
            limit_per_host=limit_per_host,
            shed=shed,
            leak_after=leak_after,
            on_leak=on_leak,
            learn_idle=learn_idle,
        )

    # Options

    @property
    def family(self) -> int:
        """0, AF_INET or AF_INET6."""
        return self._family

    @property
    def local_addr(self) -> LocalAddr | None:
        """The (host, port) to connect from, or None."""
        return self._local_addr

    @property
    def tcp_keepalive(self) -> TCPKeepAlive | None:
        """When silent connections are probed, or None."""
        return self._tcp_keepalive

    # The DNS cache

    @property
    def dns_cache(self) -> bool:
        """Whether answers of lookups are kept."""
        return self._use_dns_cache

    @property
    def use_dns_cache(self) -> bool:
        """The same as `dns_cache`."""
        return self._use_dns_cache

    @property
    def dns(self) -> DNSOptions:
        """How names are looked up, and how long what was found is used."""
        return self._dns_options

    @property
    def resolve(self) -> bool:
        """Deprecated name of `dns_cache`."""
        warnings.warn("TCPConnector.resolve is deprecated: use dns_cache", DeprecationWarning, stacklevel=2)
        return self._use_dns_cache

    @property
    def cached_hosts(self) -> MappingProxyType[tuple[str, int], list[dict[str, Any]]]:
        """What the cache holds now: (host, port) -> a dict for each address, with hostname, host, port, family, proto
        and flags. A snapshot; empty without `use_dns_cache`."""
        return MappingProxyType({}) if self._dns is None else self._dns.cached_hosts

    @property
    def resolved_hosts(self) -> MappingProxyType[tuple[str, int], list[dict[str, Any]]]:
        """Deprecated name of `cached_hosts`."""
        warnings.warn("TCPConnector.resolved_hosts is deprecated: use cached_hosts", DeprecationWarning, stacklevel=2)
        return self.cached_hosts

    def clear_dns_cache(self, host: str | None = None, port: int | None = None) -> None:
        """Forget the entry of (host, port) when both are given, everything otherwise."""
        if self._dns is not None:
            self._dns.clear(host, port)

    def clear_resolved_hosts(self, host: str | None = None, port: int | None = None) -> None:
        """Deprecated name of `clear_dns_cache`."""
        warnings.warn(
            "TCPConnector.clear_resolved_hosts is deprecated: use clear_dns_cache", DeprecationWarning, stacklevel=2
        )
        self.clear_dns_cache(host, port)

    # The dialer

    @property
    def dialer(self) -> Dialer:
        """Makes the connections. Raises RuntimeError before the connector is bound to a loop."""
        if self._dialer is None:
            raise RuntimeError("the dialer is made at the first connect, on the event loop of that moment")
        return self._dialer

    def _bound(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        super()._bound(loop, clock)
        resolver = self._given_resolver
        options = self._dns_options
        if resolver is None:
            resolver = self._own_resolver = SplitResolver(
                options.nameservers, timeout=options.timeout, tries=options.tries, loop=loop
            )
        self._dns = DNSCache(resolver, clock, enabled=self._use_dns_cache, options=options)
        if self._use_dns_cache and options.follow:
            self._follower = Follower(self._dns, clock)
        self._health = AddressHealth(clock.now, self._address_policy)
        self._dialer = Dialer(
            self._dns,
            self._tls,
            family=self._family,
            local_addr=self._local_addr,
            tcp_keepalive=self._tcp_keepalive,
            sessions=self._new_sessions(clock),
            health=self._health,
        )

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        transport, channel = await self.dialer.open(req)
        if self._follower is not None:
            self._follower.follow(channel, self._family)
        return transport, channel

    def stats(self) -> PoolStats:
        """See BaseConnector; with the numbers of the lookups in `dns`."""
        stats = super().stats()
        return stats if self._dns is None else replace(stats, dns=self._dns.stats())

    def _release_resources(self) -> None:
        super()._release_resources()
        if self._follower is not None:
            self._follower.close()
        if self._dns is not None:
            self._dns.close()
        if self._own_resolver is not None:
            self._own_resolver.close()

    def abandon_after_fork(self) -> None:
        """See BaseConnector. The parent's lookups are forgotten too."""
        super().abandon_after_fork()
        # Collecting a resolver closes the sockets of the parent's.
        never_collect(self._dns, self._own_resolver, self._dialer, self._follower)
        self._dns = self._own_resolver = self._dialer = self._follower = None


def _check_dns(dns: DNSOptions | None, resolver: Resolver | None) -> DNSOptions:
    if resolver is not None and not callable(getattr(resolver, "resolve", None)):
        raise TypeError(f"resolver must have a coroutine method resolve(host, port, family), got {resolver!r}")
    if dns is None:
        return DNSOptions()
    if not isinstance(dns, DNSOptions):
        raise TypeError(f"dns must be a DNSOptions or None, got {dns!r}")
    if resolver is not None and dns.has_resolver_options:
        raise ValueError("dns has nameservers, timeout or tries, and resolver is given: say it to your resolver only")
    return dns


def _use_dns_cache(use_dns_cache: bool | None, resolve: bool | None, *, default: bool, stacklevel: int) -> bool:
    """What the two options mean together; `stacklevel` counts from the constructor."""
    for name, value in (("use_dns_cache", use_dns_cache), ("resolve", resolve)):
        if value is not None and not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    if resolve is None:
        return default if use_dns_cache is None else use_dns_cache
    text = "the parameter resolve is deprecated: use use_dns_cache"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)
    if use_dns_cache is not None and use_dns_cache != resolve:
        raise ValueError(f"use_dns_cache={use_dns_cache} and resolve={resolve} disagree; give use_dns_cache only")
    return resolve
