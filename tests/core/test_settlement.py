"""Payment outcomes: what is not paid for entitles to nothing new and takes nothing away."""

from decimal import Decimal
from typing import Any

import pytest

from stigg_local.core.catalog import Coupon
from stigg_local.core.customer import Customer, status_of
from stigg_local.core.decided import Decided
from stigg_local.core.lifecycle import advance, due_ms
from stigg_local.core.migrate import MigrateToLatest, migrate
from stigg_local.core.payment import PAYMENT_WINDOW_MS, PaymentOutcome
from stigg_local.core.period import DAY_MS
from stigg_local.core.schedule import CancelScheduledUpdates, cancel_scheduled
from stigg_local.core.settlement import apply_outcome, awaits, charges_due, park, settle, unpark
from stigg_local.core.sources import Catalog
from stigg_local.errors import StiggError
from tests.builders import customer, derived, ms, plan
from tests.core.lives import PAID, SEATS, T0, buy, change, end, flat, plans_at, shop

JULY = ms("2025-07-01T00:00:00Z")
AUGUST = ms("2025-08-01T00:00:00Z")
FAILED = PaymentOutcome(outcome="FAILED", error_message="no sufficient funds", payment_url="https://pay")


def answered(decided: Decided, compiled: Catalog, outcome: str | PaymentOutcome, at_ms: int) -> Decided:
    """What becomes of a decision whose charge is answered."""
    assert decided.charge is not None
    given = PaymentOutcome(outcome=outcome) if isinstance(outcome, str) else outcome
    return apply_outcome(decided.customer, compiled, decided.charge, given, now_ms=at_ms)


def bought(compiled: Catalog, plan_id: str = "basic", **fields: Any) -> Decided:
    """A subscription that was paid for at once."""
    return answered(buy(customer(), compiled, plan_id, charges=True, **PAID, **fields), compiled, "PAID", T0)


def entitled(record: Customer, compiled: Catalog, at_ms: int) -> list[str]:
    return plans_at(derived(record, compiled, T0).sources, at_ms)


def test_the_first_payment_opens_the_door() -> None:
    """Until then it entitles to nothing; the invoice is the full first period."""
    compiled = shop()
    asked = buy(customer(), compiled, "basic", charges=True, invoice_id="invoice-1", **PAID)
    assert asked.charge is not None
    assert ("invoice-1", Decimal(10), "NEW", T0, JULY) == (
        asked.charge.id,
        asked.charge.amount,
        asked.charge.reason,
        asked.charge.period_start_ms,
        asked.charge.period_end_ms,
    )
    assert awaits(asked.customer, asked.charge)
    assert ("PAYMENT_PENDING", []) == (status_of(asked.subscription, T0), entitled(asked.customer, compiled, T0))
    paid = answered(asked, compiled, "PAID", T0)
    assert ("ACTIVE", ["basic"], JULY, "PAID") == (
        status_of(paid.subscription, T0),
        entitled(paid.customer, compiled, T0),
        paid.subscription.paid_until_ms,
        paid.subscription.latest_invoice.status if paid.subscription.latest_invoice else None,
    )
    # Told twice, it changes nothing.
    assert paid.customer == answered(Decided(**_fields(paid, asked)), compiled, "PAID", T0).customer


def _fields(after: Decided, asked: Decided) -> dict[str, Any]:
    return {"customer": after.customer, "subscription_id": after.subscription_id, "charge": asked.charge}


