"""Cancellation: now, at the end of the billing period or at a date, with the free plan that may follow.

Law: access ends at the very instant of the end, and the free plan begins at it. Source: semantics §7.6, §19.9,
§19.18, §19.29.
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.customer import Customer, Subscription, is_trial_at
from stigg_local.core.decided import Decided, find_alive, updated
from stigg_local.core.experiment import settings_at
from stigg_local.core.invoicing import paid_part
from stigg_local.core.lifecycle import Advanced, advance, end_now
from stigg_local.core.place import billing_period, is_custom, is_running
from stigg_local.core.pricing import ZERO, total, unused
from stigg_local.core.sources import Catalog
from stigg_local.core.update import with_planned_end
from stigg_local.errors import InvalidInput, NotAllowed


class CancelSubscription(Struct, frozen=True, kw_only=True):
    """The command; a time of None is the product's own, unless `end_ms` names an instant.

    `prorate` None gives the unused time back where the end is at once.
    """

    subscription_id: str
    cancellation_time: Literal["IMMEDIATE", "END_OF_BILLING_PERIOD", "SPECIFIC_DATE"] | None = None
    end_ms: int | None = None
    prorate: bool | None = None
    action: Literal["DEFAULT", "REVOKE_ENTITLEMENTS"] = "DEFAULT"


def cancel(customer: Customer, catalog: Catalog, command: CancelSubscription, *, now_ms: int) -> Decided:
    """Cancel a subscription.

    Raises:
        NotFound: It does not exist (`SubscriptionNotFound`).
        NotAllowed: It has ended (`SubscriptionAlreadyCanceledOrExpired`), or the end of a billing period is asked for
            where none runs (`TrialMustBeCancelledImmediately`, `SchedulingAtEndOfBillingPeriod`).
        InvalidInput: The date is missing or not in the future (`InvalidCancellationDate`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    subscription = find_alive(advanced.customer, command.subscription_id, now_ms)
    action = "REVOKE_ENTITLEMENTS" if command.action == "REVOKE_ENTITLEMENTS" else None
    time = command.cancellation_time or ("SPECIFIC_DATE" if command.end_ms is not None else None)
    if command.end_ms is not None and time != "SPECIFIC_DATE":
        raise InvalidInput(
            f"end_date is given, and cancellation_time is `{time}`",
            code="InvalidCancellationDate",
            hint="end_date goes with cancellation_time=SPECIFIC_DATE",
        )
    if time == "END_OF_BILLING_PERIOD":
        _check_end_of_period(subscription, catalog, now_ms)
    if time is None:
        settings = settings_at(advanced.customer, catalog, subscription.product_id)
        time = settings.subscription_cancellation_time
    if time == "SPECIFIC_DATE":
        return _planned(advanced, _at_date(subscription, command.end_ms, action, now_ms), now_ms)
    period = billing_period(subscription, catalog, now_ms) if is_running(subscription, now_ms) else None
    if time == "END_OF_BILLING_PERIOD" and period is not None:
        return _planned(advanced, with_planned_end(subscription, period[1], action, now_ms=now_ms), now_ms)
    credit = ZERO
    if command.prorate is not False and is_running(subscription, now_ms):
        paid = paid_part(advanced.customer, subscription, None, catalog, now_ms)
        credit = max(ZERO, -total(unused(subscription, catalog, now_ms, paid=paid)))
    ended = end_now(advanced.customer, catalog, subscription, at_ms=now_ms, reason="Immediate", action=action)
    return Decided(
        customer=ended.customer,
        subscription_id=subscription.id,
        ended=tuple(item for item in ended.customer.subscriptions if item.id == subscription.id),
        events=(*advanced.events, *_with_credit(ended, subscription, credit)),
        credit=credit,
    )


def _check_end_of_period(subscription: Subscription, catalog: Catalog, now_ms: int) -> None:
    if is_trial_at(subscription, now_ms):
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` is a trial, which has no billing period to end with",
            code="TrialMustBeCancelledImmediately",
            hint="cancel with cancellation_time=IMMEDIATE, or at a SPECIFIC_DATE",
        )
    if is_custom(subscription, catalog):
        raise NotAllowed(
            f"subscription `{subscription.id[:80]}` has a custom price, so it has no billing period to end with",
            code="SchedulingAtEndOfBillingPeriod",
            hint="cancel with cancellation_time=IMMEDIATE, or at a SPECIFIC_DATE",
        )


def _at_date(subscription: Subscription, end_ms: int | None, action: str | None, now_ms: int) -> Subscription:
    if end_ms is None:
        raise InvalidInput(
            f"subscription `{subscription.id[:80]}` is to be cancelled at a date, and no end_date was given",
            code="InvalidCancellationDate",
            hint="pass end_date=, or cancellation_time=IMMEDIATE",
        )
    return with_planned_end(subscription, end_ms, action, now_ms=now_ms)


def _planned(advanced: Advanced, subscription: Subscription, now_ms: int) -> Decided:
    return updated(advanced, subscription, now_ms, cancellationMs=str(subscription.cancellation_ms))


def _with_credit(ended: Advanced, subscription: Subscription, credit: Decimal) -> tuple[event.Event, ...]:
    """The events of an end, with what is given back on that of the subscription itself."""
    if credit == 0:
        return ended.events
    return tuple(
        replace(item, data={**item.data, "credit": str(credit)}) if item.subscription_id == subscription.id else item
        for item in ended.events
    )
