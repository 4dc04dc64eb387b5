"""A wall clock that goes back, ahead, or starts in the past: usage stays in its window, nothing is revived or lost.

The answers are those of `MONTH`ly calls (a limit of 100) and of a trial-like promotion that ends.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stigg_local import InvalidInput, Stigg
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG

CUSTOMER, CALLS, SEATS, CURRENCY = "customer-1", "feature-calls", "feature-seats", "currency-ai"
START = "2025-01-31T10:00:00Z"
DAY_S = 86_400
LEVELS = pytest.mark.parametrize("level", ["disk", "os", "queued"])


def opened(data_dir: Path, clock: ManualClock, level: str) -> Stigg:
    client = Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability=level)
    client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"}, idempotency_key="provision")
    return client


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def usage(client: Stigg, feature: str = CALLS) -> int | float:
    return client.get_metered_entitlement(CUSTOMER, feature).current_usage


@LEVELS
@pytest.mark.parametrize("back_s", [1, 3600, 365 * DAY_S])
def test_a_clock_that_goes_back_moves_no_usage_to_another_window(data_dir: Path, level: str, back_s: int) -> None:
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        client.report_usage(CUSTOMER, CALLS, 3)
        # Hours at a time, as a clock that runs is believed.
        clock.advance(seconds=40 * DAY_S)
        client.report_usage(CUSTOMER, CALLS, 5)
        client.flush(10)
        window = client.get_metered_entitlement(CUSTOMER, CALLS).usage_period_start
        clock.jump(at(clock.time() - back_s))
        result = client.report_usage(CUSTOMER, CALLS, 7)
        assert 12 == result.current_usage == usage(client)
        assert (
            window == result.usage_period_start == client.get_metered_entitlement(CUSTOMER, CALLS).usage_period_start
        )
        client.flush(10)
        assert 12 == usage(client)


def test_a_later_manual_clock_on_the_same_directory_means_that_time_has_passed(data_dir: Path) -> None:
    """As in another process, months later: the tick writes down what happened in between, once."""
    with opened(data_dir, ManualClock(START), "disk") as client:
        client.grant_promotional_entitlements(
            CUSTOMER, [{"feature_id": SEATS, "usage_limit": 9, "period": "ONE_WEEK"}]
        )
    for due in (1, 0):
        with Stigg(data_dir=data_dir, clock=ManualClock("2025-06-30T10:00:00Z")) as client:
            assert (due, False) == (client.tick()["due"], client.status().clock_suspect)
            last = client.get_events(customer_id=CUSTOMER, types=["promotional_entitlement.expired"]).items
            assert [at(1_738_922_400)] == [event.timestamp for event in last]


@LEVELS
def test_going_back_revives_no_promotion(data_dir: Path, level: str) -> None:
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        client.grant_promotional_entitlements(
            CUSTOMER, [{"feature_id": CALLS, "usage_limit": 5000, "period": "ONE_WEEK"}]
        )
        assert 5000 == client.get_metered_entitlement(CUSTOMER, CALLS).usage_limit
        clock.advance(seconds=8 * DAY_S)
        client.report_usage(CUSTOMER, CALLS, 1)
        client.flush(10)
        assert 100 == client.get_metered_entitlement(CUSTOMER, CALLS).usage_limit
        clock.jump(at(clock.time() - 7 * DAY_S))
        assert 100 == client.get_metered_entitlement(CUSTOMER, CALLS).usage_limit


@pytest.mark.parametrize("end", ["tick", "close"])
def test_a_restart_in_the_past_revives_nothing_that_was_seen_to_end(
    data_dir: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that only reads have seen is stored as well: while it passes, and by the one who leads at its end."""
    clock = ManualClock(START)
    with opened(data_dir, clock, "disk") as client:
        assert client._embedded is not None
        client._embedded.store.upkeep.stand_for_leader()
        client.grant_credits(CUSTOMER, CURRENCY, 50, expire_at=at(clock.time() + DAY_S))
        clock.advance(seconds=2 * DAY_S)
        assert 0 == client.get_credit_entitlement(CUSTOMER, CURRENCY).remaining
        if end == "tick":
            client.tick()
            monkeypatch.setattr("stigg_local.store.upkeep.TIME_BEHIND_MS", 10 * DAY_S * 1000)
    with Stigg(data_dir=data_dir, clock=ManualClock(START)) as client:
        assert 0 == client.get_credit_entitlement(CUSTOMER, CURRENCY).remaining


