"""TLSConnector: what all connectors that do TLS have in common: its options, its sessions, and new certificates."""

import ssl
from typing import Any

from keepwarm.pool.channel import Channel
from keepwarm.pool.clock import Clock
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.errors import PoolClosedError
from keepwarm.pool.origin import constructor_level
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_sessions import SessionCache


class TLSConnector(BaseConnector):
    """Base of the connectors that do TLS. `tls` are its options, all others are those of BaseConnector."""

    def __init__(self, tls: TLSOptions, **options: Any) -> None:
        self._tls = tls
        # Those that handshakes of this connector may take up; one cache for each end that it does TLS with.
        self._session_caches: list[SessionCache] = []
        super().__init__(**options)
        tls.warn_if_weak(constructor_level(self))

    @property
    def verify_ssl(self) -> bool:
        """Whether certificates are checked, for https."""
        return self._tls.verify_ssl

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The context for https. Read for the first time it may have to be built, which blocks for tens of
        milliseconds. Unless it is yours it is shared by all connectors: do not change it, give your own; and after a
        change to yours, call `reload_tls`."""
        return self._tls.build_context()

    @property
    def fingerprint(self) -> bytes | None:
        """The digest that the certificate must have, for https, or None."""
        return self._tls.fingerprint

    @property
    def tls(self) -> TLSOptions:
        """All options of TLS, as one value."""
        return self._tls

    async def reload_tls(self, ssl_context: ssl.SSLContext | None = None) -> None:
        """Read certificates and authorities again, without losing a call.

        With `ssl_context` that is used from now on; otherwise `ca_file`, `client_cert` and the system's authorities
        are read again, on a worker thread, or your own context is used as it is by now. Then connections with the old
        ones are closed, idle ones now and the others when their call ends (reason ``cert_reload``), and all TLS
        sessions are forgotten. A context that is shared is renewed for the new connections of all connectors. Of
        several reloads at a time the one that was asked for last counts.

        Raises OSError when a file cannot be read, and TypeError or ValueError for a context that cannot be used;
        nothing has changed then, nor after a cancellation. Raises PoolClosedError when the connector is closed, and
        RuntimeError from another loop than the connector's.
        """
        self._tls.check_context(ssl_context)
        await self._reload((self._tls, ssl_context))

    async def _reload(self, *wanted: tuple[TLSOptions, ssl.SSLContext | None]) -> None:
        """Renew the contexts of all these options, each by the context that is given or by reading again: all or
        none."""
        if self._closed:
            raise PoolClosedError("the connector is closed; make a new one", phase="wait")
        self._check_place()
        for renew in [await tls.contexts.prepare(context) for tls, context in wanted]:
            renew()
        for sessions in self._session_caches:
            sessions.clear()
        if self._pool is not None and not self._closed:
            for channel in list(self._pool.channels):
                if self._uses_tls(channel):
                    self._pool.retire(channel, "cert_reload")

    def _uses_tls(self, channel: Channel) -> bool:
        """Whether the channel was made with a context that `reload_tls` renews."""
        return channel.endpoint.is_ssl

    def _new_sessions(self, clock: Clock) -> SessionCache | None:
        """A cache for one dialer, which ends with the connector; None where sessions are not to be taken up."""
        if not self._tls.resumption:
            return None
        sessions = SessionCache(clock.now)
        self._session_caches.append(sessions)
        return sessions

    def _release_resources(self) -> None:
        super()._release_resources()
        self._close_sessions()

    def abandon_after_fork(self) -> None:
        """See BaseConnector. The parent's TLS sessions are forgotten too."""
        super().abandon_after_fork()
        self._close_sessions()

    def _close_sessions(self) -> None:
        for sessions in self._session_caches:
            sessions.close()
        self._session_caches.clear()
