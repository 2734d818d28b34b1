"""The file of a jar."""

import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest

from keepwarm.client.cookies import CookieJar
from keepwarm.client.errors import InvalidInput
from keepwarm.pool.endpoint import make_endpoint

HOST = make_endpoint("home.example.org")
TLS = make_endpoint("home.example.org", is_ssl=True)
SUB = make_endpoint("sub.home.example.org", is_ssl=True)
NOW = 1_750_000_000.0


def make_jar(time: float = NOW, **options: Any) -> CookieJar:
    return CookieJar(now=lambda: time, **options)


def filled() -> CookieJar:
    jar = make_jar()
    jar.update_from_response(
        [
            "host=1; Path=/; SameSite=Lax",
            "domain=2; Domain=home.example.org; Path=/",
            "secure=3; Secure; HttpOnly; Path=/",
            "path=4; Path=/p",
            "short=5; Max-Age=10; Path=/",
            "a b=\u00fc\udcff; Path=/",
        ],
        TLS,
        "/",
    )
    jar.add({"given": "6"})
    return jar


def facts(jar: CookieJar) -> list[tuple[Any, ...]]:
    return [
        (c.name, c.value, c.domain, c.host_only, c.path, c.secure, c.http_only, c.same_site, c.expires, c.origin)
        for c in jar
    ]


@pytest.mark.fault("C15")
def test_round_trip(tmp_path: Path) -> None:
    """Everything comes back as it was: host-only stays host-only, a bound cookie stays with its origin."""
    jar = filled()
    jar.save(tmp_path / "unbound")
    sent = jar.header_for(TLS, "/p")
    jar.save(str(tmp_path / "bound"))
    again = make_jar()
    again.add({"gone": "1"})
    again.load(tmp_path / "bound")
    assert facts(again) == facts(jar)
    assert again.header_for(TLS, "/p") == sent
    assert again.header_for(SUB, "/p") == "domain=2"
    assert "given" not in (again.header_for(HOST, "/p") or "")
    again.load(str(tmp_path / "unbound"))
    assert again.header_for(SUB, "/") == "domain=2; given=6"


def test_expired_cookies_are_left_out(tmp_path: Path) -> None:
    filled().save(tmp_path / "jar")
    late = make_jar(NOW + 10)
    late.load(tmp_path / "jar")
    assert "short" not in [cookie.name for cookie in late] and len(late) == 6
    late.save(tmp_path / "jar")
    assert "short" not in (tmp_path / "jar").read_text()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    old = tmp_path / "jar"
    old.write_text("old")
    old.chmod(0o644)
    filled().save(old)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["jar"]


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old file as it was and no rest behind."""
    path = tmp_path / "jar"
    filled().save(path)
    before = path.read_bytes()

    def broken(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        make_jar().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["jar"]


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("the pickle was loaded",)


@pytest.mark.fault("C20")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_loaded(tmp_path: Path, protocol: int) -> None:
    """A pickle of any protocol is refused with an error that names the file, and the jar stays as it was."""
    path = tmp_path / "jar.pickle"
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    jar = filled()
    before = facts(jar)
    with pytest.raises(InvalidInput, match=r"jar\.pickle") as caught:
        jar.load(path)
    assert caught.value.argument == "path"
    assert ("pickles are never loaded" in str(caught.value)) is (protocol >= 2)
    assert facts(jar) == before


GOOD: dict[str, Any] = {
    "name": "a", "value": "1", "domain": "home.example.org", "host_only": True, "path": "/", "secure": False,
    "http_only": False, "same_site": "", "expires": None, "origin": None,
}  # fmt: skip


def write(path: Path, /, **changes: Any) -> None:
    path.write_text(json.dumps({"format": "keepwarm cookies", "version": 1, "cookies": [GOOD, {**GOOD, **changes}]}))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a=b"},
        {"name": "a;b"},
        {"name": "a\n"},
        {"value": "1\r\nX: 1"},
        {"value": "1; b=2"},
        {"value": 1},
        {"value": "\ud800"},
        {"path": "x"},
        {"path": "/\x00"},
        {"domain": None},
        {"domain": "", "host_only": False},
        {"host_only": "yes"},
        {"secure": 1},
        {"expires": "soon"},
        {"expires": float("nan")},
        {"expires": True},
        {"origin": ["other.example.org", 80, False]},
        {"origin": ["home.example.org", 99999, False]},
        {"origin": [1]},
        {"origin": 5},
    ],
)
def test_damaged_cookies(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A file that was tampered with puts nothing into the jar."""
    path = tmp_path / "jar"
    write(path, **changes)
    jar = make_jar()
    with pytest.raises(InvalidInput, match="cookie number 1 is damaged"):
        jar.load(path)
    assert len(jar) == 0
    write(path, name="b")
    jar.load(path)
    assert len(jar) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("# Netscape HTTP Cookie File", "not JSON"),
        ("\u00fc", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "another kind"),
        ('{"format": "other"}', "another kind"),
        ('{"format": "keepwarm cookies", "version": 2}', "version"),
        ('{"format": "keepwarm cookies", "version": 1}', "no list"),
        ('{"format": "keepwarm cookies", "version": 1, "cookies": [1]}', "number 0"),
        ('{"format": "keepwarm cookies", "version": 1, "cookies": [{}]}', "number 0"),
    ],
)
def test_other_files(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "jar"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match=why):
        make_jar().load(path)


@pytest.mark.fault("C13")
def test_a_file_cannot_widen(tmp_path: Path) -> None:
    """A domain that no response could set is for that host only when it comes from a file, too."""
    path = tmp_path / "jar"
    write(path, domain="co.uk", host_only=False)
    jar = make_jar(is_public_suffix={"co.uk"}.__contains__)
    jar.load(path)
    assert jar.header_for(make_endpoint("shop.co.uk"), "/") is None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_jar().load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        make_jar().save(tmp_path / "no" / "folder")
