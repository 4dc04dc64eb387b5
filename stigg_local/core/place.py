"""The place of a subscription: customer, product and resource, where one runs, with a trial beside it at most.

Laws: whatever starts in a place ends what cannot run beside it at that very instant, so that access has neither a
gap nor an overlap; a trial never ends a paid one. Source: the seed's warning box, semantics §6, §7.2, §19.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import ProductSettings
from stigg_local.core.customer import Subscription, is_trial_at, same_place
from stigg_local.core.period import month_window
from stigg_local.core.sources import Catalog

# How the id of a free plan that follows an end differs from the ended one's.
FOLLOWER = "-downgrade"
_PERIOD_MONTHS = {"MONTHLY": 1, "ANNUALLY": 12}


class Placed(Struct, frozen=True):
    """All subscriptions after one took its place, that one, and those that it ended, in the order of the record."""

    subscriptions: tuple[Subscription, ...]
    subscription: Subscription
    ended: tuple[Subscription, ...]


def is_running(subscription: Subscription, at_ms: int) -> bool:
    """True where an advanced record's subscription entitles at the instant."""
    return (
        not subscription.is_waiting
        and subscription.payment_due_ms is None
        and subscription.start_ms <= at_ms
        and (subscription.end_ms is None or at_ms < subscription.end_ms)
    )


def is_over(subscription: Subscription, at_ms: int) -> bool:
    """True where nothing can happen to it any more; one that was cancelled before its start is over, too."""
    end = subscription.end_ms
    return end is not None and (end <= at_ms or end <= subscription.start_ms)


def running(subscriptions: Iterable[Subscription], place: Subscription, at_ms: int) -> Subscription | None:
    """The non-trial subscription that runs in the place of another one, itself included."""
    for item in subscriptions:
        if same_place(item, place) and is_running(item, at_ms) and not is_trial_at(item, at_ms):
            return item
    return None


def is_paid(subscription: Subscription, catalog: Catalog) -> bool:
    """True where its plan is sold for money at the version that it is on."""
    package = catalog.packages.get((subscription.plan_id, subscription.plan_version))
    return package is not None and package.version.package.pricing_type == "PAID"


def is_custom(subscription: Subscription, catalog: Catalog) -> bool:
    """True where its plan is made to measure at the version that it is on."""
    package = catalog.packages.get((subscription.plan_id, subscription.plan_version))
    return package is not None and package.version.package.pricing_type == "CUSTOM"


def billing_period(subscription: Subscription, catalog: Catalog, at_ms: int) -> tuple[int, int] | None:
    """The half-open billing period that holds the instant; None for trial, free and custom (semantics §19.9)."""
    months = _PERIOD_MONTHS.get(subscription.billing_period or "")
    if months is None or is_trial_at(subscription, at_ms) or not is_paid(subscription, catalog):
        return None
    return month_window(subscription.billing_anchor_ms, at_ms, months)[1:]


def billing_month(subscription: Subscription, catalog: Catalog, at_ms: int) -> tuple[int, int] | None:
    """The anniversary month, inside the billing period, that holds the instant."""
    if billing_period(subscription, catalog, at_ms) is None:
        return None
    return month_window(subscription.billing_anchor_ms, at_ms)[1:]


def take_place(
    subscriptions: tuple[Subscription, ...],
    new: Subscription,
    catalog: Catalog,
    settings: ProductSettings,
    *,
    at_ms: int,
    keeps_anchors: bool = False,
) -> Placed:
    """Start a subscription: what cannot run beside it ends at that instant, and its cycles follow what it replaces.

    Args:
        subscriptions: All of the customer's; the new one may be among them.
        new: The one that starts.
        catalog: The compiled catalog.
        settings: Those of the product, for this customer.
        at_ms: The instant at which it starts; the others end then, though not before their own start.
        keeps_anchors: True where it has run before, as a trial that converts: its own cycles stay.
    """
    is_trial = is_trial_at(new, at_ms)
    everything: list[Subscription] = []
    ended: list[Subscription] = []
    previous: Subscription | None = None
    for mate in subscriptions:
        until = mate if mate.id == new.id or not same_place(mate, new) else _yielding(mate, new, is_trial, at_ms)
        everything.append(until)
        if until is not mate and mate.end_ms is None:
            ended.append(until)
            # Of a trial and a paid one that it ends, it goes on from the trial that was bought.
            if mate.payment_due_ms is None and (previous is None or previous.cancel_reason != "TrialConverted"):
                previous = until
    if previous is not None and not keeps_anchors:
        new = _following(new, previous, catalog, settings, is_trial=is_trial, at_ms=at_ms)
    if any(item.id == new.id for item in everything):
        everything = [new if item.id == new.id else item for item in everything]
    else:
        everything.append(new)
    return Placed(tuple(everything), new, tuple(ended))