@pytest.mark.parametrize("outcome", ["PROCESSING", "ACTION_REQUIRED", "FAILED"])
def test_a_first_payment_that_is_not_there_expires(outcome: str) -> None:
    """After 23 hours; paid before, it is active."""
    compiled = shop()
    held = answered(buy(customer(), compiled, "basic", charges=True, **PAID), compiled, outcome, T0)
    assert ("PAYMENT_PENDING", outcome) == (status_of(held.subscription, T0), held.subscription.payment_collection)
    expires = T0 + PAYMENT_WINDOW_MS
    assert expires == due_ms(held.customer)
    gone = advance(held.customer, compiled, to_ms=expires).customer
    assert ("EXPIRED", "PendingPaymentExpired", []) == (
        status_of(gone.subscriptions[0], expires),
        gone.subscriptions[0].cancel_reason,
        entitled(gone, compiled, expires),
    )
    own = held.subscription_id
    later = settle(held.customer, compiled, own, paid=True, now_ms=expires - 1)
    assert ["basic"] == entitled(later.customer, compiled, expires)
    with pytest.raises(StiggError) as raised:
        settle(later.customer, compiled, own, paid=True, now_ms=expires)
    assert "InvalidSubscriptionStatus" == raised.value.code
    with pytest.raises(StiggError) as raised:
        settle(held.customer, compiled, own, paid=True, now_ms=expires)
    assert "SubscriptionAlreadyCanceledOrExpired" == raised.value.code


def test_a_plan_change_that_is_paid_at_once_is_a_new_subscription() -> None:
    """The rest of the period is what it costs; the old one ends, the cycle stays."""
    compiled = shop()
    first = bought(compiled)
    at = ms("2025-06-16T00:00:00Z")
    asked = buy(first.customer, compiled, "pro", at, charges=True, **PAID)
    assert asked.charge is not None
    assert (first.subscription_id, Decimal("5.00")) == (asked.subscription_id, asked.charge.amount)
    paid = answered(asked, compiled, "PAID", at)
    old, new = paid.customer.subscriptions
    assert ("pro", at, T0, at, "UpgradeOrDowngrade", JULY) == (
        new.plan_id,
        new.start_ms,
        new.billing_anchor_ms,
        old.end_ms,
        old.cancel_reason,
        new.paid_until_ms,
    )


@pytest.mark.parametrize("anchor", ["UNCHANGED", "NOW"])
def test_a_plan_change_that_is_paid_at_once_has_the_cycle_that_was_asked_for(anchor: Any) -> None:
    compiled = shop()
    first = bought(compiled)
    at = ms("2025-06-16T00:00:00Z")
    asked = buy(first.customer, compiled, "pro", at, charges=True, billing_cycle_anchor=anchor, **PAID)
    changed = answered(asked, compiled, "PAID", at).subscription
    assert ("pro", at if anchor == "NOW" else T0) == (changed.plan_id, changed.billing_anchor_ms)


def test_a_plan_change_that_is_not_paid_is_held_on_the_old_one() -> None:
    """It does not expire; paid later, it changes that one in place."""
    compiled = shop()
    first = bought(compiled)
    at = ms("2025-06-16T00:00:00Z")
    held = answered(buy(first.customer, compiled, "pro", at, charges=True, **PAID), compiled, FAILED, at)
    assert (first.subscription_id, "ACTIVE", "FAILED", ["basic"]) == (
        held.subscription_id,
        status_of(held.subscription, at),
        held.subscription.payment_collection,
        entitled(held.customer, compiled, at + 99 * DAY_MS),
    )
    assert held.subscription.latest_invoice is not None
    assert ("FAILED", "no sufficient funds", "https://pay") == (
        held.subscription.latest_invoice.status,
        held.subscription.latest_invoice.error_message,
        held.subscription.latest_invoice.payment_url,
    )
    still = settle(held.customer, compiled, held.subscription_id, paid=False, now_ms=at + 1)
    later = settle(still.customer, compiled, held.subscription_id, paid=True, now_ms=at + DAY_MS)
    assert (first.subscription_id, "pro", T0, T0, ()) == (
        later.subscription_id,
        later.subscription.plan_id,
        later.subscription.start_ms,
        later.subscription.usage_anchor_ms,
        later.subscription.scheduled_updates,
    )


