"""Calendars: against a slow implementation with `datetime`, and the laws of windows."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.period import (
    DAY_MS,
    FOREVER_MS,
    WEEK_MS,
    add_months,
    anchor_of,
    month_window,
    promotional_end,
    to_datetime,
    to_ms,
    to_text,
    trial_end,
    window,
)
from stigg_local.errors import InvalidInput
from tests.builders import ms
from tests.strategies import INSTANTS, RESET, RESETS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tues", "Wednes", "Thurs", "Fri", "Satur", "Sun")


def slow_anchor(period: str | None, configuration: str | None, start: datetime) -> datetime:
    """Where windows are anchored, by walking back day by day."""
    if period is None or configuration in (None, "SubscriptionStart"):
        return start
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    if configuration == "StartOfTheMonth":
        return day.replace(day=1)
    while configuration != f"Every{_DAYS[day.weekday()]}day":
        day -= timedelta(days=1)
    return day


def slow_boundary(period: str, anchor: datetime, n: int) -> datetime:
    """The anchor and n periods, its day clamped to the month's end."""
    lengths = {"HOUR": timedelta(hours=1), "DAY": timedelta(days=1), "WEEK": timedelta(weeks=1)}
    if period in lengths:
        return anchor + n * lengths[period]
    months = anchor.year * 12 + anchor.month - 1 + n * (12 if period == "YEAR" else 1)
    year, month = months // 12, months % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, monthrange(year, month)[1]))


def in_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


@given(RESET, INSTANTS, INSTANTS)
def test_a_window_is_between_the_boundaries_around_the_instant(
    reset: tuple[str | None, str | None], start_ms: int, at_ms: int
) -> None:
    """Boundary n is the anchor plus n periods, never the boundary before it plus one."""
    period, configuration = reset
    start, at = (_EPOCH + timedelta(milliseconds=moment) for moment in (start_ms, at_ms))
    anchor = slow_anchor(period, configuration, start)
    assert in_ms(anchor) == anchor_of(period, configuration, start_ms)
    if period is None:
        assert (0, FOREVER_MS) == window(period, in_ms(anchor), at_ms)
        return
    days = {"HOUR": 1 / 24, "DAY": 1, "WEEK": 7, "MONTH": 30.44, "YEAR": 365.25}[period]
    n = int((at - anchor).total_seconds() / 86_400 / days) - 2
    while slow_boundary(period, anchor, n + 1) <= at:
        n += 1
    expected = in_ms(slow_boundary(period, anchor, n)), in_ms(slow_boundary(period, anchor, n + 1))
    assert expected == window(period, in_ms(anchor), at_ms)


@given(st.sampled_from([reset for reset in RESETS if reset[0]]), INSTANTS, INSTANTS)
def test_windows_tile_time(reset: tuple[str, str | None], start_ms: int, at_ms: int) -> None:
    """Without gap or overlap: the next window begins where this one ends, the one before ends where it begins."""
    anchor_ms = anchor_of(*reset, start_ms)
    start, end = window(reset[0], anchor_ms, at_ms)
    assert start <= at_ms < end
    assert end == window(reset[0], anchor_ms, end)[0]
    assert start == window(reset[0], anchor_ms, start - 1)[1]
    assert (start, end) == window(reset[0], anchor_ms, start) == window(reset[0], anchor_ms, end - 1)


@given(INSTANTS, st.integers(-2000, 2000))
def test_the_month_index_is_the_inverse_of_adding_months(anchor_ms: int, months: int) -> None:
    """So that a recurring grant has one number for its period."""
    at_ms = add_months(anchor_ms, months)
    assert months == month_window(anchor_ms, at_ms)[0]


def test_months_saturate_beyond_the_calendar() -> None:
    """A lifetime in months does not overflow."""
    assert FOREVER_MS == add_months(ms("2025-01-31T00:00:00Z"), 12 * 9000)
    assert ms("0001-01-01T00:00:00Z") == add_months(ms("2025-01-31T00:00:00Z"), -12 * 9000)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_goes_to_milliseconds_and_back(moment: datetime) -> None:
    """What is shown is what was given, down to the millisecond."""
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    found = to_ms(moment, name="at")
    assert whole == to_datetime(found)
    assert found == to_ms(to_text(found) if whole.year >= 1000 else whole, name="at")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-01-31T10:00:00Z", "2025-01-31T10:00:00.000Z"),
        ("2025-01-31T12:00:00+02:00", "2025-01-31T10:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("2025-01-31T10:00:00.123456Z", "2025-01-31T10:00:00.123Z"),
    ],
)
def test_an_instant_is_read_from_text(text: str, expected: str) -> None:
    """ISO 8601 with an offset."""
    assert expected == to_text(to_ms(text, name="at"))


@pytest.mark.parametrize("value", ["yesterday", "2025-01-31T10:00:00", "2025-01-31", 7, None, datetime(2025, 1, 1)])  # noqa: DTZ001
def test_what_is_no_instant_is_refused(value: object) -> None:
    """A naive time would be another instant on another machine."""
    with pytest.raises(InvalidInput, match="start is"):
        to_ms(value, name="start")


@pytest.mark.parametrize("beyond", [None, FOREVER_MS, -(2**62)])
def test_beyond_the_calendar_is_no_date(beyond: int | None) -> None:
    """For ever has no date to show."""
    assert None is to_datetime(beyond)
    assert None is to_text(beyond)


def test_a_promotion_ends_by_its_period() -> None:
    """Months are clamped, a lifetime has no end."""
    start = ms("2025-08-31T10:00:00Z")
    assert start + WEEK_MS == promotional_end("ONE_WEEK", start)
    assert ms("2025-09-30T10:00:00Z") == promotional_end("ONE_MONTH", start)
    assert ms("2026-02-28T10:00:00Z") == promotional_end("SIX_MONTH", start)
    assert ms("2026-08-31T10:00:00Z") == promotional_end("ONE_YEAR", start)
    assert None is promotional_end("LIFETIME", start)


def test_a_trial_ends_after_days_or_months() -> None:
    """Days are of 24 hours, months of the calendar."""
    start = ms("2025-01-31T10:00:00Z")
    assert start + 14 * DAY_MS == trial_end(14, "DAY", start)
    assert ms("2025-02-28T10:00:00Z") == trial_end(1, "MONTH", start)
