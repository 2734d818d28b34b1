"""Cookie dates: any spelling that RFC 6265, 5.1.1 can read, to seconds since 1970."""

from datetime import date
from typing import Final

_DELIMITERS: Final = dict.fromkeys(
    [0x09, *range(0x20, 0x30), *range(0x3B, 0x41), *range(0x5B, 0x61), *range(0x7B, 0x7F)], " "
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER: Final = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DIGITS: Final = frozenset("0123456789")
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86400

# The end of the year 9999: the latest time that a date can say.
LATEST: Final = (date.max.toordinal() + 1 - _EPOCH) * _DAY - 1


def parse_cookie_date(text: str) -> int | None:
    """The time that `text` means, in seconds since 1970 (UTC); None if it means none (RFC 6265, 5.1.1).

    The first token that can be a time of day, a day of the month, a month or a year is it, in whatever order they
    come; all else, zones included, is passed over. Years 70 to 99 belong to the last century, 0 to 69 to this one.
    """
    clock: tuple[int, int, int] | None = None
    day = month = year = None
    for token in text.translate(_DELIMITERS).split(" "):
        if not token:
            continue
        if clock is None:
            clock = _time_of_day(token)
            if clock is not None:
                continue
        if day is None:
            day = _number(token, 1, 2)
            if day is not None:
                continue
        if month is None:
            month = _MONTH_NUMBER.get(token[:3].lower())
            if month is not None:
                continue
        if year is None:
            year = _number(token, 2, 4)
    if clock is None or day is None or month is None or year is None:
        return None
    return _seconds(year, month, day, clock)


def format_cookie_date(when: float) -> str:
    """A time in seconds since 1970 as RFC 9110, 5.6.7 writes it. What lies beyond the years 1 to 9999 is cut."""
    seconds = int(min(max(when, (1 - _EPOCH) * _DAY), LATEST))
    days, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, 3600)
    day = date.fromordinal(_EPOCH + days)
    return (
        f"{_WEEKDAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year:04} "
        f"{hours:02}:{rest // 60:02}:{rest % 60:02} GMT"
    )


def _seconds(year: int, month: int, day: int, clock: tuple[int, int, int]) -> int | None:
    if 70 <= year <= 99:
        year += 1900
    elif year <= 69:
        year += 2000
    hour, minute, second = clock
    if year < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * _DAY + hour * 3600 + minute * 60 + second


def _number(token: str, least: int, most: int) -> int | None:
    """The number that the token begins with, if it has `least` to `most` digits; anything else may follow."""
    size = 0
    for char in token[: most + 1]:
        if char not in _DIGITS:
            break
        size += 1
    return int(token[:size]) if least <= size <= most else None


def _time_of_day(token: str) -> tuple[int, int, int] | None:
    parts = token.split(":", 3)
    if len(parts) < 3:
        return None
    hour, minute, second = [_number(part, 1, 2) for part in parts[:3]]
    if hour is None or minute is None or second is None:
        return None
    if len(parts[0]) > 2 or len(parts[1]) > 2 or parts[0][-1] not in _DIGITS or parts[1][-1] not in _DIGITS:
        return None
    return hour, minute, second
