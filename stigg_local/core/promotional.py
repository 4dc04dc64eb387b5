"""Promotional entitlements: what a customer is given by hand, one for each feature.

A grant of a feature that has one already replaces it. Source: semantics §2.6, §20.26, §20.33.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core.catalog import PackageEntitlement
from stigg_local.core.customer import Customer, PromotionalEntitlement
from stigg_local.core.nearest import nearest
from stigg_local.core.period import promotional_end
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound


class GrantPromotional(Struct, frozen=True, kw_only=True):
    """One promotional entitlement to grant; `period` CUSTOM goes with `custom_end_ms`, the others without."""

    entitlement: PackageEntitlement
    period: str
    custom_end_ms: int | None = None
    is_visible: bool = True


def grant(
    customer: Customer, catalog: Catalog, grants: Sequence[GrantPromotional], *, now_ms: int
) -> tuple[Customer, tuple[PromotionalEntitlement, ...]]:
    """The record with the grants in force from now on, and the grants themselves.

    Raises:
        NotFound: A feature does not exist.
        InvalidInput: What is granted does not fit the feature's type, or the end is not after now.
        NotAllowed: A reset period on a fluctuating feature (`InvalidEntitlementResetPeriod`).
    """
    made: list[PromotionalEntitlement] = []
    for item in grants:
        _check(catalog, item.entitlement)
        end_ms = item.custom_end_ms if item.period == "CUSTOM" else promotional_end(item.period, now_ms)
        if item.period == "CUSTOM" and (end_ms is None or end_ms <= now_ms):
            raise InvalidInput(
                f"the promotion of `{item.entitlement.feature_id}` would end before it begins",
                code="InvalidArgumentError",
                hint="with period CUSTOM pass custom_end_date= in the future",
            )
        if any(item.entitlement.feature_id == other.entitlement.feature_id for other in made):
            raise InvalidInput(
                f"feature `{item.entitlement.feature_id}` is granted twice",
                code="DuplicatedEntityNotAllowed",
                hint="grant it once",
            )
        made.append(
            PromotionalEntitlement(
                entitlement=item.entitlement,
                period=item.period,
                start_ms=now_ms,
                end_ms=end_ms,
                is_visible=item.is_visible,
            )
        )
    replaced = {item.entitlement.feature_id for item in made}
    kept = [item for item in customer.promotional_entitlements if item.entitlement.feature_id not in replaced]
    changed = replace(customer, promotional_entitlements=(*kept, *made), updated_ms=now_ms)
    return changed, tuple(made)


def _check(catalog: Catalog, entitlement: PackageEntitlement) -> None:
    feature = catalog.features.get(entitlement.feature_id)
    if feature is None:
        near = nearest(entitlement.feature_id, catalog.features)
        raise NotFound(
            f"feature `{entitlement.feature_id[:80]}` does not exist",
            code="FeatureNotFound",
            hint=f"did you mean `{near}`" if near else None,
        )
    has_number = entitlement.limit is not None or entitlement.is_unlimited
    if has_number and feature.feature_type != "Numeric":
        raise InvalidInput(
            f"feature `{feature.id}` is {feature.feature_type}, and the promotion gives it a number",
            code="InvalidArgumentError",
            hint="leave value, usage_limit and is_unlimited out",
        )
    if entitlement.limit is not None and entitlement.is_unlimited:
        raise InvalidInput(
            f"the promotion of `{feature.id}` has a limit and is unlimited",
            code="InvalidArgumentError",
            hint="state one of the two",
        )
    if entitlement.limit is not None and entitlement.limit < 0:
        raise InvalidInput(
            f"the limit of `{feature.id}` is `{entitlement.limit}`, below 0", code="InvalidArgumentError"
        )
    if entitlement.enum_values is not None:
        if feature.feature_type != "Enum":
            raise InvalidInput(f"feature `{feature.id}` is not an enum", code="InvalidArgumentError")
        for value in entitlement.enum_values:
            if value not in feature.enum_values:
                near = nearest(value, feature.enum_values)
                raise InvalidInput(
                    f"`{value[:80]}` is not a value of feature `{feature.id}`",
                    code="InvalidArgumentError",
                    hint=f"did you mean `{near}`" if near else f"it has {', '.join(feature.enum_values)}",
                )
    if entitlement.reset_period is not None and feature.meter_type != "Incremental":
        raise NotAllowed(
            f"feature `{feature.id}` does not accumulate, so it has no reset period",
            code="InvalidEntitlementResetPeriod",
            hint="leave reset_period out",
        )
    configuration = entitlement.reset_period_configuration
    fits = (
        configuration in (None, "SubscriptionStart")
        or (entitlement.reset_period == "MONTH" and configuration == "StartOfTheMonth")
        or (entitlement.reset_period == "WEEK" and str(configuration).startswith("Every"))
    )
    if not fits:
        raise InvalidInput(
            f"`{configuration}` is no configuration of a reset by {entitlement.reset_period}",
            code="InvalidEntitlementResetPeriod",
            hint="StartOfTheMonth goes with MONTH, the weekdays with WEEK",
        )
