"""Promotional entitlements: what a customer is given by hand, one for each feature.

A grant of a feature that has one already replaces it; revoking several is all or nothing. A feature that was given by
more than one of {itself, a feature group} is kept until the last of them is revoked. Source: semantics §1 (feature
group), §2.6, §19.30, §20.26, §20.33.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from stigg_local.core import event
from stigg_local.core.catalog import PackageEntitlement
from stigg_local.core.customer import Customer, PromotionalEntitlement
from stigg_local.core.event import Event
from stigg_local.core.lifecycle import Advanced, advance
from stigg_local.core.nearest import nearest
from stigg_local.core.period import promotional_end
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound


class GrantPromotional(Struct, frozen=True, kw_only=True):
    """One promotional entitlement to grant; `period` CUSTOM goes with `custom_end_ms`, the others without.

    `group_id` is the feature group that it is given as a part of.
    """

    entitlement: PackageEntitlement
    period: str
    custom_end_ms: int | None = None
    is_visible: bool = True
    group_id: str | None = None


def grant(
    customer: Customer, catalog: Catalog, grants: Sequence[GrantPromotional], *, now_ms: int
) -> tuple[Customer, tuple[PromotionalEntitlement, ...]]:
    """The record with the grants in force from now on, and the grants themselves.

    Raises:
        NotFound: A feature does not exist.
        InvalidInput: What is granted does not fit the feature's type, or the end is not after now.
        NotAllowed: A reset period on a fluctuating feature (`InvalidEntitlementResetPeriod`).
    """
    made: dict[str, PromotionalEntitlement] = {}
    for item in grants:
        _check(catalog, item.entitlement)
        feature_id = item.entitlement.feature_id
        end_ms = item.custom_end_ms if item.period == "CUSTOM" else promotional_end(item.period, now_ms)
        if item.period == "CUSTOM" and (end_ms is None or end_ms <= now_ms):
            what = "would end before it begins" if end_ms is not None else "has the period CUSTOM and no end"
            raise InvalidInput(
                f"the promotion of `{item.entitlement.feature_id}` {what}",
                code="InvalidArgumentError",
                hint="with period CUSTOM pass custom_end_date= in the future",
            )
        other = made.get(feature_id)
        # Two groups may share a feature; a feature beside its own group would have two configurations of one call.
        is_twice = other is not None and (other.is_direct or item.group_id is None or item.group_id in other.group_ids)
        if is_twice:
            raise InvalidInput(
                f"feature `{feature_id}` is granted twice", code="DuplicatedEntityNotAllowed", hint="grant it once"
            )
        made[feature_id] = PromotionalEntitlement(
            entitlement=_spelled_out(catalog, item.entitlement),
            period=item.period,
            start_ms=now_ms,
            end_ms=end_ms,
            is_visible=item.is_visible,
            is_direct=item.group_id is None,
            group_ids=(
                *(() if other is None else other.group_ids),
                *(() if item.group_id is None else (item.group_id,)),
            ),
        )
    kept: list[PromotionalEntitlement] = []
    for held in customer.promotional_entitlements:
        feature_id = held.entitlement.feature_id
        if feature_id not in made:
            kept.append(held)
        elif not held.is_over and (held.end_ms is None or held.end_ms > now_ms):
            # What gave it before goes on to give it, with what is granted now.
            new = made[feature_id]
            made[feature_id] = replace(
                new,
                is_direct=new.is_direct or held.is_direct,
                group_ids=tuple(dict.fromkeys((*held.group_ids, *new.group_ids))),
            )
    changed = replace(customer, promotional_entitlements=(*kept, *made.values()), updated_ms=now_ms)
    return changed, tuple(made.values())


def revoke(
    customer: Customer,
    catalog: Catalog,
    feature_ids: Sequence[str],
    *,
    group_ids: Sequence[str] = (),
    now_ms: int,
) -> Advanced:
    """Take promotional entitlements back: all that are named, or none.

    Args:
        customer: The record.
        catalog: The compiled catalog.
        feature_ids: Features that lose theirs, whatever gave it.
        group_ids: Feature groups; a feature keeps its promotion where something else gave it, too.
        now_ms: The instant of the decision.

    Raises:
        NotFound: A feature or group has none in force (`PromotionalEntitlementNotFoundError`).
        InvalidInput: One is named twice (`DuplicatedEntityNotAllowed`).
    """
    advanced = advance(customer, catalog, to_ms=now_ms)
    customer = advanced.customer
    in_force = [item for item in customer.promotional_entitlements if not item.is_over]
    revoked = _taken(customer, "feature", feature_ids, {item.entitlement.feature_id for item in in_force})
    taken = _taken(customer, "feature group", group_ids, {key for item in in_force for key in item.group_ids})
    kept: list[PromotionalEntitlement] = []
    events: list[Event] = []
    for item in customer.promotional_entitlements:
        feature_id = item.entitlement.feature_id
        left = tuple(group_id for group_id in item.group_ids if group_id not in taken)
        if item.is_over and feature_id not in revoked:
            kept.append(item)
        elif feature_id in revoked or (left != item.group_ids and not left and not item.is_direct):
            events.append(_told(event.PROMOTION_REVOKED, customer, feature_id, now_ms))
        else:
            if left != item.group_ids:
                events.append(_told(event.PROMOTION_UPDATED, customer, feature_id, now_ms))
            kept.append(replace(item, group_ids=left))
    after = replace(customer, promotional_entitlements=tuple(kept), updated_ms=now_ms)
    return Advanced(after, (*advanced.events, *events))


def _taken(customer: Customer, what: str, ids: Sequence[str], held: set[str]) -> set[str]:
    """The features or groups to be taken back, each of which is held and named once."""
    taken: set[str] = set()
    for item_id in ids:
        if item_id in taken:
            raise InvalidInput(
                f"{what} `{item_id[:80]}` is named twice", code="DuplicatedEntityNotAllowed", hint="name it once"
            )
        if item_id not in held:
            raise NotFound(
                f"customer `{customer.id[:80]}` has no promotional entitlement of {what} `{item_id[:80]}`",
                code="PromotionalEntitlementNotFoundError",
                hint=f"it has those of {', '.join(sorted(held)) or f'no {what}'}; nothing was revoked",
            )
        taken.add(item_id)
    return taken


def grant_events(before: Customer, made: Sequence[PromotionalEntitlement], *, now_ms: int) -> tuple[Event, ...]:
    """What `grant` did, as events: one for each feature, granted anew or updated."""
    held = {
        item.entitlement.feature_id
        for item in before.promotional_entitlements
        if item.end_ms is None or item.end_ms > now_ms
    }
    return tuple(
        _told(
            event.PROMOTION_UPDATED if item.entitlement.feature_id in held else event.PROMOTION_GRANTED,
            before,
            item.entitlement.feature_id,
            now_ms,
        )
        for item in made
    )


def _told(kind: str, customer: Customer, feature_id: str, now_ms: int) -> Event:
    return Event(type=kind, customer_id=customer.id, at_ms=now_ms, feature_id=feature_id)


def _spelled_out(catalog: Catalog, entitlement: PackageEntitlement) -> PackageEntitlement:
    """A number that was not given is no limit, and says so."""
    is_number = catalog.features[entitlement.feature_id].feature_type == "Numeric"
    return replace(entitlement, is_unlimited=True) if is_number and entitlement.limit is None else entitlement


def _check(catalog: Catalog, entitlement: PackageEntitlement) -> None:
    feature = catalog.feature(entitlement.feature_id)
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
            f"the limit of `{feature.id}` is `{entitlement.limit}`", code="InvalidArgumentError", hint="0 or more"
        )
    if entitlement.enum_values is not None:
        if feature.feature_type != "Enum":
            raise InvalidInput(
                f"feature `{feature.id}` is not an enum", code="InvalidArgumentError", hint="leave enum_values out"
            )
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
