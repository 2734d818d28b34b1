"""The jar as a SimpleCookie (SURFACE B-16)."""

import copy
import pickle
from collections.abc import Callable
from http.cookies import CookieError, Morsel, SimpleCookie

import pytest

from keepwarm.client.cookie_view import CookieView
from keepwarm.client.cookies import CookieJar
from keepwarm.client.errors import InvalidInput
from keepwarm.pool.endpoint import make_endpoint

HOST = make_endpoint("home.example.org")
OTHER = make_endpoint("other.example.net")
NOW = 1_750_000_000.0


@pytest.fixture
def jar() -> CookieJar:
    return CookieJar(now=lambda: NOW)


@pytest.fixture
def view(jar: CookieJar) -> CookieView:
    return CookieView(jar)


def test_it_is_a_simple_cookie(view: CookieView) -> None:
    assert isinstance(view, SimpleCookie)
    view["a"] = "x y"
    assert view == SimpleCookie({"a": "x y"})
    assert view != SimpleCookie({"a": "x"})
    assert isinstance(view["a"], Morsel)
    assert view.output() == 'Set-Cookie: a="x y"'
    assert repr(view) == "<CookieView: a='x y'>"


def test_reading_is_live(view: CookieView, jar: CookieJar) -> None:
    """What responses bring is there at the next look, by every way of looking."""
    assert not view and len(view) == 0
    jar.update_from_response(["a=1; Path=/p; Secure", "b=2; Max-Age=60; HttpOnly; Domain=example.org"], HOST, "/")
    assert list(view) == ["b"] and "b" in view and "a" not in view
    jar.update_from_response(["c=3; Path=/p"], HOST, "/")
    assert (list(view), list(reversed(view))) == (["b", "c"], ["c", "b"])
    assert [morsel.value for morsel in view.values()] == ["2", "3"]
    assert [name for name, _ in view.items()] == list(view.keys()) == list(dict(view)) == list({**view})
    assert (
        view["b"].OutputString() == "b=2; Domain=example.org; expires=Sun, 15 Jun 2025 15:07:40 GMT; HttpOnly; Path=/"
    )
    c = view.get("c")
    assert c is not None and (c["path"], c["domain"], c["secure"]) == ("/p", "", "")
    jar.update_from_response(["b=4; Domain=example.org", "c=; Path=/p; Max-Age=0"], HOST, "/")
    assert view["b"].value == "4" and view["b"]["httponly"] == ""
    assert view.get("c") is None and view.get("c", 7) == 7
    with pytest.raises(KeyError):
        view["c"]


def test_expired_cookies_do_not_show() -> None:
    now = [NOW]
    jar = CookieJar(now=lambda: now[0])
    view = CookieView(jar)
    jar.update_from_response(["a=1; Max-Age=5", "b=2"], HOST, "/")
    assert list(view) == ["a", "b"]
    now[0] += 5
    assert list(view) == ["b"]


@pytest.mark.fault("C12")
def test_writing(view: CookieView, jar: CookieJar) -> None:
    """In-place edits change the jar; a new name goes to the next origin (K2)."""
    view["a"] = "1"
    view.update({"b": 2}, c="3")
    view.update([("d", "4")])
    view |= {"e": "5"}
    view.load("f=6; g=7")
    view.load({"h": "8"})
    assert view.setdefault("i", "9").value == "9"
    assert view.setdefault("i", "0").value == "9"
    assert jar.header_for(HOST, "/") == "a=1; b=2; c=3; d=4; e=5; f=6; g=7; h=8; i=9"
    assert jar.header_for(OTHER, "/") is None
    del view["a"]
    assert view.pop("b").value == "2"
    assert view.pop("b", None) is None
    assert view.popitem()[0] == "i"
    assert jar.header_for(HOST, "/") == "c=3; d=4; e=5; f=6; g=7; h=8"
    view.clear()
    assert len(jar) == 0 and not view
    with pytest.raises(KeyError):
        del view["a"]
    with pytest.raises(KeyError):
        view.pop("a")
    with pytest.raises(KeyError):
        view.popitem()


def _assign(view: CookieView) -> None:
    view["a"] = "secret"


ASSIGNMENTS: dict[str, Callable[[CookieView], None]] = {
    "item": _assign,
    "update": lambda view: view.update({"a": "secret"}),
    "load text": lambda view: view.load("a=secret"),
    "load mapping": lambda view: view.load({"a": "secret"}),
    "morsel": lambda view: view.update(SimpleCookie("a=secret; Path=/; HttpOnly")),
}


