"""CallEvent: one phase of a request, for those who listen to its connector."""

from dataclasses import dataclass

from keepwarm.pool.events import Event


@dataclass(frozen=True, slots=True)
class CallEvent(Event):
    """A phase of the request number `call`; each redirect, and each try of a RetryPolicy, is a request of its own.
    `method` and `url` say which; the url has no user name and password. By `kind`:

    - "queued": no connection is idle, so it waits for one. Left out where one was.
    - "leased": it has the connection `connection`. "sent": the request is written, body and all.
    - "replayed": the connection turned out dead, for the `error`, and the request goes to another one.
    - "head": the answer has begun, with `status`. Then one of
    - "body_ended": the answer is complete, and the connection is free for others,
    - "closed": the caller let go of the answer before its end, and
    - "failed": there is no answer, or no whole one, for the `error`, which may be a CancelledError.

    An answer whose head overtakes the body of its request comes without "sent". Do not keep an `error` for long: it
    keeps alive what its traceback shows.
    """

    call: int = 0
    method: str = ""
    url: str = ""
    status: int | None = None
    error: BaseException | None = None
