"""What a pricing page needs of the catalog: plans in order, what they give, what they cost; products and coupons.

Amounts are full currency units. Hidden entitlements are there with their mark; what a plan inherits stands apart.
Source: the seed's paywall, product and coupon sections; semantics §12, §19.1.
"""

from collections.abc import Iterable
from decimal import Decimal

from stigg_local.core.catalog import (
    Addon,
    Coupon,
    CreditEntitlement,
    Feature,
    MoneyAmount,
    OveragePrice,
    PackageEntitlement,
    PackageVersion,
    Plan,
    Price,
    Product,
    Tier,
    TrialConfig,
)
from stigg_local.core.nearest import nearest
from stigg_local.core.paywall_shape import (
    CouponResult,
    DefaultTrial,
    PaywallAddon,
    PaywallCredit,
    PaywallEntitlement,
    PaywallFeature,
    PaywallPlan,
    PaywallPrice,
    PaywallTier,
    PlanRef,
    PricePoint,
    ProductResult,
)
from stigg_local.core.price_choice import entry_price
from stigg_local.core.pricing import localized
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription_result import Money
from stigg_local.errors import NotFound

BILLING_PERIODS = ("MONTHLY", "ANNUALLY")
PUBLISHED = "PUBLISHED"


def paywall_plans(
    catalog: Catalog, *, product_id: str | None, country: str | None, include_hidden: bool
) -> tuple[PaywallPlan, ...]:
    """The published plans of a product, or of all products in catalog order, each product's by `order`.

    Raises:
        NotFound: There is no such product (`ProductNotFoundError`).
    """
    if product_id is not None and product_id not in catalog.products:
        near = nearest(product_id, catalog.products)
        raise NotFound(
            f"product `{product_id[:80]}` does not exist",
            code="ProductNotFoundError",
            hint=f"did you mean `{near}`" if near else "get_products lists the products",
        )
    found: list[PaywallPlan] = []
    for product in catalog.products.values():
        if product_id not in (None, product.id):
            continue
        shown = [
            (package, package.plan)
            for package in _latest(catalog)
            if package.plan is not None
            and package.plan.product_id == product.id
            and package.plan.status == PUBLISHED
            and (include_hidden or not package.plan.hidden)
        ]
        # A plan without an order stands behind those that have one, in catalog order.
        shown.sort(key=lambda item: (item[1].order is None, item[1].order or 0))
        found += [
            _plan(catalog, product, package, plan, place, country, include_hidden)
            for place, (package, plan) in enumerate(shown)
        ]
    return tuple(found)


def products(catalog: Catalog) -> list[ProductResult]:
    """Every product, in catalog order."""
    return [_product(catalog, product) for product in catalog.products.values()]


def coupons(catalog: Catalog) -> list[CouponResult]:
    """Every coupon that can be applied, in catalog order."""
    return [
        _coupon(item)
        for item in catalog.others.get("coupon", ())
        if isinstance(item, Coupon) and item.status == "ACTIVE"
    ]


def _latest(catalog: Catalog) -> Iterable[PackageVersion]:
    for package_id, version in catalog.latest.items():
        yield catalog.packages[package_id, version].version


def _plan(
    catalog: Catalog,
    product: Product,
    package: PackageVersion,
    plan: Plan,
    place: int,
    country: str | None,
    include_hidden: bool,
) -> PaywallPlan:
    own = {item.feature_id for item in plan.entitlements}
    base = None if plan.parent_plan_id is None else catalog.latest_package(plan.parent_plan_id)
    return PaywallPlan(
        id=plan.id,
        order=place if plan.order is None else plan.order,
        display_name=plan.display_name or plan.id,
        description=plan.description,
        entitlements=_entitlements(catalog, plan.entitlements),
        inherited_entitlements=_entitlements(
            catalog, [item.entitlement for item in package.inherited if item.entitlement.feature_id not in own]
        ),
        credit_entitlements=_credits(catalog, plan.credit_entitlements),
        inherited_credit_entitlements=_credits(catalog, [item.entitlement for item in package.inherited_credits]),
        price_points=_price_points(catalog, plan, country),
        prices=_prices(localized(plan.prices, country)),
        overage_prices=_prices(localized(plan.overage_prices, country)),
        minimum_spend=tuple(
            (period, _money(plan.minimum_spend[period])) for period in BILLING_PERIODS if period in plan.minimum_spend
        ),
        pricing_type=plan.pricing_type,
        default_trial_config=_trial(plan.default_trial_config),
        compatible_addons=_addons(catalog, plan, country, include_hidden),
        base_plan=None if base is None else PlanRef(base.id, base.package.display_name or base.id),
        product=_product(catalog, product),
        metadata=plan.metadata,
        version_number=package.version,
        hidden=plan.hidden,
    )


def _addons(catalog: Catalog, plan: Plan, country: str | None, include_hidden: bool) -> tuple[PaywallAddon, ...]:
    found = []
    for addon_id in plan.compatible_addon_ids:
        package = catalog.latest_package(addon_id)
        addon = None if package is None else package.addon
        if addon is not None and addon.status == PUBLISHED and (include_hidden or not addon.hidden):
            found.append(_addon(catalog, addon, country))
    return tuple(found)


def _addon(catalog: Catalog, addon: Addon, country: str | None) -> PaywallAddon:
    return PaywallAddon(
        id=addon.id,
        display_name=addon.display_name or addon.id,
        description=addon.description,
        metadata=addon.metadata,
        entitlements=_entitlements(catalog, addon.entitlements),
        credit_entitlements=_credits(catalog, addon.credit_entitlements),
        prices=_prices(localized(addon.prices, country)),
        overage_prices=_prices(localized(addon.overage_prices, country)),
        pricing_type=addon.pricing_type,
        max_quantity=addon.max_quantity,
        dependencies=addon.dependencies,
        hidden=addon.hidden,
    )


