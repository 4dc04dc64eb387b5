"""The life cycle of customers and subscriptions: pure decisions from a record to a record.

Laws: at any instant at most one non-trial subscription per customer, product and resource; a trial never ends a
paid one; one self-service trial per customer and product. Source: the seed's warning box, semantics §5 to §7, §19.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import PackageVersion, Plan, Price, Product
from stigg_local.core.customer import (
    CustomCredit,
    Customer,
    CustomFeature,
    Subscription,
    SubscriptionAddon,
    ends_at,
    entitled_until,
    free_plan_after,
    is_trial_at,
)
from stigg_local.core.iso import COUNTRIES
from stigg_local.core.nearest import nearest
from stigg_local.core.period import trial_end
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound


class ProvisionSubscription(Struct, frozen=True, kw_only=True):
    """The command, checked for its shape: ids, whole quantities, known words."""

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


class Provisioned(Struct, frozen=True, kw_only=True):
    """The record after a provisioning, the new subscription, and those that it ended."""

    customer: Customer
    subscription: Subscription
    ended: tuple[Subscription, ...] = ()


def journey(catalog: Catalog, product_id: str | None = None) -> tuple[Product, str] | None:
    """The product whose journey applies, and the plan that its customers start on; None where they choose.

    Args:
        catalog: The compiled catalog.
        product_id: The product of the requested plan; None for the first single-subscription product.
    """
    for product in catalog.products.values():
        if product.multiple_subscriptions or product_id not in (None, product.id):
            continue
        settings = product.settings
        if settings.subscription_start_setup == "PLAN_SELECTION" or settings.subscription_start_plan_id is None:
            return None
        return product, settings.subscription_start_plan_id
    return None


def provision(
    customer: Customer,
    catalog: Catalog,
    command: ProvisionSubscription,
    *,
    now_ms: int,
    new_id: Callable[[], str],
) -> Provisioned:
    """Give a customer a subscription that starts now.

    Raises:
        NotFound: The plan or an add-on does not exist.
        NotAllowed: A rule refuses; the code is the field's own, for example `IncompatibleSubscriptionAddon`.
        InvalidInput: An argument is missing or out of range, for example `BillingPeriodMissingError`.
    """
    package = catalog.latest_package(command.plan_id)
    if package is None or package.plan is None:
        near = nearest(command.plan_id, _plan_ids(catalog))
        raise NotFound(
            f"plan `{command.plan_id[:80]}` does not exist",
            code="PlanNotFound",
            hint=f"did you mean `{near}`" if near else None,
        )
    plan = package.plan
    if plan.status != "PUBLISHED":
        raise NotAllowed(
            f"plan `{plan.id}` is {plan.status.lower()}",
            code="UnPublishedPackage",
            hint="publish it, or take another",
        )
    product = catalog.products.get(plan.product_id)
    if product is None:
        raise NotFound(f"product `{plan.product_id}` does not exist", code="ProductNotFoundError")
    _check_resource(product, command.resource_id)
    _check_country(command.billing_country_code)
    addons = _addons(catalog, plan, command.addons, command.billing_period)
    mates = [
        item
        for item in (*customer.subscriptions, *_free_plans(customer, catalog, now_ms))
        if item.product_id == product.id and item.resource_id == command.resource_id
    ]
    trial_ms = _trial_end(plan, customer, command, mates, now_ms)
    _check_prices(plan, command, is_trial=trial_ms is not None)
    units = _units(plan, command)
    _check_custom(catalog, package, command)

    changed = {item.id: item for item in customer.subscriptions}
    ended: list[Subscription] = []
    for mate in mates:
        if ends_at(mate, mates) <= now_ms or not _replaced(mate, plan, trial_ms is not None, now_ms):
            continue
        reason = "TrialConverted" if is_trial_at(mate, now_ms) else "UpgradeOrDowngrade"
        changed[mate.id] = replace(mate, end_ms=now_ms, cancel_reason=reason)
        ended.append(changed[mate.id])
    previous = ended[-1] if ended else None
    anchor, cut = _usage_anchor(product, previous, command, now_ms)
    subscription = Subscription(
        id=f"subscription-{plan.id.removeprefix('plan-')}-{new_id()[:6]}",
        plan_id=plan.id,
        plan_version=package.version,
        price_version=package.version,
        product_id=product.id,
        created_ms=now_ms,
        start_ms=now_ms,
        usage_anchor_ms=anchor,
        usage_cut_ms=cut,
        billing_anchor_ms=now_ms if trial_ms is None else trial_ms,
        resource_id=command.resource_id,
        billing_period=command.billing_period,
        billing_country_code=command.billing_country_code,
        trial_end_ms=trial_ms,
        trial_end_behavior=None
        if trial_ms is None or plan.default_trial_config is None
        else plan.default_trial_config.trial_end_behavior,
        addons=addons,
        units=units,
        custom_features=dict(command.custom_features),
        custom_credits=command.custom_credits,
        metadata=command.metadata,
    )
    resources = customer.resource_ids
    if command.resource_id is not None and command.resource_id not in resources:
        resources = (*resources, command.resource_id)
    customer = replace(
        customer,
        subscriptions=(*changed.values(), subscription),
        resource_ids=resources,
        updated_ms=now_ms,
    )
    return Provisioned(customer=customer, subscription=subscription, ended=tuple(ended))


def _free_plans(customer: Customer, catalog: Catalog, now_ms: int) -> list[Subscription]:
    """Free plans that followed a trial by themselves and are in force: nobody has written them down yet."""
    found = [
        free_plan_after(trial, customer.subscriptions, catalog.products.get, catalog.latest.get)
        for trial in customer.subscriptions
    ]
    return [item for item in found if item is not None and item.start_ms <= now_ms < entitled_until(item)]


def _replaced(mate: Subscription, plan: Plan, is_trial: bool, now_ms: int) -> bool:
    """Whether the running subscription ends when the new one starts.

    A new non-trial one ends the running non-trial one and, where it is of the trialed plan, the trial too. Trial and
    paid run side by side otherwise; no second trial meets a running one, because a product is trialed once.
    """
    if is_trial_at(mate, now_ms):
        return mate.plan_id == plan.id
    return not is_trial


def _usage_anchor(
    product: Product, previous: Subscription | None, command: ProvisionSubscription, now_ms: int
) -> tuple[int, int]:
    """(anchor, cut) of the new subscription's windows: new, or those of the subscription it replaces."""
    if previous is None:
        return now_ms, now_ms
    same_cycle = (
        previous.billing_period == command.billing_period
        and command.billing_cycle_anchor != "NOW"
        # A trial that has converted is paid for like any other; a running one has no cycle yet.
        and not is_trial_at(previous, now_ms)
    )
    rule = product.settings.usage_reset_on_plan_change
    keeps = rule == "NEVER_RESET" or (
        same_cycle and (rule == "BILLING_PERIOD_CHANGE" or previous.plan_id == command.plan_id)
    )
    return (previous.usage_anchor_ms, previous.usage_cut_ms) if keeps else (now_ms, now_ms)


