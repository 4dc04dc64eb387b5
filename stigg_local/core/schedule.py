"""Changes that wait: when they are due, what they replace, and how they are taken back.

Laws: a subscription has at most one scheduled change and at most one that waits for its payment; a new one takes the
place of both. Source: semantics §7.5, §19.8 to §19.13.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.customer import Customer, ScheduledUpdate, Subscription
from stigg_local.core.decided import Decided, find_alive, updated
from stigg_local.core.lifecycle import advance
from stigg_local.core.place import billing_month, billing_period, is_running
from stigg_local.core.sources import Catalog
from stigg_local.errors import NotFound


class CancelScheduledUpdates(Struct, frozen=True, kw_only=True):
    """The command: take back all updates of one status."""

    subscription_id: str
    status: Literal["Scheduled", "PendingPayment"] = "Scheduled"


def execution_ms(subscription: Subscription, catalog: Catalog, strategy: str, now_ms: int) -> int | None:
    """When a change by this strategy is carried out; None for at once, as where no billing period runs."""
    if not is_running(subscription, now_ms):
        period = None
    elif strategy == "END_OF_BILLING_PERIOD":
        period = billing_period(subscription, catalog, now_ms)
    elif strategy == "END_OF_BILLING_MONTH":
        period = billing_month(subscription, catalog, now_ms)
    else:
        period = None
    return None if period is None else period[1]


def without_waiting(subscription: Subscription) -> Subscription:
    """The subscription without any change that waits; a payment that one waited for is not asked for any more."""
    held = any(item.status == "PendingPayment" for item in subscription.scheduled_updates)
    collection = "NOT_REQUIRED" if held else subscription.payment_collection
    return replace(subscription, scheduled_updates=(), payment_collection=collection)


def scheduled(subscription: Subscription, update: ScheduledUpdate, *, downgrades: bool = False) -> Subscription:
    """The subscription with a change that waits, in place of all that waited; a downgrade undoes a cancellation."""
    clears = downgrades and update.status == "Scheduled"
    return replace(
        without_waiting(subscription),
        scheduled_updates=(update,),
        cancellation_ms=None if clears else subscription.cancellation_ms,
        cancellation_action=None if clears else subscription.cancellation_action,
    )


def cancel_scheduled(customer: Customer, catalog: Catalog, command: CancelScheduledUpdates, *, now_ms: int) -> Decided:
    """Take back all updates of a status.

    Raises:
        NotFound: The subscription does not exist, or nothing of that status waits (`FutureUpdateNotFound`).
        NotAllowed: It has ended (`SubscriptionAlreadyCanceledOrExpired`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    subscription = find_alive(advanced.customer, command.subscription_id, now_ms)
    kept = tuple(item for item in subscription.scheduled_updates if item.status != command.status)
    if len(kept) == len(subscription.scheduled_updates):
        raise NotFound(
            f"subscription `{subscription.id[:80]}` has no update whose status is `{command.status}`",
            code="FutureUpdateNotFound",
            hint="its scheduled_updates show what waits",
        )
    changed = replace(subscription, scheduled_updates=kept)
    if command.status == "PendingPayment":
        changed = replace(changed, payment_collection="NOT_REQUIRED")
    return updated(advanced, changed, now_ms, schedule="Canceled")
