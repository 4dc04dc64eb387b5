"""What time makes of a record: starts, trial ends, scheduled changes, cancellations, unpaid ends and free plans.

Laws: every boundary is crossed once, at its own instant, in the order of time; advancing in steps equals advancing
at once; a record without anything due comes back itself. At one instant: cancellations and payment expiry, then
scheduled changes, trial ends, starts, free plans. Source: semantics §7, §19.17 to §19.23.
"""

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.catalog import ProductSettings
from stigg_local.core.change import changed, is_possible
from stigg_local.core.customer import Customer, ScheduledUpdate, Subscription
from stigg_local.core.event import SYSTEM, Event
from stigg_local.core.experiment import settings_at
from stigg_local.core.place import free_plan_after, is_paid, take_place
from stigg_local.core.pricing import difference, is_downgrade, total
from stigg_local.core.sources import Catalog


class Advanced(Struct, frozen=True):
    """The record at a later instant, and what happened on the way, in order."""

    customer: Customer
    events: tuple[Event, ...] = ()


def next_ms(customer: Customer) -> int | None:
    """The next instant at which time alone changes the record; None where it never does."""
    if customer.archived_ms is not None:
        return None
    found: int | None = None
    for subscription in customer.subscriptions:
        if subscription.end_ms is None:
            due = _subscription_due(subscription)
            if due is not None and (found is None or due < found):
                found = due
    for promotion in customer.promotional_entitlements:
        end = promotion.end_ms
        if end is not None and not promotion.is_over and (found is None or end < found):
            found = end
    return found


def due_ms(customer: Customer, *, charges: bool = True) -> int | None:
    """When the record has to be looked at next: `next_ms`, and the next charge where a payment provider charges."""
    found = next_ms(customer)
    if not charges or customer.archived_ms is not None:
        return found
    for subscription in customer.subscriptions:
        if subscription.end_ms is not None:
            continue
        due = subscription.paid_until_ms
        if due is not None and (found is None or due < found):
            found = due
        for update in subscription.scheduled_updates:
            due = None if update.invoice_id is not None else update.execute_ms
            if due is not None and (found is None or due < found):
                found = due
    return found


def advance(customer: Customer, catalog: Catalog, *, to_ms: int) -> Advanced:
    """Cross every boundary up to an instant, that instant included.

    Args:
        customer: The record as it was last written.
        catalog: Where versions are looked up that are taken at a boundary.
        to_ms: Epoch milliseconds UTC.

    Returns:
        The record as it is then: itself where nothing was due. Each event has its boundary's instant.
    """
    events: list[Event] = []
    while True:
        at_ms = next_ms(customer)
        if at_ms is None or at_ms > to_ms:
            return Advanced(customer, tuple(events))
        customer, made = cross(customer, catalog, at_ms)
        events += made


def cross(customer: Customer, catalog: Catalog, at_ms: int) -> tuple[Customer, list[Event]]:
    """The record with all that is due at one instant done, and what was done; `at_ms` is its `next_ms`."""
    step = _Step(customer, catalog, at_ms)
    # What is due now, by what it was when the instant came: nothing happens twice at once.
    due = [item for item in customer.subscriptions if item.end_ms is None and _subscription_due(item) == at_ms]
    for subscription in due:
        if subscription.cancellation_ms == at_ms:
            step.end(subscription, "ScheduledCancellation")
        elif subscription.payment_due_ms == at_ms:
            step.end(subscription, "PendingPaymentExpired")
    for subscription in due:
        step.carry_out(subscription.id)
    for subscription in due:
        step.end_trial(subscription.id)
    for subscription in due:
        step.start(subscription.id)
    step.leave_free_plans()
    promotions = customer.promotional_entitlements
    for promotion in promotions:
        if promotion.end_ms == at_ms and not promotion.is_over:
            step.tell(event.PROMOTION_EXPIRED, feature_id=promotion.entitlement.feature_id)
    after = replace(
        customer,
        subscriptions=step.subscriptions,
        promotional_entitlements=tuple(
            replace(item, is_over=True) if item.end_ms == at_ms else item for item in promotions
        ),
        updated_ms=max(customer.updated_ms, at_ms),
    )
    return after, step.events


