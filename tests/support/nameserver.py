"""A name server on 127.0.0.1 that does what a test tells it to, over UDP and, if asked for, TCP, in the test's loop.

    async with NameServer() as dns:
        dns.add("a.example", "10.0.0.1", "2001:db8::1", ttl=30)
        dns.fail("b.example", "NXDOMAIN")
        resolver = AsyncResolver([dns.address])

A name that it was not told about does not exist (NXDOMAIN).
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self, cast

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, SOA, A, DNSRecord

# What a scripted name answers: the datagrams to send, in order, for the bytes of one query.
Script = Callable[[bytes], Iterable[bytes]]

MAX_UDP = 1232


class _Name:
    """What is known of one name."""

    __slots__ = ("addresses", "aliases", "held", "rcode", "script", "silent", "ttl")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.aliases: list[tuple[str, int]] = []
        self.ttl = 60
        self.rcode = "NOERROR"
        self.silent = False
        self.script: Script | None = None
        self.held: list[Callable[[], None]] | None = None


class NameServer(asyncio.DatagramProtocol):
    """Answers what `add`, `alias`, `fail`, `mute`, `script` and `hold` have laid down, and counts the questions.

    With `tcp` it also listens on the TCP port of the same number, for answers that do not fit into a datagram.
    """

    def __init__(self, *, tcp: bool = False) -> None:
        self._tcp = tcp
        self.queries: Counter[tuple[str, str]] = Counter()
        self._names: dict[str, _Name] = {}
        self._news = asyncio.Event()
        self._socket: socket.socket | None = None
        self._transport: asyncio.BaseTransport | None = None
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._peers: list[_TcpPeer] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            self._socket = _bound(socket.SOCK_DGRAM, 0)
            self.port = self._socket.getsockname()[1]
            if not self._tcp:
                break
            try:
                self._listener = _bound(socket.SOCK_STREAM, self.port)
                break
            except OSError:  # somebody has the TCP port of this number
                self._socket.close()
        else:
            raise RuntimeError("no port is free for both UDP and TCP")
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=self._socket)
        if self._listener is not None:
            self._listener.listen()
            self._accepting = asyncio.ensure_future(self._accept(self._listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        if self._listener is not None:
            self._listener.close()
        for peer in self._peers:
            peer.close()
        await asyncio.sleep(0)

    @property
    def address(self) -> str:
        """Fit for AsyncResolver's `nameservers`."""
        return f"127.0.0.1:{self.port}"

    # What to answer

    def add(self, name: str, *addresses: str, ttl: int = 60) -> None:
        """Answer with these addresses, in place of what was said before."""
        self._names[name] = entry = _Name()
        entry.addresses = list(addresses)
        entry.ttl = ttl

    def alias(self, name: str, target: str, *, ttl: int = 60) -> None:
        """Put a CNAME in front of what `name` has: name -> target -> addresses."""
        self._name(name).aliases.append((target, ttl))

    def fail(self, name: str, rcode: str) -> None:
        """Answer with this code: NXDOMAIN (with a SOA that allows an hour of caching), SERVFAIL, REFUSED, ..."""
        self._names[name] = entry = _Name()
        entry.rcode = rcode

    def mute(self, name: str) -> None:
        """Never answer."""
        self._names[name] = entry = _Name()
        entry.silent = True

    def script(self, name: str, script: Script) -> None:
        """Answer with whatever bytes `script` makes of the query. Empty bytes are an empty datagram."""
        self._names[name] = entry = _Name()
        entry.script = script

    def hold(self, name: str) -> None:
        """Keep the answers back until `release`."""
        self._name(name).held = []

    def release(self, name: str) -> None:
        """Send what was held back, and hold no longer."""
        entry = self._name(name)
        held, entry.held = entry.held or [], None
        for send in held:
            send()

    # What was asked

    def count(self, name: str, qtype: str = "A") -> int:
        """How many questions came for this name and type."""
        return self.queries[name, qtype]

    @property
    def total(self) -> int:
        """How many questions came at all."""
        return self.queries.total()

    async def asked(self, name: str, times: int = 1, qtype: str = "A") -> None:
        """Wait until that many questions have come."""
        while self.count(name, qtype) < times:
            self._news.clear()
            await self._news.wait()

    # The wire

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answer(data, lambda reply: self._send(reply, addr), MAX_UDP)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        # Past the transport, which sends no empty datagram. A full buffer loses it, as networks do.
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(reply, addr)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            _, peer = await loop.connect_accepted_socket(lambda: _TcpPeer(self.answer), sock)
            self._peers.append(peer)

    def _name(self, name: str) -> _Name:
        return self._names.setdefault(name, _Name())

    def answer(self, data: bytes, send: Callable[[bytes], None], room: int) -> None:
        """Answer one query through `send`, with no more than `room` bytes."""
        query = DNSRecord.parse(data)
        name = str(query.q.qname).rstrip(".").lower()
        qtype = str(QTYPE[query.q.qtype])
        self.queries[name, qtype] += 1
        self._news.set()
        entry = self._names.get(name)
        if entry is not None and entry.silent:
            return
        if entry is not None and entry.script is not None:
            for reply in entry.script(data):
                send(reply)
            return
        reply = _reply(query, entry, name, qtype, room)
        if entry is not None and entry.held is not None:
            entry.held.append(lambda: send(reply))
        else:
            send(reply)