def _yielding(mate: Subscription, new: Subscription, is_trial: bool, at_ms: int) -> Subscription:
    """The mate as it is once the new one has started: itself where both may run."""
    if mate.is_waiting or is_over(mate, at_ms):
        return mate
    tries = is_trial_at(mate, at_ms)
    if is_trial:
        return _ended(mate, max(at_ms, mate.start_ms), "UpgradeOrDowngrade") if tries else mate
    if tries and mate.plan_id == new.plan_id:
        return _ended(mate, max(at_ms, mate.start_ms), "TrialConverted")
    if tries and (mate.converted_ms is None or mate.trial_end_ms is None):
        return mate
    # A start in the past: what was a trial then may run up to where it stopped being one.
    from_ms = max(at_ms, mate.start_ms, mate.trial_end_ms or 0 if tries else 0)
    return _ended(mate, from_ms, "UpgradeOrDowngrade")


def _ended(mate: Subscription, at_ms: int, reason: str) -> Subscription:
    if mate.end_ms is not None:
        # It ended by itself, after the start in the past: only the overlap goes.
        return replace(mate, end_ms=at_ms) if at_ms < mate.end_ms else mate
    return replace(
        mate,
        end_ms=at_ms,
        cancel_reason=reason,
        cancellation_ms=None,
        paid_until_ms=None,
        scheduled_updates=(),
    )


def _following(
    new: Subscription,
    previous: Subscription,
    catalog: Catalog,
    settings: ProductSettings,
    *,
    is_trial: bool,
    at_ms: int,
) -> Subscription:
    """The new one with the billing cycle and the usage windows that it takes over, where it does."""
    if (
        not is_trial
        and not new.re_anchors
        and new.billing_period == previous.billing_period
        and is_paid(new, catalog)
        and billing_period(previous, catalog, at_ms) is not None
    ):
        new = replace(new, billing_anchor_ms=previous.billing_anchor_ms)
    rule = settings.usage_reset_on_plan_change
    is_same_cycle = not new.re_anchors and _cycle(previous, catalog, at_ms) == _cycle(new, catalog, at_ms)
    keeps = rule == "NEVER_RESET" or (
        is_same_cycle and (rule == "BILLING_PERIOD_CHANGE" or previous.plan_id == new.plan_id)
    )
    if not keeps:
        return new
    return replace(new, usage_anchor_ms=previous.usage_anchor_ms, usage_cut_ms=previous.usage_cut_ms)


def _cycle(subscription: Subscription, catalog: Catalog, at_ms: int) -> tuple[str | None, int] | None:
    if is_trial_at(subscription, at_ms):
        return None
    if subscription.billing_period is None or not is_paid(subscription, catalog):
        return subscription.billing_period, 0
    return subscription.billing_period, subscription.billing_anchor_ms


def free_plan_after(
    ended: Subscription,
    subscriptions: Iterable[Subscription],
    catalog: Catalog,
    settings: ProductSettings,
    *,
    at_ms: int,
) -> Subscription | None:
    """The free plan that an end leaves behind where the product says so and nothing else is in its place then.

    Its id follows from that of the ended one, so that whoever computes it names the same.
    """
    plan_id = settings.downgrade_plan_id
    if settings.subscription_end_setup != "DOWNGRADE_TO_FREE" or plan_id is None or plan_id == ended.plan_id:
        return None
    version = catalog.latest.get(plan_id)
    if version is None or running(subscriptions, ended, at_ms) is not None:
        return None
    rule = settings.usage_reset_on_plan_change
    was_trial = ended.trial_end_ms is not None and ended.converted_ms is None
    was_billed = is_paid(ended, catalog) and not was_trial and ended.billing_period is not None
    keeps = rule == "NEVER_RESET" or (rule == "BILLING_PERIOD_CHANGE" and not was_billed)
    return Subscription(
        id=f"{ended.id}{FOLLOWER}",
        plan_id=plan_id,
        plan_version=version,
        price_version=version,
        product_id=ended.product_id,
        created_ms=at_ms,
        start_ms=at_ms,
        usage_anchor_ms=ended.usage_anchor_ms if keeps else at_ms,
        usage_cut_ms=ended.usage_cut_ms if keeps else at_ms,
        billing_anchor_ms=at_ms,
        resource_id=ended.resource_id,
        experiment=ended.experiment,
    )