def _entitlements(catalog: Catalog, stated: Iterable[PackageEntitlement]) -> tuple[PaywallEntitlement, ...]:
    ordered = sorted(stated, key=lambda item: (item.order is None, item.order or 0))
    return tuple(
        PaywallEntitlement(
            usage_limit=_limit(item, catalog.features[item.feature_id]),
            feature=_feature(catalog.features[item.feature_id]),
            has_unlimited_usage=item.is_unlimited,
            has_soft_limit=item.has_soft_limit or None,
            is_granted=None if item.is_granted else False,
            is_custom=item.is_custom or None,
            reset_period=item.reset_period,
            enum_values=item.enum_values,
            display_name_override=item.display_name_override,
            hidden_from_widgets=item.hidden_from_widgets,
        )
        for item in ordered
        if item.feature_id in catalog.features
    )


def _limit(item: PackageEntitlement, feature: Feature) -> int | float | None:
    return 0 if feature.feature_type == "Boolean" else item.limit


def _feature(feature: Feature) -> PaywallFeature:
    return PaywallFeature(
        id=feature.id,
        feature_type=feature.feature_type,
        description=feature.description or "",
        meter_type=feature.meter_type,
        units=feature.units or None,
        units_plural=feature.units_plural or None,
        display_name=feature.display_name or feature.id,
        is_metered=feature.is_metered,
        metadata=feature.metadata,
    )


def _credits(catalog: Catalog, stated: Iterable[CreditEntitlement]) -> tuple[PaywallCredit, ...]:
    found = []
    for item in stated:
        currency = catalog.currencies.get(item.currency_id)
        name = item.currency_id if currency is None else currency.display_name or currency.id
        found.append(
            PaywallCredit(currency_id=item.currency_id, display_name=name, amount=item.amount, cadence=item.cadence)
        )
    return tuple(found)


def _prices(prices: Iterable[Price | OveragePrice]) -> tuple[PaywallPrice, ...]:
    return tuple(_price(price) for price in prices)


def _price(price: Price | OveragePrice) -> PaywallPrice:
    amount = price.unit_amount if price.amount is None else price.amount
    full = price if isinstance(price, Price) else None
    return PaywallPrice(
        billing_model="USAGE_BASED" if full is None else full.billing_model,
        billing_period=price.billing_period,
        price=None if amount is None else Money(amount, price.currency),
        billing_country_code=price.billing_country_code,
        feature_id=price.feature_id,
        min_unit_quantity=None if full is None else full.min_units,
        max_unit_quantity=None if full is None else full.max_units,
        tiers_mode=None if full is None else full.tiers_mode,
        tiers=tuple(_tier(tier, price.currency) for tier in full.tiers) if full is not None and full.tiers else None,
        block_size=price.block_size,
    )


def _tier(tier: Tier, currency: str) -> PaywallTier:
    return PaywallTier(
        up_to=tier.up_to,
        unit_price=None if tier.unit_amount is None else Money(tier.unit_amount, currency),
        flat_price=None if tier.flat_amount is None else Money(tier.flat_amount, currency),
    )


def _price_points(catalog: Catalog, plan: Plan, country: str | None) -> tuple[PricePoint, ...]:
    if plan.pricing_type == "CUSTOM":
        return ()
    points = []
    for period in BILLING_PERIODS:
        entry = entry_price(plan, period, country)
        if entry is None:
            continue
        feature = None if entry.feature_id is None else catalog.features.get(entry.feature_id)
        points.append(
            PricePoint(
                plan_id=plan.id,
                billing_period=period,
                amount=entry.amount,
                currency=entry.currency,
                billing_country_code=entry.billing_country_code,
                additional_charges_may_apply=entry.has_further_charges,
                feature=None if feature is None else _feature(feature),
            )
        )
    return tuple(points)


def _trial(config: TrialConfig | None) -> DefaultTrial | None:
    if config is None:
        return None
    return DefaultTrial(
        duration=config.duration,
        units=config.units,
        trial_end_behavior=config.trial_end_behavior,
        budget=None if config.budget is None else _money(config.budget),
    )


def _money(amount: MoneyAmount) -> Money:
    return Money(amount.amount, amount.currency)


def _product(catalog: Catalog, product: Product) -> ProductResult:
    plan_id = product.settings.downgrade_plan_id
    plan = None if plan_id is None else catalog.latest_package(plan_id)
    return ProductResult(
        id=product.id,
        display_name=product.display_name or product.id,
        description=product.description,
        metadata=product.metadata,
        downgrade_plan=None if plan is None else PlanRef(plan.id, plan.package.display_name or plan.id),
    )


def _coupon(coupon: Coupon) -> CouponResult:
    first = coupon.amounts_off[0].amount if coupon.amounts_off else Decimal(0)
    return CouponResult(
        id=coupon.id,
        name=coupon.name or coupon.id,
        description=coupon.description,
        metadata=coupon.metadata,
        discount_value=first if coupon.percent_off is None else coupon.percent_off,
        type=coupon.type,
        percent_off=coupon.percent_off,
        amounts_off=tuple(_money(item) for item in coupon.amounts_off) or None,
        duration_in_months=coupon.duration_in_months,
        once=coupon.once or None,
        status=coupon.status,
    )
