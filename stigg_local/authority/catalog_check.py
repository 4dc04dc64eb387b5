"""What the names and numbers of a catalog mean together: references, cycles, journeys, each item's own rules.

Laws: pure; a mistake is reported where it stands and not where it shows. Plans' and add-ons' contents are in
`package_check`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from stigg_local.authority.catalog_draft import Draft, shown
from stigg_local.authority.feature_check import check_feature
from stigg_local.authority.package_check import check_package
from stigg_local.authority.price_check import check_currency
from stigg_local.core.catalog import (
    Addon,
    Coupon,
    EntityType,
    Experiment,
    Plan,
    Product,
    ProductSettings,
    Record,
    VariantSettings,
)

ATTRIBUTION_KEYS_MAX = 2
CIRCLE_SHOWN_MAX = 8


class Identified(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Identified)
_Journey = ProductSettings | VariantSettings
_PLAIN = ProductSettings()


def check(draft: Draft) -> None:
    """Report everything that is wrong with the records of a catalog beyond their shape."""
    catalog = draft.catalog
    features = _by_id(catalog.features)
    currencies = _by_id(catalog.credit_currencies)
    products = _by_id(catalog.products)
    plans = _by_id(catalog.plans)
    addons = _by_id(catalog.addons)
    coupons = _by_id(catalog.coupons)
    items: tuple[tuple[Sequence[Record], str], ...] = (
        # The generic getter takes either's id.
        ((*catalog.features, *catalog.credit_currencies), "id"),
        (catalog.feature_groups, "id"),
        (catalog.products, "id"),
        # Plans and add-ons are both packages, known by one id.
        ((*catalog.plans, *catalog.addons), "id"),
        (catalog.coupons, "id"),
        (catalog.promotion_codes, "code"),
        (catalog.experiments, "id"),
        (catalog.entity_types, "id"),
    )
    for records, field in items:
        _check_unique(draft, records, field)
    for feature in catalog.features:
        check_feature(draft, feature)
    for group in catalog.feature_groups:
        _check_references(draft, group, "feature_ids", group.feature_ids, features, "a feature")
    for currency in catalog.credit_currencies:
        if currency.top_up_price is not None:
            check_currency(draft, currency.top_up_price)
    # The packages' products come first: what compares two packages rests on them.
    for package in (*catalog.plans, *catalog.addons):
        _check_reference(draft, package, "product_id", products, "a product", code="ProductNotFoundError")
    for product in catalog.products:
        _check_settings(draft, product, "id", product.settings, plans)
    for plan in catalog.plans:
        _check_plan(draft, plan, plans, addons)
        check_package(draft, plan, features, currencies, _bases(plan, plans))
    parents = {plan.id: [plan.parent_plan_id or ""] for plan in reversed(catalog.plans)}
    _check_cycles(draft, catalog.plans, "parent_plan_id", parents, code="PlansCircularDependencyError")
    for addon in catalog.addons:
        _check_addon(draft, addon, addons)
        check_package(draft, addon, features, currencies, ())
    dependencies = {addon.id: addon.dependencies for addon in reversed(catalog.addons)}
    _check_cycles(draft, catalog.addons, "dependencies", dependencies)
    for coupon in catalog.coupons:
        _check_coupon(draft, coupon)
    for promotion in catalog.promotion_codes:
        _check_reference(draft, promotion, "coupon_id", coupons, "a coupon")
    for experiment in catalog.experiments:
        _check_experiment(draft, experiment, products, plans)
    for entity_type in catalog.entity_types:
        _check_entity_type(draft, entity_type)


def _by_id(records: Sequence[Item]) -> dict[str, Item]:
    """The records by id, of equal ids the first; one without an id is nobody's reference."""
    return {record.id: record for record in reversed(records) if record.id}


def _check_unique(draft: Draft, records: Sequence[Record], field: str) -> None:
    seen: set[str] = set()
    for record in records:
        name: str = getattr(record, field)
        if draft.sound(record, field) and name in seen:
            draft.report(
                record,
                field,
                f"`{shown(name)}` is taken by an item before it",
                hint="ids are unique; plans and add-ons share theirs, features and credit currencies too",
                code="DuplicatedEntityNotAllowed",
            )
        seen.add(name)


