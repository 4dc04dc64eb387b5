"""What a payment's outcome makes of a record.

Laws: what was not paid for entitles to nothing new and takes nothing away that was there; an outcome that is told
twice changes nothing the second time. Source: semantics §7.4, §19.14, §19.15, §19.32.
"""

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.change import changed, is_possible
from stigg_local.core.customer import AppliedCoupon, Customer, LatestInvoice, ScheduledUpdate, Subscription, same_place
from stigg_local.core.decided import Decided, ended_events, find, find_alive, told, with_subscription
from stigg_local.core.event import Event
from stigg_local.core.experiment import settings_at
from stigg_local.core.invoicing import change_invoice, period_invoice
from stigg_local.core.lifecycle import Advanced, advance, kinds_text
from stigg_local.core.payment import (
    ACTION_REQUIRED,
    CHECKOUT,
    FAILED,
    PAID,
    PAYMENT_WINDOW_MS,
    RENEWAL,
    START,
    TRIAL_END,
    Invoice,
    PaymentOutcome,
)
from stigg_local.core.place import billing_period, is_over, is_running, take_place
from stigg_local.core.pricing import is_downgrade
from stigg_local.core.sources import Catalog
from stigg_local.errors import NotAllowed


class Parked(Struct, frozen=True, kw_only=True, rename="camel"):
    """What waits behind a checkout page: a subscription that is not there yet, or a change that was not made."""

    invoice_id: str
    subscription: Subscription | None = None
    subscription_id: str | None = None
    update: ScheduledUpdate | None = None


def awaits(customer: Customer, invoice: Invoice) -> bool:
    """True where the record holds what the invoice is for, unpaid."""
    return any(item.id == invoice.subscription_id and _awaits(item, invoice) for item in customer.subscriptions)


