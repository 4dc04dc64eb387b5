"""Calendar arithmetic: months from the original anchor, and the windows in which usage is counted.

Laws: windows tile time without gap or overlap; the boundary instant belongs to the new window; boundary n is
always the anchor plus n months with the day clamped to the month's end, never the previous boundary plus one.
Everything is UTC. Source: semantics §4.
"""

from datetime import UTC, date, datetime, timedelta

from stigg_local.core.ids import told
from stigg_local.errors import InvalidInput

SECOND_MS = 1000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
FOREVER_MS = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_YEAR_MAX = 9999
_DATE_MIN_MS = -62_135_596_800_000
_DATE_MAX_MS = 253_402_300_799_999

# 1970-01-01 was a Thursday: days to add so that weeks begin on the configured day.
_WEEKDAYS = {
    "EverySunday": 3,
    "EveryMonday": 4,
    "EveryTuesday": 5,
    "EveryWednesday": 6,
    "EveryThursday": 0,
    "EveryFriday": 1,
    "EverySaturday": 2,
}
# `calendar` knows this too, and would load `locale` into every process that imports the package.
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIXED = {"HOUR": HOUR_MS, "DAY": DAY_MS, "WEEK": WEEK_MS}

# The smaller, the more generous.
RESET_RANK = {"HOUR": 0, "DAY": 1, "WEEK": 2, "MONTH": 3, "YEAR": 4, None: 5}


def to_ms(value: object, *, name: str) -> int:
    """Epoch milliseconds of an aware datetime or an ISO-8601 string with an offset.

    Raises:
        InvalidInput: Another type, a naive datetime, text that is no instant, a year outside 1 to 9999.
    """
    moment = value
    if isinstance(value, str):
        try:
            # A leap second is the instant after it.
            text = value.replace(":60", ":59", 1) if ":60" in value[16:19] else value
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise InvalidInput(f"{name} is `{told(value)}`, not an instant", hint="like `2025-01-31T10:00:00Z`")
    if moment.tzinfo is None:
        raise InvalidInput(
            f"{name} is `{told(value)}`, which has no time zone",
            hint="add `Z` or an offset, or use an aware datetime",
        )
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def to_datetime(ms: int | None) -> datetime | None:
    """The aware datetime of an instant; None for none and for an instant beyond the calendar."""
    if ms is None or not _DATE_MIN_MS <= ms <= _DATE_MAX_MS:
        return None
    return _EPOCH + timedelta(milliseconds=ms)


def to_text(ms: int | None) -> str | None:
    """The instant as the seed prints it: `2023-11-21T00:00:00.000Z`."""
    moment = to_datetime(ms)
    if moment is None:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def add_months(anchor_ms: int, months: int) -> int:
    """The instant `months` after the anchor, its day clamped to the end of the month."""
    days, rest = divmod(anchor_ms, DAY_MS)
    start = date.fromordinal(days + _EPOCH_ORDINAL)
    return _boundary(start.year * 12 + start.month - 1 + months, start.day, rest)


def _boundary(months: int, day: int, rest: int) -> int:
    """The instant on a day, clamped, of a month counted from year 0, `rest` ms into the day."""
    year, month = divmod(months, 12)
    if year > _YEAR_MAX:
        return FOREVER_MS
    if year < 1:
        return _DATE_MIN_MS
    if day > 28:
        day = min(day, _month_days(year, month))
    return (date(year, month + 1, day).toordinal() - _EPOCH_ORDINAL) * DAY_MS + rest


def _month_days(year: int, month: int) -> int:
    """Days of a month, counted from 0."""
    if month == 1 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        return 29
    return _MONTH_DAYS[month]


WINDOWS_MAX = 10_000
_windows: dict[tuple[int, int], tuple[int, int, int]] = {}


def month_window(anchor_ms: int, at_ms: int, step: int = 1) -> tuple[int, int, int]:
    """(n, start, end) of the window of `step` months from the anchor that holds the instant."""
    # Most are asked for again and again with a later instant of the same window.
    known = _windows.get((anchor_ms, step))
    if known is not None and known[1] <= at_ms < known[2]:
        return known
    if len(_windows) >= WINDOWS_MAX:
        _windows.clear()
    found = _windows[anchor_ms, step] = _month_window(anchor_ms, at_ms, step)
    return found


def _month_window(anchor_ms: int, at_ms: int, step: int) -> tuple[int, int, int]:
    days, rest = divmod(anchor_ms, DAY_MS)
    anchor = date.fromordinal(days + _EPOCH_ORDINAL)
    at = date.fromordinal(at_ms // DAY_MS + _EPOCH_ORDINAL)
    first, day = anchor.year * 12 + anchor.month - 1, anchor.day
    n = (at.year * 12 + at.month - 1 - first) // step
    start = _boundary(first + n * step, day, rest)
    # The calendar's months count one too many where the anchor's day is not reached yet, and never one too few.
    if start > at_ms:
        n -= 1
        start = _boundary(first + n * step, day, rest)
    return n, start, _boundary(first + (n + 1) * step, day, rest)


def anchor_of(period: str | None, configuration: str | None, start_ms: int) -> int:
    """Where the windows of a reset configuration are anchored, for a source that starts at `start_ms`."""
    if configuration is None or configuration == "SubscriptionStart" or period is None:
        return start_ms
    if configuration == "StartOfTheMonth":
        first = date.fromordinal(start_ms // DAY_MS + _EPOCH_ORDINAL).replace(day=1)
        return (first.toordinal() - _EPOCH_ORDINAL) * DAY_MS
    shift = _WEEKDAYS[configuration] * DAY_MS
    return (start_ms - shift) // WEEK_MS * WEEK_MS + shift


def window(period: str | None, anchor_ms: int, at_ms: int) -> tuple[int, int]:
    """The half-open window of a reset period that holds an instant.

    Args:
        period: HOUR, DAY, WEEK, MONTH or YEAR; None counts for ever.
        anchor_ms: From `anchor_of`.
        at_ms: Epoch milliseconds UTC.

    Returns:
        `(start_ms, end_ms)`; `(0, FOREVER_MS)` without a reset period.

    Source: vectors 10-periods, rows A1 to A12.
    """
    if period is None:
        return 0, FOREVER_MS
    length = _FIXED.get(period)
    if length is not None:
        start = (at_ms - anchor_ms) // length * length + anchor_ms
        return start, start + length
    step = 12 if period == "YEAR" else 1
    _, start, end = month_window(anchor_ms, at_ms, step)
    return start, end


# Period of a promotional entitlement -> months; a week and the open ones are handled apart.
_PROMOTIONAL_MONTHS = {"ONE_MONTH": 1, "SIX_MONTH": 6, "ONE_YEAR": 12}


def promotional_end(period: str, start_ms: int) -> int | None:
    """When a promotional entitlement of a named period ends, exclusive; None for LIFETIME."""
    if period == "ONE_WEEK":
        return start_ms + WEEK_MS
    months = _PROMOTIONAL_MONTHS.get(period)
    return None if months is None else add_months(start_ms, months)


def trial_end(duration: int, units: str, start_ms: int) -> int:
    """When a trial of so many DAY or MONTH units ends, exclusive."""
    return start_ms + duration * DAY_MS if units == "DAY" else add_months(start_ms, duration)