def _check_reference(
    draft: Draft,
    record: Record,
    field: str,
    known: Mapping[str, object],
    what: str,
    *,
    code: str | None = None,
) -> None:
    name: str | None = getattr(record, field)
    if name is not None and name not in known and draft.sound(record, field):
        draft.unknown(record, field, name, known, what, code=code)


def _check_references(
    draft: Draft, record: Record, field: str, names: Iterable[str], known: Mapping[str, object], what: str
) -> None:
    """Every name of a list is known and stands there once."""
    seen: set[str] = set()
    for name in names:
        if name not in known:
            draft.unknown(record, field, name, known, what, entry=name)
        elif name in seen:
            draft.report(record, field, "is stated twice", entry=name, code="DuplicatedEntityNotAllowed")
        seen.add(name)


def _check_cycles(
    draft: Draft,
    records: Sequence[Plan | Addon],
    field: str,
    targets: Mapping[str, Sequence[str]],
    *,
    code: str | None = None,
) -> None:
    """Report each circle of references once, at the first of its items."""
    from graphlib import CycleError, TopologicalSorter

    items: dict[str, Record] = {record.id: record for record in reversed(records) if record.id}
    order = {name: index for index, name in enumerate(reversed(items))}
    graph = {name: [target for target in targets[name] if target in items] for name in items}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # The sorter names what comes before what; people read who refers to whom.
            circle: list[str] = list(reversed(error.args[1][:-1]))
            start = circle.index(min(circle, key=lambda name: order[name]))
            circle = circle[start:] + circle[: start + 1]
            chain = " → ".join(f"`{shown(name)}`" for name in circle[:CIRCLE_SHOWN_MAX])
            more = " → …" if len(circle) > CIRCLE_SHOWN_MAX else ""
            draft.report(items[circle[0]], field, f"goes in a circle: {chain}{more}", code=code)
            for name in circle:
                graph[name] = []
        else:
            return


# Products and their journeys --------------------------------------------------------------------------------


def _check_settings(
    draft: Draft,
    owner: Record,
    product_field: str,
    settings: _Journey,
    plans: Mapping[str, Plan],
    *,
    base: ProductSettings | None = None,
) -> None:
    """The journey names plans that can play their part; a variant's stands over `base`, its product's."""
    product_id: str | None = getattr(owner, product_field) if draft.sound(owner, product_field) else None
    whole = settings.over(base or _PLAIN) if isinstance(settings, VariantSettings) else settings
    start = _journey_plan(draft, settings, whole, "subscription_start_plan_id", product_id, plans)
    if settings.subscription_start_setup is not None or settings.subscription_start_plan_id is not None:
        _check_start(draft, settings, whole, start)
    end = _journey_plan(draft, settings, whole, "downgrade_plan_id", product_id, plans)
    is_about_the_end = settings.subscription_end_setup is not None or settings.downgrade_plan_id is not None
    if is_about_the_end and whole.subscription_end_setup == "DOWNGRADE_TO_FREE":
        _check_free(draft, settings, whole, "subscription_end", end, "DOWNGRADE_TO_FREE")


def _check_start(draft: Draft, settings: _Journey, whole: ProductSettings, start: Plan | None) -> None:
    match whole.subscription_start_setup:
        case "FREE_PLAN":
            _check_free(draft, settings, whole, "subscription_start", start, "FREE_PLAN")
        case "TRIAL_PERIOD":
            field, needs = "subscription_start_plan_id", ("subscription_start_setup",)
            if whole.subscription_start_plan_id is None:
                draft.report(settings, field, "TRIAL_PERIOD names the plan to try", needs=needs)
            elif (
                start is not None and start.default_trial_config is None and draft.sound(start, "default_trial_config")
            ):
                message = f"TRIAL_PERIOD needs a plan with a defaultTrialConfig; `{shown(start.id)}` has none"
                draft.report(settings, field, message, needs=needs)


