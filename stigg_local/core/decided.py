"""What a decision gives: the record after it, what it is about, what happened, and what is to be collected."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.customer import Customer, Subscription
from stigg_local.core.event import Event
from stigg_local.core.lifecycle import Advanced
from stigg_local.core.nearest import nearest
from stigg_local.core.payment import Invoice
from stigg_local.core.place import is_over
from stigg_local.errors import NotAllowed, NotFound


class Decided(Struct, frozen=True, kw_only=True):
    """A decision, to be written whole or not at all.

    Attributes:
        customer: The record after it, advanced to the instant of the decision.
        subscription_id: The subscription that the caller is answered with.
        ended: Subscriptions that the decision itself ended.
        events: In order, those of the boundaries that were crossed before it first.
        charge: What is to be collected now; the record then holds the intent, unpaid. None where nothing is.
        credit: What is given back, 0 or more: the unused part of what was paid ahead.
    """

    customer: Customer
    subscription_id: str
    ended: tuple[Subscription, ...] = ()
    events: tuple[Event, ...] = ()
    charge: Invoice | None = None
    credit: Decimal = Decimal(0)

    @property
    def subscription(self) -> Subscription:
        """The subscription as it is after the decision."""
        return self.customer.subscription(self.subscription_id)

    @property
    def heirs(self) -> dict[str, str]:
        """Ended subscription -> the one that goes on with its usage cycle: consumption moves over."""
        new = self.subscription
        return {old.id: new.id for old in self.ended if old.usage_anchor_ms == new.usage_anchor_ms}


def told(customer: Customer, kind: str, subscription: Subscription | None, at_ms: int, **data: str) -> Event:
    """An event of a command: its actor is whoever sent it."""
    return Event(
        type=kind,
        customer_id=customer.id,
        at_ms=at_ms,
        subscription_id=None if subscription is None else subscription.id,
        data=data,
    )


def ended_events(customer: Customer, ended: tuple[Subscription, ...], at_ms: int) -> tuple[Event, ...]:
    """One event for each subscription that another one replaced."""
    made: list[Event] = []
    for item in ended:
        reason = item.cancel_reason or ""
        if reason == "TrialConverted":
            made.append(told(customer, event.TRIAL_CONVERTED, item, at_ms))
        made.append(told(customer, event.SUBSCRIPTION_CANCELED, item, at_ms, reason=reason))
    return tuple(made)


def find(customer: Customer, subscription_id: str) -> Subscription:
    """The customer's subscription of this id.

    Raises:
        NotFound: There is none (`SubscriptionNotFound`).
    """
    for item in customer.subscriptions:
        if item.id == subscription_id:
            return item
    near = nearest(subscription_id, [item.id for item in customer.subscriptions])
    raise NotFound(
        f"subscription `{subscription_id[:80]}` does not exist",
        code="SubscriptionNotFound",
        hint=f"did you mean `{near}`" if near else "get_subscriptions lists those of a customer",
    )


def find_alive(customer: Customer, subscription_id: str, now_ms: int) -> Subscription:
    """The customer's subscription of this id, which has not ended.

    Raises:
        NotFound: There is none (`SubscriptionNotFound`).
        NotAllowed: It has ended (`SubscriptionAlreadyCanceledOrExpired`).
    """
    found = find(customer, subscription_id)
    if is_over(found, now_ms):
        raise NotAllowed(
            f"subscription `{subscription_id[:80]}` has ended: {found.cancel_reason or 'its end is reached'}",
            code="SubscriptionAlreadyCanceledOrExpired",
            hint="provision_subscription makes a new one",
        )
    return found


def with_subscription(customer: Customer, changed: Subscription) -> tuple[Subscription, ...]:
    """All subscriptions of the record, one of them changed."""
    return tuple(changed if item.id == changed.id else item for item in customer.subscriptions)


def updated(advanced: Advanced, subscription: Subscription, now_ms: int, **data: str) -> Decided:
    """The decision that changes one subscription of a record and tells so; `data` goes with the event."""
    customer = advanced.customer
    made = told(customer, event.SUBSCRIPTION_UPDATED, subscription, now_ms, **data)
    return Decided(
        customer=replace(customer, subscriptions=with_subscription(customer, subscription), updated_ms=now_ms),
        subscription_id=subscription.id,
        events=(*advanced.events, made),
    )
