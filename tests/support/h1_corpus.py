"""Responses that a codec must judge right: a message, and what must come of it."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.h1 import Outcome, deliver

LINE = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"
FINAL = LINE + b"Content-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Case:
    """One message. `refused` is the name of the error's class, else `body` and the rest hold."""

    fault: str
    name: str
    message: bytes
    refused: str = ""
    body: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "GET"
    complete: bool = True
    surplus: bool = False
    keep_alive: bool = True

    def deliver(self, cuts: Any = ()) -> Outcome:
        return deliver(self.message, cuts, method=self.method)


def label(case: Case) -> str:
    return f"{case.fault}-{case.name}"


def params(cases: list[Case]) -> list[Any]:
    """The cases for `pytest.mark.parametrize`, each marked with its row."""
    return [pytest.param(case, id=label(case), marks=pytest.mark.fault(case.fault)) for case in cases]


def _bad_fields(fault: str, **lines: bytes) -> list[Case]:
    return [
        Case(fault, name.replace("_", " "), LINE + line + EMPTY, refused="ClientProtocolError")
        for name, line in lines.items()
    ]


def _bad_starts(**lines: bytes) -> list[Case]:
    return [
        Case("F36", name.replace("_", " "), line + b"\r\n" + EMPTY, refused="ClientProtocolError")
        for name, line in lines.items()
    ]


def _bad_chunks(fault: str, **bodies: bytes) -> list[Case]:
    return [
        Case(fault, name.replace("_", " "), CHUNKED + body + b"\r\n\r\n0\r\n\r\n", refused="ChunkedBodyError")
        for name, body in bodies.items()
    ]


def _length(name: str, value: bytes) -> Case:
    message = LINE + b"Content-Length:" + value + b"\r\n\r\nhello"
    return Case("F21", f"length {name}", message, refused="ClientProtocolError")


def _coding(name: str, fields: bytes) -> Case:
    return Case("F28", name, LINE + fields + b"\r\n5\r\nhello\r\n0\r\n\r\n", refused="ClientProtocolError")


