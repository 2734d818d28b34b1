"""RequestOptions: what all requests of one session have in common."""

from collections.abc import Callable
from copy import copy
from json import dumps
from typing import TYPE_CHECKING, Any, Final

from keepwarm.client.head_limits import DEFAULT_LIMITS, HeadLimits
from keepwarm.client.headers import NO_NAMES, DefaultHeaders
from keepwarm.client.redirects import CREDENTIAL_FIELDS
from keepwarm.client.retry_budget import RetryBudgets
from keepwarm.client.url import parse_target
from keepwarm.client.version import HttpVersion, HttpVersion11
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.proxy import ForwardProxy

if TYPE_CHECKING:
    from keepwarm.client.retry import RetryPolicy


class RequestOptions:
    """Read-only by convention; shared by the requests of a session.

    `resolve(url, params)` makes the target of a URL. `forward_proxy` is what requests to plain HTTP targets need where
    a proxy passes them on. `timings`: time them. `retry`: when to try them again; None never. `budgets` bound how
    often that may be; one for the session, whatever else differs. `foreign` is the same without credentials, for
    requests that a redirect has led to another origin: once there, a chain never gets them back (A-17).
    """

    __slots__ = (
        "_foreign",
        "auth",
        "auto_decompress",
        "budgets",
        "defaults",
        "force_close",
        "forward_proxy",
        "json_serialize",
        "limits",
        "max_body_size",
        "resolve",
        "retry",
        "skip",
        "timings",
        "version",
    )

    def __init__(
        self,
        *,
        defaults: DefaultHeaders | None = None,
        skip: frozenset[str] = NO_NAMES,
        auth: BasicAuth | None = None,
        version: HttpVersion = HttpVersion11,
        limits: HeadLimits = DEFAULT_LIMITS,
        force_close: bool = False,
        json_serialize: Callable[[Any], str | bytes] = dumps,
        resolve: Callable[..., Any] = parse_target,
        auto_decompress: bool = True,
        max_body_size: int | None = None,
        forward_proxy: ForwardProxy | None = None,
        timings: bool = False,
        retry: "RetryPolicy | None" = None,
        budgets: RetryBudgets | None = None,
    ) -> None:
        self.defaults = defaults or DefaultHeaders(skip=skip)
        self.skip = skip
        self.auth = auth
        self.version = version
        self.limits = limits
        self.force_close = force_close
        self.json_serialize = json_serialize
        self.resolve = resolve
        self.auto_decompress = auto_decompress
        self.max_body_size = max_body_size
        self.forward_proxy = forward_proxy
        self.timings = timings
        self.retry = retry
        self.budgets = RetryBudgets() if budgets is None else budgets
        self._foreign: RequestOptions | None = None

    @property
    def foreign(self) -> "RequestOptions":
        if self._foreign is None:
            self._foreign = RequestOptions(
                defaults=self.defaults.without(CREDENTIAL_FIELDS | {"host"}),
                skip=self.skip,
                version=self.version,
                limits=self.limits,
                force_close=self.force_close,
                json_serialize=self.json_serialize,
                resolve=self.resolve,
                auto_decompress=self.auto_decompress,
                max_body_size=self.max_body_size,
                forward_proxy=self.forward_proxy,  # the proxy's credentials are for the proxy, wherever a chain leads
                timings=self.timings,
                retry=self.retry,
                budgets=self.budgets,
            )
            self._foreign._foreign = self._foreign
        return self._foreign

    def retrying(self, retry: "RetryPolicy | None") -> "RequestOptions":
        """The same with another policy."""
        if retry is self.retry:
            return self
        other = copy(self)
        other.retry = retry
        other._foreign = None
        return other


DEFAULT_OPTIONS: Final = RequestOptions()
