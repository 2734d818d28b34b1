"""Timings: how long each phase of a request took."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds; None is what did not happen, or not yet.

    `queued`: until it had a connection; None if one was idle. In that time the connection may have been made: if this
    request is the first on it, `dns`, `connect`, `proxy` and `tls` say what that took, whoever the dial was begun for.
    `sent`: from then until the request was written, body and all; None too if the answer came first. `head`: from
    then, or from the beginning of a body that was overtaken, until the head of the answer was there. `body`: from then
    until its end. `total`: all of it, a replay on another connection included, as far as it has come. What a redirect
    or an earlier try of a RetryPolicy took is not in it.
    """

    queued: float | None = None
    dns: float | None = None
    connect: float | None = None
    proxy: float | None = None
    tls: float | None = None
    sent: float | None = None
    head: float | None = None
    body: float | None = None
    total: float | None = None