def end_now(
    customer: Customer, catalog: Catalog, subscription: Subscription, *, at_ms: int, reason: str, action: str | None
) -> Advanced:
    """End one subscription at an instant, with the free plan that follows; the record was advanced to it."""
    step = _Step(customer, catalog, at_ms, actor=None)
    step.end(replace(subscription, cancellation_action=action), reason)
    step.leave_free_plans()
    return Advanced(replace(customer, subscriptions=step.subscriptions, updated_ms=at_ms), tuple(step.events))


def _subscription_due(subscription: Subscription) -> int | None:
    """The next instant of a subscription that has not ended."""
    due = subscription.cancellation_ms
    if subscription.is_waiting:
        other: int | None = subscription.start_ms
    elif subscription.payment_due_ms is not None:
        other = subscription.payment_due_ms
    else:
        other = subscription.trial_end_ms if subscription.converted_ms is None else None
        for update in subscription.scheduled_updates:
            if (
                update.status == "Scheduled"
                and update.execute_ms is not None
                and (other is None or update.execute_ms < other)
            ):
                other = update.execute_ms
    if due is None or other is None:
        return due if other is None else other
    return min(due, other)


class _Step:
    """One instant of one record, while it is crossed."""

    def __init__(self, customer: Customer, catalog: Catalog, at_ms: int, *, actor: str | None = SYSTEM) -> None:
        self.subscriptions = customer.subscriptions
        self.events: list[Event] = []
        self._customer = customer
        self._catalog = catalog
        self._at_ms = at_ms
        self._actor = actor
        self._left: list[Subscription] = []

    def tell(
        self, kind: str, subscription: Subscription | None = None, *, feature_id: str | None = None, **data: str
    ) -> None:
        """Note an event of this instant."""
        self.events.append(
            Event(
                type=kind,
                customer_id=self._customer.id,
                at_ms=self._at_ms,
                actor=self._actor,
                subscription_id=None if subscription is None else subscription.id,
                feature_id=feature_id,
                data=data,
            )
        )

    def end(self, subscription: Subscription, reason: str) -> None:
        """End it now; what never ran or was never paid leaves no free plan, and stays marked as unpaid."""
        ran = not subscription.is_waiting and subscription.payment_due_ms is None
        if ran and subscription.cancellation_action != "REVOKE_ENTITLEMENTS":
            self._left.append(subscription)
        expires = reason in ("TrialEnded", "PendingPaymentExpired")
        ended = replace(
            subscription,
            end_ms=self._at_ms,
            cancel_reason=reason,
            cancellation_ms=None,
            is_waiting=False,
            paid_until_ms=None,
            scheduled_updates=(),
        )
        self._put(ended)
        if reason == "TrialEnded":
            self.tell(event.TRIAL_EXPIRED, ended)
        self.tell(event.SUBSCRIPTION_EXPIRED if expires else event.SUBSCRIPTION_CANCELED, ended, reason=reason)

    def carry_out(self, subscription_id: str) -> None:
        """Carry out the scheduled changes that are due."""
        subscription = self._now(subscription_id)
        for update in subscription.scheduled_updates:
            if update.status != "Scheduled" or update.execute_ms != self._at_ms or subscription.end_ms is not None:
                continue
            rest = tuple(item for item in subscription.scheduled_updates if item is not update)
            if is_possible(update, self._catalog):
                settings = self._settings(subscription)
                after = changed(subscription, update, self._catalog, settings, at_ms=self._at_ms)
                outcome = "Done"
                if self._is_to_pay(subscription, after):
                    outcome = "PendingPayment"
                    rest = (*rest, replace(update, status=outcome))
                else:
                    subscription = after
            else:
                outcome = "Failed"
            subscription = replace(subscription, scheduled_updates=rest)
            self._put(subscription)
            self.tell(event.SUBSCRIPTION_UPDATED, subscription, schedule=outcome, kinds=kinds_text(update))

    def _is_to_pay(self, before: Subscription, after: Subscription) -> bool:
        """Whether a change inside a period that was paid ahead costs more: then it waits until that is collected."""
        paid_until = before.paid_until_ms
        if paid_until is None or paid_until <= self._at_ms or is_downgrade(before, after, self._catalog):
            return False
        return total(difference(before, after, self._catalog, self._at_ms)[1]) > 0

    def end_trial(self, subscription_id: str) -> None:
        """End the trial or convert it in place: then it takes the place of what ran beside it."""
        subscription = self._now(subscription_id)
        if (
            subscription.end_ms is not None
            or subscription.is_waiting
            or subscription.converted_ms is not None
            or subscription.trial_end_ms != self._at_ms
        ):
            return
        if subscription.trial_end_behavior == "CANCEL_SUBSCRIPTION":
            self.end(subscription, "TrialEnded")
            return
        subscription = replace(
            subscription,
            converted_ms=self._at_ms,
            billing_anchor_ms=self._at_ms,
            billing_period=self._period_after_trial(subscription),
        )
        self._take_place(subscription, keeps_anchors=True)
        self.tell(event.TRIAL_CONVERTED, subscription)

    def start(self, subscription_id: str) -> None:
        """Start what was waiting for this instant."""
        subscription = self._now(subscription_id)
        if not subscription.is_waiting or subscription.end_ms is not None:
            return
        subscription = replace(subscription, is_waiting=False)
        self._take_place(subscription, keeps_anchors=False)
        if subscription.trial_end_ms is not None:
            self.tell(event.TRIAL_STARTED, subscription)
        self.tell(event.SUBSCRIPTION_UPDATED, subscription, status="started")

    def leave_free_plans(self) -> None:
        """Make the free plan that each end leaves behind, last: whatever else starts at this instant comes first."""
        for ended in self._left:
            free = free_plan_after(ended, self.subscriptions, self._catalog, self._settings(ended), at_ms=self._at_ms)
            if free is not None:
                self.subscriptions = (*self.subscriptions, free)
                self.tell(event.SUBSCRIPTION_CREATED, free, planId=free.plan_id, follows=ended.id)

    def _take_place(self, subscription: Subscription, *, keeps_anchors: bool) -> None:
        placed = take_place(
            self.subscriptions,
            subscription,
            self._catalog,
            self._settings(subscription),
            at_ms=self._at_ms,
            keeps_anchors=keeps_anchors,
        )
        self.subscriptions = placed.subscriptions
        for ended in placed.ended:
            self.tell(event.SUBSCRIPTION_CANCELED, ended, reason=ended.cancel_reason or "")

    def _period_after_trial(self, subscription: Subscription) -> str | None:
        """The billing period that a trial without one converts to: MONTHLY if priced so, else the first price's."""
        if subscription.billing_period is not None or not is_paid(subscription, self._catalog):
            return subscription.billing_period
        package = self._catalog.packages[subscription.plan_id, subscription.plan_version].version
        periods = [price.billing_period for price in package.package.prices]
        return "MONTHLY" if "MONTHLY" in periods else next(iter(periods), None)

    def _settings(self, subscription: Subscription) -> ProductSettings:
        return settings_at(self._customer, self._catalog, subscription.product_id)

    def _now(self, subscription_id: str) -> Subscription:
        return next(item for item in self.subscriptions if item.id == subscription_id)

    def _put(self, subscription: Subscription) -> None:
        self.subscriptions = tuple(subscription if item.id == subscription.id else item for item in self.subscriptions)


def kinds_text(update: ScheduledUpdate) -> str:
    """The kinds of a change as an event tells them."""
    return ",".join(update.kinds)