def test_an_update_that_is_not_paid_keeps_the_old_quantity() -> None:
    """Until it is paid."""
    compiled = shop()
    first = bought(compiled, "team", units=SEATS)
    asked = change(first.customer, compiled, first.subscription_id, T0 + 5, units=(("seats", 8),), charges=True)
    held = answered(asked, compiled, "ACTION_REQUIRED", T0 + 5)
    assert 5 == held.subscription.units["seats"]
    assert (
        8
        == settle(held.customer, compiled, held.subscription_id, paid=True, now_ms=T0 + 9).subscription.units["seats"]
    )


def test_nothing_is_collected_where_nothing_is_due() -> None:
    """Trials, past starts, future starts, free plans, downgrades."""
    compiled = shop(downgrade_time="IMMEDIATE")
    first = bought(compiled, "pro")
    for record, plan_id, fields in (
        (customer(), "turns", {}),
        (customer(), "free", {}),
        (customer(), "basic", {"start_ms": T0 - DAY_MS, **PAID}),
        (customer(), "basic", {"start_ms": T0 + DAY_MS, **PAID}),
        (first.customer, "basic", PAID),
    ):
        made = buy(record, compiled, plan_id, charges=True, **fields)
        assert (None, None) == (made.charge, made.subscription.payment_due_ms)
    assert Decimal("10.00") == buy(first.customer, compiled, "basic", charges=True, **PAID).credit


def test_a_renewal_is_charged_once_for_each_period() -> None:
    """A failed one leaves access as it was."""
    compiled = shop()
    first = bought(compiled)
    assert JULY == due_ms(first.customer)
    assert None is due_ms(first.customer, charges=False)
    record, invoices = charges_due(first.customer, compiled, now_ms=JULY)
    assert [("RENEWAL", Decimal(10), JULY, AUGUST)] == [
        (item.reason, item.amount, item.period_start_ms, item.period_end_ms) for item in invoices
    ]
    assert (record, ()) == charges_due(record, compiled, now_ms=JULY)
    # Whenever it is begun, it is the same invoice.
    assert invoices[0].id == charges_due(first.customer, compiled, now_ms=JULY + 5)[1][0].id
    failed = apply_outcome(record, compiled, invoices[0], FAILED, now_ms=JULY)
    assert ("ACTIVE", "FAILED", ["basic"], AUGUST) == (
        status_of(failed.subscription, JULY),
        failed.subscription.payment_collection,
        entitled(failed.customer, compiled, JULY),
        due_ms(failed.customer),
    )
    assert "customer.payment_failed" in [item.type for item in failed.events]
    later = settle(failed.customer, compiled, failed.subscription_id, paid=True, now_ms=JULY + 5)
    assert "NOT_REQUIRED" == later.subscription.payment_collection


@pytest.mark.parametrize("plan_id", ["turns", "basic"])
def test_a_trial_end_and_a_future_start_are_charged_when_they_come(plan_id: str) -> None:
    """Failed, they wait for 23 hours; paid later, the cycle stays where it is."""
    compiled = shop()
    fields: dict[str, Any] = {} if plan_id == "turns" else {"start_ms": T0 + 14 * DAY_MS, **PAID}
    made = buy(customer(), compiled, plan_id, charges=True, **fields)
    at = T0 + 14 * DAY_MS
    assert at == due_ms(made.customer)
    record, invoices = charges_due(made.customer, compiled, now_ms=at + 5)
    assert ["TRIAL_END" if plan_id == "turns" else "START"] == [item.reason for item in invoices]
    held = apply_outcome(record, compiled, invoices[0], FAILED, now_ms=at + 6)
    assert ("PAYMENT_PENDING", []) == (status_of(held.subscription, at + 6), entitled(held.customer, compiled, at + 6))
    paid = settle(held.customer, compiled, held.subscription_id, paid=True, now_ms=at + DAY_MS - 9_000_000)
    assert ("ACTIVE", at, [plan_id]) == (
        status_of(paid.subscription, at + DAY_MS),
        paid.subscription.billing_anchor_ms,
        entitled(paid.customer, compiled, at + DAY_MS),
    )
    gone = advance(held.customer, compiled, to_ms=at + 2 * DAY_MS).customer
    assert "PendingPaymentExpired" == gone.subscriptions[0].cancel_reason