BODILESS = [
    Case("F07", "HEAD with a length", LINE + b"Content-Length: 500\r\n\r\n", method="HEAD"),
    Case("F07", "HEAD with chunks announced", CHUNKED, method="HEAD"),
    Case("F07", "HEAD without a length", LINE + b"\r\n", method="HEAD"),
    Case("F08", "HEAD with a chunked body", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", method="HEAD", surplus=True),
    Case("F08", "HEAD with a body", FINAL, method="HEAD", surplus=True),
    Case("F09", "204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    Case("F09", "204 with chunks announced", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Case("F09", "304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    Case("F09", "304 with chunks announced", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Case("F10", "204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", surplus=True),
    Case("F10", "304 with a body", b"HTTP/1.1 304 Not Modified\r\n\r\nhello", surplus=True),
]

LENGTHS = [
    Case("F11", "longer than its length", LINE + b"Content-Length: 5\r\n\r\nhello1234", body=b"hello", surplus=True),
    Case("F11", "a second response", FINAL + FINAL, body=b"ok", surplus=True),
    Case("F19", "length and chunked", LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         refused="ClientProtocolError"),
    Case("F19", "chunked and length", LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
         refused="ClientProtocolError"),
    Case("F19", "both on a 304", b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
         refused="ClientProtocolError"),
    Case("F20", "5, 5", LINE + b"Content-Length: 5, 5\r\n\r\nhello", body=b"hello"),
    Case("F20", "two equal lines", LINE + b"Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n\r\nhello",
         body=b"hello"),
    Case("F20", "5, 6", LINE + b"Content-Length: 5, 6\r\n\r\nhello", refused="ClientProtocolError"),
    Case("F20", "two unequal lines", LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
         refused="ClientProtocolError"),
    Case("F20", "5 and 05", LINE + b"Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello",
         refused="ClientProtocolError"),
    Case("F20", "5 and an empty one", LINE + b"Content-Length: 5\r\nContent-Length:\r\n\r\nhello",
         refused="ClientProtocolError"),
    *(_length(name, value) for name, value in {
        "plus": b" +5", "minus": b" -5", "5a": b" 5a", "hex": b" 0x5", "underscore": b" 1_0", "empty": b"",
        "blank": b"  ", "inner space": b" 1 0", "trailing comma": b" 5,", "arabic digits": " \u0665".encode(),
        "fullwidth": " \uff15".encode(), "fraction": b" 5.0", "exponent": b" 5e1", "list with junk": b" 5, a",
        "twenty digits": b" 18446744073709551616", "no-break space": b" \xa05", "folded": b"\r\n 5",
    }.items()),
]  # fmt: skip

CODINGS = [
    _coding("xchunked", b"Transfer-Encoding: xchunked\r\n"),
    _coding("chunked123", b"Transfer-Encoding: chunked123\r\n"),
    _coding("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n"),
    _coding("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n"),
    _coding("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
    _coding("two lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    _coding("chunked line, identity line", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    _coding("vertical tab", b"Transfer-Encoding: \x0bchunked\r\n"),
    _coding("trailing comma", b"Transfer-Encoding: chunked,\r\n"),
    _coding("leading comma", b"Transfer-Encoding: ,chunked\r\n"),
    _coding("quoted", b'Transfer-Encoding: "chunked"\r\n'),
    _coding("parameter", b"Transfer-Encoding: chunked;a=b\r\n"),
    _coding("empty", b"Transfer-Encoding:\r\n"),
    _coding("identity", b"Transfer-Encoding: identity\r\n"),
    _coding("no-break space", b"Transfer-Encoding: \xa0chunked\r\n"),
    _coding("folded", b"Transfer-Encoding:\r\n chunked\r\n"),
    Case("F28", "chunked over HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         refused="ClientProtocolError"),
    Case("F28", "odd one on a 204", b"HTTP/1.1 204 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
         refused="ClientProtocolError"),
    Case("F28", "other case", LINE + b"tRANSFER-eNCODING: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body=b"hello"),
    # llhttp takes this for another coding and reads on until the end of the connection.
    Case("F28", "blanks around it", LINE + b"Transfer-Encoding: \t chunked \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         body=b"hello"),
]  # fmt: skip

CHUNKS = [
    Case("F24", "sixteen digits", CHUNKED + b"0000000000000005\r\nhello\r\n0\r\n\r\n", body=b"hello"),
    Case("F24", "hex of both cases", CHUNKED + b"a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n",
         body=b"01234567890123456789"),
    Case("F24", "line ends as data", CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", body=b"\r\n\r\n"),
    Case("F24", "no data", CHUNKED + b"0\r\n\r\n"),
    *_bad_chunks(
        "F24", g=b"g", minus=b"-1", plus=b"+1\r\na", prefix=b"0x10", inner_space=b"1 0", empty=b"", zero_prefix=b"0x",
        seventeen_digits=b"00000000000000005\r\nhello", overflow=b"10000000000000000", underscore=b"1_0",
        fullwidth_digit="\uff15\r\nhello".encode(), leading_space=b" 5\r\nhello", trailing_space=b"5 \r\nhello",
        trailing_tab=b"5\t\r\nhello", semicolon_only=b";", comma=b"5,5\r\nhello", quoted=b'"5"\r\nhello',
    ),
    *_bad_chunks(
        "F25", other_bytes=b"5\r\nhelloXX", more_data=b"5\r\nhello1234", nothing_between=b"5\r\nhello0",
        lf=b"5\r\nhello\n0", cr=b"5\r\nhello\r0", lf_cr=b"5\r\nhello\n\r0", doubled=b"5\r\nhello\r\n\r\n0",
    ),
    Case("F26", "name", CHUNKED + b"5;a\r\nhello\r\n0\r\n\r\n", body=b"hello"),
    Case("F26", "values", CHUNKED + b'5;a=b;c="d; e"\r\nhello\r\n0;x\r\n\r\n', body=b"hello"),
    Case("F26", "blanks", CHUNKED + b"5; a = b ;c\r\nhello\r\n0;\r\n\r\n", body=b"hello"),
    Case("F26", "blank before", CHUNKED + b"5 ;a = b\r\nhello\r\n0;\r\n\r\n", body=b"hello"),
    Case("F26", "blanks before", CHUNKED + b"5\t \t;a\r\nhello\r\n0 " + b" " * 31 + b";b\r\n\r\n", body=b"hello"),
    *_bad_chunks(
        "F26", many_blanks_before=b"5" + b" " * 33 + b";a\r\nhello", blank_and_no_semicolon=b"5 a=b\r\nhello",
        blanks_and_no_semicolon=b"5" + b" " * 70 + b"x" * 70, lf_before=b"5\n;a\r\nhello",
        lf_inside=b"5;a\nb\r\nhello", lf_in_quotes=b'5;a="\n"\r\nhello',
        cr_inside=b"5;a\rb\r\nhello", lf_ends_it=b"5;a\nhello", nul=b"5;a\0\r\nhello", delete=b"5;a\x7f\r\nhello",
        lf_line=b"5\nhello", cr_line=b"5\rhello", lf_lf_line=b"5\n\nhello",
    ),
    Case("F26", "last chunk ends in LF", CHUNKED + b"0\n\r\n", refused="ChunkedBodyError"),
    Case("F26", "message ends in LF", CHUNKED + b"0\r\n\n", refused="ChunkedBodyError"),
]  # fmt: skip

TRAILERS = [
    Case("F27", "two", CHUNKED + b"2\r\nok\r\n0\r\nX-A: b\r\nX-C:\t d \r\n\r\n", body=b"ok",
         trailers=((b"X-A", b"b"), (b"X-C", b"d"))),
    Case("F27", "empty value", CHUNKED + b"0\r\nX:\r\n\r\n", trailers=((b"X", b""),)),
    Case("F27", "forbidden ones", CHUNKED + b"0\r\nContent-Length: 7\r\nAUTHORIZATION: x\r\nX: y\r\nSet-Cookie: a=b\r\n"
         b"Transfer-Encoding: chunked\r\nHost: h\r\nConnection: close\r\n\r\n", trailers=((b"X", b"y"),)),
    *(Case("F27", name, CHUNKED + b"0\r\n" + block + b"\r\n", refused="ChunkedBodyError") for name, block in {
        "space before colon": b"X : y\r\n", "no colon": b"X\r\n", "no name": b": y\r\n", "folded": b"X: y\r\n z\r\n",
        "leading space": b" X: y\r\n", "nul": b"X: \0\r\n", "lf": b"X: y\nZ: a\r\n", "cr": b"X: y\rZ: a\r\n",
        "bad name": b"X@: y\r\n", "name not ASCII": "Ä: y\r\n".encode(), "delete": b"X: \x7f\r\n",
    }.items()),
    Case("F02", "a second response", CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + FINAL, body=b"ok", surplus=True),
    Case("F02", "a second chunked response", (CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n\r\n") * 2, body=b"ok",
         trailers=((b"X", b"y"),), surplus=True),
    *(Case("F02", f"surplus {extra!r}", CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + extra, body=b"ok", surplus=True)
      for extra in (b"X", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n")),
]  # fmt: skip

_CONTROLS = {f"byte {n:02x}": b"A: b%cc\r\n" % n for n in (*range(9), *range(10, 32), 127)}

SYNTAX = [
    *_bad_fields("F32", folded=b"A: b\r\n c\r\n", folded_tab=b"A: b\r\n\tc\r\n", folded_empty=b"A: b\r\n \r\n",
                 folded_name=b"A:\r\n b\r\n", fold_like_a_field=b"A: b\r\n Content-Length: 7\r\n"),
    *_bad_fields("F33", cr=b"A: b\rc\r\n", cr_ends=b"A: b\r", lf_ends=b"A: b\n", lf_cr=b"A: b\n\r",
                 cr_cr_lf=b"A: b\r\r\n", cr_in_name=b"A\r: b\r\n"),
    Case("F33", "LF only", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", refused="ClientProtocolError"),
    Case("F33", "LF after the status line", b"HTTP/1.1 200 OK\n" + EMPTY, refused="ClientProtocolError"),
    Case("F33", "CR in the status line", b"HTTP/1.1 200 O\rK\r\n" + EMPTY, refused="ClientProtocolError"),
    Case("F33", "CR after the status line", b"HTTP/1.1 200 OK\r" + EMPTY, refused="ClientProtocolError"),
    Case("F33", "empty line is LF", LINE + b"Content-Length: 0\r\n\n", refused="ClientProtocolError"),
    Case("F33", "empty line is CR", LINE + b"Content-Length: 0\r\n\rX\r\n\r\n", refused="ClientProtocolError"),
    *_bad_fields("F34", **_CONTROLS),
    Case("F34", "NUL in the reason", b"HTTP/1.1 200 O\0K\r\n" + EMPTY, refused="ClientProtocolError"),
    Case("F34", "tab and obs-text are text", LINE + b"A: b\tc\x80\xff\r\n" + EMPTY),
    *_bad_fields("F35", space_before_colon=b"A : b\r\n", tab_before_colon=b"A\t: b\r\n", no_colon=b"A\r\n",
                 no_name=b": b\r\n", at_sign=b"A@: b\r\n", bracket=b"A(: b\r\n", not_ascii="Ä: b\r\n".encode(),
                 leading_space=b" A: b\r\n", leading_tab=b"\tA: b\r\n", inner_space=b"A B: c\r\n",
                 length_with_space=b"Content-Length : 5\r\n", nul_in_name=b"A\0: b\r\n"),
    Case("F35", "all token characters", LINE + b"!#$%&'*+-.^_`|~09azAZ: b\r\n" + EMPTY),
]  # fmt: skip

STARTS = [
    Case("F36", "no reason", b"HTTP/1.1 200\r\n" + EMPTY),
    Case("F36", "empty reason", b"HTTP/1.1 200 \r\n" + EMPTY),
    Case("F36", "reason in UTF-8", "HTTP/1.1 200 Größe\r\n".encode() + EMPTY),
    Case("F36", "status 599", b"HTTP/1.1 599 X\r\n" + EMPTY),
    Case("F36", "reason of 5,000 bytes", b"HTTP/1.1 200 " + b"x" * 5000 + b"\r\n" + EMPTY, refused="HeadTooLarge"),
    *_bad_starts(
        http_09=b"HTTP/0.9 200 OK", http_20=b"HTTP/2.0 200 OK", http_12=b"HTTP/1.2 200 OK",
        http_110=b"HTTP/1.10 200 OK", lower_case=b"http/1.1 200 OK", status_99=b"HTTP/1.1 99 OK",
        status_099=b"HTTP/1.1 099 OK",
        status_1000=b"HTTP/1.1 1000 OK", status_2x0=b"HTTP/1.1 2x0 OK", status_000=b"HTTP/1.1 000 OK",
        fullwidth_status="HTTP/1.1 \uff12\uff10\uff10 OK".encode(),
        arabic_status="HTTP/1.1 \u0662\u0660\u0660 OK".encode(),
        two_spaces=b"HTTP/1.1  200 OK", tab=b"HTTP/1.1\t200 OK",
        reason_glued=b"HTTP/1.1 200OK", no_status=b"HTTP/1.1", negative=b"HTTP/1.1 -20 OK", icy=b"ICY 200 OK",
        leading_space=b" HTTP/1.1 200 OK", leading_line=b"\r\nHTTP/1.1 200 OK", request=b"GET / HTTP/1.1",
    ),
]  # fmt: skip

NOT_HTTP = [
    Case("F37", name, message, refused="ClientProtocolError", complete=False)
    for name, message in {
        "TLS alert": b"\x15\x03\x03\x00\x02\x02\x46",
        "TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "SMTP": b"220 mail.example ESMTP\r\n",
        "HTTP/2 settings": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        "random": bytes(range(200, 256)),
        "HTML": b"<html><body>",
        "LF": b"\n",
    }.items()
]

INTERIM = [
    Case("F13", name, before + FINAL, body=b"ok")
    for name, before in {
        "100": b"HTTP/1.1 100 Continue\r\n\r\n",
        "102": b"HTTP/1.1 102 Processing\r\n\r\n",
        "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        "all three": b"".join(b"HTTP/1.1 %d X\r\nA: b\r\n\r\n" % status for status in (103, 102, 100)),
        "with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        "with chunks announced": b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        "wants to close": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n",
        "sixteen": b"HTTP/1.1 102 X\r\n\r\n" * 16,
    }.items()
] + [
    Case("F14", "seventeen", b"HTTP/1.1 102 X\r\n\r\n" * 17 + FINAL, refused="ClientProtocolError"),
    Case("F13", "101 unasked", b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + FINAL,
         refused="ClientProtocolError"),
    Case("F13", "broken", b"HTTP/1.1 100 Continue\r\nA : b\r\n\r\n" + FINAL, refused="ClientProtocolError"),
]  # fmt: skip

UNFINISHED = [
    Case("F30", "until the end", LINE + b"A: b\r\n\r\nbody", body=b"body", complete=False, keep_alive=False),
    Case("F30", "HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nbody", body=b"body", complete=False, keep_alive=False),
    Case("F31", "in the body", LINE + b"Content-Length: 9\r\n\r\nbody", body=b"body", complete=False),
    Case("F31", "before the last chunk", CHUNKED + b"4\r\nbody\r\n", body=b"body", complete=False),
    Case("F31", "in the trailers", CHUNKED + b"4\r\nbody\r\n0\r\nX: y\r\n", body=b"body", complete=False),
    Case("F44", "HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + EMPTY, keep_alive=False),
    Case("F44", "HTTP/1.0 keep-alive", b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + EMPTY),
    Case("F44", "close among tokens", LINE + b"Connection: x, Close\r\n" + EMPTY, keep_alive=False),
    Case("F44", "close in a second line", LINE + b"Connection: x\r\nConnection: close\r\n" + EMPTY, keep_alive=False),
    Case("F44", "upgrade offered", LINE + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
         body=b"ok"),
]  # fmt: skip

CORPUS = [
    *BODILESS, *LENGTHS, *CODINGS, *CHUNKS, *TRAILERS, *SYNTAX, *STARTS, *NOT_HTTP, *INTERIM, *UNFINISHED,
]  # fmt: skip
