"""RequestInfo: what was asked, for who looks at an answer or an error."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from multidict import CIMultiDict, CIMultiDictProxy

from keepwarm.client.errors import ClientResponseError, HttpProcessingError
from keepwarm.client.head import ResponseHead
from keepwarm.client.redirects import CREDENTIAL_FIELDS

if TYPE_CHECKING:
    from keepwarm.client.request import ClientRequest


class _Info(NamedTuple):
    url: str
    method: str
    headers: CIMultiDictProxy[str]
    real_url: str


class RequestInfo(_Info):
    """One request: its URL, its method, and the header fields as they were sent, read-only.

    `url` and `real_url` are the same text, without user name and password. The repr names the header fields and shows
    no value. A copy that went through pickle has no field that holds credentials.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        names = ", ".join(self.headers)
        return f"{type(self).__name__}(url={self.url!r}, method={self.method!r}, headers=<{names}>)"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        fields = [(name, value) for name, value in self.headers.items() if name.lower() not in CREDENTIAL_FIELDS]
        return _rebuild, (self.url, self.method, fields, self.real_url)


def _rebuild(url: str, method: str, fields: Sequence[tuple[str, str]], real_url: str) -> RequestInfo:
    return RequestInfo(url, method, CIMultiDictProxy(CIMultiDict(fields)), real_url)


def request_info(request: "ClientRequest") -> RequestInfo:
    """What this request asks, read off its own bytes."""
    url = request.target.url
    return RequestInfo(url, request.method, _fields(request.wire), url)


def _fields(wire: bytes) -> CIMultiDictProxy[str]:
    head = wire[: wire.index(b"\r\n\r\n")].decode("utf-8", "surrogateescape")
    found: CIMultiDict[str] = CIMultiDict()
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        found.add(name, value)
    return CIMultiDictProxy(found)


def describe(error: BaseException, request: "ClientRequest", head: ResponseHead | None, history: Sequence[Any]) -> None:
    """Tell an error about the answer what was asked and, if a head came, what was answered."""
    if not isinstance(error, ClientResponseError):
        return
    error.request_info = request_info(request)
    if history:
        error.history = tuple(history)
    if head is None:
        return
    error.status = head.status
    if not isinstance(error, HttpProcessingError):
        # Those have a text and the fields that are at fault under these names.
        error.message = head.reason
        error.headers = head.headers.copy()