def test_a_future_start_in_the_cycle_of_what_it_replaces_costs_the_difference() -> None:
    """Half a month of pro less half a month of basic."""
    compiled = shop()
    first = bought(compiled)
    at = ms("2025-06-16T00:00:00Z")
    later = buy(first.customer, compiled, "pro", T0 + 5, start_ms=at, charges=True, **PAID)
    _, invoices = charges_due(later.customer, compiled, now_ms=at)
    assert [("START", Decimal("5.00"))] == [(item.reason, item.amount) for item in invoices]


def test_a_future_start_that_is_a_downgrade_collects_nothing() -> None:
    """Also where the first month costs more than the rest of the year is worth."""
    compiled = shop(plan("small", pricing_type="PAID", prices=(flat("8"),)))
    year: dict[str, Any] = {"billing_period": "ANNUALLY"}
    first = answered(buy(customer(), compiled, "basic", charges=True, **year), compiled, "PAID", T0)
    at = ms("2026-05-30T00:00:00Z")
    later = buy(first.customer, compiled, "small", T0 + 5, start_ms=at, charges=True, **PAID)
    record, invoices = charges_due(later.customer, compiled, now_ms=at)
    assert (["small"], ()) == (entitled(record, compiled, at), invoices)


def test_a_checkout_makes_nothing_until_it_is_paid() -> None:
    """Neither a subscription nor a change; its cycles begin with the payment."""
    compiled = shop()
    asked = buy(customer(), compiled, "basic", charges=True, **PAID)
    assert asked.charge is not None
    record, parked = park(asked.customer, compiled, asked.charge, now_ms=T0)
    assert () == record.subscriptions
    paid = unpark(record, compiled, parked, now_ms=T0 + DAY_MS)
    assert (asked.subscription_id, T0 + DAY_MS, T0 + DAY_MS, "ACTIVE") == (
        paid.subscription_id,
        paid.subscription.start_ms,
        paid.subscription.billing_anchor_ms,
        status_of(paid.subscription, T0 + DAY_MS),
    )
    first = bought(compiled)
    change_asked = buy(first.customer, compiled, "pro", T0 + 5, charges=True, **PAID)
    assert change_asked.charge is not None
    record, parked = park(change_asked.customer, compiled, change_asked.charge, now_ms=T0 + 5)
    assert first.customer.subscriptions == record.subscriptions
    moved = unpark(record, compiled, parked, now_ms=T0 + 9)
    assert ["basic", "pro"] == [item.plan_id for item in moved.customer.subscriptions]


def test_buying_the_trialed_plan_ends_the_trial_when_it_is_paid() -> None:
    """A failed payment leaves the trial as it was; the full price is due, from the conversion on."""
    compiled = shop()
    at = ms("2025-06-10T12:00:00Z")
    tried = buy(customer(), compiled, "turns", charges=True)
    asked = buy(tried.customer, compiled, "turns", at, charges=True, **PAID)
    assert asked.charge is not None
    assert (Decimal(30), ms("2025-07-10T12:00:00Z")) == (asked.charge.amount, asked.charge.period_end_ms)
    failed = answered(asked, compiled, FAILED, at)
    assert ["turns"] == entitled(failed.customer, compiled, at)
    paid = answered(asked, compiled, "PAID", at)
    assert [("TrialConverted", at), (None, None)] == [
        (item.cancel_reason, item.end_ms) for item in paid.customer.subscriptions
    ]


def test_a_coupon_takes_off_what_is_collected_and_once_is_once() -> None:
    """The subscription's own comes before the customer's."""
    half = Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50), once=True)
    compiled = shop()
    asked = buy(customer(), compiled, "basic", charges=True, promotion_code="HALF", resolved_coupon=half, **PAID)
    assert asked.charge is not None
    assert (Decimal(10), Decimal("5.00"), Decimal("5.00"), "HALF") == (
        asked.charge.sub_total,
        asked.charge.discount,
        asked.charge.amount,
        asked.charge.promotion_code,
    )
    paid = answered(asked, compiled, "PAID", T0)
    _, invoices = charges_due(paid.customer, compiled, now_ms=JULY)
    assert [Decimal(10)] == [item.amount for item in invoices]