class _TcpPeer(asyncio.Protocol):
    """Queries over TCP, each with its length in front (RFC 1035, section 4.2.2)."""

    def __init__(self, answer: Callable[[bytes, Callable[[bytes], None], int], None]) -> None:
        self._answer = answer
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 2:
            end = 2 + int.from_bytes(self._data[:2], "big")
            if len(self._data) < end:
                return
            query, self._data = self._data[2:end], self._data[end:]
            self._answer(query, self._send, 65535)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _send(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(len(reply).to_bytes(2, "big") + reply)


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def _reply(query: DNSRecord, entry: _Name | None, name: str, qtype: str, room: int) -> bytes:
    reply = query.reply()
    rcode = "NXDOMAIN" if entry is None else entry.rcode
    reply.header.rcode = getattr(RCODE, rcode)
    if rcode == "NXDOMAIN":
        soa = SOA("ns.invalid", "admin.invalid", (1, 3600, 3600, 3600, 3600))
        reply.add_auth(RR(name, QTYPE.SOA, ttl=3600, rdata=soa))
    elif entry is not None and rcode == "NOERROR":
        owner = name
        for target, ttl in entry.aliases:
            reply.add_answer(RR(owner, QTYPE.CNAME, ttl=ttl, rdata=CNAME(target)))
            owner = target
        for address in entry.addresses:
            if qtype == ("A" if ipaddress.ip_address(address).version == 4 else "AAAA"):
                rdata = A(address) if qtype == "A" else AAAA(address)
                reply.add_answer(RR(owner, getattr(QTYPE, qtype), ttl=entry.ttl, rdata=rdata))
    packed: bytes = reply.pack()
    if len(packed) > room:
        short = query.reply()
        short.header.tc = 1
        packed = short.pack()
    return packed


# Hostile answers, for `script`


def question_end(query: bytes) -> int:
    """Where the first question of a message ends."""
    at = 12
    while query[at]:
        at += query[at] + 1
    return at + 5


def counts_of_65535(query: bytes) -> list[bytes]:
    """A header that promises 65,535 records in each section, and nothing behind the question."""
    return [query[:2] + b"\x81\x80" + b"\x00\x01" + b"\xff\xff" * 3 + query[12 : question_end(query)]]


def compression_loop(query: bytes) -> list[bytes]:
    """An answer whose name points at itself."""
    end = question_end(query)
    pointer = (0xC000 | end).to_bytes(2, "big")
    record = pointer + query[end - 4 : end] + b"\x00\x00\x00\x3c" + b"\x00\x04" + b"\x0a\x00\x00\x01"
    return [query[:2] + b"\x81\x80" + b"\x00\x01\x00\x01\x00\x00\x00\x00" + query[12:end] + record]


def alias_of_bytes(*labels: bytes) -> Script:
    """A CNAME made of these raw labels, and an address behind it."""
    target = b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"

    def script(query: bytes) -> list[bytes]:
        end = question_end(query)
        qtype, tail = query[end - 4 : end - 2], b"\x00\x01\x00\x00\x00\x3c"
        address = b"\x0a\x00\x00\x01" if qtype == b"\x00\x01" else bytes(15) + b"\x02"
        cname = b"\xc0\x0c" + b"\x00\x05" + tail + len(target).to_bytes(2, "big") + target
        owner = (0xC000 | (end + 12)).to_bytes(2, "big")
        record = owner + qtype + tail + len(address).to_bytes(2, "big") + address
        return [query[:2] + b"\x81\x80" + b"\x00\x01\x00\x02\x00\x00\x00\x00" + query[12:end] + cname + record]

    return script