def _journey_plan(
    draft: Draft,
    settings: _Journey,
    whole: ProductSettings,
    field: str,
    product_id: str | None,
    plans: Mapping[str, Plan],
) -> Plan | None:
    """The plan that a journey names; None, reported, where it cannot be provisioned at all."""
    name: str | None = getattr(settings, field)
    if not draft.sound(settings, field):
        return None
    if name is None:
        # Of a variant: what its product names is judged there.
        inherited: str | None = getattr(whole, field)
        return None if inherited is None else plans.get(inherited)
    plan = plans.get(name)
    if plan is None:
        draft.unknown(settings, field, name, plans, "a plan", code="PlanNotFound")
        return None
    if product_id is not None and plan.product_id != product_id and draft.sound(plan, "product_id"):
        draft.report(settings, field, f"`{shown(name)}` is a plan of another product, `{shown(plan.product_id)}`")
        return None
    if plan.status != "PUBLISHED" and draft.sound(plan, "status"):
        draft.report(settings, field, f"`{shown(name)}` is {plan.status}, so nobody can start on it")
        return None
    return plan


def _check_free(
    draft: Draft, settings: _Journey, whole: ProductSettings, part: str, plan: Plan | None, setup: str
) -> None:
    field = "subscription_start_plan_id" if part == "subscription_start" else "downgrade_plan_id"
    needs = (f"{part}_setup",)
    if getattr(whole, field) is None:
        draft.report(settings, field, f"{setup} names the free plan", needs=needs)
    elif plan is not None and plan.pricing_type != "FREE" and draft.sound(plan, "pricing_type"):
        message = f"{setup} needs a FREE plan, and `{shown(plan.id)}` is {plan.pricing_type}"
        draft.report(settings, field, message, needs=needs)


def _check_experiment(
    draft: Draft, experiment: Experiment, products: Mapping[str, Product], plans: Mapping[str, Plan]
) -> None:
    _check_reference(draft, experiment, "product_id", products, "a product")
    if draft.sound(experiment, "variant_settings"):
        product = products.get(experiment.product_id)
        base = product.settings if product is not None and draft.sound(product, "settings") else None
        _check_settings(draft, experiment, "product_id", experiment.variant_settings, plans, base=base)


# Plans ------------------------------------------------------------------------------------------------------


def _bases(plan: Plan, plans: Mapping[str, Plan]) -> tuple[Plan, ...]:
    """The base plans of a plan, nearest first; a circle ends where it closes."""
    found: dict[str, Plan] = {plan.id: plan}
    base = plans.get(plan.parent_plan_id or "")
    while base is not None and base.id not in found:
        found[base.id] = base
        base = plans.get(base.parent_plan_id or "")
    return tuple(found.values())[1:]


def _check_plan(
    draft: Draft,
    plan: Plan,
    plans: Mapping[str, Plan],
    addons: Mapping[str, Addon],
) -> None:
    _check_reference(draft, plan, "parent_plan_id", plans, "a plan", code="PlanNotFound")
    base = plans.get(plan.parent_plan_id or "")
    if base is not None and base is not plan:
        _check_same_product(draft, plan, "parent_plan_id", base, "a plan")
        if plan.status == "PUBLISHED" and base.status == "DRAFT" and draft.sound(base, "status"):
            draft.report(
                plan,
                "parent_plan_id",
                f"`{shown(base.id)}` is DRAFT, so a plan on it cannot be published",
                hint="publish the base plan, or make this one DRAFT, too",
                code="PlanCannotBePublishWhenBasePlanIsDraft",
                needs=("status",),
            )
    _check_references(draft, plan, "compatible_addon_ids", plan.compatible_addon_ids, addons, "an add-on")
    for name in plan.compatible_addon_ids:
        addon = addons.get(name)
        if addon is None:
            continue
        _check_same_product(draft, plan, "compatible_addon_ids", addon, "an add-on", entry=name)
        if plan.status == "PUBLISHED" and addon.status == "DRAFT" and draft.sound(addon, "status"):
            draft.report(
                plan,
                "compatible_addon_ids",
                "is DRAFT, so a plan with it cannot be published",
                code="PlanCannotBePublishWhenCompatibleAddonIsDraft",
                needs=("status",),
                entry=name,
            )
        if addon.pricing_type == "CUSTOM" and plan.pricing_type == "PAID" and draft.sound(addon, "pricing_type"):
            message = "is a CUSTOM add-on, which only a CUSTOM plan can have"
            draft.report(plan, "compatible_addon_ids", message, needs=("pricing_type",), entry=name)
    if plan.pricing_type == "FREE":
        _check_free_plan(draft, plan)
    if plan.default_trial_config is not None and plan.default_trial_config.budget is not None:
        check_currency(draft, plan.default_trial_config.budget)