def _trial_end(
    plan: Plan, customer: Customer, command: ProvisionSubscription, mates: Sequence[Subscription], now_ms: int
) -> int | None:
    """When the new subscription's trial ends; None where it has none."""
    config = plan.default_trial_config
    if config is None or command.skip_trial:
        return None
    for subscription in customer.subscriptions:
        if subscription.product_id == plan.product_id and subscription.trial_end_ms is not None:
            return None
    for mate in mates:
        # A paying customer of this very plan does not fall back into a trial of it.
        if mate.plan_id == plan.id and mate.start_ms <= now_ms < ends_at(mate, mates):
            return None
    return trial_end(config.duration, config.units, now_ms)


def _plan_ids(catalog: Catalog) -> list[str]:
    return [package.version.id for package in catalog.packages.values() if package.version.plan is not None]


def _check_resource(product: Product, resource_id: str | None) -> None:
    if product.multiple_subscriptions and resource_id is None:
        raise InvalidInput(
            f"product `{product.id}` has one subscription per resource, and no resource_id was given",
            code="InvalidArgumentError",
            hint="pass resource_id=",
        )
    if not product.multiple_subscriptions and resource_id is not None:
        raise InvalidInput(
            f"product `{product.id}` has one subscription per customer, and resource_id is `{resource_id[:80]}`",
            code="InvalidArgumentError",
            hint="leave resource_id out, or set multipleSubscriptions on the product",
        )


def _check_country(code: str | None) -> None:
    if code is not None and code not in COUNTRIES:
        near = nearest(code, COUNTRIES)
        raise InvalidInput(
            f"billing_country_code is `{code[:20]}`, not a country of ISO 3166-1 alpha-2",
            code="InvalidArgumentError",
            hint=f"did you mean `{near}`" if near else "like `DE`",
        )


