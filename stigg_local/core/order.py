"""What is ordered, checked against the catalog: plan, resource, country, add-ons, prices, units and custom values.

Every refusal has the field's own code, names the value and says the way out. Source: semantics §7.2, §14, §19.28.
"""

from collections.abc import Mapping, Sequence

from stigg_local.core.catalog import Addon, PackageVersion, Plan, Price, Product
from stigg_local.core.change import unit_prices
from stigg_local.core.customer import CustomCredit, CustomFeature, SubscriptionAddon
from stigg_local.core.nearest import nearest
from stigg_local.core.pricing import prices_of
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound


def ordered_plan(catalog: Catalog, plan_id: str) -> tuple[PackageVersion, Plan, Product]:
    """The latest version of a published plan, the plan and its product.

    Raises:
        NotFound: `PlanNotFound`, `ProductNotFoundError`.
        NotAllowed: `UnPublishedPackage`.
    """
    package = catalog.latest_package(plan_id)
    if package is None or package.plan is None:
        plans = [item.version.id for item in catalog.packages.values() if item.version.plan is not None]
        near = nearest(plan_id, plans)
        raise NotFound(
            f"plan `{plan_id[:80]}` does not exist",
            code="PlanNotFound",
            hint=f"did you mean `{near}`" if near else "get_paywall lists the plans",
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
        raise NotFound(
            f"product `{plan.product_id}` does not exist",
            code="ProductNotFoundError",
            hint=f"plan `{plan.id}` names it: add the product to the catalog",
        )
    return package, plan, product


def check_resource(product: Product, resource_id: str | None) -> None:
    """A resource where the product has one subscription for each, and none where it has not.

    Raises:
        InvalidInput: `InvalidArgumentError`.
    """
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


def ordered_addons(
    catalog: Catalog,
    plan: Plan,
    asked: Sequence[tuple[str, int]],
    period: str | None,
    *,
    held: Sequence[SubscriptionAddon] = (),
) -> tuple[SubscriptionAddon, ...]:
    """The add-ons that are asked for, each at its latest version; those that are held already keep theirs.

    Raises:
        NotFound: `AddonNotFound`.
        NotAllowed: `DuplicateAddonProvisionedError`, `IncompatibleSubscriptionAddon`, `UnPublishedPackage`,
            `AddonQuantityExceedsLimitError`, `PriceNotFound`, `AddonDependencyMissingError`.
        InvalidInput: `InvalidQuantity`.
    """
    found: dict[str, SubscriptionAddon] = {}
    own = {item.addon_id: item for item in held}
    ids = {addon_id for addon_id, _ in asked}
    for addon_id, quantity in asked:
        if addon_id in found:
            raise NotAllowed(
                f"add-on `{addon_id}` is given twice",
                code="DuplicateAddonProvisionedError",
                hint="use its quantity",
            )
        had = own.get(addon_id)
        package = catalog.latest_package(addon_id)
        if had is not None and (addon_id, had.version) in catalog.packages:
            package = catalog.packages[addon_id, had.version].version
        if package is None or package.addon is None:
            near = nearest(addon_id, plan.compatible_addon_ids)
            raise NotFound(
                f"add-on `{addon_id[:80]}` does not exist",
                code="AddonNotFound",
                hint=f"did you mean `{near}`" if near else "get_paywall lists the add-ons of each plan",
            )
        _check_addon(package.addon, plan, quantity, period, is_new=had is None)
        missing = [item for item in package.addon.dependencies if item not in ids]
        if missing:
            raise NotAllowed(
                f"add-on `{addon_id}` needs `{missing[0]}` beside it",
                code="AddonDependencyMissingError",
                hint=f"add `{missing[0]}` to addons=",
            )
        price_version = None if had is None else had.price_version
        found[addon_id] = SubscriptionAddon(
            addon_id=addon_id, version=package.version, quantity=quantity, price_version=price_version
        )
    return tuple(found.values())


def _check_addon(addon: Addon, plan: Plan, quantity: int, period: str | None, *, is_new: bool) -> None:
    if is_new and addon.id not in plan.compatible_addon_ids:
        raise NotAllowed(
            f"add-on `{addon.id}` is not compatible with plan `{plan.id}`",
            code="IncompatibleSubscriptionAddon",
            hint=f"plan `{plan.id}` takes {', '.join(plan.compatible_addon_ids) or 'no add-ons'}",
        )
    if is_new and addon.status != "PUBLISHED":
        raise NotAllowed(
            f"add-on `{addon.id}` is {addon.status.lower()}", code="UnPublishedPackage", hint="leave it out"
        )
    if quantity < 1:
        raise InvalidInput(
            f"the quantity of add-on `{addon.id}` is `{quantity}`",
            code="InvalidQuantity",
            hint="1 or more; leave an add-on out to have none of it",
        )
    if addon.max_quantity is not None and quantity > addon.max_quantity:
        raise NotAllowed(
            f"the quantity of add-on `{addon.id}` is `{quantity}`, above its maximum of {addon.max_quantity}",
            code="AddonQuantityExceedsLimitError",
            hint=f"at most {addon.max_quantity}",
        )
    if addon.prices and period not in {None, *(price.billing_period for price in addon.prices)}:
        raise NotAllowed(
            f"add-on `{addon.id}` has no price for `{period}`",
            code="PriceNotFound",
            hint="it is sold " + " and ".join(sorted({price.billing_period for price in addon.prices})),
        )


def check_prices(plan: Plan, period: str | None, country: str | None, *, is_trial: bool) -> None:
    """A paid plan needs a billing period that it has a price for; a trial may do without.

    Raises:
        InvalidInput: `BillingPeriodMissingError`.
        NotAllowed: `PriceNotFound`.
    """
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
    here = (None, country)
    if not any(item.billing_period == period and item.billing_country_code in here for item in plan.prices):
        known = sorted({str(item.billing_country_code) for item in plan.prices if item.billing_period == period})
        raise NotAllowed(
            f"plan `{plan.id}` has no price for the country `{country}`",
            code="PriceNotFound",
            hint=f"pass billing_country_code={' or '.join(known)}, or give the plan a price without a country",
        )


def check_currency(
    catalog: Catalog, plan: Plan, addons: Sequence[SubscriptionAddon], period: str | None, country: str | None
) -> None:
    """Plan and add-ons of one subscription are priced in one currency.

    Raises:
        NotAllowed: They are not (`PriceNotFound`).
    """
    own = next((price.currency for price in prices_of(plan, period, country)), None)
    for addon in addons:
        package = catalog.packages[addon.addon_id, addon.version].version.package
        for price in prices_of(package, period, country):
            own = own or price.currency
            if price.currency != own:
                raise NotAllowed(
                    f"add-on `{addon.addon_id}` is priced in {price.currency}, the rest of the subscription in {own}",
                    code="PriceNotFound",
                    hint=f"give the add-on a price in {own} for this country",
                )


def ordered_units(plan: Plan, period: str | None, asked: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The quantities of what the plan prices per unit.

    Raises:
        InvalidInput: `InvalidQuantity`, `DuplicatedEntityNotAllowed`.
    """
    prices = unit_prices(plan, period)
    units: dict[str, int] = {}
    for feature_id, quantity in asked:
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
        _check_units(price, feature_id, quantity)
        units[feature_id] = quantity
    missing = [feature_id for feature_id in prices if feature_id not in units]
    if missing and period is not None:
        raise InvalidInput(
            f"plan `{plan.id}` is priced per unit of `{missing[0]}`, and no quantity was given",
            code="InvalidQuantity",
            hint=f'pass billable_features=[{{"feature_id": "{missing[0]}", "quantity": …}}]',
        )
    return units


def _check_units(price: Price, feature_id: str, quantity: int) -> None:
    least = 1 if price.min_units is None else price.min_units
    if quantity < least or (price.max_units is not None and quantity > price.max_units):
        bounds = f"at least {least}" if price.max_units is None else f"{least} to {price.max_units}"
        raise InvalidInput(
            f"the quantity of `{feature_id}` is `{quantity}`", code="InvalidQuantity", hint=f"{bounds} units"
        )


def check_custom(
    catalog: Catalog,
    package: PackageVersion,
    features: Mapping[str, CustomFeature],
    credits: Sequence[CustomCredit],
) -> None:
    """Values of its own are for a subscription of a custom plan, for what the plan marks as custom.

    Raises:
        NotAllowed: `InvalidArgumentError`.
        NotFound: `CustomCurrencyNotFound`.
    """
    if not features and not credits:
        return
    plan = package.package
    if plan.pricing_type != "CUSTOM":
        raise NotAllowed(
            f"plan `{plan.id}` is not custom, so a subscription cannot bring its own entitlements",
            code="InvalidArgumentError",
            hint="grant a promotional entitlement, or make the plan CUSTOM",
        )
    known = catalog.packages[package.id, package.version].entitlements
    for feature_id in features:
        if feature_id not in known or not known[feature_id][0].is_custom:
            raise NotAllowed(
                f"`{feature_id[:80]}` is not a custom entitlement of plan `{plan.id}`",
                code="InvalidArgumentError",
                hint="mark it isCustom in the plan",
            )
    for credit in credits:
        catalog.currency(credit.currency_id)
