"""keepwarm: a connection-pool engine for asyncio, with an HTTP client on top.

::

    import asyncio
    import keepwarm

    async def main():
        async with keepwarm.ClientSession() as session:
            async with session.get("http://127.0.0.1:8000/") as resp:
                print(resp.status, await resp.text())

    asyncio.run(main())
"""

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy

from keepwarm import errors, hdrs, protocol
from keepwarm.client.api import delete, get, head, options, patch, post, put, request, ws_connect
from keepwarm.client.attempts import Attempt
from keepwarm.client.backoff import Backoff
from keepwarm.client.body import FlowControlStreamReader, StreamReader
from keepwarm.client.body_part import BodyPartWriter
from keepwarm.client.call_events import CallEvent
from keepwarm.client.context import RequestContext
from keepwarm.client.cookies import CookieJar
from keepwarm.client.empty_body import EmptyStreamReader
from keepwarm.client.formdata import FormData
from keepwarm.client.head_limits import HeadLimits
from keepwarm.client.multipart import MultipartWriter
from keepwarm.client.queues import ChunksQueue, DataQueue, EofStream, FlowControlChunksQueue, FlowControlDataQueue
from keepwarm.client.request import ClientRequest
from keepwarm.client.response import ClientResponse
from keepwarm.client.retry import RetryPolicy
from keepwarm.client.session import ClientSession
from keepwarm.client.timeout import ClientTimeout
from keepwarm.client.timings import Timings
from keepwarm.client.upstr import upstr
from keepwarm.client.version import HttpVersion, HttpVersion10, HttpVersion11
from keepwarm.client.ws_context import WSContext
from keepwarm.errors import (
    BadHttpMessage,
    BadStatusLine,
    BodyTooLarge,
    ChunkedBodyError,
    ClientConnectionError,
    ClientDisconnectedError,
    ClientError,
    ClientHttpProcessingError,
    ClientOSError,
    ClientPayloadError,
    ClientProtocolError,
    ClientRequestError,
    ClientResponseError,
    ClientTimeoutError,
    ConnectError,
    ConnectTimeoutError,
    ContentDecodingError,
    ContentEncodingError,
    ContentTypeError,
    DecodedBodyTooLarge,
    DisconnectedError,
    DNSError,
    FingerprintMismatch,
    HeadTooLarge,
    HttpBadRequest,
    HttpMethodNotAllowed,
    HttpProcessingError,
    HttpProxyError,
    InvalidHeader,
    InvalidInput,
    InvalidRedirect,
    InvalidURL,
    LineLimitExceededParserError,
    LineTooLong,
    ParserError,
    PoolClosedError,
    PoolFullError,
    PoolShedError,
    PoolTimeoutError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseDisconnected,
    ServerDisconnectedError,
    TLSError,
    TooManyRedirects,
    TotalTimeoutError,
    TransferEncodingError,
    WeakFingerprintWarning,
    WSClientDisconnectedError,
    WSServerHandshakeError,
)
from keepwarm.pool.auth import BasicAuth
from keepwarm.pool.connection import Connection
from keepwarm.pool.connector import BaseConnector
from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.dns_options import DNSOptions
from keepwarm.pool.dns_stats import DNSStats
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.events import ConnectionEvent, Event
from keepwarm.pool.health import AddressPolicy
from keepwarm.pool.histogram import Histogram
from keepwarm.pool.leak_finder import Leak
from keepwarm.pool.pin_set import PinSet
from keepwarm.pool.pins import CertificatePin, PublicKeyPin
from keepwarm.pool.proxy_connector import ProxyConnector
from keepwarm.pool.race import TCPKeepAlive
from keepwarm.pool.resolver import Address, Answer, Resolver
from keepwarm.pool.shedding import Shedding
from keepwarm.pool.shortage import Holder, Shortage
from keepwarm.pool.stats import EndpointStats, PoolStats
from keepwarm.pool.tcp_connector import TCPConnector
from keepwarm.pool.tls_contexts import ClientCertificate
from keepwarm.pool.unix_connector import UnixConnector
from keepwarm.pool.version import __version__
from keepwarm.ws.deflate import DeflateOffer
from keepwarm.ws.errors import WebSocketClosedError, WebSocketError
from keepwarm.ws.messages import Message, MsgType
from keepwarm.ws.websocket import ClientWebSocketResponse

__all__ = [
    "Address",
    "AddressPolicy",
    "Answer",
    "Attempt",
    "Backoff",
    "BadHttpMessage",
    "BadStatusLine",
    "BaseConnector",
    "BasicAuth",
    "BodyPartWriter",
    "BodyTooLarge",
    "CIMultiDict",
    "CIMultiDictProxy",
    "CallEvent",
    "CertificatePin",
    "ChunkedBodyError",
    "ChunksQueue",
    "ClientCertificate",
    "ClientConnectionError",
    "ClientDisconnectedError",
    "ClientError",
    "ClientHttpProcessingError",
    "ClientOSError",
    "ClientPayloadError",
    "ClientProtocolError",
    "ClientRequest",
    "ClientRequestError",
    "ClientResponse",
    "ClientResponseError",
    "ClientSession",
    "ClientTimeout",
    "ClientTimeoutError",
    "ClientWebSocketResponse",
    "ConnectError",
    "ConnectTimeoutError",
    "Connection",
    "ConnectionEvent",
    "ContentDecodingError",
    "ContentEncodingError",
    "ContentTypeError",
    "CookieJar",
    "DNSError",
    "DNSOptions",
    "DNSStats",
    "DataQueue",
    "DecodedBodyTooLarge",
    "DeflateOffer",
    "DialTimes",
    "DisconnectedError",
    "EmptyStreamReader",
    "Endpoint",
    "EndpointStats",
    "EofStream",
    "Event",
    "FingerprintMismatch",
    "FlowControlChunksQueue",
    "FlowControlDataQueue",
    "FlowControlStreamReader",
    "FormData",
    "HeadLimits",
    "HeadTooLarge",
    "Histogram",
    "Holder",
    "HttpBadRequest",
    "HttpMethodNotAllowed",
    "HttpProcessingError",
    "HttpProxyError",
    "HttpVersion",
    "HttpVersion10",
    "HttpVersion11",
    "InvalidHeader",
    "InvalidInput",
    "InvalidRedirect",
    "InvalidURL",
    "Leak",
    "LineLimitExceededParserError",
    "LineTooLong",
    "Message",
    "MsgType",
    "MultiDict",
    "MultiDictProxy",
    "MultipartWriter",
    "ParserError",
    "PinSet",
    "PoolClosedError",
    "PoolFullError",
    "PoolShedError",
    "PoolStats",
    "PoolTimeoutError",
    "ProxyConnectionError",
    "ProxyConnector",
    "PublicKeyPin",
    "ReadTimeoutError",
    "RequestContext",
    "Resolver",
    "ResponseDisconnected",
    "RetryPolicy",
    "ServerDisconnectedError",
    "Shedding",
    "Shortage",
    "StreamReader",
    "TCPConnector",
    "TCPKeepAlive",
    "TLSError",
    "Timings",
    "TooManyRedirects",
    "TotalTimeoutError",
    "TransferEncodingError",
    "UnixConnector",
    "WSClientDisconnectedError",
    "WSContext",
    "WSServerHandshakeError",
    "WeakFingerprintWarning",
    "WebSocketClosedError",
    "WebSocketError",
    "__version__",
    "delete",
    "errors",
    "get",
    "hdrs",
    "head",
    "options",
    "patch",
    "post",
    "protocol",
    "put",
    "request",
    "upstr",
    "ws_connect",
]
