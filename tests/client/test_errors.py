"""The HTTP half of the error tree: bases, constructors, pickling (SURFACE.md, section M)."""

import copy
import inspect
import pickle
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from keepwarm.client import errors
from keepwarm.pool.endpoint import Endpoint
from keepwarm.pool.errors import ClientConnectionError, ClientError, ClientTimeoutError, ProxyConnectionError

ENDPOINT = Endpoint("example.com", 443, True)

BASES: dict[str, tuple[type, ...]] = {
    "ClientHttpProcessingError": (ClientError,),  # M-02
    "ClientRequestError": (errors.ClientHttpProcessingError,),  # M-03
    "ClientResponseError": (errors.ClientHttpProcessingError,),  # M-04
    "HttpProcessingError": (Exception,),  # M-10
    "WSServerHandshakeError": (errors.ClientResponseError, errors.HttpProcessingError),  # M-11
    "HttpProxyError": (ProxyConnectionError, errors.HttpProcessingError),  # M-12
    "BadHttpMessage": (errors.HttpProcessingError,),  # M-13
    "HttpBadRequest": (errors.BadHttpMessage,),  # M-14
    "ContentEncodingError": (errors.BadHttpMessage,),  # M-15
    "TransferEncodingError": (errors.BadHttpMessage,),  # M-16
    "LineTooLong": (errors.BadHttpMessage,),  # M-17
    "InvalidHeader": (errors.BadHttpMessage,),  # M-18
    "BadStatusLine": (errors.BadHttpMessage,),  # M-19
    "HttpMethodNotAllowed": (errors.HttpProcessingError,),  # M-20
    "DisconnectedError": (Exception,),  # M-21
    "ServerDisconnectedError": (errors.DisconnectedError,),  # M-22
    "ClientDisconnectedError": (errors.DisconnectedError,),  # M-23
    "WSClientDisconnectedError": (errors.ClientDisconnectedError,),  # M-24
    "ParserError": (Exception,),  # M-25
    "LineLimitExceededParserError": (errors.ParserError,),  # M-25
    "InvalidInput": (ClientError, ValueError),
    "ReadTimeoutError": (ClientTimeoutError,),
    "TotalTimeoutError": (ClientTimeoutError,),
    "ClientProtocolError": (errors.ClientResponseError, errors.BadHttpMessage),
    "HeadTooLarge": (errors.ClientProtocolError, errors.LineTooLong),
    "ResponseDisconnected": (errors.ClientResponseError, errors.ServerDisconnectedError),
    "ClientPayloadError": (errors.ClientResponseError, errors.ServerDisconnectedError),
    "ContentTypeError": (errors.ClientResponseError,),
    "TooManyRedirects": (errors.ClientResponseError,),
    "InvalidRedirect": (errors.ClientResponseError, ValueError),
    "BodyTooLarge": (errors.ClientPayloadError,),
}

CONTEXT = {"endpoint": ENDPOINT, "phase": "body", "reused": True}
HEADERS = CIMultiDictProxy(CIMultiDict([("X-A", "1"), ("X-A", "2")]))

# How each is made, and the attributes that this gives it.
MADE: dict[str, tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    "HttpProcessingError": ((), {"code": 418, "message": "pot", "headers": HEADERS}, {"code": 418, "message": "pot"}),
    "WSServerHandshakeError": ((), {"code": 403, "message": "no"}, {"code": 403, "message": "no", "headers": None}),
    "HttpProxyError": ((), {"code": 407, "message": "who"}, {"code": 407, "message": "who"}),
    "HttpMethodNotAllowed": ((), {"message": "PUT"}, {"code": 405, "message": "PUT"}),
    "BadHttpMessage": (("odd",), {"headers": HEADERS}, {"code": 400, "message": "odd"}),
    "LineTooLong": (("status line", 8190), {}, {"line": "status line", "limit": 8190}),
    "InvalidHeader": ((b"a b: \x00",), {}, {"hdr": "a b: \\x00"}),
    "BadStatusLine": (("SSH-2.0",), {}, {"line": "SSH-2.0", "args": ("SSH-2.0",)}),
    "LineLimitExceededParserError": (("too long", 10), {}, {"limit": 10, "args": ("too long",)}),
    "InvalidInput": (("bad",), {"argument": "timeout"}, {"argument": "timeout"}),
    "ClientProtocolError": (("odd",), {"headers": HEADERS}, {"code": 400, "message": "odd", "args": ("odd",)}),
    "HeadTooLarge": (("the header block", 128), {"unit": "fields"}, {"line": "the header block", "limit": 128}),
    "ResponseDisconnected": (("gone",), {"request_sent": False}, {"request_sent": False}),
    "ClientPayloadError": (("cut",), {"expected": 10, "received": 4}, {"expected": 10, "received": 4}),
    "TooManyRedirects": (("eleven",), {"urls": ["http://a/", "http://b/"]}, {"urls": ("http://a/", "http://b/")}),
}