def test_a_deferred_upgrade_inside_a_paid_year_waits_until_it_is_collected() -> None:
    """Eleven months of the difference are due on the anniversary; access moves when they are paid."""
    compiled = shop()
    start, at = ms("2025-01-31T00:00:00Z"), ms("2025-02-28T00:00:00Z")
    asked = buy(customer(), compiled, "basic", start, billing_period="ANNUALLY", charges=True)
    first = answered(asked, compiled, "PAID", start)
    waits = buy(
        first.customer,
        compiled,
        "pro",
        start + DAY_MS,
        billing_period="ANNUALLY",
        schedule_strategy="END_OF_BILLING_MONTH",
        charges=True,
    )
    assert (None, at) == (waits.charge, due_ms(waits.customer))
    reached = advance(waits.customer, compiled, to_ms=at).customer
    assert ("basic", "PendingPayment", at) == (
        reached.subscriptions[0].plan_id,
        reached.subscriptions[0].scheduled_updates[0].status,
        due_ms(reached),
    )
    record, invoices = charges_due(waits.customer, compiled, now_ms=at)
    # 337 of 365 days of 100 given back and of 200 asked for.
    assert [("UPDATE", Decimal("92.33"))] == [(item.reason, item.amount) for item in invoices]
    assert (record, ()) == charges_due(record, compiled, now_ms=at)
    paid = apply_outcome(record, compiled, invoices[0], PaymentOutcome(), now_ms=at)
    assert ("pro", first.subscription_id, ()) == (
        paid.subscription.plan_id,
        paid.subscription_id,
        paid.subscription.scheduled_updates,
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("50", "50", ("-10.00", "10.00", "5.00", "5.00")),
        (None, "50", ("-10.00", "10.00", "5.00", "5.00")),
        ("50", None, ("-5.00", "15.00", "0", "15.00")),
        ("50", "20", ("-5.00", "15.00", "3.00", "12.00")),
    ],
)
def test_no_more_is_given_back_than_was_paid(before: str | None, now: str | None, expected: tuple[str, ...]) -> None:
    """The same coupon is taken off the difference; one that is gone lowers the credit (D1 to D4)."""
    compiled = shop()

    def discounted(percent: str | None) -> dict[str, Any]:
        if percent is None:
            return {}
        coupon = Coupon(id=f"off-{percent}", type="PERCENTAGE", percent_off=Decimal(percent))
        return {"promotion_code": f"P{percent}", "resolved_coupon": coupon}

    first = bought(compiled, **discounted(before))
    asked = buy(first.customer, compiled, "pro", charges=True, **PAID, **discounted(now))
    assert asked.charge is not None
    credit = next(line.amount for line in asked.charge.lines if line.amount < 0)
    charge = asked.charge
    assert tuple(map(Decimal, expected)) == (credit, charge.sub_total, charge.discount, charge.amount)


def test_the_customers_coupon_counts_where_the_subscription_has_none() -> None:
    """It is used by the first payment, and given back at the price that was paid."""
    compiled = shop()
    compiled.others = {
        "coupon": [Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50), once=True)],
    }
    record = customer(coupon_id="half", coupon_ms=T0)
    asked = buy(record, compiled, "basic", charges=True, **PAID)
    assert asked.charge is not None
    assert (Decimal("5.00"), "half") == (asked.charge.amount, asked.charge.coupon_id)
    paid = answered(asked, compiled, "PAID", T0)
    assert paid.customer.is_coupon_used
    gone = end(paid.customer, compiled, paid.subscription_id, T0)
    assert Decimal("5.00") == gone.credit
    unknown = buy(customer(coupon_id="none"), compiled, "basic", charges=True, **PAID)
    assert unknown.charge is not None
    assert Decimal(10) == unknown.charge.amount


