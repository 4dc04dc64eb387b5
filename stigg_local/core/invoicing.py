"""Invoices: what a change, a start, a trial's end or a renewal of a subscription asks the payment provider for.

Nothing is collected for trials, starts in the past, downgrades and amounts of 0 or less. Source: semantics §9, §19.16.
"""

from decimal import Decimal

from stigg_local.core.customer import AppliedCoupon, Customer, Subscription
from stigg_local.core.discounts import coupons
from stigg_local.core.payment import NEW, UPDATE, Invoice
from stigg_local.core.place import billing_period
from stigg_local.core.pricing import ONE, ZERO, Line, coupon_holds, difference, discount, recurring, total
from stigg_local.core.quantity import EXACT
from stigg_local.core.sources import Catalog


def coupon_of(customer: Customer, subscription: Subscription, catalog: Catalog) -> AppliedCoupon | None:
    """The coupon that counts: the subscription's own, else the customer's (semantics §18.7)."""
    if subscription.coupon is not None or customer.coupon_id is None:
        return subscription.coupon
    coupon = coupons(catalog).get(customer.coupon_id)
    if coupon is None:
        return None
    start_ms = customer.created_ms if customer.coupon_ms is None else customer.coupon_ms
    return AppliedCoupon(coupon=coupon, start_ms=start_ms, is_used=customer.is_coupon_used)


def paid_part(
    customer: Customer, before: Subscription, after: Subscription | None, catalog: Catalog, at_ms: int
) -> Decimal:
    """The part of the list price that was paid for the running period; all of it where the same coupon goes on.

    A coupon that goes on is taken off the difference, so what is given back is at list price, too (semantics §9.3).
    """
    period = billing_period(before, catalog, at_ms)
    held = coupon_of(customer, before, catalog)
    price = recurring(before, catalog)
    if period is None or held is None or price.currency is None or price.subtotal <= 0:
        return ONE
    now = None if after is None else coupon_of(customer, after, catalog)
    goes_on = now is not None and now.coupon.id == held.coupon.id and coupon_holds(now, at_ms)
    # One that came after the period had been paid for took nothing off it.
    came_later = held.start_ms > period[0] and before.start_ms < held.start_ms
    once_before = held.coupon.once and held.start_ms < period[0]
    if goes_on or came_later or once_before or not (held.coupon.once or coupon_holds(held, period[0])):
        return ONE
    off = discount(held.coupon, price.subtotal, price.currency)
    return EXACT.divide(EXACT.subtract(price.subtotal, off), price.subtotal)


def change_invoice(
    customer: Customer,
    before: Subscription | None,
    after: Subscription,
    catalog: Catalog,
    *,
    at_ms: int,
    invoice_id: str,
    subscription_id: str | None = None,
) -> tuple[Invoice | None, Decimal]:
    """(what to collect, what is given back) where a subscription changes or starts at an instant.

    Args:
        before: What was paid for until now; None for nothing.
        after: What is paid for from now on.
        subscription_id: The subscription that waits for the payment. Default: `after`.
    """
    paid = ONE if before is None else paid_part(customer, before, after, catalog, at_ms)
    currency, lines = difference(before, after, catalog, at_ms, paid=paid)
    amount = total(lines)
    if currency is None or amount <= 0:
        return None, max(ZERO, -amount)
    reason = NEW if before is None else UPDATE
    made = _invoice(
        customer,
        after,
        catalog,
        lines,
        currency=currency,
        reason=reason,
        at_ms=at_ms,
        invoice_id=invoice_id,
        subscription_id=subscription_id or after.id,
    )
    return made, ZERO


def period_invoice(
    customer: Customer, subscription: Subscription, catalog: Catalog, *, at_ms: int, reason: str
) -> Invoice | None:
    """What the billing period that holds an instant costs; its id follows from the period, so it is made once."""
    price = recurring(subscription, catalog)
    period = billing_period(subscription, catalog, at_ms)
    if price.currency is None or period is None:
        return None
    return _invoice(
        customer,
        subscription,
        catalog,
        price.lines,
        currency=price.currency,
        reason=reason,
        at_ms=at_ms,
        invoice_id=f"invoice-{subscription.id}-{period[0]}",
        subscription_id=subscription.id,
    )


def _invoice(
    customer: Customer,
    subscription: Subscription,
    catalog: Catalog,
    lines: tuple[Line, ...],
    *,
    currency: str,
    reason: str,
    at_ms: int,
    invoice_id: str,
    subscription_id: str,
) -> Invoice | None:
    subtotal = total(lines)
    applied = coupon_of(customer, subscription, catalog)
    if applied is not None and not coupon_holds(applied, at_ms):
        applied = None
    off = ZERO if applied is None else discount(applied.coupon, subtotal, currency)
    amount = EXACT.subtract(subtotal, off)
    if amount <= 0:
        return None
    period = billing_period(subscription, catalog, at_ms)
    return Invoice(
        id=invoice_id,
        customer_id=customer.id,
        paying_customer_id=subscription.paying_customer_id,
        subscription_id=subscription_id,
        reason=reason,
        currency=currency,
        lines=lines,
        sub_total=subtotal,
        discount=off,
        amount=amount,
        plan_id=subscription.plan_id,
        billing_period=subscription.billing_period,
        period_start_ms=None if period is None else period[0],
        period_end_ms=None if period is None else period[1],
        coupon_id=None if applied is None else applied.coupon.id,
        promotion_code=None if applied is None else applied.promotion_code,
    )