@pytest.mark.fault("C12")
@pytest.mark.parametrize("how", ASSIGNMENTS)
@pytest.mark.parametrize("planted", ["a=1; Path=/", "a=1; Path=/; Domain=example.net; Max-Age=60"])
def test_a_value_never_takes_the_scope_of_a_response(view: CookieView, jar: CookieJar, how: str, planted: str) -> None:
    """K2: a host that sets the name of the caller's cookie does not get the caller's next value for it."""
    view["a"] = "old"
    assert jar.header_for(HOST, "/") == "a=old"
    jar.update_from_response([planted], OTHER, "/")
    assert view["a"].value == "1"
    ASSIGNMENTS[how](view)
    assert view["a"].value == "secret"
    assert (jar.header_for(OTHER, "/"), jar.header_for(HOST, "/")) == ("a=1", "a=secret")


@pytest.mark.fault("C12")
@pytest.mark.parametrize("how", ASSIGNMENTS)
def test_a_value_for_a_name_that_only_a_response_set(view: CookieView, jar: CookieJar, how: str) -> None:
    """K2: it is a cookie of its own, for the origin of the next request; there it replaces what stands in its place."""
    jar.update_from_response(["a=1; Path=/"], OTHER, "/")
    ASSIGNMENTS[how](view)
    assert view["a"].value == "secret" and len(jar) == 2
    assert jar.header_for(HOST, "/") == "a=secret"
    assert jar.header_for(OTHER, "/") == "a=1"
    jar.clear(lambda cookie: cookie.is_given)
    ASSIGNMENTS[how](view)
    assert jar.header_for(OTHER, "/") == "a=secret" and len(jar) == 1


@pytest.mark.fault("C12", "C15")
def test_a_new_value_keeps_the_scope(view: CookieView, jar: CookieJar) -> None:
    """A new value for the caller's own cookie stays with its origin and its attributes; a Morsel can change these."""
    view["a"] = SimpleCookie("a=1; Path=/p")["a"]
    assert jar.header_for(HOST, "/p") == "a=1"
    view["a"] = "2"
    assert jar.header_for(OTHER, "/p") is None
    assert jar.header_for(HOST, "/p") == "a=2"
    view.update(SimpleCookie("a=3; Secure"))
    assert jar.header_for(OTHER, "/p") is None
    assert [(c.domain, c.path, c.value, c.secure) for c in jar] == [(HOST.host, "/p", "3", True)]
    view["a"] = SimpleCookie("a=4; Domain=example.net")["a"]
    assert jar.header_for(OTHER, "/") == "a=4"
    assert [c.value for c in jar] == ["3", "4"]


@pytest.mark.fault("C12")
def test_setdefault_leaves_what_is_there(view: CookieView, jar: CookieJar) -> None:
    """It shows the cookie of a response and stores nothing."""
    jar.update_from_response(["a=1"], OTHER, "/")
    assert view.setdefault("a", "secret").value == "1"
    assert jar.header_for(HOST, "/") is None and len(jar) == 1


def test_one_name_twice(view: CookieView, jar: CookieJar) -> None:
    """Of several cookies of a name the last changed is shown; deleting deletes them all."""
    jar.update_from_response(["a=1"], HOST, "/")
    jar.update_from_response(["a=2"], OTHER, "/")
    assert view["a"].value == "2" and len(view) == 1
    jar.update_from_response(["a=3"], HOST, "/")
    assert view["a"].value == "3"
    assert (jar.header_for(HOST, "/"), jar.header_for(OTHER, "/")) == ("a=3", "a=2")
    del view["a"]
    assert len(jar) == 0


EDITS: dict[str, Callable[["Morsel[str]"], None]] = {
    "value": lambda morsel: morsel.set("a", "secret", "secret"),
    "attribute": lambda morsel: morsel.update({"domain": "example.org"}),
    "item": lambda morsel: morsel.__setitem__("path", "/p"),
    "reset": lambda morsel: morsel.clear(),
}


@pytest.mark.fault("C12")
@pytest.mark.parametrize("how", EDITS)
def test_the_morsel_of_a_response_takes_no_edit(view: CookieView, jar: CookieJar, how: str) -> None:
    """K2: what the caller writes into a Morsel never gets the scope that a peer chose, and the error says why."""
    view["a"] = "old"
    assert jar.header_for(HOST, "/") == "a=old"
    jar.update_from_response(["a=1; Path=/"], OTHER, "/")
    with pytest.raises(InvalidInput, match=f"set by a response from {OTHER.host}.*cookies\\['a'\\]"):
        EDITS[how](view["a"])
    assert (jar.header_for(OTHER, "/"), jar.header_for(HOST, "/")) == ("a=1", "a=old")
    view["a"] = "new"
    EDITS["item"](view["a"])
    assert (jar.header_for(HOST, "/"), jar.header_for(HOST, "/p")) == (None, "a=new")