@LEVELS
def test_a_jump_ahead_changes_nothing_for_good(data_dir: Path, level: str) -> None:
    """What happened under the wrong time shows there; when the clock comes back, everything is as it was."""
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        client.report_usage(CUSTOMER, CALLS, 60)
        client.report_usage(CUSTOMER, SEATS, 4)
        client.flush(10)
        now = clock.time()
        clock.jump(at(now + 3 * 365 * DAY_S))
        assert client.status().clock_suspect
        assert 0 == usage(client)
        assert 4 == usage(client, SEATS)
        client.report_usage(CUSTOMER, CALLS, 9)
        client.flush(10)
        assert 9 == usage(client)
        clock.jump(at(now + 60))
        assert 60 == usage(client)
        assert not client.status().clock_suspect
        assert 61 == client.report_usage(CUSTOMER, CALLS, 1).current_usage
        client.flush(10)
    with Stigg(data_dir=data_dir, clock=clock) as client:
        assert 61 == usage(client)
        assert 4 == usage(client, SEATS)


def test_a_change_under_a_wrong_time_leaves_the_usage_of_the_right_one(data_dir: Path) -> None:
    """Counters follow the sources for both times; only one of the two is right."""
    clock = ManualClock(START)
    with opened(data_dir, clock, "disk") as client:
        client.report_usage(CUSTOMER, CALLS, 60)
        now = clock.time()
        clock.jump(at(now + 3 * 365 * DAY_S))
        client.grant_promotional_entitlements(CUSTOMER, [{"feature_id": SEATS, "usage_limit": 9}])
        assert client.status().clock_suspect
        assert 0 == usage(client)
        clock.jump(at(now + 60))
        assert 60 == usage(client)
        assert 61 == client.report_usage(CUSTOMER, CALLS, 1).current_usage


def test_a_clock_that_was_confirmed_is_believed_from_there_on(data_dir: Path) -> None:
    """The hours before do not count towards the next jump."""
    clock = ManualClock(START)
    with opened(data_dir, clock, "disk") as client:
        clock.advance(seconds=20 * 3600)
        clock.jump(at(clock.time() + 30 * DAY_S))
        assert client.status().clock_suspect
        client.confirm_clock()
        assert not client.status().clock_suspect
        clock.jump(at(clock.time() + 25 * 3600))
        assert client.status().clock_suspect


@LEVELS
def test_a_restart_in_the_past_goes_on_from_the_time_that_was_stored(data_dir: Path, level: str) -> None:
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        clock.advance(seconds=40 * DAY_S)
        client.report_usage(CUSTOMER, CALLS, 5)
        client.flush(10)
        window = client.get_metered_entitlement(CUSTOMER, CALLS).usage_period_start
    # Another boot, whose clock knows nothing of the last one.
    with Stigg(data_dir=data_dir, clock=ManualClock("2024-06-01T00:00:00Z"), durability=level) as client:
        assert 5 == usage(client)
        result = client.report_usage(CUSTOMER, CALLS, 2)
        assert 7 == result.current_usage == usage(client)
        assert window == result.usage_period_start
        client.flush(10)
        assert 7 == usage(client)


@LEVELS
def test_a_report_from_the_past_counts_there_and_opens_nothing_again(data_dir: Path, level: str) -> None:
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        clock.advance(seconds=10 * DAY_S)
        client.report_usage(CUSTOMER, CALLS, 5)
        clock.advance(seconds=30 * DAY_S)
        late = client.report_usage(CUSTOMER, CALLS, 50, created_at="2025-02-11T00:00:00Z")
        assert 0 == late.current_usage == usage(client)
        client.report_usage(CUSTOMER, CALLS, 1)
        client.flush(10)
        assert 1 == usage(client)


@LEVELS
def test_a_report_from_the_future_is_clamped_or_refused(data_dir: Path, level: str) -> None:
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        near = client.report_usage(CUSTOMER, CALLS, 1, created_at="2025-01-31T10:04:59Z")
        assert 1 == near.current_usage
        with pytest.raises(InvalidInput, match="future"):
            client.report_usage(CUSTOMER, CALLS, 1, created_at="2025-01-31T10:05:01Z")
        client.flush(10)
        assert 1 == usage(client)


@LEVELS
def test_the_time_of_a_report_is_stamped_once(data_dir: Path, level: str) -> None:
    """A repeat with its key in a later window is the same report in the same window."""
    clock = ManualClock(START)
    with opened(data_dir, clock, level) as client:
        first = client.report_usage(CUSTOMER, CALLS, 5, idempotency_key="k")
        clock.advance(seconds=40 * DAY_S)
        assert first == client.report_usage(CUSTOMER, CALLS, 5, idempotency_key="k")
        client.flush(10)
        assert first == client.report_usage(CUSTOMER, CALLS, 5, idempotency_key="k")
        assert 0 == usage(client)