def _addons(
    catalog: Catalog, plan: Plan, asked: Sequence[tuple[str, int]], billing_period: str | None
) -> tuple[SubscriptionAddon, ...]:
    found: list[SubscriptionAddon] = []
    ids = {addon_id for addon_id, _ in asked}
    for addon_id, quantity in asked:
        package = catalog.latest_package(addon_id)
        if package is None or package.addon is None:
            near = nearest(addon_id, plan.compatible_addon_ids)
            raise NotFound(
                f"add-on `{addon_id[:80]}` does not exist",
                code="AddonNotFound",
                hint=f"did you mean `{near}`" if near else None,
            )
        addon = package.addon
        if any(item.addon_id == addon_id for item in found):
            raise NotAllowed(
                f"add-on `{addon_id}` is given twice",
                code="DuplicateAddonProvisionedError",
                hint="use its quantity",
            )
        if addon_id not in plan.compatible_addon_ids:
            raise NotAllowed(
                f"add-on `{addon_id}` is not compatible with plan `{plan.id}`",
                code="IncompatibleSubscriptionAddon",
                hint=f"plan `{plan.id}` takes {', '.join(plan.compatible_addon_ids) or 'no add-ons'}",
            )
        if addon.status != "PUBLISHED":
            raise NotAllowed(f"add-on `{addon_id}` is {addon.status.lower()}", code="UnPublishedPackage")
        if quantity < 1:
            raise InvalidInput(
                f"the quantity of add-on `{addon_id}` is `{quantity}`",
                code="InvalidQuantity",
                hint="1 or more",
            )
        if addon.max_quantity is not None and quantity > addon.max_quantity:
            raise NotAllowed(
                f"the quantity of add-on `{addon_id}` is `{quantity}`, above its maximum of {addon.max_quantity}",
                code="AddonQuantityExceedsLimitError",
            )
        if addon.prices and billing_period not in {None, *(price.billing_period for price in addon.prices)}:
            raise NotAllowed(f"add-on `{addon_id}` has no price for `{billing_period}`", code="PriceNotFound")
        missing = [item for item in addon.dependencies if item not in ids]
        if missing:
            raise NotAllowed(
                f"add-on `{addon_id}` needs `{missing[0]}` beside it",
                code="AddonDependencyMissingError",
                hint=f"add `{missing[0]}` to addons=",
            )
        found.append(SubscriptionAddon(addon_id=addon_id, version=package.version, quantity=quantity))
    return tuple(found)


def _check_prices(plan: Plan, command: ProvisionSubscription, *, is_trial: bool) -> None:
    period = command.billing_period
    if plan.pricing_type != "PAID" or not plan.prices:
        return
    periods = sorted({price.billing_period for price in plan.prices})
    if period is None:
        if is_trial:
            return
        raise InvalidInput(
            f"plan `{plan.id}` is paid, and no billing_period was given",
            code="BillingPeriodMissingError",
            hint=f"pass billing_period={' or '.join(periods)}",
        )
    if period not in periods:
        raise NotAllowed(
            f"plan `{plan.id}` has no price for `{period}`",
            code="PriceNotFound",
            hint=f"it is sold {' and '.join(periods)}",
        )


def unit_prices(plan: Plan, billing_period: str | None) -> dict[str, Price]:
    """The plan's per-unit price of each feature, for the period or, without one, for any."""
    return {
        price.feature_id: price
        for price in plan.prices
        if price.billing_model == "PER_UNIT" and price.feature_id and billing_period in (None, price.billing_period)
    }


def _units(plan: Plan, command: ProvisionSubscription) -> dict[str, int]:
    prices = unit_prices(plan, command.billing_period)
    units: dict[str, int] = {}
    for feature_id, quantity in command.units:
        if feature_id in units:
            raise InvalidInput(
                f"`{feature_id[:80]}` is given twice", code="DuplicatedEntityNotAllowed", hint="add the quantities up"
            )
        price = prices.get(feature_id)
        if price is None:
            raise InvalidInput(
                f"plan `{plan.id}` has no per-unit price for `{feature_id[:80]}`",
                code="InvalidQuantity",
                hint=f"billable_features may name {', '.join(prices) or 'nothing'} here",
            )
        least = 1 if price.min_units is None else price.min_units
        if quantity < least or (price.max_units is not None and quantity > price.max_units):
            bounds = f"at least {least}" if price.max_units is None else f"{least} to {price.max_units}"
            raise InvalidInput(
                f"the quantity of `{feature_id}` is `{quantity}`",
                code="InvalidQuantity",
                hint=f"{bounds} units",
            )
        units[feature_id] = quantity
    missing = [feature_id for feature_id in prices if feature_id not in units]
    if missing and command.billing_period is not None:
        raise InvalidInput(
            f"plan `{plan.id}` is priced per unit of `{missing[0]}`, and no quantity was given",
            code="InvalidQuantity",
            hint=f'pass billable_features=[{{"feature_id": "{missing[0]}", "quantity": …}}]',
        )
    return units


def _check_custom(catalog: Catalog, package: PackageVersion, command: ProvisionSubscription) -> None:
    plan = package.plan
    assert plan is not None, "a subscription is of a plan"
    if not command.custom_features and not command.custom_credits:
        return
    if plan.pricing_type != "CUSTOM":
        raise NotAllowed(
            f"plan `{plan.id}` is not custom, so a subscription cannot bring its own entitlements",
            code="InvalidArgumentError",
            hint="grant a promotional entitlement, or make the plan CUSTOM",
        )
    known = catalog.packages[package.id, package.version].entitlements
    for feature_id in command.custom_features:
        if feature_id not in known or not known[feature_id][0].is_custom:
            raise NotAllowed(
                f"`{feature_id[:80]}` is not a custom entitlement of plan `{plan.id}`",
                code="InvalidArgumentError",
                hint="mark it isCustom in the plan",
            )
    for credit in command.custom_credits:
        if credit.currency_id not in catalog.currencies:
            raise NotFound(
                f"credit currency `{credit.currency_id[:80]}` does not exist", code="CustomCurrencyNotFound"
            )