def _check_free_plan(draft: Draft, plan: Plan) -> None:
    """A free plan costs nothing, is not tried and has no add-ons."""
    found: list[tuple[str, str]] = []
    for field in ("prices", "overage_prices", "minimum_spend"):
        if getattr(plan, field):
            found.append((field, "a FREE plan has no prices"))
    if plan.compatible_addon_ids:
        found.append(("compatible_addon_ids", "a FREE plan has no add-ons"))
    if plan.default_trial_config is not None:
        found.append(("default_trial_config", "a FREE plan is not tried"))
    stated = "pricing_type" in draft.at(plan).stated
    # Where the pricing type was left out, that alone is the mistake, however much of the plan disagrees.
    for field, message in found if stated else found[:1]:
        hint = 'state pricingType = "PAID" or "CUSTOM"' + ("" if stated else "; FREE is the default")
        draft.report(plan, field, message, hint=hint, needs=("pricing_type",))


def _check_addon(draft: Draft, addon: Addon, addons: Mapping[str, Addon]) -> None:
    _check_references(draft, addon, "dependencies", addon.dependencies, addons, "an add-on")
    for name in addon.dependencies:
        if name in addons:
            _check_same_product(draft, addon, "dependencies", addons[name], "an add-on", entry=name)
    if addon.pricing_type == "FREE" and (addon.prices or addon.overage_prices):
        field = "prices" if addon.prices else "overage_prices"
        hint = 'state pricingType = "PAID" or "CUSTOM"'
        draft.report(addon, field, "a FREE add-on has no prices", hint=hint, needs=("pricing_type",))


def _check_same_product(
    draft: Draft, package: Plan | Addon, field: str, other: Plan | Addon, what: str, *, entry: object = None
) -> None:
    if package.product_id != other.product_id and draft.sound(other, "product_id"):
        draft.report(
            package,
            field,
            f"`{shown(other.id)}` is {what} of another product, `{shown(other.product_id)}`",
            needs=("product_id",),
            entry=entry,
        )


# Coupons and entity types -----------------------------------------------------------------------------------


def _check_coupon(draft: Draft, coupon: Coupon) -> None:
    needs = ("type",)
    if coupon.type == "PERCENTAGE":
        if coupon.percent_off is None:
            hint = "amountsOff is for FIXED coupons" if coupon.amounts_off else None
            draft.report(coupon, "percent_off", "a PERCENTAGE coupon states it", hint=hint, needs=needs)
        elif coupon.amounts_off:
            draft.report(coupon, "amounts_off", "a PERCENTAGE coupon has no amounts", needs=needs)
    elif not coupon.amounts_off:
        if draft.whole(coupon, "amounts_off"):
            hint = "percentOff is for PERCENTAGE coupons" if coupon.percent_off is not None else None
            message = "a FIXED coupon states an amount for each currency"
            draft.report(coupon, "amounts_off", message, hint=hint, needs=needs)
    elif coupon.percent_off is not None:
        draft.report(coupon, "percent_off", "a FIXED coupon has no percentage", needs=needs)
    currencies: set[str] = set()
    for amount in coupon.amounts_off:
        if check_currency(draft, amount) and amount.currency in currencies:
            draft.report(amount, "currency", f"`{amount.currency}` has an amount already")
        currencies.add(amount.currency)
    if coupon.once and coupon.duration_in_months is not None:
        message = "a coupon for one invoice has no duration"
        draft.report(coupon, "duration_in_months", message, hint="state once or durationInMonths", needs=("once",))


def _check_entity_type(draft: Draft, entity_type: EntityType) -> None:
    keys = entity_type.attribution_keys
    if len(keys) > ATTRIBUTION_KEYS_MAX:
        message = f"states {len(keys)} keys, at most {ATTRIBUTION_KEYS_MAX} are possible"
        draft.report(entity_type, "attribution_keys", message)
    elif len(set(keys)) < len(keys):
        draft.report(entity_type, "attribution_keys", f"`{shown(keys[0])}` is stated twice")
