"""What a provisioning asks for: the command, and the subscription that it would make alone in its place.

Source: semantics §5, §6, §7.2, §19.19, §19.20.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import Coupon, PackageVersion, Plan, Product
from stigg_local.core.customer import (
    AppliedCoupon,
    CustomCredit,
    Customer,
    CustomFeature,
    Subscription,
    SubscriptionAddon,
)
from stigg_local.core.discounts import check_amount, new_coupon, with_code
from stigg_local.core.experiment import assigned, info_of, settings_of
from stigg_local.core.iso import check_country
from stigg_local.core.order import (
    check_currency,
    check_custom,
    check_prices,
    check_resource,
    ordered_addons,
    ordered_plan,
    ordered_units,
)
from stigg_local.core.period import to_text, trial_end
from stigg_local.core.place import is_running
from stigg_local.core.pricing import recurring
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput

# Digits of a subscription's id.
ID_DIGITS = 6

Strategy = Literal["IMMEDIATE", "END_OF_BILLING_PERIOD", "END_OF_BILLING_MONTH"]


class TrialOverride(Struct, frozen=True, kw_only=True):
    """Whether there is a trial, whatever the plan and the customer's past say, and when and how it ends."""

    is_trial: bool
    trial_end_ms: int | None = None
    trial_end_behavior: Literal["CONVERT_TO_PAID", "CANCEL_SUBSCRIPTION"] | None = None


class ProvisionSubscription(Struct, frozen=True, kw_only=True):
    """The command, checked for its shape: ids, whole quantities, known words.

    `resolved_coupon` is what the payment provider makes of `promotion_code`, and `redeemed` how often the code was
    used before.
    """

    customer_id: str
    plan_id: str
    billing_period: str | None = None
    resource_id: str | None = None
    addons: tuple[tuple[str, int], ...] = ()
    units: tuple[tuple[str, int], ...] = ()
    custom_features: Mapping[str, CustomFeature] = {}
    custom_credits: tuple[CustomCredit, ...] = ()
    billing_country_code: str | None = None
    metadata: dict[str, str] | None = None
    skip_trial: bool = False
    billing_cycle_anchor: Literal["UNCHANGED", "NOW"] = "UNCHANGED"
    start_ms: int | None = None
    trial_override: TrialOverride | None = None
    schedule_strategy: Strategy | None = None
    coupon_id: str | None = None
    promotion_code: str | None = None
    resolved_coupon: Coupon | None = None
    redeemed: int = 0
    paying_customer_id: str | None = None


class Order(Struct, frozen=True, kw_only=True):
    """What is asked for, checked: the subscription as it would be alone in its place."""

    customer: Customer
    others: tuple[Subscription, ...]
    subscription: Subscription
    product: Product
    now_ms: int
    downgrade_time: Strategy


def ordered(
    customer: Customer,
    catalog: Catalog,
    command: ProvisionSubscription,
    *,
    now_ms: int,
    new_id: Callable[[], str],
    is_taken: Callable[[str], bool],
) -> Order:
    """What a command asks for, checked against record and catalog.

    Raises:
        NotFound, NotAllowed, InvalidInput: As `core.subscription.provision`.
    """
    package, plan, product = ordered_plan(catalog, command.plan_id)
    check_resource(product, command.resource_id)
    check_country(command.billing_country_code)
    addons = ordered_addons(catalog, plan, command.addons, command.billing_period)
    start_ms = now_ms if command.start_ms is None else command.start_ms
    trial_ms = _trial_end(plan, customer, command, start_ms=start_ms, now_ms=now_ms)
    check_prices(plan, command.billing_period, command.billing_country_code, is_trial=trial_ms is not None)
    check_currency(catalog, plan, addons, command.billing_period, command.billing_country_code)
    units = ordered_units(plan, command.billing_period, command.units)
    check_custom(catalog, package, command.custom_features, command.custom_credits)
    customer = assigned(customer, catalog, product.id)
    subscription_id = _new_id(customer, plan, new_id, is_taken)
    subscription = _new(package, plan, command, addons, units, trial_ms, start_ms, now_ms, subscription_id)
    subscription = replace(
        subscription,
        coupon=_coupon(catalog, command, now_ms),
        experiment=info_of(customer, catalog, product.id),
    )
    if subscription.coupon is not None:
        check_amount(subscription.coupon, recurring(subscription, catalog).currency)
    resources = customer.resource_ids
    if command.resource_id is not None and command.resource_id not in resources:
        resources = (*resources, command.resource_id)
    settings = settings_of(customer, catalog, product)
    return Order(
        customer=replace(customer, resource_ids=resources, updated_ms=now_ms),
        others=customer.subscriptions,
        subscription=subscription,
        product=replace(product, settings=settings),
        now_ms=now_ms,
        downgrade_time=settings.downgrade_time,
    )