def apply_outcome(
    customer: Customer, catalog: Catalog, invoice: Invoice, outcome: PaymentOutcome, *, now_ms: int
) -> Decided:
    """The record after the provider's answer to a collection that was begun.

    A plan change that is paid at once makes a new subscription; held ones that are paid later are `settle`'s.

    Raises:
        NotFound: The subscription does not exist (`SubscriptionNotFound`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    subscription = find(advanced.customer, invoice.subscription_id)
    if is_over(subscription, now_ms) or not _awaits(subscription, invoice):
        # It ended or was changed otherwise while the provider was asked, or this was told of before.
        return Decided(customer=advanced.customer, subscription_id=subscription.id, events=advanced.events)
    if outcome.outcome == CHECKOUT:
        # What runs already is not parked: its page is where the customer has to act.
        outcome = replace(outcome, outcome=ACTION_REQUIRED, payment_url=outcome.payment_url or outcome.checkout_url)
    subscription = replace(subscription, latest_invoice=_latest(invoice.id, outcome, invoice.reason))
    if outcome.outcome == PAID:
        return _paid(advanced, catalog, subscription, now_ms=now_ms, at_once=True)
    return _unpaid(advanced, subscription, outcome, now_ms=now_ms)


def settle(
    customer: Customer,
    catalog: Catalog,
    subscription_id: str,
    *,
    paid: bool,
    error_message: str | None = None,
    now_ms: int,
) -> Decided:
    """A payment that was open came in later, or failed for good.

    Raises:
        NotFound: The subscription does not exist (`SubscriptionNotFound`).
        NotAllowed: It has ended, or has nothing to pay (`InvalidSubscriptionStatus`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    subscription = find_alive(advanced.customer, subscription_id, now_ms)
    is_open = subscription.payment_due_ms is not None or _held(subscription) is not None
    if not is_open and subscription.payment_collection == "NOT_REQUIRED":
        raise NotAllowed(
            f"subscription `{subscription_id[:80]}` has nothing to pay",
            code="InvalidSubscriptionStatus",
            hint="settle what is PAYMENT_PENDING, holds a PendingPayment update, or failed to renew",
        )
    latest = subscription.latest_invoice
    outcome = PaymentOutcome(
        outcome=PAID if paid else FAILED,
        billing_id=None if latest is None else latest.billing_id,
        payment_url=None if latest is None or paid else latest.payment_url,
        error_message=error_message,
    )
    invoice_id = f"invoice-{subscription.id}" if latest is None else latest.id
    told_of = _latest(invoice_id, outcome, None if latest is None else latest.reason)
    subscription = replace(subscription, latest_invoice=told_of)
    if paid:
        return _paid(advanced, catalog, subscription, now_ms=now_ms, at_once=False)
    return _unpaid(advanced, subscription, outcome, now_ms=now_ms)


def park(customer: Customer, catalog: Catalog, invoice: Invoice, *, now_ms: int) -> tuple[Customer, Parked]:
    """Take what is to be paid at a checkout page out of the record: there is no subscription until it is paid."""
    customer = advance(customer, catalog, to_ms=now_ms).customer
    subscription = find(customer, invoice.subscription_id)
    held = _held(subscription)
    if held is not None:
        kept = tuple(item for item in subscription.scheduled_updates if item is not held)
        subscription = replace(subscription, scheduled_updates=kept)
        after = with_subscription(customer, subscription)
        parked = Parked(invoice_id=invoice.id, subscription_id=subscription.id, update=held)
    else:
        after = tuple(item for item in customer.subscriptions if item.id != subscription.id)
        parked = Parked(invoice_id=invoice.id, subscription=subscription)
    return replace(customer, subscriptions=after), parked


def unpark(customer: Customer, catalog: Catalog, parked: Parked, *, now_ms: int) -> Decided:
    """Make the subscription, or the change, that was paid for at a checkout page.

    Raises:
        NotFound, NotAllowed: The subscription that was to be changed is gone.
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    paid = LatestInvoice(id=parked.invoice_id, status="PAID")
    if parked.subscription is not None:
        # There was no subscription until now: its cycles begin now.
        subscription = replace(
            parked.subscription,
            latest_invoice=paid,
            payment_due_ms=now_ms,
            start_ms=now_ms,
            usage_anchor_ms=now_ms,
            usage_cut_ms=now_ms,
            billing_anchor_ms=now_ms,
        )
        known = replace(advanced.customer, subscriptions=(*advanced.customer.subscriptions, subscription))
        done = _paid(Advanced(known, advanced.events), catalog, subscription, now_ms=now_ms, at_once=True)
        made = told(known, event.SUBSCRIPTION_CREATED, done.subscription, now_ms, planId=done.subscription.plan_id)
        # In place of the last one, which tells that a subscription was paid for that is there only now.
        return replace(done, events=(*done.events[:-1], made))
    assert parked.update is not None, "what is parked is a subscription or a change"
    assert parked.subscription_id is not None, "a change waits on a subscription"
    subscription = find_alive(advanced.customer, parked.subscription_id, now_ms)
    subscription = replace(subscription, latest_invoice=paid, scheduled_updates=(parked.update,))
    return _paid(advanced, catalog, subscription, now_ms=now_ms, at_once=True)


def charges_due(customer: Customer, catalog: Catalog, *, now_ms: int) -> tuple[Customer, tuple[Invoice, ...]]:
    """The charges that time made due: trial ends, starts, renewals for the period that runs now, deferred upgrades.

    Returns:
        The record in which each of them is noted as begun, and the invoices. To be written before anything is
        collected, so that nothing is collected twice.
    """
    customer = advance(customer, catalog, to_ms=now_ms).customer
    invoices: list[Invoice] = []
    after: list[Subscription] = []
    for known in customer.subscriptions:
        item, invoice = _with_deferred(customer, known, catalog, now_ms)
        if invoice is not None:
            invoices.append(invoice)
        due = item.paid_until_ms
        if due is None or due > now_ms or not is_running(item, now_ms):
            after.append(item)
            continue
        reason = TRIAL_END if due == item.trial_end_ms else START if due == item.start_ms else RENEWAL
        invoice = _due_invoice(customer, item, catalog, now_ms=now_ms, reason=reason)
        period = billing_period(item, catalog, now_ms)
        moved = replace(item, paid_until_ms=None if period is None else period[1])
        if invoice is not None:
            invoices.append(invoice)
            begun = LatestInvoice(id=invoice.id, status="OPEN", reason=invoice.reason)
            moved = replace(moved, latest_invoice=begun, payment_collection="PROCESSING")
        after.append(moved)
    if tuple(after) == customer.subscriptions:
        return customer, ()
    return replace(customer, subscriptions=tuple(after)), tuple(invoices)


def _with_deferred(
    customer: Customer, subscription: Subscription, catalog: Catalog, now_ms: int
) -> tuple[Subscription, Invoice | None]:
    """The invoice of a deferred upgrade whose instant has come, noted on it; nothing where none has."""
    held = _held(subscription)
    if held is None or held.invoice_id is not None or held.execute_ms is None:
        return subscription, None
    invoice_id = f"invoice-{subscription.id}-{held.execute_ms}"
    invoice: Invoice | None = None
    if is_possible(held, catalog):
        after = _carried_out(customer, subscription, held, catalog, now_ms)
        invoice, _ = change_invoice(customer, subscription, after, catalog, at_ms=now_ms, invoice_id=invoice_id)
    noted = replace(held, invoice_id=invoice_id)
    updates = tuple(noted if item is held else item for item in subscription.scheduled_updates)
    after = replace(subscription, scheduled_updates=updates)
    if invoice is None:
        # There is nothing to collect any more, so nothing to wait for.
        return _carried_out(customer, after, noted, catalog, now_ms), None
    return after, invoice


def _carried_out(
    customer: Customer, subscription: Subscription, held: ScheduledUpdate, catalog: Catalog, now_ms: int
) -> Subscription:
    """The subscription with a change that was held; without it where its plan is gone."""
    kept = tuple(item for item in subscription.scheduled_updates if item is not held)
    if not is_possible(held, catalog):
        return replace(subscription, scheduled_updates=kept)
    settings = settings_at(customer, catalog, subscription.product_id)
    after = replace(changed(subscription, held, catalog, settings, at_ms=now_ms), scheduled_updates=kept)
    if held.plan_id is not None:
        # Whoever buys another plan does not mean to leave any more.
        after = replace(after, cancellation_ms=None, cancellation_action=None)
    return after


def _due_invoice(
    customer: Customer, subscription: Subscription, catalog: Catalog, *, now_ms: int, reason: str
) -> Invoice | None:
    """What a start, a trial's end or a renewal costs; a start inside the cycle of what it replaced, the difference."""
    start_ms = subscription.start_ms
    before = next(
        (
            item
            for item in customer.subscriptions
            if reason == START
            and item.id != subscription.id
            and same_place(item, subscription)
            and item.end_ms == start_ms
            and item.cancel_reason == "UpgradeOrDowngrade"
        ),
        None,
    )
    if before is None:
        return period_invoice(customer, subscription, catalog, at_ms=now_ms, reason=reason)
    if is_downgrade(before, subscription, catalog):
        return None
    invoice, _ = change_invoice(
        customer,
        before,
        subscription,
        catalog,
        at_ms=start_ms,
        invoice_id=f"invoice-{subscription.id}-{start_ms}",
    )
    return None if invoice is None else replace(invoice, reason=START)


def _awaits(subscription: Subscription, invoice: Invoice) -> bool:
    held, latest = _held(subscription), subscription.latest_invoice
    if held is not None and held.invoice_id == invoice.id:
        return True
    return latest is not None and latest.id == invoice.id and latest.status != "PAID"


def _held(subscription: Subscription) -> ScheduledUpdate | None:
    return next((item for item in subscription.scheduled_updates if item.status == "PendingPayment"), None)


def _latest(invoice_id: str, outcome: PaymentOutcome, reason: str | None) -> LatestInvoice:
    status = {PAID: "PAID", FAILED: "FAILED"}.get(outcome.outcome, "OPEN")
    return LatestInvoice(
        id=invoice_id,
        status=status,
        reason=reason,
        billing_id=outcome.billing_id,
        payment_url=outcome.payment_url,
        payment_secret=outcome.payment_secret,
        error_message=outcome.error_message,
    )


def _paid(advanced: Advanced, catalog: Catalog, subscription: Subscription, *, now_ms: int, at_once: bool) -> Decided:
    customer = _coupon_used(advanced.customer, subscription)
    subscription = replace(subscription, payment_collection="NOT_REQUIRED")
    held = _held(subscription)
    settings = settings_at(customer, catalog, subscription.product_id)
    if subscription.payment_due_ms is not None:
        is_new = subscription.paid_until_ms is None
        subscription = replace(subscription, payment_due_ms=None, start_ms=now_ms if is_new else subscription.start_ms)
        customer = replace(customer, subscriptions=with_subscription(customer, subscription))
        placed = take_place(
            customer.subscriptions, subscription, catalog, settings, at_ms=now_ms, keeps_anchors=not is_new
        )
        customer = replace(customer, subscriptions=placed.subscriptions)
        made = [*ended_events(customer, placed.ended, now_ms)]
        return _with_charges(advanced, customer, catalog, placed.subscription, placed.ended, made, now_ms)
    if held is None:
        return _with_charges(advanced, customer, catalog, subscription, (), [], now_ms)
    kept = tuple(item for item in subscription.scheduled_updates if item is not held)
    after = _carried_out(customer, subscription, held, catalog, now_ms)
    if not at_once or held.successor_id is None or not is_possible(held, catalog):
        made = [told(customer, event.SUBSCRIPTION_UPDATED, after, now_ms, kinds=kinds_text(held))]
        return _with_charges(advanced, customer, catalog, after, (), made, now_ms)
    successor = replace(
        after,
        id=held.successor_id,
        created_ms=now_ms,
        start_ms=now_ms,
        usage_anchor_ms=now_ms,
        usage_cut_ms=now_ms,
        billing_anchor_ms=now_ms,
        re_anchors=held.re_anchors,
        trial_end_ms=None,
        trial_end_behavior=None,
        converted_ms=None,
        cancellation_ms=None,
        cancellation_action=None,
        scheduled_updates=(),
        billing_country_code=held.billing_country_code,
        coupon=None if held.coupon is None else replace(held.coupon, is_used=True),
        metadata=held.metadata,
    )
    old = replace(subscription, scheduled_updates=kept, latest_invoice=find(customer, subscription.id).latest_invoice)
    customer = replace(customer, subscriptions=with_subscription(customer, old))
    placed = take_place(customer.subscriptions, successor, catalog, settings, at_ms=now_ms)
    customer = replace(customer, subscriptions=placed.subscriptions)
    made = [
        *ended_events(customer, placed.ended, now_ms),
        told(customer, event.SUBSCRIPTION_CREATED, successor, now_ms, planId=successor.plan_id),
    ]
    return _with_charges(advanced, customer, catalog, placed.subscription, placed.ended, made, now_ms)


def _with_charges(
    advanced: Advanced,
    customer: Customer,
    catalog: Catalog,
    subscription: Subscription,
    ended: tuple[Subscription, ...],
    made: list[Event],
    now_ms: int,
) -> Decided:
    """The decision, with the instant of the next charge on the subscription that was paid for."""
    period = billing_period(subscription, catalog, now_ms)
    subscription = replace(
        subscription, paid_until_ms=None if period is None else period[1], coupon=_used(subscription)
    )
    customer = replace(customer, subscriptions=with_subscription(customer, subscription), updated_ms=now_ms)
    last = made[-1] if made else None
    if last is not None and last.type in (event.SUBSCRIPTION_CREATED, event.SUBSCRIPTION_UPDATED):
        # The payment and what it brought about are one change.
        made = [*made[:-1], replace(last, data={**last.data, "payment": PAID})]
    else:
        made = [*made, told(customer, event.SUBSCRIPTION_UPDATED, subscription, now_ms, payment=PAID)]
    return Decided(customer=customer, subscription_id=subscription.id, ended=ended, events=(*advanced.events, *made))


def _unpaid(advanced: Advanced, subscription: Subscription, outcome: PaymentOutcome, *, now_ms: int) -> Decided:
    customer = advanced.customer
    subscription = replace(subscription, payment_collection=outcome.outcome)
    latest = subscription.latest_invoice
    is_first = latest is not None and latest.reason in (TRIAL_END, START)
    if is_first and subscription.payment_due_ms is None and outcome.outcome in (FAILED, ACTION_REQUIRED):
        # It waits for its first payment like a new one; its cycle stays where it is.
        subscription = replace(subscription, payment_due_ms=now_ms + PAYMENT_WINDOW_MS)
    customer = replace(customer, subscriptions=with_subscription(customer, subscription), updated_ms=now_ms)
    made = [told(customer, event.SUBSCRIPTION_UPDATED, subscription, now_ms, payment=outcome.outcome)]
    if outcome.outcome == FAILED:
        made.append(told(customer, event.CUSTOMER_PAYMENT_FAILED, subscription, now_ms))
    return Decided(customer=customer, subscription_id=subscription.id, events=(*advanced.events, *made))


def _used(subscription: Subscription) -> AppliedCoupon | None:
    coupon = subscription.coupon
    return coupon if coupon is None or coupon.is_used else replace(coupon, is_used=True)


def _coupon_used(customer: Customer, subscription: Subscription) -> Customer:
    """The customer's own coupon counts as used where the subscription has none of its own."""
    if customer.coupon_id is None or customer.is_coupon_used or subscription.coupon is not None:
        return customer
    return replace(customer, is_coupon_used=True)