def test_a_free_first_period_is_not_collected() -> None:
    """A coupon of a hundred percent leaves nothing to ask for."""
    compiled = shop()
    coupon = Coupon(id="all", type="PERCENTAGE", percent_off=Decimal(100))
    made = buy(customer(), compiled, "basic", charges=True, promotion_code="ALL", resolved_coupon=coupon, **PAID)
    assert (None, "ACTIVE", JULY) == (made.charge, status_of(made.subscription, T0), made.subscription.paid_until_ms)
    record, invoices = charges_due(made.customer, compiled, now_ms=JULY)
    assert ((), AUGUST) == (invoices, record.subscriptions[0].paid_until_ms)


def test_what_waits_for_its_payment_is_not_changed() -> None:
    """Nor migrated; its texts may be, and it may be cancelled."""
    compiled = shop()
    asked = buy(customer(), compiled, "basic", charges=True, **PAID)
    own = asked.subscription_id
    newer = Catalog([("product", compiled.products["product"]), ("plan", compiled.packages["basic", 1].version)])
    newer.latest["basic"] = 2
    with pytest.raises(StiggError) as raised:
        change(asked.customer, compiled, own, T0 + 5, addons=())
    assert "InvalidSubscriptionStatus" == raised.value.code
    with pytest.raises(StiggError) as raised:
        migrate(asked.customer, newer, MigrateToLatest(subscription_id=own), now_ms=T0 + 5)
    assert "InvalidSubscriptionStatus" == raised.value.code
    assert {"a": "1"} == change(asked.customer, compiled, own, T0 + 5, metadata={"a": "1"}).subscription.metadata
    gone = end(asked.customer, compiled, own, T0 + 5)
    assert ("CANCELED", []) == (status_of(gone.subscription, T0 + 5), entitled(gone.customer, compiled, T0))


def test_a_checkout_for_what_runs_already_is_where_the_customer_has_to_act() -> None:
    """There is nothing to take back from a renewal."""
    compiled = shop()
    record, invoices = charges_due(bought(compiled).customer, compiled, now_ms=JULY)
    page = PaymentOutcome(outcome="CHECKOUT", checkout_url="https://page")
    held = apply_outcome(record, compiled, invoices[0], page, now_ms=JULY)
    assert held.subscription.latest_invoice is not None
    assert ("ACTION_REQUIRED", "https://page", "ACTIVE") == (
        held.subscription.payment_collection,
        held.subscription.latest_invoice.payment_url,
        status_of(held.subscription, JULY),
    )


def test_a_change_that_was_held_for_a_plan_that_is_gone_is_dropped() -> None:
    """What ran goes on."""
    compiled = shop()
    first = bought(compiled)
    held = answered(buy(first.customer, compiled, "pro", T0 + 5, charges=True, **PAID), compiled, FAILED, T0 + 5)
    gone = shop(plan("pro", status="ARCHIVED", pricing_type="PAID"))
    later = settle(held.customer, gone, held.subscription_id, paid=True, now_ms=T0 + 9)
    assert ("basic", ()) == (later.subscription.plan_id, later.subscription.scheduled_updates)


def test_a_held_update_is_taken_back_and_nothing_is_asked_for_any_more() -> None:
    """The old quantity goes on."""
    compiled = shop()
    first = bought(compiled, "team", units=SEATS)
    asked = change(first.customer, compiled, first.subscription_id, T0 + 5, units=(("seats", 8),), charges=True)
    held = answered(asked, compiled, FAILED, T0 + 5)
    command = CancelScheduledUpdates(subscription_id=first.subscription_id, status="PendingPayment")
    back = cancel_scheduled(held.customer, compiled, command, now_ms=T0 + 9)
    assert (5, (), "NOT_REQUIRED") == (
        back.subscription.units["seats"],
        back.subscription.scheduled_updates,
        back.subscription.payment_collection,
    )


