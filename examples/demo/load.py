"""Makes the calls and keeps count."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

import keepwarm

# A server that refuses everything is not asked thousands of times.
GIVE_UP_AFTER = 50
NUMBERS = 100
POST_BODY = b'{"item":7,"amount":2,"pad":"' + b"x" * 200 + b'"}'
TIME_LIMIT = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `number` is what the JSON answer must repeat; None: any body will do."""

    url: str
    number: int | None = None
    body: bytes | None = None

    def complaint(self, status: int, content: bytes) -> str | None:
        """What is wrong with the answer; None when nothing is."""
        if status >= 400:
            return f"status {status}"
        if self.number is not None and json.loads(content)["number"] != self.number:
            return f"the answer to call {self.number} belongs to another call"
        return None


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint and the way to it: its name for people, the session, the calls that are made in turn."""

    name: str
    session: keepwarm.ClientSession
    calls: tuple[Call, ...]

    @classmethod
    def numbered(cls, name: str, session: keepwarm.ClientSession, base: str, post: bool = False) -> Self:
        body = POST_BODY if post else None
        return cls(name, session, tuple(Call(f"{base}/items/{number}", number, body) for number in range(NUMBERS)))


@dataclass(slots=True)
class Tally:
    """What came of the calls of one row. `cpu` and `wall` are seconds; `numbered`: each answer was told from others."""

    name: str
    numbered: bool = True
    took: list[float] = field(default_factory=list)
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0
    wall: float = 0.0
    sockets: int = 0
    leases: int = 0
    reused: int = 0

    @property
    def calls(self) -> int:
        return len(self.took) + self.failed

    @property
    def gave_up(self) -> bool:
        return self.failed >= GIVE_UP_AFTER

    def fail(self, why: str) -> None:
        self.failed += 1
        self.failures[why] += 1

    def percentile(self, share: float) -> float | None:
        """Seconds within which `share` of the calls were answered; None before the first answer."""
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None

    @classmethod
    def total(cls, name: str, rows: "list[Tally]") -> Self:
        row = cls(name, numbered=all(other.numbered for other in rows))
        for other in rows:
            row.took += other.took
            row.failures += other.failures
            for key in ("failed", "cpu", "wall", "sockets", "leases", "reused"):
                setattr(row, key, getattr(row, key) + getattr(other, key))
        return row


class Load:
    """The calls of one row after the other, over these connectors. `rows` grows while they run."""

    def __init__(self, connectors: list[keepwarm.BaseConnector], callers: int) -> None:
        self._connectors = connectors
        self._callers = callers
        self.rows: list[Tally] = []

    def count(self, what: Literal["open", "dials", "leases", "reused"]) -> int:
        """One of the pools' own numbers, over all connectors."""
        return sum(getattr(connector.stats().total, what) for connector in self._connectors)

    @contextmanager
    def _row(self, name: str, *, numbered: bool) -> Iterator[Tally]:
        """A new row, and what its calls cost."""
        row = Tally(name, numbered=numbered)
        self.rows.append(row)
        before = self.count("dials"), self.count("leases"), self.count("reused")
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield row
        finally:
            row.cpu, row.wall = time.process_time() - cpu, time.perf_counter() - wall
            row.sockets = self.count("dials") - before[0]
            row.leases = self.count("leases") - before[1]
            row.reused = self.count("reused") - before[2]

    async def run(self, name: str, targets: list[Target], calls: int) -> None:
        """`calls` calls to each target, all targets at once, `callers` at a time for each."""
        numbered = all(call.number is not None for target in targets for call in target.calls)
        with self._row(name, numbered=numbered) as row:
            async with asyncio.TaskGroup() as group:
                for target in targets:
                    left = iter(range(calls))
                    for _ in range(min(self._callers, calls)):
                        group.create_task(self._caller(target, left, row))

    async def run_websockets(self, name: str, session: keepwarm.ClientSession, url: str, calls: int, most: int) -> None:
        """`calls` messages and their echoes, over at most `most` WebSockets at once."""
        with self._row(name, numbered=True) as row:
            left = iter(range(calls))
            async with asyncio.TaskGroup() as group:
                for _ in range(min(most, calls)):
                    group.create_task(self._talker(session, url, left, row))

    async def _talker(self, session: keepwarm.ClientSession, url: str, left: Iterator[int], row: Tally) -> None:
        try:
            async with session.ws_connect(url) as ws:
                for turn in left:
                    began = time.perf_counter()
                    await ws.send_str(f"message {turn}")
                    if await ws.receive_str(timeout=TIME_LIMIT) == f"message {turn}":
                        row.took.append(time.perf_counter() - began)
                    else:
                        row.fail(f"the answer to message {turn} belongs to another")
        except (keepwarm.ClientError, OSError, TypeError) as exc:
            row.fail(f"{type(exc).__name__}: {exc}")

    async def _caller(self, target: Target, left: Iterator[int], row: Tally) -> None:
        for turn in left:
            if row.gave_up:
                return
            call = target.calls[turn % len(target.calls)]
            began = time.perf_counter()
            try:
                complaint = await self._make(target.session, call)
            except (keepwarm.ClientError, OSError, ValueError) as exc:
                complaint = f"{type(exc).__name__}: {exc}"
            if complaint is None:
                row.took.append(time.perf_counter() - began)
            else:
                row.fail(complaint)

    async def _make(self, session: keepwarm.ClientSession, call: Call) -> str | None:
        method = "GET" if call.body is None else "POST"
        async with session.request(method, call.url, data=call.body) as response:
            return call.complaint(response.status, await response.read())
