"""What is shown: a line of progress while the calls run, a table at the end."""

import os
import shutil
import sys
import time
from collections.abc import Sequence

from examples.demo.load import GIVE_UP_AFTER, Load, Tally

BAR_WIDTH = 24
LEAST_BAR = 6
NAME_WIDTH = 40
HEADINGS = ("", "calls", "failed", "calls/s", "p50 ms", "p99 ms", "CPU µs", "sockets", "reused")

LEGEND = (
    "p50, p99  from before a call until its body is read; waiting for a socket counts",
    "CPU       user and system time of this process for one call, the check of its",
    "          answer included; the servers' time is their own",
    "sockets   opened in that row, by the pool's own count; 0: all were still warm",
    "reused    calls that went over a socket that had served a call before",
)


class Style:
    """ANSI colours on a terminal; nothing elsewhere, nor where NO_COLOR is set."""

    def __init__(self, terminal: bool) -> None:
        self._on = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def _wrap(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._on else text

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        return self._wrap("2", text)

    def good(self, text: str) -> str:
        return self._wrap("32", text)

    def bad(self, text: str) -> str:
        return self._wrap("1;31", text)


class Screen:
    """Progress on one line that changes on a terminal; a plain line every few seconds elsewhere."""

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._began = time.monotonic()
        self._last = (self._began, 0)
        self.terminal = sys.stdout.isatty()
        self.style = Style(self.terminal)
        self.interval = 0.2 if self.terminal else 5.0

    def show(self, load: Load, sockets: int) -> None:
        """The state of now; `sockets` are open."""
        done = sum(row.calls for row in load.rows)
        failed = sum(row.failed for row in load.rows)
        now = time.monotonic()
        then, before = self._last
        rate = (done - before) / (now - then) if now > then else 0.0
        self._last = now, done
        name = load.rows[-1].name if load.rows else ""
        text = f"{done:,} of {self._planned:,}  {rate:,.0f}/s  {failed:,} failed  {sockets} sockets  {name}"
        if self.terminal:
            columns = shutil.get_terminal_size().columns
            bar = self._bar(done, min(BAR_WIDTH, columns - len(text) - 6))
            text = text[: columns - 4]
            print(f"\r\033[K  {bar}{self.style.bad(text) if failed else text}", end="", flush=True)
        else:
            print(f"  {now - self._began:4.0f} s  {text}", flush=True)

    def end(self) -> None:
        """Make room for the table."""
        if self.terminal:
            print("\r\033[K", end="", flush=True)
        elif self._last[1]:
            print(flush=True)

    def _bar(self, done: int, width: int) -> str:
        """Nothing where the line has no room for it."""
        if width < LEAST_BAR:
            return ""
        full = min(width, done * width // max(1, self._planned))
        return self.style.good("━" * full) + self.style.dim("━" * (width - full)) + "  "


def cells(row: Tally) -> list[str]:
    """The row as text, in the order of HEADINGS."""
    answered = len(row.took)
    p50, p99 = row.percentile(0.50), row.percentile(0.99)
    return [
        row.name if len(row.name) <= NAME_WIDTH else row.name[: NAME_WIDTH - 1] + "…",
        f"{row.calls:,}",
        f"{row.failed:,}",
        f"{answered / row.wall:,.0f}" if row.wall else "-",
        f"{p50 * 1e3:.2f}" if p50 is not None else "-",
        f"{p99 * 1e3:.2f}" if p99 is not None else "-",
        f"{row.cpu / row.calls * 1e6:.0f}" if row.calls else "-",
        f"{row.sockets:,}",
        share(row.reused, row.leases),
    ]


def share(part: int, whole: int) -> str:
    """A percentage that never rounds up to 100."""
    if not whole:
        return "-"
    return "100 %" if part == whole else f"{int(part / whole * 10_000) / 100:.2f} %"


def table(rows: Sequence[Tally], total: Tally | None, style: Style) -> list[str]:
    body = [cells(row) for row in rows]
    last = cells(total) if total is not None else None
    widths = [max(len(line[i]) for line in [list(HEADINGS), *body, *([last] if last else [])]) for i in range(9)]

    def line(texts: Sequence[str]) -> str:
        return "  " + "  ".join([texts[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(texts[1:], widths[1:]))])

    rule = style.dim("  " + "─" * (sum(widths) + 2 * (len(widths) - 1)))
    lines = [style.bold(line(HEADINGS)), rule, *map(line, body)]
    return [*lines, rule, style.bold(line(last))] if last else lines


def summary(rows: Sequence[Tally], style: Style) -> list[str]:
    """The table with its legend, and what failed."""
    total = Tally.total("total", list(rows)) if len(rows) > 1 else None
    lines = [*table(rows, total, style), "", *(style.dim("  " + text) for text in LEGEND), ""]
    overall = total or rows[0]
    if overall.failed:
        lines.append(style.bad(f"  {overall.failed:,} of {overall.calls:,} calls failed:"))
        lines += [f"    {count:,} x {why}" for why, count in overall.failures.most_common(5)]
        if any(row.gave_up for row in rows):
            lines.append(f"    the rest was not tried: a row of calls ends after {GIVE_UP_AFTER} failures")
    else:
        own = ", each with its own answer" if overall.numbered else ""
        lines.append(style.good(f"  All {overall.calls:,} calls were answered{own}."))
    return lines
