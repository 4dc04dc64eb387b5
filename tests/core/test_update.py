"""Updates and cancellations: what stays, what waits, what is refused, and what is given back."""

from decimal import Decimal
from typing import Any

import pytest

from stigg_local.core.customer import Subscription, SubscriptionAddon, status_of
from stigg_local.core.decided import Decided
from stigg_local.core.lifecycle import advance
from stigg_local.core.period import DAY_MS
from stigg_local.core.sources import Catalog
from stigg_local.errors import StiggError
from tests.builders import customer, ms, plan
from tests.core.lives import PAID, SEATS, T0, buy, change, end, flat, shop

JULY = ms("2025-07-01T00:00:00Z")
AT = ms("2025-06-16T00:00:00Z")


def team(compiled: Catalog, seats: int = 5) -> Decided:
    return buy(customer(), compiled, "team", units=(("seats", seats),), **PAID)


def waiting(subscription: Subscription) -> list[dict[str, int] | None]:
    return [item.units for item in subscription.scheduled_updates]


def test_fewer_and_more_seats_follow_the_rule_of_three_quantities() -> None:
    """5, then 3 waits, 4 waits in its place, 5 takes it back; 3 waits again, and 8 apply now (TV-Q)."""
    compiled = shop()
    made = team(compiled)
    own, record = made.subscription_id, made.customer
    seen = []
    for seats in (3, 4, 5, 3, 8):
        decided = change(record, compiled, own, AT, units=(("seats", seats),), charges=False)
        record = decided.customer
        seen.append((decided.subscription.units["seats"], waiting(decided.subscription)))
    assert [(5, [{"seats": 3}]), (5, [{"seats": 4}]), (5, []), (5, [{"seats": 3}]), (8, [])] == seen


def test_more_seats_are_paid_for_the_rest_of_the_period() -> None:
    """5 to 8 at 10 in the middle of June: 40 less 25."""
    compiled = shop()
    made = team(compiled)
    decided = change(made.customer, compiled, made.subscription_id, AT, units=(("seats", 8),), charges=True)
    assert decided.charge is not None
    assert ([Decimal("-25.00"), Decimal("40.00")], Decimal("15.00")) == (
        [line.amount for line in decided.charge.lines],
        decided.charge.amount,
    )
    # Until it is paid, the old quantity holds.
    assert (5, "PendingPayment") == (
        decided.subscription.units["seats"],
        decided.subscription.scheduled_updates[0].status,
    )


def test_seats_bought_while_a_plan_change_waits_are_carried_by_it() -> None:
    """They apply now, and the waiting downgrade brings the new quantity."""
    small = plan(
        "small",
        pricing_type="PAID",
        prices=(*shop().packages["team", 1].version.package.prices[:0], *_half_price()),
    )
    compiled = shop(small)
    made = team(compiled)
    waits = buy(made.customer, compiled, "small", AT, units=SEATS, **PAID)
    more = change(waits.customer, compiled, made.subscription_id, AT + 1, units=(("seats", 7),))
    assert (7, [{"seats": 7}], "small") == (
        more.subscription.units["seats"],
        waiting(more.subscription),
        more.subscription.scheduled_updates[0].plan_id,
    )
    done = advance(more.customer, compiled, to_ms=JULY).customer.subscriptions[0]
    assert ("small", {"seats": 7}, T0) == (done.plan_id, done.units, done.start_ms)


def _half_price() -> Any:
    from tests.core.lives import per_seat

    return (per_seat("5"),)


def test_addons_are_a_full_list_and_metadata_merges() -> None:
    """Absent keeps, None clears; a subscription keeps start, cycle and the versions that it has."""
    compiled = shop(downgrade_time="IMMEDIATE")
    made = buy(customer(), compiled, "basic", metadata={"a": "1", "b": "2"}, **PAID)
    own = made.subscription_id
    more = change(made.customer, compiled, own, AT, addons=(("more", 2),), metadata={"b": "3"})
    assert ((SubscriptionAddon(addon_id="more", version=1, quantity=2),), {"a": "1", "b": "3"}, T0, T0) == (
        more.subscription.addons,
        more.subscription.metadata,
        more.subscription.start_ms,
        more.subscription.billing_anchor_ms,
    )
    kept = change(more.customer, compiled, own, AT + 1, metadata=None)
    assert (1, None) == (len(kept.subscription.addons), kept.subscription.metadata)
    none = change(kept.customer, compiled, own, AT + 2, addons=None)
    assert ((), Decimal("4.00")) == (none.subscription.addons, none.credit)


