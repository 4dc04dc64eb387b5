"""A change of a subscription in place: its id, its start and its usage anchor stay.

Versions are looked up when a change is carried out: a change of plan, a migration and add-ons that are new take the
latest, everything else keeps its own. Source: semantics §7.3, §7.5, §19.4, §19.5, §19.22.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from stigg_local.core.catalog import Addon, Plan, Price, ProductSettings
from stigg_local.core.customer import ScheduledUpdate, Subscription, SubscriptionAddon
from stigg_local.core.place import billing_period
from stigg_local.core.sources import Catalog


def unit_prices(plan: Plan | Addon, period: str | None) -> dict[str, Price]:
    """The per-unit price of each feature, for the period or, without one, for any."""
    return {
        price.feature_id: price
        for price in plan.prices
        if price.billing_model == "PER_UNIT" and price.feature_id and period in (None, price.billing_period)
    }


def is_possible(change: ScheduledUpdate, catalog: Catalog) -> bool:
    """False where the plan that a change moves to is gone or not published any more."""
    if change.plan_id is None:
        return True
    package = catalog.latest_package(change.plan_id)
    return package is not None and package.plan is not None and package.plan.status == "PUBLISHED"


def changed(
    subscription: Subscription, change: ScheduledUpdate, catalog: Catalog, settings: ProductSettings, *, at_ms: int
) -> Subscription:
    """The subscription with the change carried out at an instant.

    Args:
        subscription: The one that is changed; its scheduled updates are the caller's matter.
        change: What to change, possible by `is_possible`.
        catalog: Where versions are looked up.
        settings: Those of the product, for this customer: whether usage starts anew.
        at_ms: The instant at which the change takes effect.
    """
    # What has not started yet changes from its start on.
    at_ms = max(at_ms, subscription.start_ms)
    plan_id = change.plan_id or subscription.plan_id
    moves = change.plan_id is not None or change.to_latest
    version = catalog.latest.get(plan_id, subscription.plan_version) if moves else subscription.plan_version
    price_version = version if moves else subscription.price_version
    period = subscription.billing_period if change.billing_period is None else change.billing_period
    package = catalog.packages.get((plan_id, version))
    if change.plan_id is not None and package is not None and package.version.package.pricing_type != "PAID":
        period = change.billing_period
    units = subscription.units if change.units is None else change.units
    if package is not None and change.plan_id is not None:
        known = unit_prices(package.version.package, period)
        units = {feature_id: quantity for feature_id, quantity in units.items() if feature_id in known}
    # A change of plan brings its own values; those of the plan before fit nothing here.
    kept: Mapping[str, Any] = {} if change.plan_id is not None else subscription.custom_features
    made = replace(
        subscription,
        plan_id=plan_id,
        plan_version=version,
        price_version=price_version,
        billing_period=period,
        addons=_addons(subscription, change, catalog, moves=moves),
        units=units,
        custom_features=dict(kept) if change.custom_features is None else change.custom_features,
        custom_credits=_credits(subscription, change),
        billing_country_code=change.billing_country_code or subscription.billing_country_code,
        metadata=subscription.metadata
        if change.metadata is None
        else {**(subscription.metadata or {}), **change.metadata},
        coupon=change.coupon or subscription.coupon,
    )
    before, after = billing_period(subscription, catalog, at_ms), billing_period(made, catalog, at_ms)
    is_new_cycle = change.re_anchors or made.billing_period != subscription.billing_period or before is None
    if after is not None and is_new_cycle:
        made = replace(made, billing_anchor_ms=at_ms)
    rule = settings.usage_reset_on_plan_change
    is_other_plan = change.plan_id is not None and change.plan_id != subscription.plan_id
    is_other_cycle = (before is None) != (after is None) or (after is not None and is_new_cycle)
    if (rule == "ALWAYS_RESET" and (is_other_plan or is_other_cycle)) or (
        rule == "BILLING_PERIOD_CHANGE" and is_other_cycle
    ):
        made = replace(made, usage_cut_ms=at_ms)
    return made


def _addons(
    subscription: Subscription, change: ScheduledUpdate, catalog: Catalog, *, moves: bool
) -> tuple[SubscriptionAddon, ...]:
    held = {addon.addon_id: addon for addon in subscription.addons}
    # A plan that is moved to brings its own add-ons: those of the plan before are not compatible with it.
    kept = () if change.plan_id is not None else tuple((addon.addon_id, addon.quantity) for addon in held.values())
    found: list[SubscriptionAddon] = []
    for addon_id, quantity in kept if change.addons is None else change.addons:
        own, latest = held.get(addon_id), catalog.latest.get(addon_id)
        if own is not None and (not moves or latest is None):
            found.append(replace(own, quantity=quantity))
        elif latest is not None:
            found.append(SubscriptionAddon(addon_id=addon_id, version=latest, quantity=quantity))
    return tuple(found)


def _credits(subscription: Subscription, change: ScheduledUpdate) -> Any:
    if change.custom_credits is not None:
        return change.custom_credits
    return () if change.plan_id is not None else subscription.custom_credits


def is_latest(subscription: Subscription, catalog: Catalog) -> bool:
    """True where plan and add-ons are on their latest versions, for entitlements and for prices (semantics §19.3)."""
    version = catalog.latest.get(subscription.plan_id, subscription.plan_version)
    return subscription.plan_version == subscription.price_version == version and all(
        addon.version == catalog.latest.get(addon.addon_id, addon.version)
        and addon.price_version in (None, addon.version)
        for addon in subscription.addons
    )


def entitled_to_latest(subscription: Subscription, catalog: Catalog) -> Subscription:
    """The subscription with the entitlements of the latest versions and the prices it has: a publish to all."""
    return replace(
        subscription,
        plan_version=catalog.latest.get(subscription.plan_id, subscription.plan_version),
        addons=tuple(_with_latest(addon, catalog) for addon in subscription.addons),
    )


def _with_latest(addon: SubscriptionAddon, catalog: Catalog) -> SubscriptionAddon:
    version = catalog.latest.get(addon.addon_id, addon.version)
    if version == addon.version:
        return addon
    price_version = addon.version if addon.price_version is None else addon.price_version
    return replace(addon, version=version, price_version=None if price_version == version else price_version)