def _new_id(customer: Customer, plan: Plan, new_id: Callable[[], str], is_taken: Callable[[str], bool]) -> str:
    """An id of nobody's: as short as people like to read it, longer where that one is somebody's already."""
    known = {item.id for item in customer.subscriptions}
    digits = ID_DIGITS
    while True:
        found = f"subscription-{plan.id.removeprefix('plan-')}-{new_id()[:digits]}"
        if found not in known and not is_taken(found):
            return found
        digits += 1


def _new(
    package: PackageVersion,
    plan: Plan,
    command: ProvisionSubscription,
    addons: tuple[SubscriptionAddon, ...],
    units: dict[str, int],
    trial_ms: int | None,
    start_ms: int,
    now_ms: int,
    subscription_id: str,
) -> Subscription:
    override = command.trial_override
    config = plan.default_trial_config
    behavior = None if override is None else override.trial_end_behavior
    if behavior is None:
        behavior = "CONVERT_TO_PAID" if config is None else config.trial_end_behavior
    return Subscription(
        id=subscription_id,
        plan_id=plan.id,
        plan_version=package.version,
        price_version=package.version,
        product_id=plan.product_id,
        created_ms=now_ms,
        start_ms=start_ms,
        usage_anchor_ms=start_ms,
        usage_cut_ms=start_ms,
        billing_anchor_ms=start_ms if trial_ms is None else trial_ms,
        resource_id=command.resource_id,
        # What is free has no cycle, whatever period it was asked for with.
        billing_period=None if plan.pricing_type == "FREE" else command.billing_period,
        billing_country_code=command.billing_country_code,
        is_waiting=start_ms > now_ms,
        re_anchors=command.billing_cycle_anchor == "NOW",
        trial_end_ms=trial_ms,
        trial_end_behavior=None if trial_ms is None else behavior,
        addons=addons,
        units=units,
        custom_features=dict(command.custom_features),
        custom_credits=command.custom_credits,
        paying_customer_id=command.paying_customer_id,
        metadata=command.metadata,
    )


def _trial_end(
    plan: Plan, customer: Customer, command: ProvisionSubscription, *, start_ms: int, now_ms: int
) -> int | None:
    """When the new subscription's trial ends; None where it has none."""
    config = plan.default_trial_config
    override = command.trial_override
    own = None if config is None else trial_end(config.duration, config.units, start_ms)
    if override is not None:
        return _overridden(plan, override, own, start_ms=start_ms, now_ms=now_ms)
    if own is None or command.skip_trial or own <= now_ms:
        return None
    for item in customer.subscriptions:
        if item.product_id != plan.product_id:
            continue
        # One trial for each customer and product; and whoever pays for a plan does not fall back into a trial of it.
        is_here = item.resource_id == command.resource_id and item.plan_id == plan.id and is_running(item, now_ms)
        if item.trial_end_ms is not None or is_here:
            return None
    return own


def _overridden(plan: Plan, override: TrialOverride, own: int | None, *, start_ms: int, now_ms: int) -> int | None:
    if not override.is_trial:
        return None
    if plan.pricing_type == "FREE":
        raise InvalidInput(
            f"plan `{plan.id}` is free, and a trial of it was asked for",
            code="InvalidArgumentError",
            hint="leave trial_override out",
        )
    end_ms = own if override.trial_end_ms is None else override.trial_end_ms
    if end_ms is None:
        raise InvalidInput(
            f"plan `{plan.id}` has no trial of its own, and trial_override has no trial_end_date",
            code="InvalidArgumentError",
            hint="pass trial_end_date",
        )
    if end_ms <= max(start_ms, now_ms):
        raise InvalidInput(
            f"the trial would end at {to_text(end_ms)}, before it begins",
            code="InvalidArgumentError",
            hint="pass a trial_end_date in the future, after the start",
        )
    return end_ms


def _coupon(catalog: Catalog, command: ProvisionSubscription, now_ms: int) -> AppliedCoupon | None:
    if command.promotion_code is not None and command.coupon_id is not None:
        raise InvalidInput(
            f"both the promotion code `{command.promotion_code[:80]}` and the coupon `{command.coupon_id[:80]}` are"
            " given",
            code="InvalidArgumentError",
            hint="a subscription has one of the two",
        )
    if command.promotion_code is not None:
        return with_code(
            catalog,
            command.promotion_code,
            resolved=command.resolved_coupon,
            redeemed=command.redeemed,
            now_ms=now_ms,
        )
    if command.coupon_id is not None:
        return AppliedCoupon(coupon=new_coupon(catalog, command.coupon_id), start_ms=now_ms)
    return None