def make(name: str, **more: Any) -> tuple[Exception, dict[str, Any]]:
    args, kwargs, attributes = MADE.get(name, (("what happened",), {}, {}))
    return getattr(errors, name)(*args, **kwargs, **more), attributes


def carries_context(name: str) -> bool:
    return issubclass(getattr(errors, name), (ClientError, errors.HttpProcessingError))


# Theirs are the modules of the pool, which raises them too; here they are for the name's sake.
FROM_THE_POOL = {"HttpProcessingError", "HttpProxyError", "InvalidInput"}


def test_the_list_is_complete() -> None:
    here = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert here | FROM_THE_POOL == set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_bases(name: str) -> None:
    assert getattr(errors, name).__bases__ == BASES[name]


@pytest.mark.parametrize("name", BASES)
def test_constructor_and_attributes(name: str) -> None:
    error, attributes = make(name, **(CONTEXT if carries_context(name) else {}))
    for attribute, value in attributes.items():
        assert getattr(error, attribute) == value
    if carries_context(name):
        assert {key: getattr(error, key) for key in CONTEXT} == CONTEXT


@pytest.mark.parametrize("name", BASES)
def test_context_is_optional(name: str) -> None:
    error, _ = make(name)
    if carries_context(name):
        assert error.endpoint is None and error.reused is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("copier", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", BASES)
def test_copies_are_equal(name: str, copier: Any) -> None:
    error, _ = make(name, **(CONTEXT if carries_context(name) else {}))
    again = copier(error)
    assert type(again) is type(error)
    assert again.args == error.args
    assert str(again) == str(error)
    assert repr(again) == repr(error)
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("name", BASES)
def test_text_is_useful(name: str) -> None:
    error, attributes = make(name)
    assert str(error)
    assert type(error).__name__ in repr(error)
    shown = attributes.get("message") or attributes.get("line") or attributes.get("hdr") or error.args[0]
    assert str(shown) in str(error)


@pytest.mark.parametrize("name", BASES)
def test_every_one_is_documented(name: str) -> None:
    assert getattr(errors, name).__doc__


def test_the_second_tree_is_no_client_error() -> None:
    """M-10, M-21: handlers for the old names stay apart from ClientError."""
    for name in ("HttpProcessingError", "BadHttpMessage", "DisconnectedError", "ParserError"):
        assert not issubclass(getattr(errors, name), ClientError)


def test_class_attributes_of_the_base() -> None:
    """M-10: code, message and headers have class-level defaults; the arguments are keyword-only."""
    assert (errors.HttpProcessingError.code, errors.HttpProcessingError.message) == (0, "")
    assert errors.HttpProcessingError.headers is None
    with pytest.raises(TypeError):
        errors.HttpProcessingError(400)  # type: ignore[call-arg]


def test_an_old_handler_catches_a_cut_body() -> None:
    """M-22: a body cut short is a ServerDisconnectedError too."""
    with pytest.raises(errors.ServerDisconnectedError):
        raise errors.ClientPayloadError("cut")


def test_timeouts_are_caught_as_timeouts() -> None:
    for kind in (errors.ReadTimeoutError, errors.TotalTimeoutError):
        assert issubclass(kind, TimeoutError) and issubclass(kind, ClientConnectionError)


def test_timeouts_keep_their_text() -> None:
    error = errors.ReadTimeoutError("no byte for 3 s", endpoint=ENDPOINT, phase="head", reused=False)
    assert str(error) == "no byte for 3 s"
    assert (error.phase, error.reused) == ("head", False)


@pytest.mark.fault("F49")
@pytest.mark.parametrize("kind", [errors.BadStatusLine, errors.InvalidHeader])
def test_peer_text_is_escaped_and_cut(kind: type[Exception]) -> None:
    """Bytes of a peer reach an error text escaped and cut to about 100 characters."""
    text = str(kind(b"\x1b[31m\r\n" + b"A" * 1_000_000))
    assert text.isprintable() and text.isascii()
    assert len(text) < 160


def test_headers_of_a_proxy_are_kept_with_repeats() -> None:
    error = pickle.loads(pickle.dumps(errors.ClientProtocolError("odd", headers=HEADERS)))
    assert error.headers.getall("x-a") == ["1", "2"]


def test_history_is_dropped_by_pickle_only() -> None:
    marker = object()
    error = errors.TooManyRedirects("eleven", history=[marker], urls=["http://a/"])
    assert error.history == (marker,)
    again = pickle.loads(pickle.dumps(error))
    assert (again.history, again.urls) == ((), ("http://a/",))