def test_texts_and_dates_leave_what_waits() -> None:
    """Only what is paid for replaces a waiting change."""
    compiled = shop()
    bought = buy(customer(), compiled, "pro", **PAID)
    waits = buy(bought.customer, compiled, "basic", AT, **PAID)
    for fields in ({"metadata": {"a": "1"}}, {"cancellation_ms": AT + 9}, {"promotion_code": None}):
        kept = change(waits.customer, compiled, bought.subscription_id, AT + 1, **fields)
        assert 1 == len(kept.subscription.scheduled_updates)
    gone = change(waits.customer, compiled, bought.subscription_id, AT + 1, addons=())
    assert () == gone.subscription.scheduled_updates


def test_another_billing_period_begins_a_new_cycle() -> None:
    """The start stays; up at once, down at the end of the year."""
    compiled = shop()
    bought = buy(customer(), compiled, "basic", **PAID)
    yearly = change(bought.customer, compiled, bought.subscription_id, AT, billing_period="ANNUALLY")
    assert ("ANNUALLY", T0, AT, AT) == (
        yearly.subscription.billing_period,
        yearly.subscription.start_ms,
        yearly.subscription.billing_anchor_ms,
        yearly.subscription.usage_cut_ms,
    )
    back = change(yearly.customer, compiled, bought.subscription_id, AT + DAY_MS, billing_period="MONTHLY")
    assert [ms("2026-06-16T00:00:00Z")] == [item.execute_ms for item in back.subscription.scheduled_updates]


def test_a_cancellation_date_is_set_replaced_and_cleared() -> None:
    """Beyond a trial's end it extends the trial; extending a trial takes it back."""
    compiled = shop()
    bought = buy(customer(), compiled, "basic", **PAID)
    own = bought.subscription_id
    planned = change(bought.customer, compiled, own, AT, cancellation_ms=AT + 5)
    assert AT + 5 == planned.subscription.cancellation_ms
    assert "CANCELED" == status_of(planned.subscription, AT + 5)
    assert None is change(planned.customer, compiled, own, AT, cancellation_ms=None).subscription.cancellation_ms
    tried = buy(customer(), compiled, "tried")
    later = T0 + 20 * DAY_MS
    longer = change(tried.customer, compiled, tried.subscription_id, T0 + 5, cancellation_ms=later)
    assert (later, later) == (longer.subscription.trial_end_ms, longer.subscription.cancellation_ms)
    extended = change(longer.customer, compiled, tried.subscription_id, T0 + 6, trial_end_ms=later + 5)
    assert (later + 5, None) == (extended.subscription.trial_end_ms, extended.subscription.cancellation_ms)


@pytest.mark.parametrize(
    ("code", "plan_id", "fields"),
    [
        ("SubscriptionNotFound", "basic", {"subscription_id": "subscription-zzz"}),
        ("InvalidCancellationDate", "basic", {"cancellation_ms": AT}),
        ("InvalidCancellationDate", "basic", {"cancellation_ms": T0}),
        ("InvalidSubscriptionStatus", "basic", {"trial_end_ms": AT + 5}),
        ("InvalidArgumentError", "turns", {"trial_end_ms": T0 - 5, "at_ms": T0 + 5}),
        ("InvalidArgumentError", "turns", {"trial_end_ms": None, "at_ms": T0 + 5}),
        ("BillingPeriodMissingError", "basic", {"billing_period": None}),
        ("PriceNotFound", "team", {"billing_period": "ANNUALLY"}),
        ("InvalidQuantity", "team", {"units": (("seats", 0),)}),
        ("InvalidQuantity", "team", {"units": (("calls", 1),)}),
        ("InvalidQuantity", "team", {"units": None}),
        ("DuplicatedEntityNotAllowed", "team", {"units": (("seats", 1), ("seats", 2))}),
        ("IncompatibleSubscriptionAddon", "team", {"addons": (("more", 1),)}),
        ("AddonNotFound", "basic", {"addons": (("mone", 1),)}),
        ("DuplicateAddonProvisionedError", "basic", {"addons": (("more", 1), ("more", 2))}),
        ("InvalidQuantity", "basic", {"addons": (("more", 0),)}),
        ("PromotionCodeNotFound", "basic", {"promotion_code": "NONE"}),
    ],
)
def test_what_an_update_refuses(code: str, plan_id: str, fields: dict[str, Any]) -> None:
    """With a message, and the record as it was."""
    compiled = shop()
    fields = dict(fields)
    units = SEATS if plan_id == "team" else ()
    made = buy(customer(), compiled, plan_id, units=units, **({} if plan_id == "turns" else PAID))
    own, at = fields.pop("subscription_id", made.subscription_id), fields.pop("at_ms", AT)
    with pytest.raises(StiggError) as raised:
        change(made.customer, compiled, own, at, **fields)
    assert code == raised.value.code
    assert "`" in raised.value.message


