"""ConnectorHolder: what a session has a connector from, and how it lets go of it."""

import asyncio
import warnings
from typing import Any

from keepwarm.client.h1_channel import H1Channel
from keepwarm.pool.closing import Closable, Closing
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.limits import check_seconds
from keepwarm.pool.tcp_connector import TCPConnector


class ConnectorHolder(Closable):
    """Holds a connector until it is closed or detached; one that is forgotten open says so."""

    _connector: BaseConnector | None = None
    _owns_connector: bool = True
    # What was closed with `drain`: closing again hastens its end.
    _draining: BaseConnector | None = None
    _source: Any = None

    @property
    def closed(self) -> bool:
        """True once the session, or its connector, is closed, or after `detach`."""
        return self._connector is None or self._connector.closed

    @property
    def connector(self) -> BaseConnector | None:
        """The connector; None after `close` or `detach`."""
        return self._connector

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the session is bound to; None before the first request."""
        return None if self._connector is None else self._connector.loop

    def _usable_connector(self) -> BaseConnector:
        connector = self._connector
        if connector is None:
            raise RuntimeError(
                "Session is closed, or it was detached: make the call before close(), or use a new session"
            )
        return connector

    def close(self, *, drain: float | None = None) -> Closing:
        """Close the session and its connector. Idempotent.

        `drain`: seconds that calls in flight get to end (see BaseConnector.close); 0 and None, the default, cut them
        now. Closing again hastens that. With ``connector_owner=False`` the connector stays open, and so do its calls.

        The work is done at call time; awaiting what it returns waits until every socket is gone. Raises RuntimeError,
        with nothing closed, from another loop or thread than the session's, and TypeError or ValueError for `drain`.
        """
        check_seconds("drain", drain)
        connector = self._connector or self._draining
        if connector is None or not self._owns_connector:
            self._connector = None
            return Closing()
        closing = connector.close(drain=drain)
        self._connector, self._draining = None, connector if drain else None
        return closing

    def detach(self) -> None:
        """Give the connector up without closing it: the session is closed, the connector stays usable."""
        self._connector = None

    def __del__(self) -> None:
        connector = self._connector
        if connector is None or connector.closed or not self._owns_connector:
            return
        loop, text = connector.loop, f"Unclosed client session {self!r}: use it in `async with`, or await close()"
        connector.discard()
        self._connector = None
        warnings.warn(text, ResourceWarning, source=self, stacklevel=1)
        context: dict[str, Any] = {"client_session": self, "message": "Unclosed client session"}
        if self._source is not None:
            context["source_traceback"] = self._source
        if loop is not None and not loop.is_closed():
            loop.call_exception_handler(context)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.closed else 'open'}>"


def check_connector(connector: Any, loop: asyncio.AbstractEventLoop | None) -> BaseConnector:
    """The argument `connector`, or a new one, which speaks HTTP/1.1 from now on. Raises TypeError for what is none,
    ValueError for two loops."""
    if connector is None:
        connector = TCPConnector(loop=loop)
    if not isinstance(connector, BaseConnector):
        raise TypeError(f"connector must be a BaseConnector, got {connector!r}")
    if loop is not None and connector.loop is not None and connector.loop is not loop:
        raise ValueError("loop and connector.loop differ: give one of them, or the same loop")
    connector.speak(H1Channel)
    return connector