def test_a_downgrade_with_a_new_cycle_moves_the_next_charge() -> None:
    """From annual to monthly at once: the rest of the year is given back, and a month on is charged again."""
    compiled = shop(downgrade_time="IMMEDIATE")
    asked = buy(customer(), compiled, "basic", billing_period="ANNUALLY", charges=True)
    first = answered(asked, compiled, "PAID", T0)
    down = change(first.customer, compiled, first.subscription_id, T0, billing_period="MONTHLY", charges=True)
    assert (None, JULY, Decimal("90.00")) == (down.charge, down.subscription.paid_until_ms, down.credit)


def test_what_was_never_paid_leaves_no_free_plan() -> None:
    """A free plan follows what ran, not what was only asked for."""
    compiled = shop(subscription_end_setup="DOWNGRADE_TO_FREE", downgrade_plan_id="free")
    held = answered(buy(customer(), compiled, "basic", charges=True, **PAID), compiled, FAILED, T0)
    gone = advance(held.customer, compiled, to_ms=T0 + PAYMENT_WINDOW_MS).customer
    assert [("basic", T0 + PAYMENT_WINDOW_MS)] == [(item.plan_id, item.end_ms) for item in gone.subscriptions]


def test_a_cancellation_comes_before_a_payment_that_expires_at_that_instant() -> None:
    compiled = shop()
    held = answered(buy(customer(), compiled, "basic", charges=True, **PAID), compiled, FAILED, T0)
    expires = T0 + PAYMENT_WINDOW_MS
    planned = change(held.customer, compiled, held.subscription_id, T0 + 1, cancellation_ms=expires)
    gone = advance(planned.customer, compiled, to_ms=expires)
    assert "ScheduledCancellation" == gone.customer.subscriptions[0].cancel_reason
    assert ["subscription.canceled"] == [item.type for item in gone.events]


def test_an_upgrade_at_the_end_of_what_was_paid_is_part_of_the_renewal() -> None:
    """Nothing of the period before is left to settle, so it waits for no payment of its own."""
    compiled = shop()
    waits = buy(
        bought(compiled).customer,
        compiled,
        "pro",
        T0 + 5,
        schedule_strategy="END_OF_BILLING_PERIOD",
        charges=True,
        **PAID,
    )
    reached = advance(waits.customer, compiled, to_ms=JULY).customer.subscriptions[0]
    assert ("pro", ()) == (reached.plan_id, reached.scheduled_updates)
    _, invoices = charges_due(waits.customer, compiled, now_ms=JULY)
    assert [("RENEWAL", Decimal(20))] == [(item.reason, item.amount) for item in invoices]


def test_a_failure_that_is_told_after_the_payment_changes_nothing() -> None:
    compiled = shop()
    asked = buy(customer(), compiled, "basic", charges=True, **PAID)
    paid = answered(asked, compiled, "PAID", T0)
    late = answered(Decided(**_fields(paid, asked)), compiled, FAILED, T0 + 5)
    assert (paid.customer, ()) == (late.customer, late.events)


def test_a_deferred_charge_has_one_invoice_whenever_it_is_begun() -> None:
    """Two who begin it at different instants, as after a restore, ask the provider for the same thing."""
    compiled = shop()
    start = ms("2025-01-31T00:00:00Z")
    asked = buy(customer(), compiled, "basic", start, billing_period="ANNUALLY", charges=True)
    waits = buy(
        answered(asked, compiled, "PAID", start).customer,
        compiled,
        "pro",
        start + DAY_MS,
        billing_period="ANNUALLY",
        schedule_strategy="END_OF_BILLING_MONTH",
        charges=True,
    )
    at = ms("2025-02-28T00:00:00Z")
    found = [charges_due(waits.customer, compiled, now_ms=now)[1] for now in (at, at + DAY_MS)]
    assert [[f"invoice-{waits.subscription_id}-{at}"]] * 2 == [[item.id for item in one] for one in found]
