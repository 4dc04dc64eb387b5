"""The contents of plans and add-ons: entitlements against features, credits; prices are in `price_check`.

Laws: pure; what rests on an unknown feature or a broken field of one is not judged.
"""

from collections.abc import Mapping, Sequence

from stigg_local.authority.catalog_draft import Draft, camel, shown
from stigg_local.authority.price_check import WITH_ARTICLE, check_prices, known_feature
from stigg_local.core.catalog import (
    Addon,
    CreditCurrency,
    CreditEntitlement,
    Feature,
    PackageEntitlement,
    Plan,
)

# Where a reset period may begin; DAY and HOUR always begin with the subscription.
CONFIGURATIONS = {
    "HOUR": ("SubscriptionStart",),
    "DAY": ("SubscriptionStart",),
    "WEEK": (
        "SubscriptionStart",
        "EverySunday",
        "EveryMonday",
        "EveryTuesday",
        "EveryWednesday",
        "EveryThursday",
        "EveryFriday",
        "EverySaturday",
    ),
    "MONTH": ("SubscriptionStart", "StartOfTheMonth"),
    "YEAR": ("SubscriptionStart",),
}
# Fields that say how much, in the order in which the first is blamed.
NUMBER_FIELDS = ("value", "usage_limit", "is_unlimited", "is_custom", "has_soft_limit")
VALUES_SHOWN_MAX = 10
RESET_FIELDS = ("reset_period", "reset_period_configuration")


def check_package(
    draft: Draft,
    package: Plan | Addon,
    features: Mapping[str, Feature],
    currencies: Mapping[str, CreditCurrency],
    bases: Sequence[Plan],
) -> None:
    """Report what is wrong with the contents of a plan or an add-on.

    Args:
        draft: The catalog and its mistakes so far.
        package: The plan or add-on.
        features: All features by id.
        currencies: All credit currencies by id.
        bases: The base plans, nearest first.
    """
    # A price whose feature is unknown may be the one that an entitlement without a limit rests on.
    check_prices(draft, package, features)
    seen: set[str] = set()
    for entitlement in package.entitlements:
        feature = known_feature(draft, entitlement, entitlement.feature_id, features)
        if feature is not None and feature.id in seen:
            draft.report(
                entitlement,
                "feature_id",
                f"`{shown(feature.id)}` has an entitlement here already",
                code="DuplicatedEntityNotAllowed",
            )
        seen.add(entitlement.feature_id)
        _check_behavior(draft, package, entitlement)
        if feature is not None:
            _check_entitlement(draft, package, entitlement, feature)
        _check_rate(draft, entitlement, feature, currencies)
    for credit in package.credit_entitlements:
        _check_behavior(draft, package, credit)
        _check_credit(draft, package, credit, features, currencies, bases)


# Entitlements -----------------------------------------------------------------------------------------------


def _check_behavior(draft: Draft, package: Plan | Addon, item: PackageEntitlement | CreditEntitlement) -> None:
    if isinstance(package, Plan) and item.behavior == "Override":
        draft.report(
            item,
            "behavior",
            "a plan cannot override, only an add-on can",
            hint="leave it out",
            code="CannotAddOverrideEntitlementToPlan",
        )
    if item.is_custom and package.pricing_type != "CUSTOM" and draft.sound(package, "pricing_type"):
        what = "plans" if isinstance(package, Plan) else "add-ons"
        draft.report(item, "is_custom", f"only CUSTOM {what} have custom values, this is {package.pricing_type}")


def _check_entitlement(draft: Draft, package: Plan | Addon, entitlement: PackageEntitlement, feature: Feature) -> None:
    if not draft.sound(feature, "feature_type"):
        return
    kind = feature.feature_type
    metered = draft.sound(feature, "meter_type")
    if kind != "Numeric":
        for field in NUMBER_FIELDS:
            if getattr(entitlement, field) not in (None, False):
                what = "takes no numbers" if kind == "Boolean" else "takes values, not numbers"
                message = f"`{shown(feature.id)}` is {WITH_ARTICLE[kind]} feature and {what}"
                draft.report(entitlement, field, message, needs=NUMBER_FIELDS)
                break
    else:
        _check_limit(draft, package, entitlement, feature)
    if entitlement.enum_values is not None:
        if kind != "Enum":
            message = f"`{shown(feature.id)}` is {WITH_ARTICLE[kind]} feature and has no values"
            draft.report(entitlement, "enum_values", message)
        elif draft.whole(feature, "enum_values"):
            for value in entitlement.enum_values:
                if value not in feature.enum_values:
                    message = f"is not a value of `{shown(feature.id)}`"
                    hint = draft.hint(value, feature.enum_values) or f"its values: {_listed(feature.enum_values)}"
                    draft.report(entitlement, "enum_values", message, hint=hint, entry=value)
    if metered or kind != "Numeric":
        _check_reset(draft, entitlement, feature)