def test_what_has_ended_is_not_changed() -> None:
    """Whatever else would be wrong."""
    compiled = shop()
    made = buy(customer(), compiled, "basic", **PAID)
    gone = end(made.customer, compiled, made.subscription_id, AT)
    with pytest.raises(StiggError) as raised:
        change(gone.customer, compiled, made.subscription_id, AT, addons=(("zzz", 0),))
    assert "SubscriptionAlreadyCanceledOrExpired" == raised.value.code
    with pytest.raises(StiggError) as raised:
        end(gone.customer, compiled, made.subscription_id, AT, end_ms=1)
    assert "SubscriptionAlreadyCanceledOrExpired" == raised.value.code


def test_what_is_cancelled_at_once_is_given_back() -> None:
    """99 a month, on the 22nd of June at noon: 8.5 of 30 days (TV-C)."""
    compiled = shop(plan("pricey", pricing_type="PAID", prices=(flat("99"),)))
    made = buy(customer(), compiled, "pricey", **PAID)
    at = ms("2025-06-22T12:00:00Z")
    gone = end(made.customer, compiled, made.subscription_id, at, cancellation_time="IMMEDIATE", prorate=True)
    assert (Decimal("28.05"), "CANCELED", "Immediate") == (
        gone.credit,
        status_of(gone.subscription, at),
        gone.subscription.cancel_reason,
    )
    kept = end(made.customer, compiled, made.subscription_id, at, cancellation_time="IMMEDIATE", prorate=False)
    assert Decimal(0) == kept.credit


@pytest.mark.parametrize(
    ("code", "plan_id", "fields"),
    [
        ("TrialMustBeCancelledImmediately", "turns", {"cancellation_time": "END_OF_BILLING_PERIOD"}),
        ("SchedulingAtEndOfBillingPeriod", "custom", {"cancellation_time": "END_OF_BILLING_PERIOD"}),
        ("InvalidCancellationDate", "basic", {"cancellation_time": "SPECIFIC_DATE"}),
        ("InvalidCancellationDate", "basic", {"cancellation_time": "SPECIFIC_DATE", "end_ms": T0 + 5}),
        ("InvalidCancellationDate", "basic", {"cancellation_time": "IMMEDIATE", "end_ms": AT}),
        ("SubscriptionNotFound", "basic", {"subscription_id": "zzz"}),
    ],
)
def test_what_a_cancellation_refuses(code: str, plan_id: str, fields: dict[str, Any]) -> None:
    """With the way out in its hint."""
    compiled = shop()
    fields = dict(fields)
    made = buy(customer(), compiled, plan_id, **(PAID if plan_id == "basic" else {}))
    with pytest.raises(StiggError) as raised:
        end(made.customer, compiled, fields.pop("subscription_id", made.subscription_id), T0 + 5, **fields)
    assert (code, True) == (raised.value.code, raised.value.hint is not None)


@pytest.mark.parametrize(("plan_id", "expected"), [("basic", JULY), ("free", None), ("custom", None), ("turns", None)])
def test_the_products_own_time_is_at_once_where_no_period_runs(plan_id: str, expected: int | None) -> None:
    """Trial, free and custom subscriptions end now."""
    compiled = shop(subscription_cancellation_time="END_OF_BILLING_PERIOD")
    made = buy(customer(), compiled, plan_id, **(PAID if plan_id == "basic" else {}))
    done = end(made.customer, compiled, made.subscription_id, T0 + 5).subscription
    assert (expected, None if expected else T0 + 5) == (done.cancellation_ms, done.end_ms)


def test_ending_the_downgrade_plan_itself_leaves_nothing() -> None:
    """Nor does a cancelled trial leave the product without its end setup."""
    compiled = shop(subscription_end_setup="DOWNGRADE_TO_FREE", downgrade_plan_id="free")
    tried = buy(customer(), compiled, "tried")
    gone = end(tried.customer, compiled, tried.subscription_id, T0 + 5)
    assert ["tried", "free"] == [item.plan_id for item in gone.customer.subscriptions]
    assert ("CANCELED", "Immediate") == (status_of(gone.subscription, T0 + 5), gone.subscription.cancel_reason)
    free = gone.customer.subscriptions[-1]
    last = end(gone.customer, compiled, free.id, T0 + 9)
    assert 2 == len(last.customer.subscriptions)
