"""UnixConnector: the options of a unix socket and of TLS over it, and the dialer that is made of them."""

import asyncio
import os
import ssl
from collections.abc import Collection, Iterable, Mapping
from typing import Never

from keepwarm.pool.clock import Clock
from keepwarm.pool.dial import DialRequest
from keepwarm.pool.foreign import unknown_option
from keepwarm.pool.fork import never_collect
from keepwarm.pool.leak_finder import OnLeak
from keepwarm.pool.pin_set import PinSet
from keepwarm.pool.pins import Pin, PinReport
from keepwarm.pool.shedding import Shedding
from keepwarm.pool.tls import TLSOptions
from keepwarm.pool.tls_connector import TLSConnector
from keepwarm.pool.tls_contexts import ClientCertificate, Path
from keepwarm.pool.unix_dialer import UnixDialer, check_path, check_uids


class UnixConnector(TLSConnector):
    """Connects over a unix socket, whatever host a URL names.

    `path`, the only positional parameter, is the socket file: a str or an os.PathLike. A relative path counts from
    the working directory at each connect. A path that begins with a NUL is an abstract name (Linux); "@name" is a
    file. The keyword parameters of BaseConnector (`conn_timeout`, `keepalive_timeout`, `limit`, `share_cookies`,
    `force_close`, `loop`, and the extensions `limit_total`, `max_waiting`, `pool_timeout`, `limit_per_host`, `shed`,
    `leak_after`, `on_leak`, `learn_idle`, `max_age`, `max_age_jitter`, `max_uses`, `min_idle`) mean what they mean
    there.

    The host and port of a URL are what the Host header says, and part of the pool's key: ``http://a/`` and
    ``http://b/`` have connections and a `limit` of their own, all to the same server; `limit_total` bounds the sum.
    Redirects to other hosts go over the same socket too. ``https`` does TLS over the socket, with the URL's host as
    the name that the certificate must be for.

    Extensions:

    - `verify_ssl` (True), `ssl_context` (None), `ca_file` (None), `client_cert` (None), `fingerprint` (None), `pins`
      (none), `pin_report` (None), `tls_resumption` (False), `fast_tls` (False), `handshake_timeout` (None, seconds):
      for ``https``, as in TCPConnector. `reload_tls` reads certificates again.
    - `peer_uid` (None): the user id, or several, of which one must be that of the process that listens (of its
      effective user when it called ``listen``; Linux). Any other server is refused, with nothing sent to it.

    A connect that finds the server's queue full is tried again for 1.3 s, within `conn_timeout`. Failures are
    ConnectError (a ClientOSError) and name the path. Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        conn_timeout: float | None = None,
        keepalive_timeout: float | None = 30,
        limit: int | None = None,
        share_cookies: bool = False,
        force_close: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        limit_total: int | None = None,
        max_waiting: int | None = None,
        pool_timeout: float | None = None,
        max_age: float | None = None,
        max_age_jitter: float = 0.1,
        max_uses: int | None = None,
        min_idle: int | Mapping[str, int] = 0,
        limit_per_host: Mapping[str, int | None] | None = None,
        shed: bool | Shedding = False,
        verify_ssl: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        fingerprint: bytes | None = None,
        pins: Iterable[Pin | bytes] | Mapping[str, Iterable[Pin | bytes]] | PinSet | None = None,
        fast_tls: bool = False,
        handshake_timeout: float | None = None,
        peer_uid: int | Collection[int] | None = None,
        pin_report: PinReport | None = None,
        ca_file: Path | None = None,
        client_cert: ClientCertificate | tuple[Path | str | bytes | None, ...] | None = None,
        tls_resumption: bool = False,
        leak_after: float | None = None,
        on_leak: OnLeak | None = None,
        learn_idle: bool = True,
        **unknown: Never,
    ) -> None:
        self._closed = True  # BaseConnector.__del__ has nothing to warn about until all is checked
        if unknown:
            raise unknown_option(type(self).__name__, unknown, looks_up=False)
        self._path = check_path(path)
        self._uids = check_uids(peer_uid)
        self._dialer: UnixDialer | None = None
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

    @property
    def path(self) -> str:
        """The path of the socket."""
        return self._path

    @property
    def peer_uid(self) -> frozenset[int] | None:
        """The user ids that may serve the socket; None: any."""
        return self._uids

    def _bound(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        super()._bound(loop, clock)
        self._dialer = UnixDialer(self._path, self._tls, sessions=self._new_sessions(clock), uids=self._uids)

    async def _create_connection(self, req: DialRequest) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        if self._dialer is None:
            raise RuntimeError("a connection was asked for before the connector was bound to a loop")
        return await self._dialer.open(req)

    def abandon_after_fork(self) -> None:
        """See BaseConnector."""
        never_collect(self._dialer)
        self._dialer = None
        super().abandon_after_fork()

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} path={self._path!r}>"