def test_edits_of_attributes(view: CookieView, jar: CookieJar) -> None:
    """Attributes of a Morsel from the view are those of the cookie."""
    view["a"] = "1"
    morsel = view["a"]
    morsel["path"] = "/p"
    assert jar.header_for(HOST, "/") is None and jar.header_for(HOST, "/p") == "a=1"
    morsel["Domain"] = "Example.org"
    assert jar.header_for(make_endpoint("work.example.org"), "/p") == "a=1"
    morsel.update({"secure": "yes", "HttpOnly": "yes"})
    assert jar.header_for(HOST, "/p") is None
    assert jar.header_for(make_endpoint("example.org", is_ssl=True), "/p") == "a=1"
    del morsel["secure"]
    morsel |= {"samesite": "Lax"}
    assert [(c.secure, c.http_only, c.same_site, c.host_only) for c in jar] == [(False, True, "Lax", False)]
    assert (morsel.pop("samesite"), morsel["samesite"], morsel.setdefault("path", "/x")) == ("Lax", "", "/p")
    morsel.set("a", "x y", '"x y"')
    assert view["a"] is morsel and morsel.value == "x y"
    assert jar.header_for(HOST, "/p") == 'a="x y"'
    morsel.clear()
    assert [(c.path, c.host_only, c.http_only) for c in jar] == [("/", True, False)]


def test_edits_of_time(view: CookieView, jar: CookieJar) -> None:
    view["a"] = "1"
    morsel = view["a"]
    morsel["expires"] = 10
    assert [cookie.expires for cookie in jar] == [NOW + 10]
    morsel["expires"] = "Fri, 07 Aug 2099 08:04:19 GMT"
    assert morsel["expires"] == "Fri, 07 Aug 2099 08:04:19 GMT"
    morsel["max-age"] = "20"
    assert [cookie.expires for cookie in jar] == [NOW + 20]
    morsel["max-age"] = ""
    assert [cookie.expires for cookie in jar] == [None]
    morsel["max-age"] = 0
    assert "a" not in view and len(jar) == 0
    morsel["path"] = "/late"
    assert len(jar) == 0


@pytest.mark.fault("O11")
def test_bad_edits_change_nothing(view: CookieView, jar: CookieJar) -> None:
    view["a"] = "1"
    morsel = view["a"]
    for attribute, value in (("path", "/\r\n"), ("domain", "a b"), ("expires", "never"), ("max-age", "x")):
        with pytest.raises(InvalidInput, match="cookies"):
            morsel.update({"secure": "yes", attribute: value})
    for bad in ("x\r\n", "\u00e9"):
        with pytest.raises(InvalidInput, match="cookies"):
            view["a"] = bad
    with pytest.raises(InvalidInput, match="cookies"):
        view["b;c"] = "1"
    with pytest.raises(TypeError, match="cookies"):
        view["a"] = None
    with pytest.raises(InvalidInput, match="semicolon"):
        morsel.set("a", "x", "x; y")
    for attempt in (lambda: morsel.update({"color": "red"}), lambda: morsel.setdefault("color", "red"), morsel.popitem):
        with pytest.raises(CookieError):
            attempt()
    with pytest.raises(CookieError, match="named 'a'"):
        morsel.set("b", "1", "1")
    assert view == SimpleCookie({"a": "1"})
    assert jar.header_for(HOST, "/") == "a=1"


def test_editing_in_a_loop(view: CookieView, jar: CookieJar) -> None:
    view.update({"a": "1", "b": "2", "c": "3"})
    for name in view:
        view[name]["path"] = "/p"
    for name, morsel in view.items():
        morsel.set(name, "x", "x")
    assert jar.header_for(HOST, "/p") == "a=x; b=x; c=x"


def test_copies_are_plain_and_dead(view: CookieView, jar: CookieJar) -> None:
    """A copy, a pickle and a union know nothing of the jar."""
    view.update({"a": "1"})
    union = view | {"b": "2"}
    assert set(union) == {"a", "b"} and type(union) is dict
    assert set({"b": "2"} | view) == {"a", "b"}
    for twin in (view.copy(), copy.copy(view), copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert type(twin) is SimpleCookie and twin == view
        twin["a"]["path"] = "/p"
        twin["a"] = "2"
    for morsel in (view["a"].copy(), copy.copy(view["a"]), pickle.loads(pickle.dumps(view["a"]))):
        assert type(morsel) is Morsel and morsel == view["a"]
        morsel["path"] = "/p"
    assert jar.header_for(HOST, "/") == "a=1" and len(jar) == 1


@pytest.mark.fault("C15")
def test_into_another_jar(view: CookieView, jar: CookieJar) -> None:
    """Cookies that go from one session to another keep their scope, whatever their names."""
    jar.update_from_response(["a b=1; Path=/", "c=\u00fc; Domain=example.org"], HOST, "/")
    second = CookieJar(view, now=lambda: NOW)
    assert second.header_for(OTHER, "/") is None
    assert second.header_for(make_endpoint("sub.home.example.org"), "/") == "c=\u00fc"
    assert second.header_for(HOST, "/") == "a b=1; c=\u00fc"
    third = CookieView(CookieJar(now=lambda: NOW))
    third.update(view)
    assert third == view