def _listed(values: Sequence[str]) -> str:
    more = " | …" if len(values) > VALUES_SHOWN_MAX else ""
    return " | ".join(shown(value) for value in values[:VALUES_SHOWN_MAX]) + more


def _check_limit(draft: Draft, package: Plan | Addon, entitlement: PackageEntitlement, feature: Feature) -> None:
    numbers = [field for field in ("value", "usage_limit") if getattr(entitlement, field) is not None]
    if len(numbers) == 2:
        message = "stands beside value, and both are the limit"
        draft.report(entitlement, "usage_limit", message, hint="state one of them", needs=("value",))
    elif entitlement.is_unlimited and (numbers or entitlement.is_custom):
        beside = camel(numbers[0]) if numbers else "isCustom"
        needs = (*numbers, "is_custom")
        draft.report(entitlement, "is_unlimited", f"contradicts {beside}", hint="state one of them", needs=needs)
    elif not (numbers or entitlement.is_unlimited or entitlement.is_custom) and entitlement.is_granted:
        if any(price.feature_id == feature.id for price in package.prices):
            return
        if not draft.whole(package, "prices"):
            return
        if not all(draft.sound(price, "feature_id") for price in package.prices):
            return
        what = "metered" if feature.is_metered else "Numeric"
        field = "usageLimit" if feature.is_metered else "value"
        draft.report(
            entitlement,
            "",
            f"states no limit, and `{shown(feature.id)}` is a {what} feature",
            hint=f"state {field}, isUnlimited or isCustom, or give it a price",
            needs=(*NUMBER_FIELDS[:4], "is_granted"),
        )


def _check_reset(draft: Draft, entitlement: PackageEntitlement, feature: Feature) -> None:
    period, configuration = entitlement.reset_period, entitlement.reset_period_configuration
    if feature.meter_type != "Incremental":
        for field in RESET_FIELDS:
            if getattr(entitlement, field) is not None:
                what = "a level, which is never reset" if feature.is_metered else "not metered"
                message = f"`{shown(feature.id)}` is {what}"
                code = "InvalidEntitlementResetPeriod"
                draft.report(entitlement, field, message, code=code, needs=RESET_FIELDS)
                break
    elif configuration is not None and period is None:
        message = f"`{configuration}` needs a resetPeriod"
        draft.report(entitlement, "reset_period_configuration", message, needs=("reset_period",))
    elif configuration is not None and period is not None and configuration not in CONFIGURATIONS[period]:
        draft.report(
            entitlement,
            "reset_period_configuration",
            f"`{configuration}` does not fit the resetPeriod {period}",
            hint=f"{period} takes {' | '.join(CONFIGURATIONS[period])}",
            code="InvalidEntitlementResetPeriod",
            needs=("reset_period",),
        )


def _check_rate(
    draft: Draft,
    entitlement: PackageEntitlement,
    feature: Feature | None,
    currencies: Mapping[str, CreditCurrency],
) -> None:
    rate = entitlement.credit_rate
    if rate is None:
        return
    if feature is not None and not feature.is_metered and draft.sound(feature, "feature_type", "meter_type"):
        message = f"`{shown(feature.id)}` is not metered, so nothing of it costs credits"
        draft.report(entitlement, "credit_rate", message)
    elif rate.currency_id not in currencies and draft.sound(rate, "currency_id"):
        draft.unknown(rate, "currency_id", rate.currency_id, currencies, "a credit currency")


def _check_credit(
    draft: Draft,
    package: Plan | Addon,
    credit: CreditEntitlement,
    features: Mapping[str, Feature],
    currencies: Mapping[str, CreditCurrency],
    bases: Sequence[Plan],
) -> None:
    if credit.currency_id not in currencies and draft.sound(credit, "currency_id"):
        draft.unknown(credit, "currency_id", credit.currency_id, currencies, "a credit currency")
    if credit.dependency_feature_id is None:
        return
    feature = known_feature(draft, credit, credit.dependency_feature_id, features, "dependency_feature_id")
    if feature is None or not draft.sound(feature, "feature_type"):
        return
    if feature.feature_type != "Numeric":
        message = f"`{shown(feature.id)}` is {WITH_ARTICLE[feature.feature_type]} feature and has no quantity"
        draft.report(credit, "dependency_feature_id", message)
    elif _is_unlimited(draft, package, feature.id, bases):
        message = f"`{shown(feature.id)}` is unlimited here, so the credits would be, too"
        draft.report(credit, "dependency_feature_id", message)


def _is_unlimited(draft: Draft, package: Plan | Addon, feature_id: str, bases: Sequence[Plan]) -> bool:
    """Whether the package, or the nearest base that speaks of the feature, gives it without a limit."""
    for stated in (package, *bases):
        for entitlement in stated.entitlements:
            if entitlement.feature_id == feature_id:
                return entitlement.is_unlimited and draft.sound(entitlement, "is_unlimited")
    return False
