"""The snapshot of a record: all that entitles, as intervals, future ones too.

It is what `lifecycle` makes of the record, written out to the end of time: one piece of logic decides what happens at
a boundary. Law: at every instant the intervals give what the record advanced to it gives.
"""

from stigg_local.core.customer import (
    SUBSCRIPTION,
    TRIAL,
    Customer,
    CustomerSnapshot,
    PromotionalSource,
    Source,
    Subscription,
    SubscriptionSource,
    entitled_until,
)
from stigg_local.core.lifecycle import cross, next_ms
from stigg_local.core.period import FOREVER_MS
from stigg_local.core.sources import Catalog


def derive_snapshot(
    customer: Customer, catalog: Catalog, *, as_of_ms: int, sure_ms: int | None = None
) -> CustomerSnapshot:
    """The snapshot of a record.

    A trial becomes one interval of trial and, where it converts, one of subscription; a scheduled change splits its
    subscription in two; a free plan that follows an end is a future source of its own.

    Args:
        customer: The record, advanced or not.
        catalog: Where boundaries ahead look versions up: derive again when it changes and something is due.
        as_of_ms: The time of the change that made this derivation necessary.
        sure_ms: What ended by then is left out; earlier than `as_of_ms` where the wall clock cannot be believed, so
            that nothing is lost when it goes back. Default: `as_of_ms`.
    """
    if customer.archived_ms is not None:
        return CustomerSnapshot(as_of_ms, True, customer.resource_ids, ())
    covered = {item.id: _intervals(item) for item in customer.subscriptions}
    ahead = customer
    while (at_ms := next_ms(ahead)) is not None:
        known = {item.id: item for item in ahead.subscriptions}
        ahead, _ = cross(ahead, catalog, at_ms)
        for item in ahead.subscriptions:
            if known.get(item.id) is not item:
                covered[item.id] = _followed(covered.get(item.id, []), item, at_ms)
    # What has ended for sure cannot answer any later question.
    gone_ms = as_of_ms if sure_ms is None else min(as_of_ms, sure_ms)
    sources: list[Source] = [
        source
        for intervals in covered.values()
        for source in intervals
        if source.end_ms > gone_ms and source.end_ms > source.start_ms
    ]
    for promotion in customer.promotional_entitlements:
        end_ms = FOREVER_MS if promotion.end_ms is None else promotion.end_ms
        if end_ms > gone_ms and end_ms > promotion.start_ms:
            sources.append(PromotionalSource(promotion.start_ms, end_ms, promotion.entitlement))
    return CustomerSnapshot(as_of_ms, False, customer.resource_ids, tuple(sources))


def _followed(before: list[SubscriptionSource], changed: Subscription, at_ms: int) -> list[SubscriptionSource]:
    """The intervals of a subscription that was changed at an instant: as before up to it, as it is now from it on."""
    found = [_cut(source, source.start_ms, min(source.end_ms, at_ms)) for source in before if source.start_ms < at_ms]
    for part in _intervals(changed):
        if part.end_ms <= at_ms:
            continue
        source = _cut(part, max(part.start_ms, at_ms), part.end_ms)
        # What a change left alone is one interval, not two.
        if found and found[-1].end_ms == source.start_ms:
            joined = _cut(found[-1], found[-1].start_ms, source.end_ms)
            if joined == _cut(source, joined.start_ms, source.end_ms):
                found[-1] = joined
                continue
        found.append(source)
    return found


def _intervals(subscription: Subscription) -> list[SubscriptionSource]:
    """Where it entitles if nothing happens to it any more."""
    if subscription.payment_due_ms is not None:
        return []
    start = subscription.start_ms
    end = entitled_until(subscription)
    trial_end = subscription.trial_end_ms
    if trial_end is None:
        return [_source(subscription, SUBSCRIPTION, start, end)]
    parts = [_source(subscription, TRIAL, start, min(trial_end, end))]
    if end > trial_end:
        parts.append(_source(subscription, SUBSCRIPTION, trial_end, end))
    return parts


def _source(subscription: Subscription, kind: int, start_ms: int, end_ms: int) -> SubscriptionSource:
    addons = tuple((addon.addon_id, addon.version, addon.quantity) for addon in subscription.addons)
    return SubscriptionSource(
        kind=kind,
        start_ms=start_ms,
        end_ms=end_ms,
        resource_id=subscription.resource_id or "",
        subscription_id=subscription.id,
        anchor_ms=subscription.usage_anchor_ms,
        cut_ms=subscription.usage_cut_ms,
        packages=((subscription.plan_id, subscription.plan_version, 1), *addons),
        units=tuple(sorted(subscription.units.items())),
        custom=tuple(
            (feature_id, None if custom.is_unlimited else custom.usage_limit)
            for feature_id, custom in sorted(subscription.custom_features.items())
        ),
        custom_credits=tuple((item.currency_id, item.amount, item.cadence) for item in subscription.custom_credits),
    )


def _cut(source: SubscriptionSource, start_ms: int, end_ms: int) -> SubscriptionSource:
    if source.start_ms == start_ms and source.end_ms == end_ms:
        return source
    return SubscriptionSource(
        kind=source.kind,
        start_ms=start_ms,
        end_ms=end_ms,
        resource_id=source.resource_id,
        subscription_id=source.subscription_id,
        anchor_ms=source.anchor_ms,
        cut_ms=source.cut_ms,
        packages=source.packages,
        units=source.units,
        custom=source.custom,
        custom_credits=source.custom_credits,
    )
