"""Ways to yes that are bought: add-ons, plans, more units of a plan, the value of a custom entitlement.

Laws: every one of them was provisioned on a copy and the question asked again; the quantity is the smallest that is
enough. Access never falls as a quantity rises, so that it is found by halving.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from stigg_local.core.answer import Entitlement
from stigg_local.core.catalog import Plan
from stigg_local.core.change import unit_prices
from stigg_local.core.customer import SubscriptionSource
from stigg_local.core.entitlement import CustomerView, in_scope
from stigg_local.core.explanation import Way
from stigg_local.core.world import LIMIT_MAX, World, currency_id_of, least

Provisioning = tuple[str, dict[str, Any], Entitlement]
"""The call that provisions, its arguments and the answer after it."""

# The largest quantity that is tried where the catalog sets no maximum.
QUANTITY_MAX = 1_000_000
# How many plans, and how many add-ons of a plan, are tried.
PACKAGES_MAX = 100


def _in_force(world: World) -> list[SubscriptionSource]:
    """The subscriptions that the question sees."""
    if world.view is None:
        return []
    return [
        source
        for source in world.view.snapshot.sources
        if isinstance(source, SubscriptionSource)
        and source.start_ms <= world.now_ms < source.end_ms
        and in_scope(source, world.resource_id)
    ]


def _again(world: World, source: SubscriptionSource) -> dict[str, Any]:
    """The arguments that provision a subscription once more as it is."""
    subscriptions = () if world.customer is None else world.customer.subscriptions
    record = next((item for item in subscriptions if item.id == source.subscription_id), None)
    arguments: dict[str, Any] = {"customer_id": world.question.customer_id, "plan_id": source.packages[0][0]}
    if source.resource_id:
        arguments["resource_id"] = source.resource_id
    if record is not None:
        for name in ("billing_period", "billing_country_code", "metadata"):
            if getattr(record, name) is not None:
                arguments[name] = getattr(record, name)
    if len(source.packages) > 1:
        arguments["addons"] = [{"addon_id": name, "quantity": many} for name, _, many in source.packages[1:]]
    if source.units:
        arguments["billable_features"] = [{"feature_id": name, "quantity": many} for name, many in source.units]
    values: list[dict[str, Any]] = [
        {"feature": {"feature_id": name, **({"is_unlimited": True} if value is None else {"usage_limit": value})}}
        for name, value in source.custom
    ]
    values += [
        {"credit": {"custom_currency_id": currency, "amount": amount, "cadence": cadence}}
        for currency, amount, cadence in source.custom_credits
    ]
    return arguments | ({"entitlements": values} if values else {})


def _gives_it(world: World, package_id: str) -> bool:
    """Whether the latest version of a package states the feature, or gives the credits that are short."""
    package = world.catalog.packages[package_id, world.catalog.latest[package_id]]
    if world.question.feature_id in package.entitlements:
        return True
    currency_id = currency_id_of(world, world.now_ms)
    return any(item.currency_id == currency_id for item in package.credits)


def _periods(plan: Plan, preferred: str | None) -> list[str | None]:
    """The billing periods that a plan can be provisioned with, the preferred one first."""
    sold = dict.fromkeys(price.billing_period for price in plan.prices)
    periods = [period for period in (preferred, "MONTHLY", "ANNUALLY") if period in sold]
    return list(dict.fromkeys(periods)) or [None]


def _provision(world: World, plan: Plan, base: Mapping[str, Any]) -> Provisioning | None:
    """The first billing period with which provisioning is accepted and makes it yes; it may make the customer."""
    for period in _periods(plan, base.get("billing_period")):
        arguments = {key: value for key, value in base.items() if key != "billing_period"}
        if period is not None:
            arguments["billing_period"] = period
        call = "provision_subscription"
        if world.view is None:
            call = "provision_customer"
            customer_id = arguments.pop("customer_id")
            arguments = {"customer_id": customer_id, "subscription_params": arguments}
        view = world.rehearse(call, arguments)
        after = world.answer(view)
        # A product's journey may put another plan in the place of the one that was asked for.
        if after is not None and after.has_access and _runs(view, plan.id, world.now_ms):
            return call, arguments, after
    return None


def _runs(view: CustomerView | None, plan_id: str, now_ms: int) -> bool:
    return view is not None and any(
        isinstance(source, SubscriptionSource)
        and source.packages[0][0] == plan_id
        and source.start_ms <= now_ms < source.end_ms
        for source in view.snapshot.sources
    )


def addon_ways(world: World) -> Iterator[Way]:
    """Add-ons of the plans that run, each in the smallest quantity that is enough."""
    for source in _in_force(world):
        package = world.catalog.latest_package(source.packages[0][0])
        plan = None if package is None else package.plan
        for addon_id in () if plan is None else plan.compatible_addon_ids[:PACKAGES_MAX]:
            known = world.catalog.latest_package(addon_id)
            addon = None if known is None else known.addon
            if plan is None or addon is None or not _gives_it(world, addon_id):
                continue
            base = _again(world, source)
            have = {item["addon_id"]: item["quantity"] for item in base.get("addons", ())}

            def arguments(
                quantity: int,
                base: dict[str, Any] = base,
                have: dict[str, int] = have,
                addon_id: str = addon_id,
                needed: tuple[str, ...] = _needed(world, addon_id),
            ) -> dict[str, Any]:
                wanted = dict.fromkeys(needed, 1) | have | {addon_id: quantity}
                return base | {"addons": [{"addon_id": name, "quantity": many} for name, many in wanted.items()]}

            low, high = have.get(addon_id, 0) + 1, addon.max_quantity or QUANTITY_MAX
            found = _least_provision(world, plan, arguments, low, high)
            if found is not None:
                yield _way("ADDON", plan, *found, addon_id=addon_id)


def _needed(world: World, addon_id: str) -> tuple[str, ...]:
    """What an add-on needs beside it, and what that needs in turn."""
    found: dict[str, None] = {}
    rest = [addon_id]
    while rest:
        known = world.catalog.latest_package(rest.pop())
        more = () if known is None or known.addon is None else known.addon.dependencies
        rest += [name for name in more if name not in found]
        found |= dict.fromkeys(more)
    return tuple(found)


def _least_provision(
    world: World, plan: Plan, arguments: Callable[[int], dict[str, Any]], low: int, high: int
) -> tuple[int, Provisioning] | None:
    """The smallest quantity with which provisioning makes it yes, the arguments and the answer after it."""

    @cache
    def at(many: int) -> Provisioning | None:
        return _provision(world, plan, arguments(many))

    if low > high or at(high) is None:
        return None
    quantity = least(lambda many: at(many) is not None, low, high)
    found = None if quantity is None else at(quantity)
    return None if quantity is None or found is None else (quantity, found)


def plan_ways(world: World) -> Iterator[Way]:
    """Other plans of the products that run, or of any product where none of these is enough; and more units.

    Smaller limits come first.
    """
    running = {source.packages[0][0]: source for source in _in_force(world)}
    products = {_product_id(world, plan_id) for plan_id in running}
    found: list[tuple[bool, Way]] = []
    looked_at = 0
    for plan_id in world.catalog.latest:
        package = world.catalog.latest_package(plan_id)
        plan = None if package is None else package.plan
        if plan is None or plan.status != "PUBLISHED" or not _gives_it(world, plan_id):
            continue
        looked_at += 1
        if looked_at > PACKAGES_MAX:
            break
        way = _plan(world, plan, running.get(plan_id), running)
        if way is not None:
            found.append((plan.product_id not in products, way))
    is_far = all(far for far, _ in found)
    ways = [way for far, way in found if far == is_far]
    yield from sorted(ways, key=_generosity)


def _product_id(world: World, plan_id: str) -> str:
    package = world.catalog.latest_package(plan_id)
    return "" if package is None else package.package.product_id


def _generosity(way: Way) -> float:
    limit = getattr(way.entitlement, "usage_limit", None)
    return float("inf") if limit is None else float(limit)


def _plan(
    world: World, plan: Plan, current: SubscriptionSource | None, running: Mapping[str, SubscriptionSource]
) -> Way | None:
    """A plan as a way; one that runs already is a way only with more units, or in a version that is newer."""
    product = world.catalog.products.get(plan.product_id)
    if product is None or (product.multiple_subscriptions and world.question.resource_id is None):
        return None
    mates = [source for plan_id, source in running.items() if _product_id(world, plan_id) == plan.product_id]
    base: dict[str, Any] = {"customer_id": world.question.customer_id, "plan_id": plan.id}
    if product.multiple_subscriptions:
        base["resource_id"] = world.question.resource_id
    if mates:
        mate = _again(world, mates[0])
        base |= {key: value for key, value in mate.items() if key in ("billing_period", "billing_country_code")}
    if current is not None:
        base = _again(world, current)
    prices = unit_prices(plan, None)
    have = {item["feature_id"]: item["quantity"] for item in base.get("billable_features", ())}
    units = {name: have.get(name, price.min_units or 1) for name, price in prices.items()}
    feature_id = world.question.feature_id
    package = world.catalog.packages[plan.id, world.catalog.latest[plan.id]]
    given = package.entitlements.get(feature_id)
    if feature_id in prices:
        low = units[feature_id] + (0 if current is None else 1)
        high = prices[feature_id].max_units or QUANTITY_MAX
        kind = "UNITS"

        def arguments(many: int) -> dict[str, Any]:
            return base | _units(units | {feature_id: many})

    elif given is not None and given[0].is_custom and plan.pricing_type == "CUSTOM":
        values = base.get("entitlements", [])
        others = [item for item in values if item.get("feature", {}).get("feature_id") != feature_id]
        low, high, kind = 0, LIMIT_MAX, "CUSTOM"

        def arguments(many: int) -> dict[str, Any]:
            own = {"feature": {"feature_id": feature_id, "usage_limit": many}}
            return base | _units(units) | {"entitlements": [*others, own]}

    else:
        is_news = current is None or current.packages[0][1] < world.catalog.latest[plan.id]
        found = _provision(world, plan, base | _units(units)) if is_news else None
        return None if found is None else _way("PLAN", plan, None, found)
    least_of = _least_provision(world, plan, arguments, low, high)
    return None if least_of is None else _way("PLAN" if current is None else kind, plan, *least_of)


def _units(units: Mapping[str, int]) -> dict[str, Any]:
    if not units:
        return {}
    return {"billable_features": [{"feature_id": name, "quantity": many} for name, many in units.items()]}


def _way(kind: str, plan: Plan, quantity: int | None, done: Provisioning, *, addon_id: str | None = None) -> Way:
    call, arguments, after = done
    return Way(
        kind=kind,
        call=call,
        arguments=arguments,
        entitlement=after,
        addon_id=addon_id,
        plan_id=plan.id,
        quantity=quantity,
    )
