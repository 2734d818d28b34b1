"""History: what has happened at one endpoint so far, for whoever asks for numbers."""

from collections import Counter

from keepwarm.pool.dial_times import DialTimes
from keepwarm.pool.histogram import NUMBERS, Recorder


class History:
    """Counted when something rare happens: a connection is dialled, waited for, or let go of. A lease on an idle
    connection counts nothing here.

    `failures` of dials by phase, `retired` connections by reason. Times are in seconds: `wait` of those who had to
    wait and were served, `dial` of dials that connected, `tls` of handshakes; `age` and `uses` of connections at
    their end.
    """

    __slots__ = ("age", "dial", "failures", "retired", "tls", "uses", "wait")

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.retired: Counter[str] = Counter()
        self.wait = Recorder()
        self.dial = Recorder()
        self.tls = Recorder()
        self.age = Recorder()
        self.uses = Recorder(NUMBERS)

    def dialled(self, times: DialTimes) -> None:
        """A dial has connected."""
        self.dial.record(times.total)
        if times.tls is not None:
            self.tls.record(times.tls)

    def ended(self, reason: str, age: float, uses: int) -> None:
        """A connection is let go of."""
        self.retired[reason] += 1
        self.age.record(age)
        self.uses.record(uses)

    def add(self, other: "History") -> None:
        """What has happened elsewhere."""
        self.failures.update(other.failures)
        self.retired.update(other.retired)
        for mine, theirs in (
            (self.wait, other.wait),
            (self.dial, other.dial),
            (self.tls, other.tls),
            (self.age, other.age),
            (self.uses, other.uses),
        ):
            mine.add(theirs.taken())
